package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Records keep the ledger of a root open. One that is damaged is set aside, and a new one filled with what the tree tells;
// while one cannot be opened, what was read last stands. It is safe for concurrent use.
type Records struct {
	root     string
	log      *slog.Logger
	readOnly bool

	mu         sync.Mutex
	open       *ledger.Ledger
	at         ledger.Place // where it is or was open
	spareUntil time.Time    // the ledger is left alone
	spareFor   error        // why
	entered    int64        // generation whose FECs are known to be entered; 0: none is
	known      bool         // that holds and overrides were read
	holds      []observed.Hold
	overrides  []observed.Override
	trouble    trouble
}

// NewRecords are the records of a root, not opened yet.
func NewRecords(root string, log *slog.Logger) *Records { return &Records{root: root, log: log} }

// ReadRecords are likewise, and never write.
func ReadRecords(root string, log *slog.Logger) *Records {
	return &Records{root: root, log: log, readOnly: true}
}

// Close closes the ledger.
func (r *Records) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.close()
}

func (r *Records) close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

// Use does something with the ledger, once more if that finds it damaged.
func (r *Records) Use(ctx context.Context, do func(*ledger.Ledger) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.use(ctx, do)
}

func (r *Records) use(ctx context.Context, do func(*ledger.Ledger) error) error {
	if r.readOnly {
		return r.look(ctx, do)
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	began := time.Now()
	err := do(r.open)
	if !ledger.IsCorrupt(err) {
		return r.spare(began, err)
	}
	_ = r.close() // it is damaged
	if err := r.ready(ctx); err != nil {
		return err
	}
	return do(r.open)
}

// look does something with the ledger beside whoever writes it.
func (r *Records) look(ctx context.Context, do func(*ledger.Ledger) error) error {
	at, err := ledgerOf(r.root)
	if err != nil {
		return err
	}
	l, err := at.Look(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

// ready opens the ledger unless it is open and still lies in its place.
func (r *Records) ready(ctx context.Context) error {
	at, err := ledgerOf(r.root)
	if err != nil {
		return err
	}
	if r.open != nil && at == r.at && at.InPlace() {
		return r.spared()
	}
	_ = r.close() // it lies there no more
	if at != r.at {
		r.at, r.spareUntil = at, time.Time{}
	}
	if err := r.spared(); err != nil {
		return err
	}
	began := time.Now()
	opened, err := at.Open(ctx)
	if err != nil {
		return r.spare(began, err)
	}
	if opened.Aside != "" {
		r.log.Error("ledger was damaged; it is set aside, and a new one made from the tree", "aside", opened.Aside, "because", opened.Why)
	}
	if opened.Fresh {
		if err := r.rebuild(ctx, opened); err != nil {
			return errors.Join(fmt.Errorf("rebuild ledger: %w", err), opened.Close())
		}
	}
	r.open, r.entered = opened, 0
	return nil
}

// slow is how long something may take to fail before the ledger is left alone, for half a minute at most: a database that hangs
// must not hold up one pass after the other.
const slow = 2 * time.Second

func (r *Records) spare(began time.Time, err error) error {
	if took := time.Since(began); err != nil && took > slow {
		r.spareUntil, r.spareFor = time.Now().Add(min(10*took, 30*time.Second)), err
	}
	return err
}

func (r *Records) spared() error {
	if time.Now().Before(r.spareUntil) {
		return r.spareFor
	}
	return nil
}

// rebuild enters what the root tells: the holds in force, and when its generations were published. A service that has read
// the ledger before knows better which holds there are.
func (r *Records) rebuild(ctx context.Context, l *ledger.Ledger) error {
	root, err := os.OpenRoot(r.root)
	if err != nil {
		return err
	}
	defer root.Close() // only read
	have, err := observe.Root(root)
	if err != nil {
		return err
	}
	holds := stated(have)
	if r.known {
		holds = r.holds
	}
	for _, h := range holds {
		if _, err := l.Place(ctx, ledger.Hold(h)); err != nil {
			return err
		}
	}
	for _, o := range r.overrides {
		if err := l.Override(ctx, ledger.Override(o)); err != nil {
			return err
		}
	}
	if have.Current > 0 { // which FECs failed is not known any more
		if err := l.PauseRollouts(ctx, ledger.RolloutPause{Reason: "the ledger was made anew, so that it is not known what failed before", At: time.Now()}); err != nil {
			return err
		}
	}
	for _, g := range have.Generations {
		if g.Commit == "" || g.Number > have.Current {
			continue
		}
		if _, err := l.AddPass(ctx, ledger.Pass{Started: g.Published, Ended: g.Published, Wanted: g.Commit, Published: g.Commit,
			Generation: g.Number, Tree: g.Tree.String(), Outcome: observed.Published, Blocked: []byte("[]"), News: true}); err != nil {
			return err
		}
	}
	return nil
}

// stated are the holds that the newest generation whose own file is whole says were in force.
func stated(have observed.Root) []observed.Hold { return lastKnown(have).Givens.Holds }

// lastKnown is the current generation or, if it cannot be read, the newest before it that can.
func lastKnown(have observed.Root) (g observed.Generation) {
	for _, each := range have.Generations {
		if each.Commit != "" && (have.Current == 0 || each.Number <= have.Current) {
			g = each
		}
	}
	return g
}

// read is every hold and override, as they were read last if the ledger cannot be read now; false if it never was.
func (r *Records) read(ctx context.Context) ([]observed.Hold, []observed.Override, bool) {
	if r == nil {
		return nil, nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	holdsOf := func(l *ledger.Ledger) error {
		holds, overrides, err := observe.Holds(ctx, l)
		if err == nil {
			r.known, r.holds, r.overrides = true, holds, overrides
		}
		return err
	}
	err := r.use(ctx, holdsOf)
	r.tell(ctx, err)
	if errors.Is(err, ledger.ErrTaken) { // by the service of this root, beside which somebody makes a pass
		_ = r.look(ctx, holdsOf) // else the holds are as they were
	}
	return r.holds, r.overrides, r.known
}

// tell logs once, and again when it is another one, that the ledger cannot be used.
func (r *Records) tell(ctx context.Context, err error) {
	if ctx.Err() != nil || r.readOnly {
		return
	}
	switch news := r.trouble.news(err); {
	case news && err == nil:
		r.log.Info("ledger can be used again")
	case news:
		r.log.Error("ledger cannot be used: nothing is recorded, and holds stay as they are", "err", err)
	}
}

// Try records something; what cannot be recorded stops nothing.
func (r *Records) Try(ctx context.Context, do func(*ledger.Ledger) error) {
	if r == nil || r.readOnly {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell(ctx, r.use(ctx, do))
}

// see says since when holds that nobody placed have been in force.
func (r *Records) see(ctx context.Context, ids []string, now time.Time) (since map[string]time.Time) {
	if r == nil {
		return nil
	}
	if r.readOnly {
		_ = r.Use(ctx, func(l *ledger.Ledger) (err error) { // then nobody knows
			since, err = l.Seen(ctx)
			return err
		})
		return since
	}
	r.Try(ctx, func(l *ledger.Ledger) (err error) {
		since, err = l.See(ctx, ids, now)
		return err
	})
	return since
}
