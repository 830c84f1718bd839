package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestPrerequisitesAreSeenAsTheyAreJudged with what provides them, what was found out, and what needs them.
func TestPrerequisitesAreSeenAsTheyAreJudged(t *testing.T) {
	p := newProviding(t)
	all, err := p.SeenPrerequisites(t.Context())
	if err != nil || all.Commit != "" || len(all.All) != 0 {
		t.Fatalf("before anything is published: %+v %v", all, err)
	}
	p.change("software/bpm.cue", `"1.0.0": payload`, `"0.1.0": {needs: ["dbus"], payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/0.1.0"}}`+"\n\t"+`"1.0.0": payload`)
	p.says(tester, tester, "trial", goodTrial)
	p.settled()
	all, err = p.SeenPrerequisites(t.Context())
	must(t, err)
	judged, err := p.SeePrerequisites(t.Context())
	must(t, err)
	if len(all.All) != 1 || all.Commit != p.head() || !slices.Equal(all.Systems, []string{"bookworm"}) {
		t.Fatalf("%+v", all)
	}
	one := all.All[0]
	if d := cmp.Diff(judged[0], one.Prerequisite); d != "" {
		t.Errorf("it is judged otherwise:\n%s", d)
	}
	if len(one.Provided) != 1 || len(one.Evidence) != 1 {
		t.Fatalf("%+v", one)
	}
	if !slices.Equal(one.NeededBy, []string{"software bpm 0.1.0"}) {
		t.Errorf("it is needed by %q", one.NeededBy)
	}
	v, e := one.Provided[0], one.Evidence[0]
	if v.System != "bookworm" || v.Version != "1.14" || v.Provider != desired.FromDistro || v.Package != "dbus-daemon 1.14.10-1" || v.Verdict != plan.GatePass || v.Verified != e.At || v.Record != e.Name || v.Deviation != nil {
		t.Errorf("%+v", v)
	}
	if e.Says != "pass" || e.Void || e.Gates != trialGate || e.By != tester {
		t.Errorf("%+v", e)
	}
	if got, err := p.SeenPrerequisite(t.Context(), "dbus"); err != nil || got.Next() == "-" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := p.SeenPrerequisite(t.Context(), "bus"); !errors.Is(err, reconciler.ErrNoPrerequisite) {
		t.Error(err)
	}

	// Another package makes the evidence void; a deviation is told of until its last day has ended.
	p.declares(strings.Replace(p.declaration(), `distro: {package`, `{
		artifact: {url: "https://example.org/dbus", sha256: "`+strings.Repeat("a", 64)+`", dest: "/opt/dbus"}
		exception: {provider: "artifact", reason: "the distribution has an older one", by: "ann@example.org", expires: "2026-12-01"}
	}
	systems: bookworm: distro: {package`, 1))
	p.settled()
	one, err = p.SeenPrerequisite(t.Context(), "dbus")
	must(t, err)
	v, e = one.Provided[0], one.Evidence[0]
	if v.Provider != desired.FromArtifact || v.Deviation == nil || v.Deviation.Expires != "2026-12-01" || v.Ended || v.Verified != "" || v.Verdict != plan.GatePending || !e.Void || e.Gates != "" {
		t.Errorf("%+v %+v", v, e)
	}
}
