package tree

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestOnlyNotesThatCountAreServed has a record that the place names, one that it does not, and one that says something else than it did.
func TestOnlyNotesThatCountAreServed(t *testing.T) {
	p := desired.Pilot{Scope: desired.PilotOfSites, Branches: map[string]desired.RPMBranch{"SL9/x86_64": {desired.ReleaseRPMs: {{File: "a.rpm", SHA256: strings.Repeat("a", 64)}}}}}
	subject := p.Snapshot().Subject()
	p.Records = map[string]desired.PilotRecord{
		"notes-1": {Kind: desired.RecordNotes, By: "dev@example.org", At: "2026-10-01T00:00:00Z", Subject: subject, Text: "proven"},
		"notes-2": {Kind: desired.RecordNotes, By: "dev@example.org", At: "2026-10-02T00:00:00Z", Subject: subject, Text: "by nobody knows whom"},
	}
	place := PilotPlace{Name: "cream", Snapshots: []string{subject}, Notes: map[string]PilotNotes{subject: NotesOf("notes-1", p.Records["notes-1"])}}
	folder := func() Folder {
		r, _ := repositoryOf(desired.Site{Pilots: map[string]desired.Pilot{"cream": p}}, place)
		return r.notesFolder()
	}
	f := folder()
	if len(f.Nodes) != 1 || f.Nodes[0].Path != subjectHex(subject)+".md" || !strings.Contains(string(f.Nodes[0].Data), "\nproven\n") {
		t.Errorf("%+v", f)
	}
	changed := p.Records["notes-1"]
	changed.Text = "by nobody knows whom"
	p.Records["notes-1"] = changed
	if f := folder(); len(f.Nodes) != 0 {
		t.Errorf("%+v", f)
	}
}
