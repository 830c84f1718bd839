package reconciler

import (
	"context"
	"errors"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

const (
	redeliverEvery = 5 * time.Minute
	redeliverLate  = 10 * time.Minute   // a delivery may have been on its way for so long
	redeliverMost  = 3 * 24 * time.Hour // as long as GitHub keeps deliveries
)

// Redeliver has a forge repeat deliveries of its webhook that failed: at once since the last that was heard, and then every few
// minutes, until the context ends or the forge turns out not to offer that.
func (r *Reconciler) Redeliver(ctx context.Context, f forge.Forge) {
	since, told := r.lastHeard(ctx), ""
	for {
		asked := r.Now()
		n, err := f.Redeliver(ctx, latest(since.Add(-redeliverLate), asked.Add(-redeliverMost)))
		wait := redeliverEvery
		var limited *forge.Limited
		switch {
		case ctx.Err() != nil || errors.Is(err, forge.ErrNotOffered):
			return
		case errors.As(err, &limited):
			wait = max(wait, limited.Until.Sub(asked))
		case err == nil && n < forge.MaxRedelivered: // else there may be more of them
			since, told = asked, ""
		case err != nil && err.Error() != told:
			told = err.Error()
			r.Log.Warn("missed deliveries of the webhook not found", "err", err)
		}
		if n > 0 {
			r.Log.Info("had missed deliveries of the webhook repeated", "deliveries", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// lastHeard is when a delivery was heard last; if none is remembered, now.
func (r *Reconciler) lastHeard(ctx context.Context) time.Time {
	last := r.Now()
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		known, err := l.Deliveries(ctx)
		if len(known) > 0 {
			last = known[len(known)-1].At
		}
		return err
	})
	return last
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
