package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// find is a gate by STATE/NAME.
func find(t *testing.T, gates []plan.Gate, name string) plan.Gate {
	t.Helper()
	for _, g := range gates {
		if g.State+"/"+g.Name == name {
			return g
		}
	}
	t.Fatalf("there is no gate %s", name)
	return plan.Gate{}
}

// change changes a record, and who has proven to have written it if that was he who it names.
func (l *life) change(name string, change func(*desired.PilotRecord)) {
	r := l.p.Records[name]
	change(&r)
	l.p.Records[name] = r
	if p, ok := l.f.Proofs[name]; ok {
		p.By = r.By
		l.f.Proofs[name] = p
	}
}

// mutants are what may be wrong with a record, and what its gate says then.
var mutants = map[string]struct {
	change  func(l *life, name string)
	verdict plan.GateVerdict
}{
	"removed":  {func(l *life, name string) { delete(l.p.Records, name) }, plan.GatePending},
	"unproven": {func(l *life, name string) { delete(l.f.Proofs, name) }, plan.GateNeedsApproval},
	"forged": {func(l *life, name string) {
		l.f.Proofs[name] = observed.Proof{By: "mallory@example.org", Source: "signature of commit 1234"}
	}, plan.GateNeedsApproval},
	"by the wrong person": {func(l *life, name string) {
		l.change(name, func(r *desired.PilotRecord) { r.By = "mallory@example.org" })
	}, plan.GateNeedsApproval},
	"about another digest": {func(l *life, name string) {
		l.change(name, func(r *desired.PilotRecord) { r.Subject = "sha256:" + strings.Repeat("f", 64) })
	}, plan.GatePending},
	"about no digest": {func(l *life, name string) { l.change(name, func(r *desired.PilotRecord) { r.Subject = "" }) }, plan.GatePending},
	"too early": {func(l *life, name string) {
		l.change(name, func(r *desired.PilotRecord) { r.At = "2026-09-01T00:00:00Z" })
	}, plan.GatePending},
	"of the future": {func(l *life, name string) {
		l.change(name, func(r *desired.PilotRecord) { r.At = "2026-12-01T00:00:00Z" })
	}, plan.GatePending},
	"without a time": {func(l *life, name string) { l.change(name, func(r *desired.PilotRecord) { r.At = "yesterday" }) }, plan.GateNeedsApproval},
	"about an update that is not there": {func(l *life, name string) {
		l.change(name, func(r *desired.PilotRecord) { r.Update = "nowhere" })
	}, plan.GatePending},
}

func TestEachRecordIsNeeded(t *testing.T) {
	whole := newSitePilot().closed()
	for record, c := range map[string]struct{ gate, state string }{
		"freeze-1":        {"frozen/freeze", plan.PilotStaffed},
		"report-1":        {"checked/docs", plan.PilotFrozen},
		"authorisation-1": {"mirrored/authorisation", plan.PilotChecked},
		"notes-1":         {"mirrored/notes", plan.PilotChecked},
		"mirror-1":        {"mirrored/mirror", plan.PilotChecked},
		"call-1":          {"called/call", plan.PilotMirrored},
		"criterion-speed": {"closed/criterion speed", plan.PilotPublished},
		"closure":         {"closed/closure", plan.PilotPublished},
	} {
		for name, m := range mutants {
			t.Run(record+" "+name, func(t *testing.T) {
				free := record == "call-1" || record == "closure"
				if name == "about no digest" && free || name == "too early" && (record == "freeze-1" || record == "closure") {
					t.Skip("it needs none")
				}
				l := whole.clone()
				m.change(l, record)
				n := l.judge()
				want := m.verdict
				if g := find(t, n.Gates, c.gate); g.Verdict != want && !(g.Verdict == plan.GateWaiting && want == plan.GatePending) || g.Why == "" {
					t.Errorf("%s: %s %q, want %s", c.gate, g.Verdict, g.Why, want)
				}
				if n.State != c.state {
					t.Errorf("it is %s, want %s", n.State, c.state)
				}
				void := name == "about another digest" || name == "about no digest" && record == "criterion-speed"
				if void != slices.Contains(n.Void, record) && name != "about an update that is not there" {
					t.Errorf("void: %v", n.Void)
				}
			})
		}
	}
}

func TestEachRecordOfASiteIsNeeded(t *testing.T) {
	whole := newSitePilot().published()
	var deployment string
	for name, r := range whole.p.Records {
		if r.Kind == desired.RecordDeployment && r.Site == "delta" {
			deployment = name
		}
	}
	for _, record := range []string{deployment, "join-delta"} {
		for _, name := range []string{"unproven", "forged", "by the wrong person", "about another digest", "too early", "of the future", "removed"} {
			l := whole.clone()
			l.p.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{Soak: "2d"}, {}}}
			delete(l.p.Sites, "gamma")
			mutants[name].change(l, record)
			n := l.judge()
			want := mutants[name].verdict
			state := plan.PilotCalled
			if record == "join-delta" { // it does not take part then
				want, state = plan.GateNotApplicable, plan.PilotPublished
			}
			if g := find(t, n.Gates, "deployed/wave-2"); n.State != state || g.Verdict != want || g.Why == "" {
				t.Errorf("%s %s: %s, %s (%s), want %s", record, name, n.State, g.Verdict, g.Why, want)
			}
		}
	}
}

// TestEachRecordOfAnUpdateIsNeeded has an update that nothing but that keeps back.
func TestEachRecordOfAnUpdateIsNeeded(t *testing.T) {
	whole := newSitePilot().deployed()
	whole.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", whole.f.Subject)
	after := whole.subject("fix")
	whole.mirrorsUpdate("fix", after)
	if n := whole.judge(); n.Updates[0].State != plan.UpdateMirrored || n.Place.Waves[0] != after {
		t.Fatalf("%+v", n.Updates)
	}
	for record, c := range map[string]struct{ gate, state string }{
		"fix-approval": {"approved/approval", plan.UpdateCandidate},
		"fix-freeze":   {"frozen/freeze", plan.UpdateApproved},
		"fix-report":   {"checked/docs", plan.UpdateFrozen},
		"fix-notes":    {"noted/notes", plan.UpdateChecked},
		"fix-mirror":   {"mirrored/mirror", plan.UpdateNoted},
	} {
		for name, m := range mutants {
			if record == "fix-approval" && name == "too early" {
				continue // it says of which packages it is
			}
			l := whole.clone()
			m.change(l, record)
			n := l.judge()
			u := n.Updates[0]
			if g := find(t, u.Gates, c.gate); g.Verdict != m.verdict && !(g.Verdict == plan.GateWaiting && m.verdict == plan.GatePending) || u.State != c.state || g.Why == "" {
				t.Errorf("%s %s: %s, %s (%s), want %s", record, name, u.State, g.Verdict, g.Why, m.verdict)
			}
			if n.Place.Waves[0] != whole.f.Subject || n.State != plan.PilotDeployed {
				t.Errorf("%s %s: it is %s, wave 1 gets %s", record, name, n.State, n.Place.Waves[0])
			}
		}
	}
}

// TestWhatIsUnknownNeverPasses takes away what is known beside the records.
func TestWhatIsUnknownNeverPasses(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*life)
		gate    string
		verdict plan.GateVerdict
		state   string
	}{
		"unmet":      {func(l *life) { delete(l.f.Unmet, l.f.Subject) }, "frozen/closure", plan.GateInconclusive, plan.PilotStaffed},
		"unmet some": {func(l *life) { l.f.Unmet[l.f.Subject] = []string{"libx.so.1"} }, "frozen/closure", plan.GateFail, plan.PilotStaffed},
		"closure": {func(l *life) {
			l.change("freeze-1", func(r *desired.PilotRecord) { r.Closure = &desired.RPMClosure{Exit: 1, Unmet: []string{"ext-lib"}} })
		}, "frozen/closure", plan.GateFail, plan.PilotStaffed},
		"signed":       {func(l *life) { delete(l.f.Signed, l.f.Subject) }, "checked/signatures", plan.GateInconclusive, plan.PilotFrozen},
		"badly signed": {func(l *life) { l.f.Signed[l.f.Subject] = "ce-1.0.rpm is not signed" }, "checked/signatures", plan.GateFail, plan.PilotFrozen},
		"probe":        {func(l *life) { l.f.Probes = l.f.Probes[1:] }, "published/published", plan.GatePending, plan.PilotDeployed},
		"unseen":       {func(l *life) { l.f.Probes[0].Seen = false }, "published/published", plan.GatePending, plan.PilotDeployed},
		"wrong":        {func(l *life) { l.f.Probes[0].Right = false }, "published/published", plan.GateFail, plan.PilotDeployed},
		"old probe":    {func(l *life) { l.f.Probes[0].At = pilotDawn }, "published/published", plan.GatePending, plan.PilotDeployed},
		"subject":      {func(l *life) { l.f.Subject = "" }, "frozen/freeze", plan.GatePending, plan.PilotStaffed},
		"directory": {func(l *life) {
			l.p.Branches = map[string]desired.RPMBranch{"SL9/x86_64": {desired.ReleaseRPMs: {rpm("ce-1.0")}}}
		}, "frozen/structure", plan.GateFail, plan.PilotStaffed},
		"no call": {func(l *life) { l.change("call-1", func(r *desired.PilotRecord) { r.Closes = "" }) }, "called/call", plan.GatePending, plan.PilotMirrored},
		"blocker": {func(l *life) {
			l.record("problem-1", "anybody@example.org", desired.RecordProblem, desired.PilotRecord{Problem: "1", Severity: "blocker", Status: "open"})
		}, "deployed/blockers", plan.GateBlocked, plan.PilotCalled},
		"blocker that somebody else says is fixed": {func(l *life) {
			l.record("problem-1", "alpha@example.org", desired.RecordProblem, desired.PilotRecord{Site: "alpha", Problem: "1", Severity: "blocker", Status: "open"})
			l.record("problem-2", developer, desired.RecordProblem, desired.PilotRecord{Site: "alpha", Problem: "1", Severity: "blocker", Status: "fixed"})
		}, "deployed/blockers", plan.GateBlocked, plan.PilotCalled},
		"blocker of a participant, unproven": {func(l *life) {
			l.record("problem-1", "alpha@example.org", desired.RecordProblem, desired.PilotRecord{Site: "alpha", Problem: "1", Severity: "blocker", Status: "open"})
			delete(l.f.Proofs, "problem-1")
		}, "deployed/blockers", plan.GateBlocked, plan.PilotCalled},
		"blocker of anybody, unproven": {func(l *life) {
			l.record("problem-1", "anybody@example.org", desired.RecordProblem, desired.PilotRecord{Problem: "1", Severity: "blocker", Status: "open"})
			delete(l.f.Proofs, "problem-1")
		}, "deployed/blockers", plan.GatePass, plan.PilotPublished},
		"blocker that is fixed": {func(l *life) {
			l.record("problem-1", "alpha@example.org", desired.RecordProblem, desired.PilotRecord{Site: "alpha", Problem: "1", Severity: "blocker", Status: "open"})
			l.record("problem-2", "alpha@example.org", desired.RecordProblem, desired.PilotRecord{Site: "alpha", Problem: "1", Severity: "blocker", Status: "fixed"})
		}, "deployed/blockers", plan.GatePass, plan.PilotPublished},
		"four eyes": {func(l *life) {
			l.p.Roles = &desired.PilotRoles{Coordinator: coordinator, Developer: developer, Authoriser: authoriser, Testers: []string{authoriser, tester}}
			l.change("report-1", func(r *desired.PilotRecord) { r.By = authoriser })
		}, "mirrored/authorisation", plan.GateNeedsApproval, plan.PilotChecked},
		"tested by its developer": {func(l *life) {
			l.p.Roles = &desired.PilotRoles{Coordinator: coordinator, Developer: developer, Authoriser: authoriser, Testers: []string{developer}}
			l.change("report-1", func(r *desired.PilotRecord) { r.By = developer })
		}, "checked/docs", plan.GateNeedsApproval, plan.PilotFrozen},
		"breaking": {func(l *life) {
			l.change("report-1", func(r *desired.PilotRecord) { r.Compat = "breaking" })
		}, "mirrored/notes", plan.GatePending, plan.PilotChecked},
		"criterion open": {func(l *life) {
			l.record("criterion-speed", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "inconclusive"})
		}, "closed/criterion speed", plan.GateInconclusive, plan.PilotPublished},
		"criterion not met": {func(l *life) {
			l.record("criterion-1", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "yes"})
			l.record("criterion-2", owner, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "no"})
		}, "closed/criterion speed", plan.GateFail, plan.PilotPublished},
		"closed too early": {func(l *life) {
			l.record("criterion-1", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "yes"})
			l.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted"})
			l.wait(72 * time.Hour)
		}, "closed/closure", plan.GatePending, plan.PilotPublished},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSitePilot().published()
			c.change(l)
			n := l.judge()
			if g := find(t, n.Gates, c.gate); g.Verdict != c.verdict && !(g.Verdict == plan.GateWaiting && c.verdict == plan.GatePending) || !g.Verdict.Holds() && g.Why == "" {
				t.Errorf("%s: %s (%s), want %s", c.gate, g.Verdict, g.Why, c.verdict)
			}
			if n.State != c.state {
				t.Errorf("it is %s, want %s", n.State, c.state)
			}
		})
	}
}

// TestAChangeAfterTheFreeze puts a pilot back, and says which records are about what is no more.
func TestAChangeAfterTheFreeze(t *testing.T) {
	l := newSitePilot().called()
	l.p.Branches = maps.Clone(l.p.Branches)
	branch := maps.Clone(l.p.Branches["SL9/x86_64"])
	branch[desired.ReleaseRPMs] = []desired.RPM{rpm("ce-1.0.1")}
	l.p.Branches["SL9/x86_64"] = branch
	l.f.Subject = l.p.Snapshot().Subject()
	l.f.Unmet[l.f.Subject], l.f.Signed[l.f.Subject] = []string{}, ""
	n := l.judge()
	if want := []string{"authorisation-1", "freeze-1", "mirror-1", "notes-1", "report-1"}; n.State != plan.PilotStaffed || !slices.Equal(n.Void, want) || n.Frozen != "" {
		t.Errorf("it is %s, void %v", n.State, n.Void)
	}
	if len(n.Place.Snapshots) > 0 || slices.ContainsFunc(n.Place.Waves, func(s string) bool { return s != "" }) {
		t.Errorf("it has %+v", n.Place)
	}
}
