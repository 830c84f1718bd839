package observe

import (
	"context"
	"encoding/json"
	"time"

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
		out[i] = passOf(p)
	}
	return out, err
}

// PassAt is the last pass of a ledger that had ended at a time; nil: none is known.
func PassAt(ctx context.Context, l *ledger.Ledger, at time.Time) (*observed.Pass, error) {
	found, known, err := l.PassAt(ctx, at)
	if err != nil || !known {
		return nil, err
	}
	p := passOf(found)
	return &p, nil
}

func passOf(p ledger.Pass) observed.Pass {
	return observed.Pass{Started: p.Started, Ended: p.Ended, Wanted: p.Wanted, Published: p.Published, Generation: p.Generation,
		Outcome: p.Outcome, Reason: p.Reason, Blocked: json.RawMessage(p.Blocked)}
}

// TimedPass is a pass of a ledger with what is known of its way.
func TimedPass(p ledger.TimedPass) observed.Pass {
	out := passOf(p.Pass)
	out.Number, out.Did, out.Again, out.Last = p.Number, p.Did, p.Again, p.Last
	_ = json.Unmarshal(p.Stages, &out.Stages) // of what is malformed, nobody knows how long it took
	return out
}

// Said is what each FEC said last, by FEC.
func Said(ctx context.Context, l *ledger.Ledger) (map[string]observed.Said, error) {
	latest, err := l.LatestReports(ctx)
	if err != nil {
		return nil, err
	}
	proven, err := l.Evidence(ctx)
	out := make(map[string]observed.Said, len(latest))
	for _, r := range latest {
		last := observed.FECReport(r)
		said := observed.Said{Last: &last}
		if p, ok := proven[r.FEC]; ok {
			p := observed.FECReport(p)
			said.Proven = &p
		}
		out[r.FEC] = said
	}
	return out, err
}

// SaidBy is what one FEC said last.
func SaidBy(ctx context.Context, l *ledger.Ledger, fec string) (observed.Said, error) {
	last, proven, err := l.LatestOf(ctx, fec)
	return observed.Said{Last: (*observed.FECReport)(last), Proven: (*observed.FECReport)(proven)}, err
}

// ReportsOf are the last n of a FEC, newest first.
func ReportsOf(ctx context.Context, l *ledger.Ledger, fec string, n int) ([]observed.FECReport, error) {
	reports, err := l.ReportsOf(ctx, fec, n)
	out := make([]observed.FECReport, len(reports))
	for i, r := range reports {
		out[i] = observed.FECReport(r)
	}
	return out, err
}
