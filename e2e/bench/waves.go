package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

const (
	waveFECs   = 2000
	waveGroups = 20
)

// waves restarts a hall of FECs in waves of a tenth of a group, one of a hundred of which fails, and measures the slowest decision.
func (b *bench) waves(context.Context) error {
	h := newHall()
	var slowest time.Duration
	decisions := 0
	for ; h.running < waveFECs; decisions++ {
		if decisions > 10*waveFECs {
			return fmt.Errorf("restart %d FECs: only %d run", waveFECs, h.running)
		}
		began := time.Now()
		w := plan.Restarts(h.Fleet)
		slowest = max(slowest, time.Since(began))
		h.obey(w)
	}
	b.table.count(fmt.Sprintf("waves: slowest of %d decisions about %d FECs", decisions, waveFECs), float64(slowest.Microseconds())/1000, "ms", 50)
	return nil
}

// hall is FECs that do what is decided.
type hall struct {
	plan.Fleet
	running int
}

func newHall() *hall {
	h := &hall{Fleet: plan.Fleet{Now: time.Now(), Rollouts: map[string]observed.Rollout{}}}
	h.Pace.Pace = desired.Pace{Errors: "50%", Success: "90%"}
	for i := range waveGroups {
		h.Pace.Order = append(h.Pace.Order, fmt.Sprintf("group%02d", i))
	}
	for i := range waveFECs {
		h.Members = append(h.Members, plan.Member{
			FEC: fmt.Sprintf("fec%04d", i), Groups: []string{fmt.Sprintf("group%02d", i%waveGroups)}, Wanted: 2,
			Evidence: &observed.Evidence{Serial: 1, State: "running", At: h.Now},
			Need:     plan.Effort{What: desired.Restart, Software: []string{"bpm"}, Why: []string{"bpm 1.0 → 1.1"}},
		})
	}
	return h
}

// obey records a decision; whoever is restarted says a second later how that went.
func (h *hall) obey(w plan.Waves) {
	h.Now = h.Now.Add(time.Second)
	for _, r := range append(w.Set, w.Begin...) {
		h.Rollouts[r.FEC] = r
	}
	for _, fec := range w.Forget {
		delete(h.Rollouts, fec)
	}
	for _, r := range w.Begin {
		r.State = observed.RolloutAsked
		h.Rollouts[r.FEC] = r
		var number int
		_, _ = fmt.Sscanf(r.FEC, "fec%d", &number) // made above
		e := observed.Evidence{Serial: 2, State: "running", At: h.Now.Add(time.Millisecond)}
		if number%101 == 100 {
			e.State = "init-failed"
		}
		h.Members[number].Evidence = &e
		h.running++
	}
}
