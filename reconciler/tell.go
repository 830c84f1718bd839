package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/forge"
)

// Teller tells a forge what becomes of the commits of a branch: a status of each, and deployments of those that are published.
// It is an Observer, and keeps nobody waiting: what it has to say stands in a queue of its own, the newest word about a commit
// alone, which outlives the process. A forge that is slow, away or tired of us hears of it later.
type Teller struct {
	idleObserver
	TellerOptions
	mu      sync.Mutex
	words   []word        // oldest first
	wake    chan struct{} // holds one: there is something to say
	dirty   chan struct{} // likewise: to keep
	trouble trouble
}

// TellerOptions say of what a Teller tells.
type TellerOptions struct {
	Site        string              // statuses are called pomona/SITE
	Environment string              // of deployments; empty: there are none
	Link        string              // of a page about the site; may be empty
	Root        string              // keeps the queue in its private part
	Mask        func(string) string // takes secrets out of a text
	Log         *slog.Logger
	Now         func() time.Time
}

// word is what is to be said, or was said, of a commit.
type word struct {
	Commit      string      `json:"commit"`
	Environment string      `json:"environment,omitempty"` // of a deployment; empty: it is a status
	State       forge.State `json:"state"`
	Text        string      `json:"text"`
	Said        bool        `json:"said"`
	Since       time.Time   `json:"since"`

	tries int
	due   time.Time
}

const (
	tellerFile = durable.Private + "/forge.json"
	maxWords   = 100            // that are remembered
	maxSilence = 24 * time.Hour // after which a word that the forge does not take is given up
	tellWithin = 5 * time.Minute
	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
)

// NewTeller is a Teller that remembers what an earlier one of the root has said and not said yet.
func NewTeller(o TellerOptions) *Teller {
	t := &Teller{TellerOptions: o, wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1)}
	b, err := os.ReadFile(filepath.Join(o.Root, tellerFile))
	if err == nil {
		err = json.Unmarshal(b, &t.words)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("what the forge was told is not known: it is told again", "err", err)
		t.words = nil
	}
	return t
}

// Looked implements Observer: a commit that is new is pending.
func (t *Teller) Looked(head string, _ time.Duration, moved bool, err error) {
	if !moved || err != nil || t.knows(head) {
		return
	}
	t.put(word{Commit: head, State: forge.Pending, Text: "seen, and not published yet"})
	t.signal()
}

func (t *Teller) knows(commit string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.words, func(w word) bool { return w.Commit == commit && w.Environment == "" })
}

// Passed implements Observer.
func (t *Teller) Passed(done Done) {
	for _, w := range wordsOf(done, t.Environment) {
		w.Text = t.Mask(w.Text)
		t.put(w)
	}
	t.signal()
}

func (t *Teller) signal() {
	for _, c := range []chan struct{}{t.wake, t.dirty} {
		select {
		case c <- struct{}{}:
		default: // it is set already
		}
	}
}

// put has a word said, unless it was said last. A deployment takes the place of every earlier one, and a commit that is
// published settles those before it.
func (t *Teller) put(w word) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Since = t.Now()
	i := slices.IndexFunc(t.words, func(o word) bool {
		return o.Environment == w.Environment && (o.Commit == w.Commit || w.Environment != "")
	})
	if i >= 0 {
		if o := t.words[i]; o.Commit == w.Commit && o.State == w.State && o.Text == w.Text {
			return
		}
		t.words = slices.Delete(t.words, i, i+1)
	}
	t.words = append(t.words, w)
	if w.Environment == "" && w.State == forge.Success {
		t.settle(w)
	}
	if more := len(t.words) - maxWords; more > 0 {
		t.words = slices.Delete(t.words, 0, more)
	}
}

// settle ends what is open about other commits: one after them is published.
func (t *Teller) settle(by word) {
	for i, o := range t.words {
		if o.Commit != by.Commit && o.Environment == "" && (o.State == forge.Pending || o.State == forge.Error) {
			t.words[i] = word{Commit: o.Commit, State: forge.Success, Text: fmt.Sprintf("superseded by %.12s, which is published", by.Commit), Since: by.Since}
		}
	}
}

// Waiting is how many words the forge has not heard yet.
func (t *Teller) Waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.words {
		if !w.Said {
			n++
		}
	}
	return n
}

// Keep keeps the queue in the root until the context ends, whether or not the forge answers.
func (t *Teller) Keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			t.save()
			return
		case <-t.dirty:
			t.save()
		}
	}
}

// Run tells a forge until the context ends.
func (t *Teller) Run(ctx context.Context, f forge.Forge) {
	for {
		wait := t.say(ctx, f)
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-time.After(wait):
		}
	}
}

// say says everything that is due, and gives the time until something else is.
func (t *Teller) say(ctx context.Context, f forge.Forge) time.Duration {
	for ctx.Err() == nil {
		w, wait, ok := t.next()
		if !ok {
			return wait
		}
		err := t.tell(ctx, f, w)
		if ctx.Err() != nil {
			break
		}
		t.told(w, err)
		t.signal()
	}
	return 0
}

// next is the oldest word that is due, or the time until one is.
func (t *Teller) next() (word, time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := time.Hour
	for _, w := range t.words {
		if w.Said {
			continue
		}
		left := w.due.Sub(t.Now())
		if left <= 0 {
			return w, 0, true
		}
		wait = min(wait, left)
	}
	return word{}, wait, false
}

func (t *Teller) tell(ctx context.Context, f forge.Forge, w word) error {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	if w.Environment == "" {
		return f.Status(ctx, w.Commit, forge.Status{Context: "pomona/" + t.Site, State: w.State, Text: w.Text, Link: t.Link})
	}
	err := f.Deployment(ctx, forge.Deployment{Commit: w.Commit, Environment: w.Environment, State: w.State, Text: w.Text, Link: t.Link, Production: true})
	if errors.Is(err, forge.ErrNotOffered) {
		return nil
	}
	return err
}

// told notes how a word was taken, unless there is another about the same meanwhile.
func (t *Teller) told(w word, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	i := slices.IndexFunc(t.words, func(o word) bool {
		return o.Commit == w.Commit && o.Environment == w.Environment && o.State == w.State && o.Text == w.Text
	})
	if i >= 0 && (err == nil || now.Sub(w.Since) > maxSilence) {
		t.words[i].Said = true
	}
	if err != nil {
		t.postpone(i, err, now)
	}
	switch news := t.trouble.news(err); {
	case news && err == nil:
		t.Log.Info("forge hears again")
	case news:
		t.Log.Warn("forge not told yet; it is tried again", "err", t.Mask(err.Error()))
	}
}

// postpone has a word said later; while a forge wants no requests, all of them.
func (t *Teller) postpone(i int, err error, now time.Time) {
	var limited *forge.Limited
	if errors.As(err, &limited) {
		for j := range t.words {
			t.words[j].due = limited.Until
		}
	}
	if i >= 0 {
		wait := min(firstRetry<<min(t.words[i].tries, 10), lastRetry)
		t.words[i].tries++
		if due := now.Add(wait); due.After(t.words[i].due) {
			t.words[i].due = due
		}
	}
}

// save keeps the words in the root, if they are others than lie there.
func (t *Teller) save() {
	t.mu.Lock()
	b, err := json.Marshal(t.words)
	t.mu.Unlock()
	if err == nil {
		err = t.keep(b)
	}
	if err != nil {
		t.Log.Warn("what the forge was told is not kept", "err", err)
	}
}

func (t *Teller) keep(b []byte) error {
	dir, err := durable.Open(t.Root, nil)
	if err != nil {
		return err
	}
	defer dir.Close() // what it holds is on the disk
	if was, err := dir.Root().ReadFile(tellerFile); err == nil && string(was) == string(b) {
		return nil
	}
	return dir.Keep(tellerFile, b)
}
