package reconciler

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// PassKeeper keeps what passes had in mind and found, for whoever looks at them later. It writes beside passes: none waits or fails for it, and what
// cannot be kept is only not shown.
type PassKeeper struct {
	idleObserver

	records *Records
	told    func() // that something is kept
	ended   chan Done
}

// NewPassKeeper keeps passes of a root in its records; told may be nil.
func NewPassKeeper(records *Records, told func()) *PassKeeper {
	return &PassKeeper{records: records, told: told, ended: make(chan Done, 4)}
}

// Passed implements Observer.
func (k *PassKeeper) Passed(done Done) {
	if done.Report.Pass == 0 {
		return
	}
	select {
	case k.ended <- done:
	default: // the ledger is slower than passes are
	}
}

// Run keeps what has passed until the context ends.
func (k *PassKeeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case done := <-k.ended:
			k.Keep(ctx, done)
		}
	}
}

// Keep keeps one pass.
func (k *PassKeeper) Keep(ctx context.Context, done Done) {
	if done.Report.Pass == 0 {
		return
	}
	told, err := json.Marshal(toldOf(done))
	if err == nil && len(told) > maxTold {
		told, err = json.Marshal(report.PassTold{Commit: done.Report.Commit, Plan: short(done.Report.Plan.View())})
	}
	if err != nil {
		return // nothing of it cannot be written as JSON
	}
	k.records.Try(ctx, func(l *ledger.Ledger) error { return l.PutPlan(ctx, done.Report.Pass, told) })
	if k.told != nil {
		k.told()
	}
}

// How much is kept of a pass.
const (
	maxTold     = 1 << 20 // bytes
	maxToldList = 200     // problems, holds and repairs, of each
)

// short is a plan of which there would be too much.
func short(v plan.View) *plan.View {
	return &plan.View{Commit: v.Commit, Site: v.Site, Summary: v.Summary, Left: map[string]int{"lists": 1}}
}

func toldOf(done Done) report.PassTold {
	rep := done.Report
	t := report.PassTold{Commit: rep.Commit, Built: rep.Built, Swept: rep.Swept, Freed: rep.Freed}
	var problems desired.Problems
	if !errors.As(done.Err, &problems) {
		problems = rep.Warnings
	}
	t.Holds, t.Repaired, problems = few(&t, rep.Holds), few(&t, rep.Repaired), few(&t, problems)
	for _, p := range problems {
		t.Problems = append(t.Problems, report.Located{Problem: p})
	}
	if rep.Plan.Commit != "" {
		v := rep.Plan.View()
		t.Plan = &v
	}
	return t
}

func few[T any](t *report.PassTold, all []T) []T {
	n := min(len(all), maxToldList)
	t.Left += len(all) - n
	return all[:n]
}
