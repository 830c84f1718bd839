package plan_test

import (
	"fmt"
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
)

// rank of a state: whatever stops a pilot is no advance; what is halted had been mirrored.
func rank(state string) int {
	if state == plan.PilotHalted {
		state = plan.PilotChecked
	}
	return slices.Index([]string{plan.PilotRequested, plan.PilotStaffed, plan.PilotFrozen, plan.PilotChecked, plan.PilotMirrored, plan.PilotCalled, plan.PilotDeployed,
		plan.PilotPublished, plan.PilotClosed}, state)
}

var (
	verdicts  = []string{"pass", "pass", "pass", "pass", "pass", "fail", "inconclusive", "waived"}
	people    = []string{coordinator, developer, authoriser, tester, owner, "alpha@example.org", "beta@example.org", "mallory@example.org"}
	lawKinds  = []string{"freeze", "report", "authorisation", "approval", "rejection", "notes", "mirror", "call", "join", "deployment", "resources", "problem", "feedback", "criterion", "waiver", "halt", "resume", "closure"}
	lawStates = []string{"running", "running", "running", "init-failed", "fallback", "failed", "fetching", "silent"}
)

// drawLife is a pilot that goes well up to some point, with some of what was known gone, and records of all kinds by anybody in between.
func drawLife(t *rapid.T) *life {
	var l *life
	if rapid.Bool().Draw(t, "sites") {
		l = []func() *life{
			newSitePilot, newSitePilot().mirrored, newSitePilot().called, newSitePilot().deployed, newSitePilot().published, newSitePilot().closed,
		}[rapid.IntRange(0, 5).Draw(t, "far")]()
		drawUpdates(t, l)
	} else {
		l = newFECPilot()
		if rapid.Bool().Draw(t, "mirrored") {
			l.mirrored()
		}
		for _, fec := range []string{"fec1", "fec2", "fec3"} {
			if rapid.Bool().Draw(t, fec) {
				f := observed.PilotFEC{FEC: fec, State: rapid.SampledFrom(lawStates).Draw(t, "state"), Version: rapid.SampledFrom([]string{"2.0", "2.0", "1.0"}).Draw(t, "version")}
				if f.Since = l.now.Add(time.Hour); rapid.IntRange(0, 5).Draw(t, "since") == 0 {
					f.Since = time.Time{}
				}
				l.f.FECs = append(l.f.FECs, f)
			}
		}
		l.wait(time.Duration(rapid.IntRange(0, 50).Draw(t, "hours")) * time.Hour)
	}
	if rapid.IntRange(0, 4).Draw(t, "fast") == 0 {
		l.p.Urgency = "fast"
	}
	for i := range rapid.IntRange(0, 6).Draw(t, "records") {
		drawRecord(t, l, fmt.Sprintf("drawn-%d", i))
	}
	l.wait(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 24, 100, 10000}).Draw(t, "later")) * time.Hour)
	return l
}

func drawUpdates(t *rapid.T, l *life) {
	base := l.f.Subject
	var names []string
	for i := range rapid.IntRange(0, 2).Draw(t, "updates") {
		name := fmt.Sprintf("update-%d", i)
		l.addUpdate(name, rapid.SampledFrom([]string{desired.ProductionUpdate, desired.UpdateOfPilot}).Draw(t, "kind"), fmt.Sprintf("ce-1.%0*d", i+1, i+1), base)
		names = append(names, name)
		base = l.subject(names...)
		if rapid.Bool().Draw(t, "mirrored") {
			l.mirrorsUpdate(name, base)
		}
	}
}

// drawRecord is something that anybody says.
func drawRecord(t *rapid.T, l *life, name string) {
	subjects := []string{l.f.Subject, l.f.Subject, "", "sha256:" + fmt.Sprintf("%064d", 7)}
	updates := []string{"", ""}
	at := l.p.Snapshot()
	ordered, _ := l.p.UpdatesInOrder()
	for _, u := range ordered {
		at = at.With(l.p.Updates[u])
		subjects, updates = append(subjects, at.Subject()), append(updates, u)
	}
	check := append([]string{"soak", "test"}, desired.PilotChecks...)
	r := desired.PilotRecord{
		Subject: rapid.SampledFrom(subjects).Draw(t, "subject"), Update: rapid.SampledFrom(updates).Draw(t, "update"),
		Closure: &desired.RPMClosure{Exit: rapid.IntRange(0, 1).Draw(t, "exit")},
		Compat:  rapid.SampledFrom([]string{"", "backward-compatible"}).Draw(t, "compat"),
		Checks:  passes(map[string]string{rapid.SampledFrom(desired.PilotChecks).Draw(t, "check"): rapid.SampledFrom(verdicts).Draw(t, "verdict")}),
		Text:    "new", Migration: "drain", Decision: rapid.SampledFrom([]string{"ok", "ok", "deny"}).Draw(t, "decision"),
		Closes: "2026-10-05", Site: rapid.SampledFrom([]string{"alpha", "beta", "gamma", "delta"}).Draw(t, "site"), Answer: rapid.SampledFrom([]string{"interested", "declined"}).Draw(t, "answer"),
		State: rapid.SampledFrom([]string{"installed", "installed", "failed", "withdrawn"}).Draw(t, "state"), Problem: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "problem"),
		Severity: rapid.SampledFrom([]string{"blocker", "minor"}).Draw(t, "severity"), Status: rapid.SampledFrom([]string{"open", "fixed"}).Draw(t, "status"),
		Criterion: "speed", Met: rapid.SampledFrom([]string{"yes", "no", "inconclusive"}).Draw(t, "met"), Check: rapid.SampledFrom(check).Draw(t, "waived"),
		Expires: rapid.SampledFrom([]string{"2026-10-03", "2026-12-31"}).Draw(t, "expires"), Reason: sentence, Outcome: rapid.SampledFrom([]string{"promoted", "withdrawn"}).Draw(t, "outcome"),
	}
	kind, by := rapid.SampledFrom(lawKinds).Draw(t, "kind"), rapid.SampledFrom(people).Draw(t, "by")
	l.record(name, by, kind, r)
	if rapid.IntRange(0, 3).Draw(t, "proven") == 0 {
		delete(l.f.Proofs, name)
	}
}

// TestWhatNobodyHasProvenChangesNothing is the first law: it neither brings a pilot further nor changes what the tree has of it. But whoever speaks for
// a site may be right that something blocks it.
func TestWhatNobodyHasProvenChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		with := l.clone()
		drawRecord(t, with, "unproven")
		delete(with.f.Proofs, "unproven")
		with.now = with.now.Add(-time.Hour)
		with.change("unproven", func(r *desired.PilotRecord) {
			r.At = with.now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "ago")) * time.Hour).Format(time.RFC3339)
		})
		before, after := l.judge(), with.judge()
		if rank(after.State) > rank(before.State) {
			t.Errorf("it was %s, and is %s", before.State, after.State)
		}
		if r := with.p.Records["unproven"]; r.Kind != desired.RecordProblem && !reflect.DeepEqual(before.Place, after.Place) {
			t.Errorf("%+v: place was %+v, and is %+v", r, before.Place, after.Place)
		}
	})
}

// TestOnlyWhatIsCertainPasses is the second: with nothing known beside the records, or nothing proven, nothing is passed by that.
func TestOnlyWhatIsCertainPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		n := l.judge()
		for _, g := range n.Gates {
			if !g.Verdict.Holds() && g.Why == "" {
				t.Errorf("%s/%s is %s, and does not say why", g.State, g.Name, g.Verdict)
			}
			if g.Verdict == plan.GatePass {
				for _, name := range g.Records {
					if _, ok := l.f.Proofs[name]; !ok && name != "agreement-0" {
						t.Errorf("%s/%s passes by %s, which nobody has proven", g.State, g.Name, name)
					}
				}
			}
		}
		blind := l.clone()
		blind.f.Unmet, blind.f.Signed, blind.f.Masked, blind.f.Members, blind.f.Probes, blind.f.FECs = nil, nil, nil, nil, nil, nil
		if m := blind.judge(); rank(m.State) > rank(n.State) && n.State != plan.PilotHalted || rank(m.State) >= rank(plan.PilotPublished) && m.State != plan.PilotClosed {
			t.Errorf("knowing nothing it is %s, and was %s", m.State, n.State)
		}
		mute := l.clone()
		mute.f.Proofs = nil
		if m := mute.judge(); rank(m.State) > rank(plan.PilotStaffed) || slices.ContainsFunc(m.Place.Waves, func(s string) bool { return s != "" }) || len(m.Place.Snapshots) > 0 {
			t.Errorf("with nothing proven it is %s: %+v", m.State, m.Place)
		}
	})
}

// TestTheSameIsTheSame is the third: it depends on nothing else, neither on the order in which maps are read nor on a clock that passes no day or moment.
func TestTheSameIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		again := l.clone()
		again.p.Records, again.f.FECs = maps.Clone(l.p.Records), slices.Clone(l.f.FECs)
		slices.Reverse(again.f.FECs)
		before, after := l.judge(), again.judge()
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%+v\n%+v", before, after)
		}
		again.now = l.now.Add(time.Nanosecond)
		if later := again.judge(); !reflect.DeepEqual(before.Place, later.Place) && l.now.Add(time.Nanosecond).Truncate(time.Hour).Equal(l.now.Truncate(time.Hour)) {
			t.Errorf("%+v\n%+v", before.Place, later.Place)
		}
	})
}

// TestWavesFollowOneAnother is the fifth: none is open before the one before it.
func TestWavesFollowOneAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		if rapid.Bool().Draw(t, "opened") {
			l.f.Opened = map[string]time.Time{plan.PilotWave{Wave: rapid.IntRange(1, 3).Draw(t, "wave"), Subject: l.f.Subject}.Key(): pilotDawn}
		}
		l.p.Rollout = &desired.Rollout{Waves: append(slices.Clone(l.p.Rollout.Waves), desired.PilotWave{})}
		n := l.judge()
		steps := append([]string{"", l.f.Subject}, subjectsAfter(l)...)
		for i := 1; i < len(n.Place.Waves); i++ {
			if slices.Index(steps, n.Place.Waves[i]) > slices.Index(steps, n.Place.Waves[i-1]) {
				t.Errorf("waves get %q", n.Place.Waves)
			}
		}
		for _, s := range n.Place.Waves {
			if s != "" && l.p.Scope == desired.PilotOfSites && !slices.Contains(n.Place.Snapshots, s) {
				t.Errorf("a wave gets %q, and served are %q", s, n.Place.Snapshots)
			}
		}
	})
}

// subjectsAfter are the subjects after each update.
func subjectsAfter(l *life) (out []string) {
	at := l.p.Snapshot()
	ordered, _ := l.p.UpdatesInOrder()
	for _, u := range ordered {
		at = at.With(l.p.Updates[u])
		out = append(out, at.Subject())
	}
	return out
}

// TestNothingIsGainedByLess is the fourth: without a record that speaks for it, a pilot is no further. Who takes part, and who ends it, speaks neither for nor
// against it; whoever speaks for a site may halt it only once that has installed it.
func TestNothingIsGainedByLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		names := slices.Sorted(maps.Keys(l.p.Records))
		if len(names) == 0 {
			t.Skip("nothing is recorded")
		}
		name := rapid.SampledFrom(names).Draw(t, "record")
		if !speaksFor(l.p.Records[name]) {
			t.Skip("it is against it")
		}
		less := l.clone()
		delete(less.p.Records, name)
		before, after := l.judge(), less.judge()
		if before.State == plan.PilotHalted && l.p.Records[name].Kind == desired.RecordDeployment {
			t.Skip("who has not installed it has not halted it")
		}
		if rank(after.State) > rank(before.State) {
			t.Errorf("without %s (%+v) it is %s, and was %s (%s)", name, l.p.Records[name], after.State, before.State, before.Why)
		}
	})
}

// speaksFor says whether a record lets a pilot go on.
func speaksFor(r desired.PilotRecord) bool {
	for _, c := range r.Checks {
		if r.Kind == desired.RecordReport && c.Verdict != "pass" {
			return false
		}
	}
	switch r.Kind {
	case desired.RecordFreeze:
		return r.Closure == nil || r.Closure.Exit == 0
	case desired.RecordReport, desired.RecordNotes, desired.RecordMirror, desired.RecordCall, desired.RecordWaiver, desired.RecordResume, desired.RecordApproval, desired.RecordResources, desired.RecordFeedback:
		return true
	case desired.RecordAuthorisation:
		return r.Decision == "ok"
	case desired.RecordCriterion:
		return r.Met == "yes"
	case desired.RecordDeployment:
		return r.State == "installed"
	case desired.RecordProblem:
		return r.Status != "open"
	}
	return false
}

// TestClosuresThatCloseNothingAreSkippedRightly compares with looking at each of them.
func TestClosuresThatCloseNothingAreSkippedRightly(t *testing.T) {
	closed := 0
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t)
		for i := range rapid.IntRange(0, 3).Draw(t, "closures") {
			l.record(fmt.Sprintf("closure-%d", i), coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: rapid.SampledFrom([]string{"promoted", "withdrawn"}).Draw(t, "outcome")})
			drawRecord(t, l, fmt.Sprintf("between-%d", i))
		}
		got, want := l.judge(), l.judgeBy(plan.PilotByEachClosure)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
		if strings.HasPrefix(want.Why, "promoted") {
			closed++
		}
	})
	if closed == 0 {
		t.Error("nothing was ever promoted")
	}
}
