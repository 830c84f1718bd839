package load_test

import (
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// TestPilotsHaveNoProblems holds the sample of pilots to the schema, to stock CUE and to what is checked beyond them.
func TestPilotsHaveNoProblems(t *testing.T) {
	a, err := txtar.ParseFile("testdata/pilots.txtar")
	if err != nil {
		t.Fatal(err)
	}
	m := archive(a)
	loaded := mustLoad(t, load.New(options(t)), m)
	found := desired.Check(loaded.Site, m.Files(), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	if ps := append(found, loaded.Problems...); len(ps) > 0 {
		t.Error(ps)
	}
	kinds := map[string]bool{}
	for _, p := range loaded.Site.Pilots {
		for _, r := range p.Records {
			kinds[r.Kind] = true
		}
	}
	if len(kinds) != 17 { // neither a rejection nor a closure
		t.Errorf("records of %d kinds: %v", len(kinds), kinds)
	}
	if subject, _ := desired.ReleaseSubject(loaded.Site, m.Files(), "bpm", "3.1.0"); loaded.Site.Pilots["bpm-3-1"].Records["freeze-1"].Subject != subject {
		t.Errorf("the release's digest is %s", subject)
	}
	for name, p := range loaded.Site.Pilots {
		if agreed := p.Records["agreement-1"]; agreed.Terms != p.Terms() || !agreed.Names(p) {
			t.Errorf("the terms of %s are %s", name, p.Terms())
		}
	}
	if u := loaded.Site.Pilots["compute"]; u.Records["approval-fix-1"].Terms != u.Updates["fix-1"].Terms() {
		t.Errorf("the terms of the update are %s", u.Updates["fix-1"].Terms())
	}
	values, err := stock(t, checkout(t, m))
	if err != nil {
		t.Fatal(err)
	}
	compareValues(t, values, loaded)
}
