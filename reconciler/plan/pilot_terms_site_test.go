package plan_test

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestASiteThatFailsHaltsWhatIsNotAgreed however many may fail by terms to which nobody has agreed, and whoever speaks for it by them.
func TestASiteThatFailsHaltsWhatIsNotAgreed(t *testing.T) {
	more := func(l *life) {
		l.p.Rollout = &desired.Rollout{Minimum: 2, Waves: []desired.PilotWave{{Success: "50%", Soak: "2d", MaxFailures: 9}, {Soak: "1d", MaxFailures: 9}}}
	}
	for name, c := range map[string]struct {
		slip   func(*life)
		does   func(*life)
		halted bool
	}{
		"more may fail":   {more, func(l *life) { l.installs("gamma", "failed", l.f.Subject) }, true},
		"none has failed": {more, func(*life) {}, false},
		"somebody else speaks for it": {func(l *life) {
			more(l)
			l.p.Sites = map[string]desired.PilotSite{"gamma": {Contact: "max@example.org"}}
		}, func(l *life) { l.installs("gamma", "failed", l.f.Subject) }, true},
		"it has tried again": {more, func(l *life) {
			l.installs("gamma", "failed", l.f.Subject)
			l.installs("gamma", "installed", l.f.Subject)
		}, false},
		"whoever may knows of it": {more, func(l *life) {
			l.installs("gamma", "failed", l.f.Subject)
			l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
		}, false},
		"nobody has proven it": {more, func(l *life) {
			l.installs("gamma", "failed", l.f.Subject)
			clear(l.f.Proofs)
		}, false},
	} {
		l := newSitePilot()
		l.silent = true
		l.agrees("agreement-1", owner)
		l.deployed()
		l.f.Opened = map[string]time.Time{"1 " + l.f.Subject: l.now.Add(-48 * time.Hour)}
		c.slip(l)
		c.does(l)
		n := l.judge()
		if n.Unagreed == "" || (n.State == plan.PilotHalted) != c.halted || n.Trip != "" {
			t.Errorf("%s: it is %s (%s), unagreed %q, and %q is to be remembered", name, n.State, n.Why, n.Unagreed, n.Trip)
		}
	}
}
