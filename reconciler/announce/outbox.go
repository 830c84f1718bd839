package announce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// Outbox keeps what a Notifier must not forget when its process ends.
type Outbox interface {
	Load() (Kept, error) // nothing, if nothing was saved
	Save(Kept) error     // all of it, or what was saved before stays
}

// Kept is what is not delivered and what people know.
type Kept struct {
	Waiting []Waiting            `json:"waiting"` // the oldest first
	Said    map[string]time.Time `json:"said"`    // hashes of what was said lately
	Open    map[string]Failure   `json:"open"`    // by site and kind: what has not recovered
}

// Waiting is an event on its way through one channel.
type Waiting struct {
	Channel string    `json:"channel"`
	Event   Event     `json:"event"`
	Since   time.Time `json:"since"`
}

func (w Waiting) same(other Waiting) bool {
	return w.Channel == other.Channel && w.Event.id() == other.Event.id()
}

// Failure is what people were told and has not recovered.
type Failure struct {
	Hash     string    `json:"hash"`
	Severity Severity  `json:"severity"`
	At       time.Time `json:"at"` // when they were told last
}

func (k Kept) clone() Kept {
	return Kept{slices.Clone(k.Waiting), maps.Clone(k.Said), maps.Clone(k.Open)}
}

const (
	outboxFile = durable.Private + "/outbox.json"
	maxOutbox  = 64 << 20 // bytes
)

// File is an outbox in the private part of a root. Its one writer is the service of that root.
type File struct{ Root string }

// Load reads the file.
func (f File) Load() (k Kept, err error) {
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		return k, err
	}
	defer root.Close() // only read
	info, err := root.Stat(outboxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil && info.Size() > maxOutbox {
		err = fmt.Errorf("read %s: %d bytes are too many", outboxFile, info.Size())
	}
	if err != nil {
		return k, err
	}
	b, err := root.ReadFile(outboxFile)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return Kept{}, fmt.Errorf("read %s: %w", outboxFile, err)
	}
	return k, nil
}

// Save replaces the file.
func (f File) Save(k Kept) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	dir, err := durable.Open(f.Root, nil)
	if err != nil {
		return err
	}
	return errors.Join(dir.Keep(outboxFile, b), dir.Close())
}
