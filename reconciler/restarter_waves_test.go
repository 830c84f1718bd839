package reconciler_test

import (
	"errors"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// TestWavesAreTold as they go, and remembered when they are over.
func TestWavesAreTold(t *testing.T) {
	f := newFloor(t, `{order: ["ring"], pace: {wave: "1"}}`, 2, "linac", "ring")
	w, err := f.s.Waves(t.Context())
	if err != nil || w.Known || !w.Service || len(w.Waves) != 0 {
		t.Errorf("before anything is decided: %+v, %v", w, err)
	}
	f.steps("all run", f.all(plan.StandsCurrent))
	f.publish("fecs/fecs.cue", "1.0.0", "1.1.0")
	f.steps("one restarts", func() bool {
		w, err = f.s.Waves(t.Context())
		return err == nil && len(w.Waves) > 0 && w.Groups[0].Wave > 0
	})
	if g := w.Groups[0]; !w.Known || g.Name != "ring" || g.Wave != 1 || g.Size != 1 || g.Enough != 1 || g.TooMany != 1 || g.Since.IsZero() || g.Pace.Within != "15m" || w.Of != 4 {
		t.Errorf("groups %+v", w.Groups)
	}
	f.steps("all run", func() bool {
		w, err = f.s.Waves(t.Context())
		return err == nil && w.Count[plan.StandsCurrent] == 4
	})
	if len(w.Waves) != 4 || w.Waves[0].Group != "" || w.Waves[3].Group != "ring" || w.Waves[3].Wave != 1 || w.Waves[2].Wave != 2 || w.Waves[3].Runs != 1 || w.Waves[3].FECs != 1 {
		t.Errorf("waves %+v", w.Waves)
	}
	one, err := f.r.Wave(t.Context(), w.Waves[3].ID)
	if err != nil || len(one.FECs) != 1 || one.FECs[0].FEC != "ring00" || one.FECs[0].State != "running" || one.FECs[0].Was == 0 || one.FECs[0].Need != "restart" || one.FECs[0].At.Before(one.FECs[0].Began) {
		t.Errorf("wave %+v, %v", one, err)
	}
	for _, id := range []string{"1", "x", "", "-7", "007"} {
		if _, err := f.r.Wave(t.Context(), id); !errors.Is(err, reconciler.ErrNoWave) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if only := w.Only(report.RestartFilter{Group: report.NoGroup, State: plan.StandsCurrent}); len(only.FECs) != 2 || only.Of != 4 || len(w.FECs) != 4 {
		t.Errorf("only %+v", only.FECs)
	}
}
