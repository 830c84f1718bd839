package reconciler_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// TestWhatAFECRunsIsKept is law 5 for last reports: FECs that stay on an old release keep its objects, as long as they are
// in the site and say that they run what was published to them.
func TestWhatAFECRunsIsKept(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("site.cue", "scripts:", "retention: generations: 2\n\tscripts:")
	first := pass(t, s.reconciler(root))
	serial := map[string]int64{}
	for _, f := range first.Index.FECs {
		serial[f.Name] = f.Serial
	}
	kept, gone := follow(t, root, "fecs/kgp2cu03"), follow(t, root, "fecs/kgp2cu02")
	archive := follow(t, root, "fecs/kgp2cu03/software/bpm-dev.tar.gz")
	r := s.reconciler(root)
	must(t, r.Reported(store.Run{FEC: "kgp2cu03", Serial: serial["kgp2cu03"]}, store.Run{FEC: "kgp2cu03", Serial: serial["kgp2cu03"] + 7},
		store.Run{FEC: "kgp2cu02", Serial: serial["kgp2cu02"] + 7}, store.Run{FEC: "nobody", Serial: 1}))
	passes := func(from, to int) (have observed.Root) {
		for i := from; i < to; i++ {
			s.commit("payload/bpm/dev/bin/bpm", "echo", "echo again;echo")
			s.commit("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
			r := s.reconciler(root)
			r.Now = func() time.Time { return time.Now().AddDate(0, 0, 2*i) }
			have = pass(t, r)
		}
		return have
	}
	if have := passes(1, 6); have.Generations[0].Number == 1 {
		t.Fatal("generation 1 is still there")
	}
	for _, path := range []string{kept, archive} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what kgp2cu03 runs was pruned: %v", err)
		}
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("a serial that was never published pins a release")
	}
	// Once it reports the newest, the old one goes.
	have := observeRoot(t, root)
	for _, f := range have.Index.FECs {
		must(t, s.reconciler(root).Reported(store.Run{FEC: f.Name, Serial: f.Serial}))
	}
	passes(6, 11)
	for _, path := range []string{kept, archive} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there although nobody runs it", filepath.Base(path))
		}
	}
}

// TestAReportDuringAPassIsKept reports while a pass writes the pins that it made of earlier reports.
func TestAReportDuringAPassIsKept(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("site.cue", "scripts:", "retention: generations: 2\n\tscripts:")
	pass(t, s.reconciler(root))
	must(t, s.reconciler(root).Reported(store.Run{FEC: "kgp2cu01", Serial: 1}))
	said := false
	for i := 1; i < 5 && !said; i++ {
		s.commit("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
		r := s.reconciler(root)
		r.Now = func() time.Time { return time.Now().AddDate(0, 0, 2*i) }
		r.Hook = func(op durable.Op, do func() error) error {
			if op.Path == ".pomona/pins" {
				said = true
				must(t, s.reconciler(root).Reported(store.Run{FEC: "kgp2cu01", Serial: 2}))
			}
			return do()
		}
		if _, err := r.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := observeRoot(t, root).Reported; !said || !slices.Equal(got["kgp2cu01"], []int64{2}) {
		t.Errorf("pins were written: %v; after that the reports are %v", said, got)
	}
}

// TestFloodOfReportsIsBounded sends more reports than fit: the last of each FEC stay.
func TestFloodOfReportsIsBounded(t *testing.T) {
	root := t.TempDir()
	r := newSite(t).reconciler(root)
	pass(t, r)
	file := filepath.Join(root, ".pomona/reported")
	must(t, os.WriteFile(file, []byte("kgp2cu02 7\nkgp2cu01 5\nkgp2cu02 1\nkgp2cu02 2\nkgp2cu02 3\nkgp2cu02 4\n"+strings.Repeat("kgp2cu01 6\n", 500_000)), 0o600))
	must(t, r.Reported(store.Run{FEC: "kgp2cu03", Serial: 1}))
	if info, err := os.Stat(file); err != nil || info.Size() > 100 {
		t.Errorf("the file of reports grows without bound: %v", err)
	}
	want := map[string][]int64{"kgp2cu01": {5, 6}, "kgp2cu02": {1, 2, 3, 4}, "kgp2cu03": {1}}
	if d := cmp.Diff(want, observeRoot(t, root).Reported); d != "" {
		t.Errorf("reports are lost (-want +got):\n%s", d)
	}
}
