package submit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// What a ledger holds of runs of campaigns that launch folders do not tell lies beside those:
//
//	runs/NAME/RUN/ended        how the run ended; there is none of one that goes on
//	runs/NAME/RUN/decided/N    what somebody has decided about it at a time
//
// Each is a whole file that survives a power cut. It is written before the ledger has it, and never removed. What is in one is the
// caller's.
const (
	runsDir    = "runs"
	endedFile  = "ended"
	decidedDir = "decided"
)

// KeptRun is what is kept of a run.
type KeptRun struct {
	UID       string
	Ended     []byte   // nil: it goes on
	Decisions [][]byte // oldest first
}

// KeepEnd keeps how a run ended.
func (d *Desk) KeepEnd(uid string, document []byte) error {
	return d.keep(uid, endedFile, document)
}

// KeepDecision keeps what was decided about a run.
func (d *Desk) KeepDecision(uid string, at time.Time, document []byte) error {
	return d.keep(uid, decidedDir+"/"+at.UTC().Format("20060102T150405.000000000")+"-"+nonce(), document)
}

func (d *Desk) keep(uid, name string, document []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep in %s: %w", d.Folder, err)
		}
	}()
	if !filepath.IsLocal(uid) {
		return fmt.Errorf("%s is no run", uid)
	}
	name = path.Join(runsDir, uid, name)
	folder := path.Dir(name)
	if err := os.MkdirAll(d.Folder, 0o755); err != nil {
		return err
	}
	dir, err := durable.Open(d.Folder, d.Hook)
	if err != nil {
		return err
	}
	defer dir.Close() // every write reports its own error
	if err := dir.MkdirAll(folder); err != nil {
		return err
	}
	temp := path.Join(folder, ".new-"+nonce())
	if err = dir.Write(temp, document, 0o644); err == nil {
		err = dir.Sync(temp)
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	return dir.Sync(folder)
}

// KeptEnd is how a run ended; nil if that is not kept.
func (d *Desk) KeptEnd(uid string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.Folder, runsDir, filepath.FromSlash(uid), endedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Kept is all that is kept of runs, in the order of their UIDs.
func (d *Desk) Kept() (all []KeptRun, err error) {
	folder := filepath.Join(d.Folder, runsDir)
	names, err := namesIn(folder)
	for _, name := range names {
		runs, err := namesIn(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			k, err := d.kept(name + "/" + run)
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
	}
	return all, err
}

func (d *Desk) kept(uid string) (k KeptRun, err error) {
	k.UID = uid
	if k.Ended, err = d.KeptEnd(uid); err != nil {
		return k, err
	}
	folder := filepath.Join(d.Folder, runsDir, filepath.FromSlash(uid), decidedDir)
	names, err := namesIn(folder)
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return k, err
		}
		k.Decisions = append(k.Decisions, b)
	}
	return k, err
}

// namesIn are the names in a folder, sorted, but those that are being made; none if it is not there.
func namesIn(folder string) (names []string, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}
