package reconciler_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestARevisionAndARootGiveTheSamePlan: what a pull request shows is what the merge does, to the byte, although a
// comparison of two revisions builds only what differs and what FECs will download.
func TestARevisionAndARootGiveTheSamePlan(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	for _, c := range []struct{ name, file, old, new string }{
		{"a version that is served already", "fecs/fecs.cue", `bpm: version: "1.0.0"`, `bpm: version: "1.1.0"`},
		{"a FEC more", "fecs/fecs.cue", "kgp2cu02: {", `kgp2cu04: {host: "a", platform: "ppc", software: bpm: version: "1.1.0"}` + "\n\tkgp2cu02: {"},
		{"a FEC less", "fecs/fecs.cue", `	kgp2cu02: {
		host:     "scuxl0002"
		platform: "x86"
		software: bpm: version: "1.1.0"
		init: "10-env": global: "10-env"
	}
`, ""},
		{"a shared script", "scripts/env", "global", "all"},
		{"a script of one FEC", "scripts/bpm", "bpm", "other"},
		{"software in place", "payload/bpm/dev/bin/bpm", "dev", "other"},
		{"shared configuration", "payload/table/table.txt", "1", "2"},
		{"the client", "site.cue", "name: ", `boot: servers: ["http://a"], name: `},
		{"another platform", "site.cue", `"zstd"], format: "zstd"`, `"zstd"]`},
		{"nothing that is served", "site.cue", "name: ", `description: "x", name: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.grow(c.file, c.old, c.new).reconciler(root)
			r.Now = func() time.Time { return now.Add(time.Hour) }
			served, err := r.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			compared, err := r.Compare(t.Context(), "HEAD~1")
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range compared.Plan.FECs {
				if f.What == plan.Removed {
					compared.Plan.FECs[i].Groups = []string{} // which a root does not tell
				}
			}
			got, want := compared.Plan, served.Plan
			for _, d := range []string{
				cmp.Diff(want.FECs, got.FECs), cmp.Diff(want.Shared, got.Shared), cmp.Diff(want.Changes, got.Changes),
				cmp.Diff(want.Totals, got.Totals), cmp.Diff(want.Builds, got.Builds), cmp.Diff(want.Releases, got.Releases),
			} {
				if d != "" {
					t.Errorf("plans differ (-root +revision):\n%s", d)
				}
			}
			if empty := c.name == "nothing that is served"; got.Empty() != empty {
				t.Errorf("empty: %v", got.Empty())
			}
			for _, f := range got.FECs {
				if f.Needs == plan.Boot && f.Bytes == 0 || len(f.Scripts)+len(f.Configuration) > 0 && f.Bytes == 0 {
					t.Errorf("%s downloads nothing: %+v", f.Name, f)
				}
			}
		})
	}
}

// TestAPlanForeseesWhatAPassSweeps walks through commits of which only the newest two stay.
func TestAPlanForeseesWhatAPassSweeps(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("site.cue", "name: ", `retention: {generations: 2, grace: "1h"}, name: `)
	swept := 0
	for i := range 6 {
		if i > 0 {
			s = s.grow("payload/bpm/1.0.0/bin/bpm", "echo ", "echo x")
		}
		r := s.reconciler(root)
		r.Now = func() time.Time { return now.Add(time.Duration(i+1) * 48 * time.Hour) }
		if i == 4 {
			r.Branch = "HEAD~3" // comes back: its objects are not swept any more
		}
		foreseen, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Reconcile(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := plan.Swept{Objects: rep.Swept, Bytes: rep.Freed}
		if d := cmp.Diff(want, foreseen.Plan.Prune.Swept); d != "" {
			t.Errorf("pass %d sweeps otherwise than foreseen (-pass +plan):\n%s", i, d)
		}
		swept += rep.Swept
	}
	if swept == 0 {
		t.Error("nothing was swept")
	}
}
