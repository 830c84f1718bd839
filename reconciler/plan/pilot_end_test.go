package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestHowAPilotStops has things happen to one that all sites have installed, and one of whose updates the first wave has.
func TestHowAPilotStops(t *testing.T) {
	halt := func(by string, r desired.PilotRecord) func(*life) {
		r.Reason = sentence
		return func(l *life) { l.record("halt-1", by, desired.RecordHalt, r) }
	}
	deny := func(by string, r desired.PilotRecord) func(*life) {
		r.Decision, r.Reason = "deny", sentence
		return func(l *life) { l.record("deny-1", by, desired.RecordAuthorisation, r) }
	}
	withdraw := func(by string) func(*life) {
		return func(l *life) {
			l.record("closure-1", by, desired.RecordClosure, desired.PilotRecord{Outcome: "withdrawn", Reason: sentence})
		}
	}
	resume := func(r desired.PilotRecord) func(*life) {
		r.Reason = sentence
		return func(l *life) { l.record("resume-1", coordinator, desired.RecordResume, r) }
	}
	unproven := func(name string) func(*life) { return func(l *life) { delete(l.f.Proofs, name) } }
	fix := func(l *life) {
		l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.22", l.subject("first"))
		l.mirrorsUpdate("fix", l.subject("first", "fix"))
	}
	for name, c := range map[string]struct {
		then   []func(*life)
		state  string
		waves  string
		served string
	}{
		"nothing":                   {nil, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"halted":                    {[]func(*life){halt(tester, desired.PilotRecord{})}, plan.PilotHalted, " ", "S0 S1"},
		"halted by a site":          {[]func(*life){halt("delta@example.org", desired.PilotRecord{Site: "delta"})}, plan.PilotHalted, " ", "S0 S1"},
		"halted by a stranger":      {[]func(*life){halt("mallory@example.org", desired.PilotRecord{})}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"halted without a proof":    {[]func(*life){halt(tester, desired.PilotRecord{}), unproven("halt-1")}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"update halted":             {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"})}, plan.PilotHalted, "S0 S0", "S0 S1"},
		"resumed":                   {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), resume(desired.PilotRecord{})}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"resumed without a proof":   {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), resume(desired.PilotRecord{}), unproven("resume-1")}, plan.PilotHalted, "S0 S0", "S0 S1"},
		"fixed, but nobody says so": {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), fix}, plan.PilotHalted, "S0 S0", "S0 S1 S2"},
		"fixed":                     {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), fix, resume(desired.PilotRecord{Update: "fix"})}, plan.PilotDeployed, "S2 S0", "S0 S1 S2"},
		"fixed, and wave 2 had it": {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), fix, resume(desired.PilotRecord{Update: "fix"}), func(l *life) {
			l.f.Opened = map[string]time.Time{plan.PilotWave{Wave: 2, Subject: l.subject("first")}.Key(): l.now}
		}}, plan.PilotDeployed, "S2 S0", "S0 S1 S2"},
		"resumed before it is fixed":  {[]func(*life){halt(tester, desired.PilotRecord{Update: "first"}), func(l *life) { l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.22", l.subject("first")) }, resume(desired.PilotRecord{Update: "fix"})}, plan.PilotHalted, "S0 S0", "S0 S1"},
		"denied":                      {[]func(*life){deny(authoriser, desired.PilotRecord{})}, plan.PilotDenied, " ", "S0 S1"},
		"denied by its developer":     {[]func(*life){deny(developer, desired.PilotRecord{})}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"denied of something else":    {[]func(*life){deny(authoriser, desired.PilotRecord{Subject: "sha256:" + strings.Repeat("f", 64)})}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"withdrawn":                   {[]func(*life){withdraw(owner)}, plan.PilotClosed, " ", "S0 S1"},
		"withdrawn by its tester":     {[]func(*life){withdraw(tester)}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"denied, then withdrawn":      {[]func(*life){deny(authoriser, desired.PilotRecord{}), withdraw(owner)}, plan.PilotDenied, " ", "S0 S1"},
		"withdrawn, then denied":      {[]func(*life){withdraw(owner), deny(authoriser, desired.PilotRecord{})}, plan.PilotClosed, " ", "S0 S1"},
		"halted, then withdrawn":      {[]func(*life){halt(tester, desired.PilotRecord{}), withdraw(owner)}, plan.PilotClosed, " ", "S0 S1"},
		"on its last day":             {[]func(*life){func(l *life) { l.now = time.Date(2027, 3, 31, 23, 59, 59, 0, time.UTC) }}, plan.PilotDeployed, "S1 S1", "S0 S1"},
		"after its last day":          {[]func(*life){func(l *life) { l.now = time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC) }}, plan.PilotExpired, " ", "S0 S1"},
		"halted, and expired":         {[]func(*life){halt(tester, desired.PilotRecord{}), func(l *life) { l.now = time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC) }}, plan.PilotExpired, " ", "S0 S1"},
		"withdrawn before it expired": {[]func(*life){withdraw(owner), func(l *life) { l.now = time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC) }}, plan.PilotClosed, " ", "S0 S1"},
		"failed":                      {[]func(*life){func(l *life) { l.installs("beta", "failed", l.subject("first")) }}, plan.PilotHalted, "S0 S0", "S0 S1"},
		"failed from the beginning":   {[]func(*life){func(l *life) { l.installs("beta", "failed", l.f.Subject) }}, plan.PilotHalted, " ", "S0 S1"},
		"failed, and resumed":         {[]func(*life){func(l *life) { l.installs("beta", "failed", l.subject("first")) }, resume(desired.PilotRecord{})}, plan.PilotDeployed, "S1 S0", "S0 S1"},
		"failed, without a proof": {[]func(*life){func(l *life) {
			l.record("d", "beta@example.org", desired.RecordDeployment, desired.PilotRecord{Site: "beta", State: "failed", Subject: l.f.Subject})
		}, unproven("d")}, plan.PilotDeployed, "S1 S0", "S0 S1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSitePilot().deployed()
			l.p.InfoSys = nil
			l.addUpdate("first", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
			l.mirrorsUpdate("first", l.subject("first"))
			if strings.Contains(name, "last day") {
				for _, site := range []string{"alpha", "beta"} {
					l.installs(site, "installed", l.subject("first"))
				}
			}
			for _, then := range c.then {
				then(l)
			}
			n := l.judge()
			state := c.state
			if state == plan.PilotDeployed {
				state = plan.PilotPublished // it is in no information system
			}
			if n.State != state || l.short(strings.Join(n.Place.Waves, " ")) != c.waves || l.short(strings.Join(n.Place.Snapshots, " ")) != c.served {
				t.Errorf("it is %s (%s), waves get %q of %q; want %s, %q of %q", n.State, n.Why, l.short(strings.Join(n.Place.Waves, " ")), l.short(strings.Join(n.Place.Snapshots, " ")), state, c.waves, c.served)
			}
			if stopped := n.State != plan.PilotPublished; stopped != (n.Why != "") || n.Place.State != n.State {
				t.Errorf("%q, place %s", n.Why, n.Place.State)
			}
			for _, w := range n.Waves {
				if w.Open != (n.Place.Waves[w.Wave-1] != "") || w.Subject != n.Place.Waves[w.Wave-1] {
					t.Errorf("wave %d: open %v with %s", w.Wave, w.Open, w.Subject)
				}
			}
		})
	}
}

// TestWhatIsClosedStaysSo, whatever is recorded or happens after.
func TestWhatIsClosedStaysSo(t *testing.T) {
	l := newSitePilot().closed()
	silent := l.clone()
	silent.change("closure", func(r *desired.PilotRecord) { r.Reason = "" })
	if n := silent.judge(); n.Why != "promoted" {
		t.Errorf("it is closed: %q", n.Why)
	}
	l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
	l.record("criterion-9", owner, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "no"})
	l.now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	l.is(t, plan.PilotClosed, "S0", "S0")
	l.f.Probes = nil
	l.is(t, plan.PilotExpired, "", "")
	l.f.Since = map[string]time.Time{plan.PilotClosed: l.now.AddDate(-1, 0, 0)}
	l.is(t, plan.PilotClosed, "S0", "S0")
}

// TestALaterProbeLeavesAClosureAsItWas: it is asked again and again, and says the same.
func TestALaterProbeLeavesAClosureAsItWas(t *testing.T) {
	l := newSitePilot().closed()
	l.wait(time.Hour)
	for i, p := range l.f.Probes {
		l.f.Probes[i].Since, l.f.Probes[i].At = p.At, l.now
	}
	l.is(t, plan.PilotClosed, "S0", "S0")
	for i := range l.f.Probes {
		l.f.Probes[i].Since = l.now
	}
	l.is(t, plan.PilotPublished)
}

// TestWaivers expire by the day before it is mirrored, and no more from then on.
func TestWaivers(t *testing.T) {
	for name, c := range map[string]struct {
		urgency string
		waiver  desired.PilotRecord
		by      string
		check   string
		verdict plan.GateVerdict
	}{
		"in force":            {"", desired.PilotRecord{Check: "docs", Expires: "2026-10-01"}, coordinator, "docs", plan.GateWaived},
		"expired":             {"", desired.PilotRecord{Check: "docs", Expires: "2026-09-30"}, coordinator, "docs", plan.GateFail},
		"of another check":    {"", desired.PilotRecord{Check: "signatures", Expires: "2026-10-01"}, coordinator, "docs", plan.GateFail},
		"of no digest":        {"", desired.PilotRecord{Check: "docs", Expires: "2026-10-01"}, coordinator, "docs", plan.GateFail},
		"of another digest":   {"", desired.PilotRecord{Subject: "sha256:" + strings.Repeat("f", 64), Check: "docs", Expires: "2026-10-01"}, coordinator, "docs", plan.GateFail},
		"by its developer":    {"", desired.PilotRecord{Check: "docs", Expires: "2026-10-01"}, developer, "docs", plan.GateFail},
		"for ever":            {"", desired.PilotRecord{Check: "docs"}, coordinator, "docs", plan.GateFail},
		"fast":                {"fast", desired.PilotRecord{Check: "docs", Expires: "2026-10-01"}, coordinator, "docs", plan.GateFail},
		"fast, but not vital": {"fast", desired.PilotRecord{Check: "site-impact", Expires: "2026-10-01"}, coordinator, "site-impact", plan.GateWaived},
	} {
		l := newSitePilot()
		l.p.Urgency = c.urgency
		l.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: l.f.Subject, Closure: &desired.RPMClosure{}})
		l.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: l.f.Subject, Compat: "new-service", Checks: passes(map[string]string{c.check: "fail"})})
		if c.waiver.Subject == "" && name != "of no digest" {
			c.waiver.Subject = l.f.Subject
		}
		l.record("waiver-1", c.by, desired.RecordWaiver, c.waiver)
		if g := find(t, l.judge().Gates, "checked/"+c.check); g.Verdict != c.verdict {
			t.Errorf("%s: %s (%s), want %s", name, g.Verdict, g.Why, c.verdict)
		}
	}
	l := newSitePilot()
	l.p.Urgency = "fast"
	l.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: l.f.Subject})
	optional := map[string]string{"installer-config": "", "site-impact": "", "clean-install": "", "signatures": ""}
	l.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: l.f.Subject, Compat: "new-service", Checks: passes(optional)})
	l.is(t, plan.PilotChecked)
	for _, check := range []string{"docs", "patch-list", "dependencies", "repo-closure", "repo-structure"} {
		m := l.clone()
		m.change("report-1", func(r *desired.PilotRecord) {
			r.Checks = passes(optional)
			delete(r.Checks, check)
		})
		m.is(t, plan.PilotFrozen)
	}
}

// TestSoakIsOnlyWaived shows that nothing but a waiver with a last day makes a wave shorter.
func TestSoakIsOnlyWaived(t *testing.T) {
	l := newSitePilot().called()
	l.installs("alpha", "installed", l.f.Subject)
	l.installs("beta", "installed", l.f.Subject)
	l.record("authorisation-2", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: l.f.Subject, Decision: "ok"})
	l.is(t, plan.PilotCalled, "S0", "")
	l.record("waiver-1", coordinator, desired.RecordWaiver, desired.PilotRecord{Subject: l.f.Subject, Check: "soak", Expires: "2026-10-06", Reason: sentence})
	l.is(t, plan.PilotCalled, "S0", "S0")
	m := l.clone()
	m.now = time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC)
	m.is(t, plan.PilotCalled, "S0", "")
	m.f.Opened = map[string]time.Time{plan.PilotWave{Wave: 2, Subject: l.f.Subject}.Key(): l.now}
	m.is(t, plan.PilotCalled, "S0", "S0") // what is open stays so
}

func TestOverdue(t *testing.T) {
	l := newSitePilot()
	if n := l.judge(); n.Overdue != 0 {
		t.Errorf("nobody knows since when, and it is overdue by %s", n.Overdue)
	}
	l.f.Since = map[string]time.Time{plan.PilotStaffed: l.now}
	l.wait(15 * 24 * time.Hour)
	if n := l.judge(); n.Overdue != 24*time.Hour {
		t.Errorf("overdue by %s", n.Overdue)
	}
	l.p.Deadlines = map[string]string{plan.PilotStaffed: "1w"}
	if n := l.judge(); n.Overdue != 8*24*time.Hour || !n.Since.Equal(pilotDawn) {
		t.Errorf("overdue by %s since %s", n.Overdue, n.Since)
	}
}

// TestUpdates has two that rival, and one of production that the pilot masks.
func TestUpdates(t *testing.T) {
	l := newSitePilot().deployed()
	s := l.f.Subject
	l.addUpdate("a", desired.UpdateOfPilot, "ce-1.1", s)
	l.addUpdate("b", desired.UpdateOfPilot, "ce-1.22", s)
	l.addUpdate("c", desired.ProductionUpdate, "ext-lib-1.1", s)
	state := func(name string) plan.UpdateNow {
		for _, u := range l.judge().Updates {
			if u.Name == name {
				return u
			}
		}
		t.Fatalf("there is no update %s", name)
		return plan.UpdateNow{}
	}
	is := func(name, want, gate string, verdict plan.GateVerdict) {
		t.Helper()
		u := state(name)
		if u.State != want {
			t.Errorf("%s is %s, want %s", name, u.State, want)
		}
		if g := find(t, u.Gates, gate); g.Verdict != verdict {
			t.Errorf("%s: %s is %s (%s), want %s", name, gate, g.Verdict, g.Why, verdict)
		}
	}
	for _, u := range []string{"a", "b"} {
		l.f.Unmet[l.subject(u)], l.f.Signed[l.subject(u)] = nil, ""
		l.record(u+"-approval", coordinator, desired.RecordApproval, desired.PilotRecord{Update: u, Subject: l.subject(u)})
		l.record(u+"-freeze", coordinator, desired.RecordFreeze, desired.PilotRecord{Update: u, Subject: l.subject(u)})
	}
	is("a", plan.UpdateFrozen, "frozen/in-flight", plan.GatePass)
	is("b", plan.UpdateApproved, "frozen/in-flight", plan.GateWaiting)
	if n := l.judge(); !slices.Contains(n.Place.Snapshots, l.subject("a")) || slices.Contains(n.Place.Snapshots, l.subject("b")) {
		t.Errorf("served: %v", n.Place.Snapshots)
	}
	l.record("a-rejection", coordinator, desired.RecordRejection, desired.PilotRecord{Update: "a", Reason: sentence})
	is("a", plan.UpdateRejected, "approved/approval", plan.GateFail)
	is("b", plan.UpdateFrozen, "frozen/in-flight", plan.GatePass)
	l.mirrorsUpdate("b", l.subject("b"))
	is("b", plan.UpdateMirrored, "mirrored/mirror", plan.GatePass)
	is("a", plan.UpdateRejected, "frozen/base", plan.GateFail)
	l.record("a-approval-2", coordinator, desired.RecordApproval, desired.PilotRecord{Update: "a", Subject: l.subject("a")})
	is("a", plan.UpdateSuperseded, "frozen/base", plan.GateFail)
	is("c", plan.UpdateCandidate, "frozen/base", plan.GateFail)

	l.addUpdate("c", desired.ProductionUpdate, "ext-lib-1.1", l.subject("b"))
	after := l.subject("b", "c")
	l.mirrorsUpdate("c", after)
	is("c", plan.UpdateMirrored, "checked/masking", plan.GatePass)
	if n := l.judge(); n.Place.Waves[0] != after || n.Place.Waves[1] != l.f.Subject {
		t.Errorf("waves get %v", n.Place.Waves)
	}
	delete(l.f.Masked, "c")
	is("c", plan.UpdateFrozen, "checked/masking", plan.GateInconclusive)
	l.f.Masked["c"] = []string{"ce"}
	is("c", plan.UpdateFrozen, "checked/masking", plan.GateBlocked)
	c, b := l.p.Updates["c"], l.p.Updates["b"]
	c.Advisory, b.Advisory = "EGI-SVG-1", "EGI-SVG-1"
	l.p.Updates["c"], l.p.Updates["b"] = c, b
	is("c", plan.UpdateCandidate, "approved/approval", plan.GatePending) // it is not what was approved
	l.approvesAgain("b", "c")
	is("c", plan.UpdateMirrored, "checked/masking", plan.GatePass)

	c.Test = "skipped"
	l.p.Updates["c"] = c
	l.approvesAgain("c")
	delete(l.p.Records, "c-report")
	is("c", plan.UpdateFrozen, "checked/test", plan.GatePending)
	waiver := desired.PilotRecord{Update: "c", Subject: after, Check: "test", Expires: "2026-12-31", Reason: sentence}
	l.record("c-alone", coordinator, desired.RecordWaiver, waiver)
	is("c", plan.UpdateFrozen, "checked/test", plan.GateNeedsApproval) // the coordinator does not waive it
	l.p.Roles.Testers = append(l.p.Roles.Testers, coordinator)
	is("c", plan.UpdateFrozen, "checked/test", plan.GatePending) // not by whatever role: he has approved it
	if g := find(t, state("c").Gates, "checked/test"); !slices.Equal(g.Who, []string{authoriser, tester}) || !strings.Contains(g.Why, "four eyes") {
		t.Errorf("the test of c: %+v", g)
	}
	l.p.Roles.Testers = []string{tester}
	l.record("c-waiver", tester, desired.RecordWaiver, waiver)
	l.record("c-mirror", authoriser, desired.RecordMirror, desired.PilotRecord{Update: "c", Subject: after})
	is("c", plan.UpdateMirrored, "checked/test", plan.GateWaived)
	c.Compat = "breaking"
	l.p.Updates["c"] = c
	l.approvesAgain("c")
	is("c", plan.UpdateChecked, "noted/authorisation", plan.GatePending)

	l = newSitePilot().deployed()
	l.p.Urgency, l.p.Roles.Testers = "fast", nil
	l.change("report-1", func(r *desired.PilotRecord) { r.By = coordinator })
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
	fixed := l.subject("fix")
	l.mirrorsUpdate("fix", fixed)
	l.change("fix-report", func(r *desired.PilotRecord) { r.By = coordinator })
	is("fix", plan.UpdateChecked, "noted/authorisation", plan.GatePending) // nobody else has looked at it
	l.record("fix-authorisation", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Update: "fix", Subject: fixed, Decision: "ok"})
	l.record("fix-mirror-2", authoriser, desired.RecordMirror, desired.PilotRecord{Update: "fix", Subject: fixed})
	is("fix", plan.UpdateMirrored, "noted/authorisation", plan.GatePass)
}

// TestAProductionUpdateGoesToAllWhoHaveWhatItAddsTo does not wait for one wave after the other.
func TestAProductionUpdateGoesToAllWhoHaveWhatItAddsTo(t *testing.T) {
	l := newSitePilot().deployed()
	l.addUpdate("sec", desired.ProductionUpdate, "ext-lib-1.1", l.f.Subject)
	l.mirrorsUpdate("sec", l.subject("sec"))
	l.is(t, plan.PilotDeployed, "S1", "S1")
}

func TestFECs(t *testing.T) {
	l := newFECPilot().mirrored()
	l.wait(time.Hour)
	l.runs("fec1", "running", "2.0")
	l.wait(25 * time.Hour)
	for name, c := range map[string]struct {
		change func(*life)
		state  string
		second string
	}{
		"runs":     {func(*life) {}, plan.PilotCalled, "S0"},
		"not seen": {func(l *life) { l.f.FECs = nil }, plan.PilotCalled, ""},
		"another": {func(l *life) {
			l.f.FECs = []observed.PilotFEC{{FEC: "fec1", State: "running", Version: "1.0", Since: pilotDawn}}
		}, plan.PilotCalled, ""},
		"since when":    {func(l *life) { l.f.FECs = []observed.PilotFEC{{FEC: "fec1", State: "running", Version: "2.0"}} }, plan.PilotCalled, ""},
		"too short":     {func(l *life) { l.runs("fec1", "running", "2.0") }, plan.PilotCalled, ""},
		"failed":        {func(l *life) { l.runs("fec1", "init-failed", "2.0") }, plan.PilotHalted, ""},
		"failed before": {func(l *life) { l.f.FECs = []observed.PilotFEC{{FEC: "fec1", State: "failed", Since: pilotDawn}} }, plan.PilotCalled, ""},
		"failed, and resumed": {func(l *life) {
			l.runs("fec1", "failed", "2.0")
			l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
		}, plan.PilotCalled, ""},
		"ran it before": {func(l *life) {
			l.f.FECs = []observed.PilotFEC{{FEC: "fec1", State: "running", Version: "2.0", Since: pilotDawn.AddDate(-1, 0, 0)}}
			l.now = pilotDawn.Add(26 * time.Hour)
		}, plan.PilotCalled, ""},
		"failed some":    {func(l *life) { l.runs("fec2", "failed", "1.0") }, plan.PilotCalled, "S0"},
		"no members":     {func(l *life) { l.f.Members = nil }, plan.PilotCalled, ""},
		"empty members":  {func(l *life) { l.f.Members = [][]string{{}, {"fec2"}} }, plan.PilotCalled, ""},
		"another digest": {func(l *life) { l.f.Subject = "sha256:" + strings.Repeat("b", 64) }, plan.PilotStaffed, ""},
	} {
		m := l.clone()
		c.change(m)
		n := m.judge()
		if n.State != c.state || m.short(n.Place.Waves[1]) != c.second || len(n.Place.Snapshots) > 0 {
			t.Errorf("%s: it is %s (%s), wave 2 gets %q", name, n.State, n.Why, n.Place.Waves[1])
		}
		if n.State == plan.PilotHalted && (n.Trip == "" || n.Place.Waves[0] != "") {
			t.Errorf("%s: it is not remembered, or goes on: %+v", name, n.Place)
		}
	}
}

// TestWhatIsDatedBackGainsNothing: how long something has run counts since it was known, whatever its record says.
func TestWhatIsDatedBackGainsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		kind  string
		state string
		waves []string
	}{
		"mirror":     {desired.RecordMirror, plan.PilotCalled, []string{"S0", ""}},
		"call":       {desired.RecordCall, plan.PilotCalled, []string{"S0", ""}},
		"deployment": {desired.RecordDeployment, plan.PilotCalled, []string{"S0", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newSitePilot().called()
			l.installs("alpha", "installed", l.f.Subject)
			l.installs("beta", "installed", l.f.Subject)
			l.wait(48 * time.Hour)
			l.is(t, plan.PilotCalled, "S0", "S0")
			l.f.ProvenAt = map[string]time.Time{}
			for record, r := range l.p.Records {
				if r.Kind == c.kind {
					l.f.ProvenAt[record] = l.now.Add(-time.Minute)
				}
			}
			l.is(t, c.state, c.waves...)
			if g := find(t, l.judge().Gates, "deployed/call-closed"); g.Verdict != plan.GatePass || (g.Why != "") != (c.kind == desired.RecordCall) {
				t.Errorf("the call: %s (%s)", g.Verdict, g.Why)
			}
		})
	}
}

// TestABlockerBeforeAClosureIsKnownCounts, also if the closure says that it was before.
func TestABlockerBeforeAClosureIsKnownCounts(t *testing.T) {
	l := newSitePilot().closed()
	l.record("problem-1", "beta@example.org", desired.RecordProblem, desired.PilotRecord{Site: "beta", Problem: "1", Category: "functional", Severity: "blocker", Status: "open", Text: "no jobs"})
	l.wait(time.Hour)
	l.is(t, plan.PilotClosed)
	l.f.ProvenAt = map[string]time.Time{"closure": l.now}
	if n := l.judge(); n.State == plan.PilotClosed {
		t.Error("it is promoted with a blocker that was open before anybody knew of its closure")
	}
}

// TestWhatIsSaidOfOnePackageCountsForNoOther: of a pilot's own update, criteria are measured again, and soaks waived again; of one of production, not.
func TestWhatIsSaidOfOnePackageCountsForNoOther(t *testing.T) {
	gate := func(l *life, name string) plan.Gate { t.Helper(); return find(t, l.judge().Gates, "closed/"+name) }
	l := newSitePilot().published()
	l.record("waiver-1", coordinator, desired.RecordWaiver, desired.PilotRecord{Subject: l.f.Subject, Check: "soak", Expires: "2026-12-31", Reason: sentence})
	l.record("criterion-1", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "yes"})
	for kind, holds := range map[string]bool{desired.ProductionUpdate: true, desired.UpdateOfPilot: false} {
		m := l.clone()
		m.addUpdate("fix", kind, "ce-1.1", l.f.Subject)
		fixed := m.subject("fix")
		m.mirrorsUpdate("fix", fixed)
		for _, site := range []string{"alpha", "beta", "delta", "gamma"} {
			m.installs(site, "installed", fixed)
		}
		if g := gate(m, "criterion speed"); g.Verdict.Holds() != holds || (g.Why == "") != holds {
			t.Errorf("%s: criterion is %s (%s)", kind, g.Verdict, g.Why)
		}
		m.record("criterion-2", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: fixed, Criterion: "speed", Met: "no"})
		if g := gate(m, "criterion speed"); g.Verdict != plan.GateFail {
			t.Errorf("%s: criterion is %s (%s)", kind, g.Verdict, g.Why)
		}
		if kind != desired.UpdateOfPilot {
			continue
		}
		if g := gate(m, "soak"); g.Verdict.Holds() {
			t.Errorf("soak of the update is %s (%s)", g.Verdict, g.Why)
		}
		m.record("waiver-2", coordinator, desired.RecordWaiver, desired.PilotRecord{Update: "fix", Subject: fixed, Check: "soak", Expires: "2026-12-31", Reason: sentence})
		m.installs("delta", "installed", fixed)
		m.installs("gamma", "installed", fixed)
		if g := gate(m, "soak"); g.Verdict != plan.GateWaived {
			t.Errorf("soak of the update, waived, is %s (%s)", g.Verdict, g.Why)
		}
	}
}

// TestACriterionIsOfWhatASiteHad when it was measured.
func TestACriterionIsOfWhatASiteHad(t *testing.T) {
	met := func(l *life, name, subject string) {
		l.record(name, coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: subject, Criterion: "speed", Met: "yes"})
	}
	is := func(when string, l *life, verdict plan.GateVerdict, why string) {
		t.Helper()
		if g := find(t, l.judge().Gates, "closed/criterion speed"); g.Verdict != verdict && (g.Verdict != plan.GateWaiting || verdict != plan.GatePending) || g.Why != why {
			t.Errorf("%s: criterion is %s (%s)", when, g.Verdict, g.Why)
		}
	}
	l := newSitePilot().called()
	met(l, "criterion-1", l.f.Subject)
	is("before any site had it", l, plan.GatePending, "criterion-1 is about what no site had installed by then")
	l = newSitePilot().deployed()
	is("before anybody says so", l, plan.GatePending, "nobody has said whether it is met")
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
	fixed := l.subject("fix")
	l.mirrorsUpdate("fix", fixed)
	early := l.clone()
	met(early, "criterion-1", fixed)
	is("of an update that no site has", early, plan.GatePending, "criterion-1 is about what no site had installed by then")
	early.installs("alpha", "installed", fixed)
	is("of one that a site had later", early, plan.GatePending, "criterion-1 is about what no site had installed by then")
	met(early, "criterion-2", fixed)
	is("measured again", early, plan.GatePass, "")
	l.installs("alpha", "installed", fixed)
	met(l, "criterion-1", fixed)
	is("of an update that a site has", l, plan.GatePass, "")
}
