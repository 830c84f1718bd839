package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestAPlaceHasOnlyWhatIsProven has notes and resources that somebody else wrote, that nobody knows the author of, and that are about something else.
func TestAPlaceHasOnlyWhatIsProven(t *testing.T) {
	l := newSitePilot().deployed()
	gives := desired.SiteResources{Nodes: 4, Cores: 256}
	l.record("resources-1", "alpha@example.org", desired.RecordResources, desired.PilotRecord{Site: "alpha", Resources: &gives})
	l.installs("beta", "withdrawn", "")
	want := l.judge().Place
	notes := tree.NotesOf("notes-1", l.p.Records["notes-1"])
	sites := []tree.PilotSite{{Site: "alpha", Resources: &gives}, {Site: "delta"}, {Site: "gamma"}}
	if d := cmp.Diff(map[string]tree.PilotNotes{l.f.Subject: notes}, want.Notes); d != "" || !want.Published {
		t.Errorf("published %v (-want +got):\n%s", want.Published, d)
	}
	if d := cmp.Diff(sites, want.Sites); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	more := desired.SiteResources{Nodes: 99}
	l.record("notes-2", tester, desired.RecordNotes, desired.PilotRecord{Subject: l.f.Subject, Text: "of another"})
	l.record("notes-3", developer, desired.RecordNotes, desired.PilotRecord{Subject: l.f.Subject, Text: "of nobody"})
	l.record("notes-4", developer, desired.RecordNotes, desired.PilotRecord{Subject: l.subject() + "0", Text: "of something else"})
	l.record("resources-2", "beta@example.org", desired.RecordResources, desired.PilotRecord{Site: "alpha", Resources: &more})
	l.record("resources-3", "alpha@example.org", desired.RecordResources, desired.PilotRecord{Site: "alpha", Resources: &more, Subject: "sha256:other"})
	l.record("deployment-x", "alpha@example.org", desired.RecordDeployment, desired.PilotRecord{Site: "beta", State: "installed", Subject: l.f.Subject})
	delete(l.f.Proofs, "notes-3")
	now := l.judge()
	if d := cmp.Diff(want, now.Place); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"deployment-x", "notes-2", "notes-3", "resources-2"}, now.Doubted); d != "" {
		t.Errorf("doubted (-want +got):\n%s", d)
	}
	l.record("notes-5", developer, desired.RecordNotes, desired.PilotRecord{Subject: l.f.Subject, Text: "anew"})
	if got := l.judge().Place.Notes[l.f.Subject].Record; got != "notes-5" {
		t.Errorf("notes are %s", got)
	}
}
