package observe

import (
	"context"
	"encoding/json"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Holds are those of a ledger that have not been ended, in the order in which they were placed, and the overrides.
func Holds(ctx context.Context, l *ledger.Ledger) (holds []observed.Hold, overrides []observed.Override, err error) {
	placed, err := l.Holds(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, h := range placed {
		holds = append(holds, observed.Hold(h))
	}
	set, err := l.Overrides(ctx)
	for _, o := range set {
		overrides = append(overrides, observed.Override(o))
	}
	return holds, overrides, err
}

// Passes are the last n of a ledger, newest first.
func Passes(ctx context.Context, l *ledger.Ledger, n int) ([]observed.Pass, error) {
	passes, err := l.Passes(ctx, n)
	out := make([]observed.Pass, len(passes))
	for i, p := range passes {
		out[i] = observed.Pass{Started: p.Started, Ended: p.Ended, Wanted: p.Wanted, Published: p.Published, Generation: p.Generation,
			Outcome: p.Outcome, Reason: p.Reason, Blocked: json.RawMessage(p.Blocked)}
	}
	return out, err
}
