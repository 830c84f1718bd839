package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestWhoseTurnItIs says at each stage who must do what.
func TestWhoseTurnItIs(t *testing.T) {
	deny := func(l *life) *life {
		l.record("deny-1", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: l.f.Subject, Decision: "deny", Reason: sentence})
		return l
	}
	halt := func(l *life) *life {
		l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		return l
	}
	answered := newSitePilot().mirrored()
	answered.record("call-1", coordinator, desired.RecordCall, desired.PilotRecord{Closes: "2026-10-05"})
	for _, site := range []string{"alpha", "beta", "delta"} {
		answered.record("join-"+site, site+"@example.org", desired.RecordJoin, desired.PilotRecord{Site: site, Answer: "interested"})
	}
	blocked := newSitePilot().called()
	blocked.installs("alpha", "installed", blocked.f.Subject)
	blocked.record("problem-1", "beta@example.org", desired.RecordProblem, desired.PilotRecord{Site: "beta", Problem: "1", Category: "functional", Severity: "blocker", Status: "open", Text: "no jobs"})
	promoted := newFECPilot().mirrored()
	promoted.p.Rollout.Waves = []desired.PilotWave{{FECs: []string{"fec1"}}}
	promoted.f.Members = [][]string{{"fec1"}}
	promoted.runs("fec1", "running", "2.0")
	promoted.record("criterion-speed", owner, desired.RecordCriterion, desired.PilotRecord{Subject: promoted.f.Subject, Criterion: "speed", Met: "yes"})
	promoted.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted"})
	unpacked := newSitePilot()
	unpacked.p.Branches = nil
	for name, c := range map[string]struct {
		l    *life
		want string
	}{
		"no packages":             {unpacked, "staffed branches by dev@example.org, carla@example.org: pomona pilot cream add-packages"},
		"a site has not answered": {answered, "deployed call-closed by gamma@example.org: pomona pilot cream join SITE --answer interested"},
		"a blocker":               {blocked, "deployed blockers by dev@example.org: "},
		"a FEC does not run it":   {newFECPilot().mirrored(), "deployed wave-1 by carla@example.org: have them start it, which each does at its next start"},
		"halted":                  {halt(newSitePilot().deployed()), "halted resume by carla@example.org: pomona pilot cream resume"},
		"denied":                  {deny(newSitePilot().deployed()), ""},
		"promoted":                {promoted, "closed promotion by carla@example.org: pin bpm 2.0 for all FECs that are to have it, then remove the pilot"},
	} {
		var got []string
		now := c.l.judge()
		for _, todo := range now.Todo(c.l.p) {
			got = append(got, fmt.Sprintf("%s %s by %s: %s", todo.For, todo.Name, strings.Join(todo.Who, ", "), todo.Do))
		}
		if g := strings.Join(got, " | "); g != c.want {
			t.Errorf("%s: it is %s, and to be done is %q, want %q", name, now.State, g, c.want)
		}
	}
}
