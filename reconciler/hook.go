package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// askHooks runs the hooks before publication; one that fails prevents it. They are not asked about a tree that is published
// already: it is repaired and renewed whatever they say.
func (r *Reconciler) askHooks(ctx context.Context, have observed.Root, p plan.Plan) error {
	now := lastKnown(have)
	if p.Publish == nil || len(r.Before) == 0 || now.Tree == p.Publish.Generation.Tree {
		return nil
	}
	document := publish.Foretold(p.Tree, p.Publish, now, have.Index)
	for _, h := range r.Before {
		r.Pulse.Beat()
		start := time.Now()
		if err := h.Run(ctx, document); err != nil {
			return fmt.Errorf("publication prevented: %w", err)
		}
		r.Log.Info("asked hook", "hook", h.Name, "generation", document.Generation, "elapsed", time.Since(start).Round(time.Millisecond))
	}
	return nil
}

// AfterHooks tell programs of what is published, beside passes: each of the current generation, until it succeeds. One that
// missed some is told at once what they changed together. The ledger knows what each was told last; without it, each is told
// everything once more.
type AfterHooks struct {
	idleObserver

	Root    string
	Hooks   []publish.Hook
	Records *Records
	Log     *slog.Logger
	Now     func() time.Time
	Tell    func(hook string, err error) // how each try ended; may be nil

	wake []chan struct{}
	once sync.Once
}

// Passed implements Observer: there may be something to tell.
func (a *AfterHooks) Passed(Done) {
	a.ready()
	for _, w := range a.wake {
		select {
		case w <- struct{}{}:
		default: // it will look anyway
		}
	}
}

func (a *AfterHooks) ready() {
	a.once.Do(func() {
		for range a.Hooks {
			a.wake = append(a.wake, make(chan struct{}, 1))
		}
	})
}

// Run tells hooks until the context ends.
func (a *AfterHooks) Run(ctx context.Context) error {
	a.ready()
	root, err := os.OpenRoot(a.Root)
	if err != nil {
		return fmt.Errorf("tell hooks: %w", err)
	}
	defer root.Close() // only read
	a.forget(ctx)
	var all sync.WaitGroup
	for i, h := range a.Hooks {
		all.Go(func() { a.tend(ctx, root, h, a.wake[i]) })
	}
	all.Wait()
	return nil
}

// forget drops from the ledger what is configured no more.
func (a *AfterHooks) forget(ctx context.Context) {
	a.Records.Try(ctx, func(l *ledger.Ledger) error {
		known, err := l.Hooks(ctx)
		for _, k := range known {
			if err == nil && !slices.ContainsFunc(a.Hooks, func(h publish.Hook) bool { return h.Name == k.Name }) {
				err = l.ForgetHook(ctx, k.Name)
			}
		}
		return err
	})
}

// tend tells one hook of each generation that becomes current.
func (a *AfterHooks) tend(ctx context.Context, root *os.Root, h publish.Hook, wake <-chan struct{}) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = time.Second, 5*time.Minute
	state := a.told(ctx, h.Name)
	for ctx.Err() == nil {
		next, err := a.tell(ctx, root, h, state)
		state = next
		switch {
		case errors.Is(err, errNothingToTell):
			select {
			case <-ctx.Done():
			case <-wake:
			}
		case err != nil:
			select {
			case <-ctx.Done():
			case <-time.After(retry.NextBackOff()): // and not at each pass
			}
		default:
			retry.Reset()
		}
	}
}

// told is how a hook fares, as the ledger has it.
func (a *AfterHooks) told(ctx context.Context, name string) ledger.Hook {
	state := ledger.Hook{Name: name}
	a.Records.Try(ctx, func(l *ledger.Ledger) error {
		all, err := l.Hooks(ctx)
		for _, h := range all {
			if h.Name == name {
				state = h
			}
		}
		return err
	})
	return state
}

// failingHooks are those that were not told of what is published.
func failingHooks(ctx context.Context, l *ledger.Ledger) ([]report.Hook, error) {
	all, err := l.Hooks(ctx)
	failing := []report.Hook{}
	for _, h := range all {
		if h.Tries > 0 {
			failing = append(failing, report.Hook{Name: h.Name, Tries: h.Tries, Since: h.Since, Trouble: h.Trouble})
		}
	}
	return failing, err
}

var errNothingToTell = errors.New("nothing to tell")

// tell tells a hook of the current generation, unless it was told, and returns how it fares then.
func (a *AfterHooks) tell(ctx context.Context, root *os.Root, h publish.Hook, state ledger.Hook) (ledger.Hook, error) {
	now, err := observe.Now(root)
	if err != nil || now.Number == 0 || now.Number == state.Generation && now.Commit == state.Commit {
		return state, errNothingToTell // the next pass mends a damaged one
	}
	document, err := changes(root, now, state)
	if err != nil {
		return state, errNothingToTell
	}
	start := time.Now()
	err = h.Run(ctx, document)
	if ctx.Err() != nil {
		return state, ctx.Err()
	}
	if err == nil {
		state.Generation, state.Commit, state.At = now.Number, now.Commit, a.Now()
		state.Tries, state.Since, state.Trouble = 0, time.Time{}, ""
		a.Log.Info("told hook", "hook", h.Name, "generation", now.Number, "elapsed", time.Since(start).Round(time.Millisecond))
	} else {
		if state.Tries == 0 {
			state.Since = a.Now()
		}
		state.Tries, state.Trouble = state.Tries+1, err.Error()
		a.Log.Error("hook not told; it is tried again", "hook", h.Name, "generation", now.Number, "err", err)
	}
	a.Records.Try(ctx, func(l *ledger.Ledger) error { return l.PutHook(ctx, state) })
	if a.Tell != nil {
		a.Tell(h.Name, err)
	}
	return state, err
}

// changes tell what a generation changes since the one that a hook was told last, or everything if that is gone.
func changes(root *os.Root, now observed.Past, told ledger.Hook) (publish.Document, error) {
	since := observed.Past{}
	if told.Generation > 0 {
		if then, err := observe.Generation(root, told.Generation); err == nil && then.Commit == told.Commit {
			since = then
		}
	}
	serials := map[string]int64{}
	for _, f := range since.Index.FECs {
		serials[f.Name] = f.Serial
	}
	var fecs []tree.Manifest
	for _, f := range now.Index.FECs {
		if serials[f.Name] != f.Serial {
			m, err := observe.ManifestOf(root, now.Number, f.Name)
			if err != nil {
				return publish.Document{}, err
			}
			fecs = append(fecs, m)
		}
		delete(serials, f.Name)
	}
	var gone []string
	for fec := range serials {
		gone = append(gone, fec)
	}
	return publish.NewDocument(publish.After, now.Generation, since.Generation, fecs, gone), nil
}
