package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestAChangedUpdateIsAnnouncedAgain tells of one, changes its packages, and has it mirrored once more.
func TestAChangedUpdateIsAnnouncedAgain(t *testing.T) {
	l := newSitePilot().deployed()
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
	l.mirrorsUpdate("fix", l.subject("fix"))
	var told []observed.PilotBroadcast
	tell := func() (updates int) {
		due := plan.PilotBroadcasts(l.judge(), l.p, told)
		for _, b := range due {
			if b.Kind == observed.BroadcastUpdate {
				updates++
				l.f.Announced[b.About] = l.now
			}
		}
		told = append(told, due...)
		return updates
	}
	if n := tell(); n != 1 || l.judge().Updates[0].State != plan.UpdateAnnounced {
		t.Errorf("people are told %d times, and it is %s", n, l.judge().Updates[0].State)
	}
	if n := tell(); n != 0 {
		t.Errorf("people are told %d times of the same", n)
	}
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.2", l.f.Subject)
	for _, kind := range []string{"approval", "freeze", "report", "notes", "mirror"} {
		delete(l.p.Records, "fix-"+kind)
	}
	l.mirrorsUpdate("fix", l.subject("fix"))
	if s := l.judge().Updates[0].State; s != plan.UpdateMirrored {
		t.Errorf("it is %s before anybody was told of what it is now", s)
	}
	if n := tell(); n != 1 {
		t.Errorf("people are told %d times of what has changed", n)
	}
}

// TestAClosureIsToldByItsRecord: who opens a pilot again and closes it otherwise is told of that too.
func TestAClosureIsToldByItsRecord(t *testing.T) {
	l := newSitePilot().closed()
	due := plan.PilotBroadcasts(l.judge(), l.p, nil)
	if !slices.ContainsFunc(due, func(b observed.PilotBroadcast) bool {
		return b.Kind == observed.BroadcastClosed && b.About == "closed closure"
	}) {
		t.Errorf("people are told %+v", due)
	}
}

// TestAResumeForgivesTheFailuresBeforeIt, however late somebody looks at FECs that still show them.
func TestAResumeForgivesTheFailuresBeforeIt(t *testing.T) {
	l := newFECPilot().mirrored()
	l.wait(time.Hour)
	l.runs("fec1", "failed", "2.0")
	failed := l.now
	l.wait(time.Hour)
	n := l.judge()
	if n.State != plan.PilotHalted || !n.TripAt.Equal(failed) {
		t.Fatalf("it is %s since %s, and failed at %s", n.State, n.TripAt, failed)
	}
	l.f.Tripped, l.f.TrippedWhy = n.TripAt, n.Trip
	l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
	proof := l.f.Proofs["resume-1"]
	delete(l.f.Proofs, "resume-1")
	l.wait(time.Hour)
	n = l.judge() // somebody looks before it is proven
	l.f.Tripped, l.f.TrippedWhy = n.TripAt, n.Trip
	l.is(t, plan.PilotHalted)
	l.f.Proofs["resume-1"] = proof
	l.is(t, plan.PilotCalled)
	l.runs("fec1", "failed", "2.0")
	l.is(t, plan.PilotHalted)
}

// TestNobodyIsToldOfWhatDoesNotHold: records say that a pilot is called, and its packages say otherwise, or nobody knows.
func TestNobodyIsToldOfWhatDoesNotHold(t *testing.T) {
	for name, change := range map[string]func(*life){
		"unsigned":                   func(l *life) { l.f.Signed[l.f.Subject] = "ce-1.0.rpm: nobody has signed it" },
		"nobody looked who signed":   func(l *life) { delete(l.f.Signed, l.f.Subject) },
		"nobody knows what it lacks": func(l *life) { delete(l.f.Unmet, l.f.Subject) },
		"lacking":                    func(l *life) { l.f.Unmet[l.f.Subject] = []string{"libx"} },
	} {
		l := newSitePilot().published()
		l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
		l.mirrorsUpdate("fix", l.subject("fix"))
		kinds := map[observed.PilotBroadcastKind]bool{}
		for _, b := range plan.PilotBroadcasts(l.judge(), l.p, nil) {
			kinds[b.Kind] = true
		}
		for _, k := range []observed.PilotBroadcastKind{observed.BroadcastCall, observed.BroadcastUpdate, observed.BroadcastResources, observed.BroadcastPublished} {
			if !kinds[k] {
				t.Errorf("%s: people are not told of %s when all holds", name, k)
			}
		}
		change(l)
		if due := plan.PilotBroadcasts(l.judge(), l.p, nil); len(due) > 0 {
			t.Errorf("%s: it is %s, and people are told %+v", name, l.judge().State, due)
		}
		if due := plan.PilotBroadcasts(l.judge(), l.p, []observed.PilotBroadcast{{Pilot: l.name, Kind: observed.BroadcastHalt, About: "1"}}); len(due) > 0 {
			t.Errorf("%s: it was halted, and people are told %+v", name, due)
		}
	}
}
