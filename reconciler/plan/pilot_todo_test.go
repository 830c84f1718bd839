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
	requested := newSitePilot()
	requested.p.Branches, requested.p.Roles, requested.p.Tracker = nil, nil, ""
	untracked := newSitePilot()
	untracked.p.Tracker = ""
	checked := newSitePilot()
	checked.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: checked.f.Subject, Closure: &desired.RPMClosure{}})
	checked.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: checked.f.Subject, Compat: "new-service", Checks: passes(nil)})
	unsigned := func(l *life, subject string) *life {
		l.f.Signed[subject] = "ce-1.0.rpm: nobody has signed it"
		return l
	}
	frozen := newSitePilot()
	frozen.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: frozen.f.Subject, Closure: &desired.RPMClosure{}})
	frozen.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: frozen.f.Subject, Compat: "new-service", Checks: passes(map[string]string{"signatures": ""})})
	fast := newSitePilot()
	fast.p.Urgency, fast.p.Roles = "fast", &desired.PilotRoles{Coordinator: coordinator, Developer: developer, Authoriser: authoriser}
	fast.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: fast.f.Subject, Closure: &desired.RPMClosure{}})
	fast.record("report-1", coordinator, desired.RecordReport, desired.PilotRecord{Subject: fast.f.Subject, Compat: "new-service",
		Checks: passes(map[string]string{"signatures": "", "installer-config": "", "clean-install": "", "site-impact": ""})})
	unseen := newSitePilot().mirrored()
	delete(unseen.f.Signed, unseen.f.Subject)
	fix := newSitePilot().deployed()
	fix.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", fix.f.Subject)
	fix.mirrorsUpdate("fix", fix.subject("fix"))
	sign := "checked signatures by dev@example.org, carla@example.org: developer: sign them (rpmsign --addsign), pomona pilot cream add-packages; " +
		"then coordinator: pomona pilot cream freeze; or, unsigned, coordinator: pomona pilot cream waive signatures"
	for name, c := range map[string]struct {
		l    *life
		want string
	}{
		"unsigned":                {unsigned(newSitePilot().mirrored(), frozen.f.Subject), sign},
		"unsigned, not said":      {unsigned(frozen, frozen.f.Subject), sign},
		"unsigned, fast":          {unsigned(fast, fast.f.Subject), sign},
		"nobody knows who signed": {unseen, ""},
		"an unsigned update": {unsigned(fix, fix.subject("fix")), "published published by alpha@example.org, beta@example.org, delta@example.org, gamma@example.org:  | update fix signatures by dev@example.org, carla@example.org: developer: sign them (rpmsign --addsign), pomona pilot cream update ANOTHER add; " +
			"then coordinator: pomona pilot cream update fix reject; or, unsigned, coordinator: pomona pilot cream waive signatures --update fix"},
		"nobody is appointed": {requested, "staffed roles by olga@example.org: pomona pilot cream staff | staffed testers by olga@example.org: pomona pilot cream staff | " +
			"staffed tracker by olga@example.org: pomona pilot cream staff"},
		"no tracker":              {untracked, "staffed tracker by carla@example.org: pomona pilot cream staff"},
		"checked":                 {checked, "mirrored authorisation by aldo@example.org: pomona pilot cream authorise | mirrored notes by dev@example.org: pomona pilot cream notes"},
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
