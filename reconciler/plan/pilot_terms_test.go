package plan_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const outsider = "mallory@example.org"

// agrees has somebody agree to the terms as they are.
func (l *life) agrees(name, by string) {
	l.record(name, by, desired.RecordAgreement, l.p.Agreement(by, ""))
}

// agreesTwice has its owner agree to the terms, change them and agree to them again, within a second.
func (l *life) agreesTwice(first, second string) {
	l.agrees(first, owner)
	l.as(func(r *desired.PilotRoles) { r.Testers = append(slices.Clone(r.Testers), "zoe@example.org") })
	l.wait(-time.Hour)
	l.agrees(second, owner)
}

// agreed is a pilot of FECs whose first wave is open, and whose owner has agreed to its terms.
func agreed() *life {
	l := newFECPilot()
	l.silent = true
	l.agrees("agreement-1", owner)
	l.mirrored()
	l.wait(time.Hour)
	l.opens()
	return l
}

// opens has the ledger see what is so now.
func (l *life) opens() {
	n := l.judge()
	l.f.Opened, l.f.Since = map[string]time.Time{}, map[string]time.Time{n.State: l.now}
	for _, w := range n.Waves {
		if w.Open {
			l.f.Opened[w.Key()] = l.now
		}
	}
}

// as has the pilot's roles be others; the ones before stay theirs.
func (l *life) as(change func(*desired.PilotRoles)) {
	roles := *l.p.Roles
	change(&roles)
	l.p.Roles = &roles
}

func TestWhoMayDoWhatIsAgreed(t *testing.T) {
	later := func(l *life) { // what was agreed is not what there is
		l.as(func(r *desired.PilotRoles) { r.Testers = append(slices.Clone(r.Testers), "tim@example.org") })
	}
	for name, c := range map[string]struct {
		change  func(*life)
		verdict plan.GateVerdict
		doubted string // records
		who     string
	}{
		"agreed":                               {func(*life) {}, plan.GatePass, "", owner + " " + coordinator},
		"by nobody":                            {func(l *life) { delete(l.p.Records, "agreement-1") }, plan.GatePending, "", owner},
		"by nobody known":                      {func(l *life) { delete(l.f.Proofs, "agreement-1") }, plan.GateNeedsApproval, "agreement-1", owner},
		"of other terms":                       {later, plan.GatePending, "", owner + " " + coordinator},
		"by an outsider":                       {func(l *life) { later(l); l.agrees("agreement-2", outsider) }, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"by a tester":                          {func(l *life) { later(l); l.agrees("agreement-2", tester) }, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"by its owner":                         {func(l *life) { later(l); l.agrees("agreement-2", owner) }, plan.GatePass, "", owner + " " + coordinator},
		"by coordinator":                       {func(l *life) { later(l); l.agrees("agreement-2", coordinator) }, plan.GatePass, "", owner + " " + coordinator},
		"put back":                             {func(l *life) { was := l.p.Roles; later(l); l.p.Roles = was }, plan.GatePass, "", owner + " " + coordinator},
		"twice in a second, the last by name":  {func(l *life) { later(l); l.agreesTwice("agreement-2", "agreement-3") }, plan.GatePass, "", owner + " " + coordinator},
		"twice in a second, the first by name": {func(l *life) { later(l); l.agreesTwice("agreement-3", "agreement-2") }, plan.GatePass, "", owner + " " + coordinator},
		"of the future":                        {func(l *life) { later(l); l.agrees("agreement-2", owner); l.wait(-time.Minute) }, plan.GatePending, "", owner + " " + coordinator},
		"forged": {func(l *life) {
			later(l)
			l.agrees("agreement-2", owner)
			l.f.Proofs["agreement-2"] = observed.Proof{By: outsider}
		}, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"of another owner": {func(l *life) { l.p.Owner = outsider; l.agrees("agreement-2", outsider) }, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"of what nobody is": {func(l *life) {
			later(l)
			l.agrees("agreement-2", owner)
			l.change("agreement-2", func(r *desired.PilotRecord) { r.Owner = outsider })
		}, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"of another last day": {func(l *life) {
			later(l)
			l.agrees("agreement-2", owner)
			l.change("agreement-2", func(r *desired.PilotRecord) { r.Expires = "2028-09-30" })
		}, plan.GateNeedsApproval, "agreement-2", owner + " " + coordinator},
		"handed over": {func(l *life) {
			l.p.Owner = "otto@example.org"
			l.agrees("agreement-2", owner)
			later(l)
			l.agrees("agreement-3", "otto@example.org")
		}, plan.GatePass, "", "otto@example.org " + coordinator},
		"by who was": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator = "cleo@example.org" })
			l.agrees("agreement-2", coordinator)
			later(l)
			l.agrees("agreement-3", coordinator)
		}, plan.GateNeedsApproval, "agreement-3 freeze-1", owner + " cleo@example.org"},
		"who was, and said so before": {func(l *life) {
			was := l.p
			later(l)
			at := l.now
			l.agrees("agreement-2", coordinator) // kept in a drawer
			l.f.ProvenAt = map[string]time.Time{"agreement-2": at.Add(9 * time.Hour)}
			with := l.p
			l.p = was
			l.as(func(r *desired.PilotRoles) { r.Coordinator = "cleo@example.org" })
			l.agrees("agreement-3", owner)
			l.p.Roles = with.Roles
			l.wait(10 * time.Hour)
		}, plan.GateNeedsApproval, "agreement-2", owner + " cleo@example.org"},
		"long ago": {func(l *life) { // that the outsider has been the owner since
			l.f.ProvenAt = map[string]time.Time{"agreement-1": pilotDawn.Add(time.Hour)}
			l.p.Owner = outsider
			l.agrees("agreement-0", outsider)
			l.f.ProvenAt["agreement-0"] = l.now
			l.change("agreement-0", func(r *desired.PilotRecord) { r.At = "2026-09-01T00:00:00Z" })
		}, plan.GateNeedsApproval, "agreement-0", owner + " " + coordinator},
		"found late": {func(l *life) { // the second was proven before the first
			later(l)
			l.agrees("agreement-2", coordinator)
			l.f.ProvenAt = map[string]time.Time{"agreement-1": l.now, "agreement-2": l.now.Add(-time.Minute)}
		}, plan.GatePass, "", owner + " " + coordinator},
		"known at once": {func(l *life) {
			later(l)
			l.agrees("agreement-0", owner)
			l.f.ProvenAt = map[string]time.Time{"agreement-0": l.now, "agreement-1": l.now}
		}, plan.GatePass, "", owner + " " + coordinator},
	} {
		l := agreed()
		c.change(l)
		n := l.judge()
		g := find(t, n.Gates, "staffed/agreement")
		if g.Verdict != c.verdict || (n.Unagreed == "") != (c.verdict == plan.GatePass) || n.Unagreed != g.Why {
			t.Errorf("%s: %s (%s), unagreed %q, want %s", name, g.Verdict, g.Why, n.Unagreed, c.verdict)
		}
		if got := strings.Join(n.Doubted, " "); got != c.doubted || len(n.Doubts) != len(n.Doubted) {
			t.Errorf("%s: doubted are %q, want %q", name, n.Doubts, c.doubted)
		}
		if got := strings.Join(n.MayAgree, " "); got != c.who || g.Verdict != plan.GatePass && (strings.Join(g.Who, " ") != c.who || g.Do != "pomona pilot bpm2 agree") {
			t.Errorf("%s: %s may agree, want %s: %+v", name, got, c.who, g)
		}
		if goesOn := slices.Contains(n.Place.Waves, l.f.Subject); goesOn != (c.verdict == plan.GatePass) {
			t.Errorf("%s: waves get %v", name, n.Place.Waves)
		}
	}
}

// TestAnAuthoriserWhoWroteHimselfInDoesNotCount has an outsider write himself in before anything is authorised, and authorise it.
func TestAnAuthoriserWhoWroteHimselfInDoesNotCount(t *testing.T) {
	l := newFECPilot()
	l.silent = true
	l.agrees("agreement-1", owner)
	s := l.f.Subject
	l.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: s})
	l.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: s, Compat: "backward-compatible", Checks: passes(nil)})
	l.record("notes-1", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new"})
	l.as(func(r *desired.PilotRoles) { r.Authoriser = outsider })
	l.record("authorisation-1", outsider, desired.RecordAuthorisation, desired.PilotRecord{Subject: s, Decision: "ok"})
	l.record("notes-2", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new"})
	l.wait(time.Hour)
	if n := l.judge(); n.State != plan.PilotRequested || slices.Contains(n.Place.Waves, s) {
		t.Errorf("it is %s: %+v", n.State, n.Place)
	}
	l.agrees("agreement-2", outsider)
	l.record("closure-1", outsider, desired.RecordClosure, desired.PilotRecord{Outcome: "withdrawn", Reason: sentence})
	if n := l.judge(); n.State != plan.PilotRequested || slices.Contains(n.Place.Waves, s) {
		t.Errorf("it is %s: %+v", n.State, n.Place)
	}
	l.agrees("agreement-3", owner) // now it is so
	if n := l.judge(); n.State != plan.PilotMirrored && n.State != plan.PilotCalled || !slices.Contains(n.Place.Waves, s) {
		t.Errorf("it is %s: %+v", n.State, n.Place)
	}
}

// TestASlipInTheTermsTakesNothingBack but by a halt or at its end, and gives nobody anything.
func TestASlipInTheTermsTakesNothingBack(t *testing.T) {
	const s = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, c := range map[string]struct {
		slip  func(*life)
		state string
		gets  []string // of the first wave and of the second
	}{
		"slip":              {func(*life) {}, plan.PilotCalled, []string{s, ""}},
		"nobody has a role": {func(l *life) { l.p.Roles = nil }, plan.PilotCalled, []string{s, ""}},
		"fast": {func(l *life) {
			l.p.Urgency = desired.FastUrgency
			l.runs("fec1", "running", "2.0")
			l.wait(100 * time.Hour) // the second wave would open
		}, plan.PilotCalled, []string{s, ""}},
		"halted": {func(l *life) {
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"halted, and nobody knows what": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator, r.Authoriser = outsider, "max@example.org" })
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"halted by who was": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
			l.record("halt-1", coordinator, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"halted by anybody": {func(l *life) { // who can break the terms can name himself in them
			l.record("halt-1", outsider, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"halted by a tester who is no longer named": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Testers = []string{"tim@example.org"} })
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"halted by nobody knows whom": {func(l *life) {
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
			delete(l.f.Proofs, "halt-1")
		}, plan.PilotCalled, []string{s, ""}},
		"it goes on by who has named himself": {func(l *life) {
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
			l.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
			l.record("resume-1", outsider, desired.RecordResume, desired.PilotRecord{Reason: sentence})
		}, plan.PilotHalted, []string{"", ""}},
		"it goes on by who was coordinator once": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator = "cleo@example.org" })
			l.agrees("agreement-2", owner)
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
			l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
			l.p.Audience = []string{"all@example.org"}
		}, plan.PilotHalted, []string{"", ""}},
		"more may fail": {func(l *life) {
			l.p.Rollout = &desired.Rollout{Waves: slices.Clone(l.p.Rollout.Waves)}
			l.p.Rollout.Waves[0].MaxFailures = 9
			l.runs("fec1", "init-failed", "2.0")
		}, plan.PilotHalted, []string{"", ""}},
		"nobody authorised what failed": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Authoriser = "max@example.org" })
			l.runs("fec1", "fallback", "1.0")
		}, plan.PilotHalted, []string{"", ""}},
		"it failed before it went on": {func(l *life) {
			l.runs("fec1", "init-failed", "2.0")
			l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
		}, plan.PilotCalled, []string{s, ""}},
		"it was seen to fail": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Authoriser = "max@example.org" })
			l.f.Tripped, l.f.TrippedWhy = l.now, "fec1 failed with it"
		}, plan.PilotHalted, []string{"", ""}},
		"it went on long ago": {func(l *life) {
			l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
			l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
			l.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
		}, plan.PilotCalled, []string{s, ""}},
		"it is to expire": {func(l *life) { l.p.Expires = "2026-09-30" }, plan.PilotCalled, []string{s, ""}},
		"it has expired":  {func(l *life) { l.wait(365 * 24 * time.Hour) }, plan.PilotExpired, []string{"", ""}},
		"it is to last":   {func(l *life) { l.wait(365 * 24 * time.Hour); l.p.Expires = "2028-09-30" }, plan.PilotExpired, []string{"", ""}},
		"it lasts no longer": {func(l *life) {
			l.p.Expires = "2026-11-30"
			l.agrees("agreement-2", owner)
			l.p.Expires = "2028-09-30"
			l.wait(90 * 24 * time.Hour)
		}, plan.PilotExpired, []string{"", ""}},
		"it is denied": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Authoriser = outsider })
			l.record("deny-1", outsider, desired.RecordAuthorisation, desired.PilotRecord{Subject: s, Decision: "deny", Reason: sentence})
		}, plan.PilotCalled, []string{s, ""}},
		"it is withdrawn": {func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
			l.record("closure-1", outsider, desired.RecordClosure, desired.PilotRecord{Outcome: "withdrawn", Reason: sentence})
		}, plan.PilotCalled, []string{s, ""}},
	} {
		l := agreed()
		was := l.judge().Place
		was.State = plan.PilotCalled
		p := l.p
		l.as(func(r *desired.PilotRoles) { r.Testers = append(slices.Clone(r.Testers), "tim@example.org") })
		c.slip(l)
		n := l.judge()
		got := plan.Unagreed(n.Place, &was, n.Unagreed)
		if n.Unagreed == "" || got.State != c.state || !slices.Equal(got.Waves, c.gets) || got.Withheld != n.Unagreed {
			t.Errorf("%s: it is %s, unagreed %q, its place %+v, want %s %v", name, n.State, n.Unagreed, got, c.state, c.gets)
		}
		if failed := slices.ContainsFunc(l.f.FECs, observed.PilotFEC.Failed) && c.state == plan.PilotHalted; failed != (n.Trip != "") || failed != !n.TripAt.IsZero() {
			t.Errorf("%s: to be remembered is %q of %s", name, n.Trip, n.TripAt)
		}
		if none := plan.Unagreed(n.Place, nil, n.Unagreed); slices.Contains(none.Waves, s) || len(none.Snapshots) > 0 {
			t.Errorf("%s: without anything published it gets %+v", name, none)
		}
		if name == "slip" {
			l.p.Roles = p.Roles
			if n := l.judge(); n.Unagreed != "" || !reflect.DeepEqual(n.Place.Waves, []string{s, ""}) {
				t.Errorf("put back it is %s: %+v", n.State, n.Place)
			}
		}
	}
}

// TestAHaltOfAnUpdateGoesBackToWhatWasPublished and not to what the terms make of it.
func TestAHaltOfAnUpdateGoesBackToWhatWasPublished(t *testing.T) {
	place := func(state, snapshots string, waves ...string) tree.PilotPlace {
		return tree.PilotPlace{Name: "cream", State: state, Snapshots: strings.Fields(snapshots), Waves: waves, Published: true, Sites: []tree.PilotSite{{Site: "alpha"}}}
	}
	was := place(plan.PilotDeployed, "a b c", "c", "b", "")
	for name, c := range map[string]struct {
		now   tree.PilotPlace
		waves []string
	}{
		"the update": {place(plan.PilotHalted, "a b c", "b", "b", "b"), []string{"b", "b", ""}},
		"all":        {place(plan.PilotHalted, "a b c", "", "", ""), []string{"", "", ""}},
		"to another": {place(plan.PilotHalted, "a x c", "x", "a", "a"), []string{"", "a", ""}},
		"waves less": {place(plan.PilotHalted, "a b c", "a"), []string{"a", "", ""}},
		"expired":    {place(plan.PilotExpired, "a b c", "", "", ""), []string{"", "", ""}},
	} {
		got := plan.Unagreed(c.now, &was, "why")
		if !slices.Equal(got.Waves, c.waves) || got.State != c.now.State || got.Published || got.Sites != nil || !slices.Equal(got.Snapshots, was.Snapshots) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, state := range []string{plan.PilotClosed, plan.PilotDenied} {
		was.State = state
		if got := plan.Unagreed(place(plan.PilotExpired, "a b c", "", "", ""), &was, "why"); got.Withheld != "why" || !slices.Equal(got.Waves, was.Waves) || got.State != state {
			t.Errorf("what is %s becomes %+v", state, got)
		}
	}
}

// TestWhatHasEndedStaysSoWhateverItsTermsSay once it was seen.
func TestWhatHasEndedStaysSoWhateverItsTermsSay(t *testing.T) {
	l := newSitePilot().closed()
	l.silent = true
	l.agrees("agreement-1", owner)
	l.change("agreement-1", func(r *desired.PilotRecord) { r.At = pilotDawn.Format(time.RFC3339) })
	if n := l.judge(); n.State != plan.PilotClosed {
		t.Fatalf("it is %s", n.State)
	}
	l.p.Audience = []string{"all@example.org"}
	if n := l.judge(); n.State == plan.PilotClosed {
		t.Errorf("it is %s by records of people whom nobody has agreed to", n.State)
	}
	l.f.Since = map[string]time.Time{plan.PilotClosed: l.now}
	if n := l.judge(); n.State != plan.PilotClosed || n.Unagreed == "" {
		t.Errorf("it is %s", n.State)
	}
	for name, c := range map[string]struct {
		by       string
		agreed   bool
		state    string
		unagreed bool
	}{
		"coordinator":         {coordinator, true, plan.PilotClosed, false},
		"owner":               {owner, true, plan.PilotClosed, false},
		"outsider":            {outsider, true, plan.PilotRequested, true},
		"owner of a request":  {outsider, false, plan.PilotClosed, true},
		"nobody of a request": {owner, false, plan.PilotRequested, true},
	} {
		w := newFECPilot()
		w.silent = true
		if c.agreed {
			w.agrees("agreement-1", owner)
			w.mirrored()
		}
		w.p.Owner = outsider
		w.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
		w.record("closure-1", c.by, desired.RecordClosure, desired.PilotRecord{Outcome: "withdrawn", Reason: sentence})
		if n := w.judge(); n.State != c.state || (n.Unagreed != "") != c.unagreed || slices.Contains(n.Place.Waves, w.f.Subject) {
			t.Errorf("withdrawn by %s it is %s, unagreed %q, %v", name, n.State, n.Unagreed, n.Place.Waves)
		}
	}
	d := newFECPilot()
	d.silent = true
	d.agrees("agreement-1", owner)
	d.record("deny-1", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Decision: "deny", Reason: sentence})
	d.p.Audience = []string{"all@example.org"}
	if n := d.judge(); n.State != plan.PilotRequested {
		t.Errorf("it is %s", n.State)
	}
	d.f.Since = map[string]time.Time{plan.PilotDenied: d.now}
	if n := d.judge(); n.State != plan.PilotDenied {
		t.Errorf("it is %s", n.State)
	}
}

// TestWhatHasEndedDoesNotComeBackByOnePerson who names himself and agrees to that alone, once its end was seen.
func TestWhatHasEndedDoesNotComeBackByOnePerson(t *testing.T) {
	const withdrawn = "withdrawn: " + sentence
	replace := func(who string) func(*life) { // in every role but the developer's
		return func(l *life) {
			l.as(func(r *desired.PilotRoles) { r.Coordinator, r.Authoriser, r.Testers = who, who, []string{who} })
			l.agrees("agreement-2", who)
			s := l.f.Subject
			l.record("freeze-2", who, desired.RecordFreeze, desired.PilotRecord{Subject: s})
			l.record("report-2", who, desired.RecordReport, desired.PilotRecord{Subject: s, Compat: "backward-compatible", Checks: passes(nil)})
			l.record("authorisation-2", who, desired.RecordAuthorisation, desired.PilotRecord{Subject: s, Decision: "ok"})
			l.record("notes-2", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new"})
			l.wait(time.Hour)
		}
	}
	deny := func(l *life) {
		l.record("deny-1", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: l.f.Subject, Decision: "deny", Reason: sentence})
	}
	closes := func(name, by, outcome string) func(*life) {
		return func(l *life) {
			l.record(name, by, desired.RecordClosure, desired.PilotRecord{Outcome: outcome, Reason: sentence})
		}
	}
	other := func(l *life) { l.f.Subject = "sha256:" + strings.Repeat("b", 64) }
	for name, c := range map[string]struct {
		ends       []func(*life)
		state, why string
		then       func(*life)
		comes      bool // back
	}{
		"denied":           {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence, replace(coordinator), false},
		"denied by others": {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence, replace(owner), false},
		"denied, and offered otherwise": {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence,
			func(l *life) { other(l); replace(owner)(l) }, false},
		"withdrawn": {[]func(*life){closes("closure-1", coordinator, "withdrawn")}, plan.PilotClosed, withdrawn, replace(owner), false},
		"withdrawn by its owner": {[]func(*life){closes("closure-1", owner, "withdrawn")}, plan.PilotClosed, withdrawn, func(l *life) {
			l.p.Owner = coordinator
			replace(coordinator)(l)
		}, false},
		"an outsider wanted it withdrawn": {[]func(*life){closes("closure-0", outsider, "withdrawn"), closes("closure-1", coordinator, "withdrawn")}, plan.PilotClosed, withdrawn, replace(owner), false},
		"nobody has seen it denied": {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence, func(l *life) {
			delete(l.f.Since, plan.PilotDenied)
			replace(coordinator)(l)
		}, true},
		"proven after it was seen": {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence, func(l *life) {
			l.f.ProvenAt = map[string]time.Time{"deny-1": l.now.Add(time.Hour)}
			replace(coordinator)(l)
		}, true},
		"not proven any more": {[]func(*life){deny}, plan.PilotDenied, authoriser + " denied it: " + sentence, func(l *life) {
			delete(l.f.Proofs, "deny-1")
			replace(coordinator)(l)
		}, true},
	} {
		l := agreed()
		for _, end := range c.ends {
			end(l)
		}
		l.f.Since[c.state] = l.now
		if n := l.judge(); n.State != c.state || n.Why != c.why {
			t.Errorf("%s: it is %s: %s", name, n.State, n.Why)
		}
		c.then(l)
		n := l.judge()
		if c.comes != (n.State != c.state) || !c.comes && slices.Contains(n.Place.Waves, l.f.Subject) || !c.comes && n.Why != c.why || n.Unagreed != "" {
			t.Errorf("%s: it becomes %s (%s), unagreed %q, and waves get %v", name, n.State, n.Why, n.Unagreed, n.Place.Waves)
		}
		if !c.comes && (slices.Contains(n.Doubted, n.Record) || slices.Contains(n.Void, n.Record)) {
			t.Errorf("%s: %s counts, and is doubted %v or void %v", name, n.Record, n.Doubts, n.Void)
		}
	}
	l := newSitePilot().closed() // an earlier record of somebody who could not does not count instead
	l.silent = true
	l.agrees("agreement-1", owner)
	l.change("agreement-1", func(r *desired.PilotRecord) { r.At = pilotDawn.Format(time.RFC3339) })
	closes("closure-0", outsider, "withdrawn")(l)
	l.change("closure-0", func(r *desired.PilotRecord) { r.At = pilotDawn.Add(time.Hour).Format(time.RFC3339) })
	closes("closure-9", owner, "promoted")(l)
	l.change("closure-9", func(r *desired.PilotRecord) { r.At = pilotDawn.Add(2 * time.Hour).Format(time.RFC3339) })
	l.f.Since = map[string]time.Time{plan.PilotClosed: l.now}
	was := l.judge()
	l.as(func(r *desired.PilotRoles) { r.Coordinator = owner })
	l.agrees("agreement-2", owner)
	if n := l.judge(); n.State != plan.PilotClosed || !strings.HasPrefix(n.Why, "promoted") || was.Why != n.Why {
		t.Errorf("it was closed, %s, and is %s, %s: %s", was.Why, n.State, n.Why, n.Record)
	}
}

// TestNobodyIsToldWhatIsNotAgreed but that it is halted.
func TestNobodyIsToldWhatIsNotAgreed(t *testing.T) {
	l := newSitePilot().called()
	l.silent = true
	if told := plan.PilotBroadcasts(l.judge(), l.p, nil); len(told) > 0 {
		t.Errorf("told is %+v", told)
	}
	l.silent = false
	if told := plan.PilotBroadcasts(l.judge(), l.p, nil); len(told) == 0 {
		t.Error("agreed, nothing is told")
	}
	halt := []observed.PilotBroadcast{{Pilot: l.name, Kind: observed.BroadcastHalt, About: "1"}}
	l.silent = true
	if told := plan.PilotBroadcasts(l.judge(), l.p, halt); len(told) > 0 {
		t.Errorf("told is %+v", told)
	}
}

// TestNobodyElseChangesWhatIsAgreed is the sixth law: whatever lines and agreements people write whom the last agreement that counts does not name, it
// stays the last, and gives nobody anything more.
func TestNobodyElseChangesWhatIsAgreed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := agreed()
		if rapid.Bool().Draw(t, "handed over") {
			l.p.Owner = "otto@example.org"
			l.agrees("agreement-2", rapid.SampledFrom([]string{owner, coordinator}).Draw(t, "by"))
		}
		l.f.ProvenAt = map[string]time.Time{}
		for name := range l.p.Records {
			l.f.ProvenAt[name] = l.now
		}
		before, may := l.judge(), l.judge().MayAgree
		lines := l.p
		others := slices.DeleteFunc(append(slices.Clone(people), outsider, owner, "otto@example.org"), func(who string) bool { return slices.Contains(may, who) })
		l.p.Records = maps.Clone(l.p.Records)
		for i := range rapid.IntRange(1, 6).Draw(t, "agreements") {
			by := rapid.SampledFrom(others).Draw(t, "by")
			who := append([]string{by, by}, people...)
			l.p.Owner = rapid.SampledFrom(who).Draw(t, "owner")
			l.as(func(r *desired.PilotRoles) {
				r.Coordinator, r.Authoriser = rapid.SampledFrom(who).Draw(t, "coordinator"), by
			})
			name := string(rune('a'+i)) + "-agreement"
			l.agrees(name, by)
			l.f.ProvenAt[name] = l.now
			back := time.Duration(rapid.IntRange(-3, 100).Draw(t, "back")) * time.Hour
			l.change(name, func(r *desired.PilotRecord) { r.At = l.now.Add(-back).Format(time.RFC3339) })
		}
		l.record("authorisation-9", l.p.Roles.Authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: l.f.Subject, Decision: "ok"})
		l.wait(100 * time.Hour)
		mine := l.judge()
		if mine.Unagreed == "" && mine.Terms != before.Terms || !slices.Equal(mine.MayAgree, may) {
			t.Errorf("%v may agree, and could %v: %q", mine.MayAgree, may, mine.Unagreed)
		}
		if mine.Unagreed != "" && (rank(mine.State) > rank(plan.PilotRequested) || slices.Contains(mine.Place.Waves, l.f.Subject)) {
			t.Errorf("it is %s: %+v", mine.State, mine.Place)
		}
		lines.Records = l.p.Records
		l.p = lines
		if back := l.judge(); back.Unagreed != before.Unagreed || back.Terms != before.Terms {
			t.Errorf("put back it is %q", back.Unagreed)
		}
	})
}

// TestALostLedgerMakesNobodyTheOwner: whenever it is lost, what the last generation goes on from decides, and not who has dated an agreement back.
func TestALostLedgerMakesNobodyTheOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := agreed()
		l.p.Records = maps.Clone(l.p.Records)
		l.f.Agreed = l.judge().Agreed
		for i := range rapid.IntRange(0, 3).Draw(t, "handed over") {
			by := rapid.SampledFrom(l.judge().MayAgree).Draw(t, "by")
			l.p.Owner = rapid.SampledFrom(people[:5]).Draw(t, "owner")
			l.as(func(r *desired.PilotRoles) { r.Coordinator = rapid.SampledFrom(people[:5]).Draw(t, "coordinator") })
			l.agrees("agreement-"+string(rune('2'+i)), by)
			if rapid.Bool().Draw(t, "published") {
				l.f.Agreed = l.judge().Agreed
			}
		}
		before, lines := l.judge(), l.p
		for i := range rapid.IntRange(1, 4).Draw(t, "agreements") {
			who := append([]string{outsider, outsider}, people...)
			l.p.Owner = rapid.SampledFrom(who).Draw(t, "owner")
			l.as(func(r *desired.PilotRoles) { r.Coordinator = rapid.SampledFrom(who).Draw(t, "coordinator") })
			name := string(rune('a'+i)) + "-agreement"
			l.agrees(name, outsider)
			back := time.Duration(rapid.IntRange(0, 1000).Draw(t, "back")) * time.Hour
			l.change(name, func(r *desired.PilotRecord) { r.At = l.now.Add(-back).Format(time.RFC3339) })
		}
		l.f.ProvenAt = map[string]time.Time{}
		for name := range l.p.Records {
			l.f.ProvenAt[name] = l.now
		}
		for _, a := range l.f.Agreed { // as the reconciler has them
			l.f.ProvenAt[a.Record] = a.Known
		}
		after := l.judge()
		if !slices.Equal(after.MayAgree, before.MayAgree) || after.Unagreed == "" && after.Terms != before.Terms {
			t.Errorf("%v may agree, and could %v: %q", after.MayAgree, before.MayAgree, after.Unagreed)
		}
		lines.Records = l.p.Records
		l.p = lines
		back := l.judge()
		if back.Unagreed != "" || !reflect.DeepEqual(back.Agreed[:len(l.f.Agreed)], l.f.Agreed) || len(back.Agreed) != len(before.Agreed) {
			t.Errorf("put back it is %q, by %+v", back.Unagreed, back.Agreed)
		}
	})
}

// TestWhatAnOperatorVouchesForCounts whomever the agreement before it names, from then on, and also where that has gone.
func TestWhatAnOperatorVouchesForCounts(t *testing.T) {
	for name, gone := range map[string]bool{"they have left": false, "what they agreed to is gone": true} {
		l := agreed()
		l.f.Agreed = l.judge().Agreed
		if gone {
			delete(l.p.Records, "agreement-1")
		}
		l.p.Owner = tester
		l.as(func(r *desired.PilotRoles) { r.Coordinator = "cleo@example.org" })
		l.agrees("agreement-2", tester)
		l.change("agreement-2", func(r *desired.PilotRecord) { r.At = pilotDawn.Format(time.RFC3339) }) // however old it is
		if n := l.judge(); n.Unagreed == "" || slices.Contains(n.MayAgree, tester) {
			t.Errorf("%s: %v may agree: %q", name, n.MayAgree, n.Unagreed)
		}
		l.wait(time.Hour)
		why := observed.VouchedBy("opal", "they have left")
		l.f.Proofs["agreement-2"] = observed.Proof{By: tester, Source: why}
		l.f.ProvenAt = map[string]time.Time{"agreement-2": l.now}
		n := l.judge()
		if g := find(t, n.Gates, "staffed/agreement"); n.Unagreed != "" || g.Verdict != plan.GatePass || g.Why != why || strings.Join(n.MayAgree, " ") != tester+" cleo@example.org" {
			t.Errorf("%s: vouched for, %v may agree: %+v", name, n.MayAgree, g)
		}
		l.p.Owner = outsider
		l.agrees("agreement-3", outsider)
		if n := l.judge(); n.Unagreed == "" || slices.Contains(n.MayAgree, outsider) {
			t.Errorf("%s: then %v may agree: %q", name, n.MayAgree, n.Unagreed)
		}
	}
}

// TestWhatWasAgreedLastDoesNotGo: without it, nobody knows who may do what.
func TestWhatWasAgreedLastDoesNotGo(t *testing.T) {
	for name, change := range map[string]func(*life){
		"gone":      func(l *life) { delete(l.p.Records, "agreement-1") },
		"otherwise": func(l *life) { l.change("agreement-1", func(r *desired.PilotRecord) { r.Owner = outsider }) },
		"by another, who is the owner": func(l *life) {
			delete(l.p.Records, "agreement-1")
			l.p.Owner = outsider
			l.agrees("agreement-2", outsider)
		},
	} {
		l := agreed()
		l.f.Agreed = l.judge().Agreed
		day := l.p.Expires
		change(l)
		l.p.Expires = "2028-09-30"
		l.as(func(r *desired.PilotRoles) { r.Coordinator = outsider })
		l.record("halt-1", tester, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
		l.record("resume-1", outsider, desired.RecordResume, desired.PilotRecord{Reason: sentence})
		l.record("closure-1", outsider, desired.RecordClosure, desired.PilotRecord{Outcome: "withdrawn", Reason: sentence})
		n := l.judge()
		if want := "agreement-1, which was agreed last, is not there any more as it was"; !strings.HasPrefix(n.Unagreed, want) || len(n.MayAgree) > 0 || n.State != plan.PilotHalted {
			t.Errorf("%s: it is %s, %v may agree: %q", name, n.State, n.MayAgree, n.Unagreed)
		}
		if n.LastDay != day {
			t.Errorf("%s: its last day is %s, and was agreed to be %s", name, n.LastDay, day)
		}
	}
}
