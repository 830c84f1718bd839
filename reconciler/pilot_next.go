package reconciler

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// pilotStates are the states of a pilot, one after the other.
var pilotStates = []string{
	plan.PilotRequested, plan.PilotStaffed, plan.PilotFrozen, plan.PilotChecked, plan.PilotMirrored, plan.PilotCalled, plan.PilotDeployed, plan.PilotPublished, plan.PilotClosed,
}

// forState is the state that a kind of record helps a pilot to.
var forState = map[string]string{
	desired.RecordAgreement: plan.PilotStaffed, desired.RecordFreeze: plan.PilotFrozen, desired.RecordReport: plan.PilotChecked, desired.RecordAuthorisation: plan.PilotMirrored,
	desired.RecordNotes: plan.PilotMirrored, desired.RecordMirror: plan.PilotMirrored, desired.RecordCall: plan.PilotCalled,
	desired.RecordJoin: plan.PilotDeployed, desired.RecordDeployment: plan.PilotDeployed, desired.RecordClosure: plan.PilotClosed,
}

// unmet are gates that do not hold, before the one that a record is for.
func unmet(now plan.PilotNow, r desired.PilotRecord) (doubts []string) {
	to := slices.Index(pilotStates, forState[r.Kind])
	if r.Update != "" || r.Kind == desired.RecordAuthorisation && r.Decision == "deny" || r.Kind == desired.RecordClosure {
		return nil
	}
	var open []string
	for _, g := range now.Gates {
		if at := slices.Index(pilotStates, g.State); !g.Verdict.Holds() && at >= 0 && at < to {
			open = append(open, fmt.Sprintf("%s (%s)", g.Name, cmp.Or(g.Why, string(g.Verdict))))
		}
	}
	if len(open) > 0 {
		doubts = append(doubts, "it does not count before these hold: "+desired.FewOf(open, 5))
	}
	return doubts
}

// unmeasured says why what somebody says of a criterion does not count.
func unmeasured(now plan.PilotNow, record string, r desired.PilotRecord) []string {
	i := slices.IndexFunc(now.Gates, func(g plan.Gate) bool { return r.Kind == desired.RecordCriterion && g.Name == "criterion "+r.Criterion })
	if i < 0 || slices.Contains(now.Gates[i].Records, record) || now.Gates[i].Why == "" {
		return nil
	}
	return []string{"it does not count: " + now.Gates[i].Why}
}

// next is what somebody must do before a pilot gets further. Which FECs run it, the ledger alone knows.
func next(s PilotSeen) (gates []plan.Gate) {
	for _, t := range s.Now.Todo(s.Pilot) {
		if s.known || s.Pilot.Scope != desired.PilotOfFECs || t.State != plan.PilotDeployed {
			gates = append(gates, t.Gate)
		}
	}
	return gates
}
