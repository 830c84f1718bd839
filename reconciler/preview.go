package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Previews are the trees of open pull requests that a root serves below previews/, each until it is dropped, expires or
// makes room for newer ones. A FEC of the site refuses them: they are for another channel and signed by another key. They are
// built beside passes, which wait only for the last step. It is safe for concurrent use; one process at a time writes them.
type Previews struct {
	Root    string
	Key     tree.SecretKey // signs previews, and nothing else
	Most    int            // at once; with 0 none are made, and those that are there go
	MaxSize int64          // bytes that all of them take beside what is published
	Life    time.Duration  // from when a head was first seen
	Records *Records       // of the root; nil: nothing is recorded
	Log     *slog.Logger
	Now     func() time.Time
	Hook    durable.Hook // stands before every change of the root; nil applies them

	mu sync.Mutex
}

// NoPreview says why a pull request is given no preview. Trying again does not help until something changes.
type NoPreview struct{ Reason string }

// Error is the reason.
func (e *NoPreview) Error() string { return "no preview: " + e.Reason }

// errSwept says that a pass has removed what a preview was about to name.
var errSwept = errors.New("objects of the preview were removed meanwhile")

// Put serves what a merge would publish as the preview of a pull request, in place of an earlier one. The merge's Repo and
// Branch name the result of merging head; its Loader, Verdicts, Payloads, Version and Log are used, not its Keys. Nothing
// happens if that is served already. Its error is *NoPreview, desired.Problems, or as of a pass.
func (p *Previews) Put(ctx context.Context, merge *Reconciler, number int, head string) (put observed.Preview, err error) {
	err = p.alone(ctx, func(w *previewWriter) error {
		put, err = w.put(ctx, merge, observed.Proposed{Number: number, Head: head})
		return err
	})
	if err != nil {
		err = fmt.Errorf("preview %d: %w", number, err)
	}
	return put, err
}

// Expire removes previews that have expired, or that are too many. It is called now and then, and when a service starts. Lost
// are the pull requests whose preview has gone although it should be there: it was damaged, and has to be put again.
func (p *Previews) Expire(ctx context.Context) (lost []int, err error) {
	err = p.alone(ctx, func(w *previewWriter) (err error) {
		lost, err = w.expire(ctx)
		return err
	})
	return lost, err
}

// Keep drops the previews of other pull requests than the open ones, and is Expire besides.
func (p *Previews) Keep(ctx context.Context, open []int) (lost []int, err error) {
	err = p.alone(ctx, func(w *previewWriter) (err error) {
		if err := w.close(ctx, open); err != nil {
			return err
		}
		lost, err = w.expire(ctx)
		return err
	})
	return lost, err
}

// previewWriter is the one that writes the previews of a root.
type previewWriter struct {
	*Previews
	dir        *durable.Dir
	objects    *store.Store
	have       []observed.Preview
	unreadable []int
	rows       []ledger.Preview // what the ledger says
	published  map[artifact.Digest]bool
	seen       map[int64]bool            // generations whose objects are in published
	fresh      map[artifact.Digest]int64 // objects that perhaps nothing needs, with their sizes
	passesWait bool
}

// alone does something as the one writer of previews.
func (p *Previews) alone(ctx context.Context, do func(*previewWriter) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := MakeRoot(p.Root); err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.OpenPreviews(p.Root, p.Hook)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer dir.Close() // every write reports its own error
	if err := dir.Prepare(); err != nil {
		return fmt.Errorf("prepare root: %w", err)
	}
	unlock, err := dir.PreviewLock()
	if err != nil {
		return fmt.Errorf("lock previews: %w", err)
	}
	defer unlock()
	w := &previewWriter{Previews: p, dir: dir, objects: store.New(dir), published: map[artifact.Digest]bool{}, seen: map[int64]bool{}}
	if err := w.recover(ctx); err != nil {
		return fmt.Errorf("recover previews: %w", err)
	}
	if w.have, w.unreadable, err = observe.Previews(dir.Root()); err != nil {
		return err
	}
	p.Records.Try(ctx, func(l *ledger.Ledger) (err error) {
		w.rows, err = l.Previews(ctx)
		return err
	})
	w.recordMissing(ctx)
	return do(w)
}

// recordMissing tells a new ledger of the previews that are there.
func (w *previewWriter) recordMissing(ctx context.Context) {
	for _, have := range w.have {
		if !slices.ContainsFunc(w.rows, func(row ledger.Preview) bool { return row.Number == have.Number }) {
			w.record(ctx, ledger.Preview{Number: have.Number, Head: have.Head, Tree: have.Generation.Tree.String(), Expires: have.Expires})
		}
	}
}

// recover removes what a writer that died has left. What it put among the objects goes with the next sweep.
func (w *previewWriter) recover(ctx context.Context) error {
	if _, err := w.dir.Recover(); err != nil {
		return err
	}
	if !w.dir.Exists(durable.PreviewUnfinished) {
		return nil
	}
	return w.whileNoPass(ctx, func() error {
		if err := prune.Later(w.dir, w.Now()); err != nil {
			return err
		}
		return w.dir.Remove(durable.PreviewUnfinished)
	})
}

// begin marks the root before the first object is written for a preview.
func (w *previewWriter) begin() error {
	if w.dir.Exists(durable.PreviewUnfinished) {
		return nil
	}
	if err := w.dir.Write(durable.PreviewUnfinished, nil, 0o600); err != nil {
		return fmt.Errorf("mark preview: %w", err)
	}
	return w.dir.Sync(durable.Private)
}

// whileNoPass does something short that no pass may see half done, also within something else of the kind.
func (w *previewWriter) whileNoPass(ctx context.Context, do func() error) error {
	if w.passesWait {
		return do()
	}
	for {
		unlock, err := lock(w.dir, w.Root)
		if err == nil {
			defer unlock()
			w.passesWait = true
			defer func() { w.passesWait = false }()
			return do()
		}
		if !errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("lock root: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond): // another process makes a pass
		}
	}
}

func (w *previewWriter) last(number int) *observed.Preview {
	for i := range w.have {
		if w.have[i].Number == number {
			return &w.have[i]
		}
	}
	return nil
}
