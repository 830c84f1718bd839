package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PilotTodo is what somebody must do before a pilot gets further: a gate, and the state or the update that it is of.
type PilotTodo struct {
	For string
	Gate
}

// Todo is what must be done: gates that do not wait for others, each once. Of a pilot that is halted only what lets it go on, of one that is over nothing,
// but that what is promoted has to become everybody's.
func (n PilotNow) Todo(p desired.Pilot) (todo []PilotTodo) {
	add := func(about string, g Gate) {
		same := func(o PilotTodo) bool {
			return o.Name == g.Name && o.Do == g.Do && o.Why == g.Why && slices.Equal(o.Who, g.Who)
		}
		if g.Verdict.Holds() || g.Verdict == GateWaiting || len(g.Who) == 0 && g.Do == "" || about == "" && slices.ContainsFunc(todo, same) {
			return
		}
		todo = append(todo, PilotTodo{cmp.Or(about, g.State), g})
	}
	switch n.State {
	case PilotDenied, PilotExpired:
		return nil
	case PilotClosed:
		if p.Records[n.Record].Outcome == "promoted" {
			todo = append(todo, PilotTodo{PilotClosed, promotion(p)})
		}
		return todo
	}
	for _, g := range n.Gates {
		if n.State != PilotHalted || g.State == PilotHalted {
			add("", g)
		}
	}
	for _, u := range n.Updates {
		if u.State == UpdateAnnounced || u.State == UpdateRejected || u.State == UpdateSuperseded {
			continue
		}
		for _, g := range u.Gates {
			add("update "+u.Name, g)
		}
	}
	return todo
}

// promotion is what is left to do of a pilot that is promoted.
func promotion(p desired.Pilot) Gate {
	g := Gate{State: PilotClosed, Name: "promotion", Verdict: GatePending, Why: "its file may go then, and its repositories go with it", Do: "put its packages where all sites get theirs, then remove the pilot"}
	if p.Roles != nil {
		g.Who = []string{p.Roles.Coordinator}
	}
	if p.Scope == desired.PilotOfFECs {
		g.Do = fmt.Sprintf("pin %s %s for all FECs that are to have it, then remove the pilot", p.Software, p.Version)
		g.Why = "those that took part have it by the pilot alone, and go back with its file"
	}
	return g
}
