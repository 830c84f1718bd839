package main

import (
	"context"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/webhook"
)

const (
	rememberEvery   = time.Second
	forgetEvery     = time.Minute
	deliveriesFor   = 7 * 24 * time.Hour // longer than any forge repeats them
	maxUnremembered = 1 << 16
)

// replay remembers deliveries in memory, and enters them in the ledger a second later, many at once: no delivery waits for the
// disk, and a kill forgets one second.
type replay struct {
	*webhook.Memory
	records *reconciler.Records
	mu      sync.Mutex
	fresh   []ledger.Delivery // not in the ledger yet
}

// newReplay knows what the ledger knows. Without one it begins anew: a delivery that comes twice does no harm.
func newReplay(ctx context.Context, records *reconciler.Records) *replay {
	r := &replay{Memory: webhook.NewMemory(maxUnremembered), records: records}
	r.records.Try(ctx, func(l *ledger.Ledger) error {
		known, err := l.Deliveries(ctx)
		for _, d := range known {
			if _, err := r.Memory.Deliver(ctx, d.Source, d.ID, d.At); err != nil {
				return err
			}
		}
		return err
	})
	return r
}

// Deliver implements webhook.Replay.
func (r *replay) Deliver(ctx context.Context, source, id string, at time.Time) (bool, error) {
	fresh, err := r.Memory.Deliver(ctx, source, id, at)
	r.mu.Lock()
	defer r.mu.Unlock()
	if fresh && len(r.fresh) < maxUnremembered { // else the ledger takes none, for long
		r.fresh = append(r.fresh, ledger.Delivery{Source: source, ID: id, At: at})
	}
	return fresh, err
}

// run enters deliveries in the ledger until the context ends, and the last ones then.
func (r *replay) run(ctx context.Context) error {
	remember, forget := time.NewTicker(rememberEvery), time.NewTicker(forgetEvery)
	defer remember.Stop()
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			r.remember(context.WithoutCancel(ctx))
			return nil
		case <-remember.C:
			r.remember(ctx)
		case now := <-forget.C:
			r.records.Try(ctx, func(l *ledger.Ledger) error { return l.ForgetDeliveries(ctx, now.Add(-deliveriesFor)) })
		}
	}
}

func (r *replay) remember(ctx context.Context) {
	r.mu.Lock()
	fresh := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	entered := false
	r.records.Try(ctx, func(l *ledger.Ledger) error {
		err := l.Deliver(ctx, fresh)
		entered = err == nil
		return err
	})
	if entered {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fresh = append(fresh, r.fresh...)
	r.fresh = r.fresh[max(0, len(r.fresh)-maxUnremembered):]
}
