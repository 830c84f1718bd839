package reconciler_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func history(t *testing.T, root, path string, n int) report.History {
	t.Helper()
	opened, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	h, err := reconciler.History(opened, nil, path, n)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// lines are a history as "number state: changes".
func lines(h report.History) (out []string) {
	for _, g := range h.Generations {
		s := fmt.Sprintf("%d %s:", g.Number, g.State)
		for _, c := range append(g.FECs, g.Others...) {
			s += " " + c.What + " " + c.Path
		}
		out = append(out, s)
	}
	return out
}

func TestHistorySaysWhatEachGenerationChanged(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	pass(t, s.reconciler(root))
	s.commit("README", "", "no change of the tree\n")
	pass(t, s.reconciler(root))
	s.commit("fecs/fecs.cue", `host:     "scuxl0003"`, `host:     "scuxl0033"`)
	pass(t, s.reconciler(root))
	want := []string{
		"4 serving: changed fecs/kgp2cu03 removed fecs/scuxl0003 added fecs/scuxl0033",
		"3 previous:",
		"2 kept: changed fecs/kgp2cu02",
		"1 kept: added fecs/kgp2cu01 added fecs/kgp2cu02 added fecs/kgp2cu03 added configuration/table added fecs/global " +
			"added fecs/scuxl0001 added fecs/scuxl0002 added fecs/scuxl0003 " +
			"added monitoring/icinga2 added monitoring/prometheus added software/bpm",
	}
	h := history(t, root, "", 0)
	if d := cmp.Diff(want, lines(h)); d != "" || h.Current != 4 {
		t.Errorf("current %d, history (-want +got):\n%s", h.Current, d)
	}
	if d := cmp.Diff(want[:2], lines(history(t, root, "", 2))); d != "" {
		t.Errorf("newest two (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{want[2], want[3]}, lines(history(t, root, "fecs/kgp2cu02", 0))); d != "" {
		t.Errorf("of one FEC (-want +got):\n%s", d)
	}
	var text strings.Builder
	if err := h.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"generation 4, serving: published 2026-11-21 12:00 UTC, commit ", "  same content as generation 2\n",
		"  FECs: 1 changed (fecs/kgp2cu03); besides: 1 added (fecs/scuxl0033), 1 removed (fecs/scuxl0003)\n",
		"  rendered by pomona test, signed by key 0100000000000000\n",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("no %q in\n%s", line, &text)
		}
	}
	opened, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if _, err := reconciler.History(opened, nil, "fecs/kgp2cu2", 0); err == nil || !strings.Contains(err.Error(), `did you mean "fecs/kgp2cu02"?`) {
		t.Errorf("unknown path: %v", err)
	}
	// What is gone cannot be compared with; what was never published says so.
	if err := os.RemoveAll(filepath.Join(root, "generations/1")); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(root, "current"), func() error { return os.Symlink("generations/3", filepath.Join(root, "current")) })
	h = history(t, root, "fecs/kgp2cu01", 0)
	if len(h.Generations) != 1 || h.Generations[0].FECs != nil || h.Generations[0].Since != 0 {
		t.Errorf("the oldest is %+v", h.Generations)
	}
	h = history(t, root, "", 0)
	if h.Generations[0].State != "never published" || h.Generations[1].State != "serving" || h.Generations[2].State != "previous" {
		t.Errorf("states %q", lines(h))
	}
}

func TestHistoryOfAnEmptyRoot(t *testing.T) {
	h := history(t, t.TempDir(), "", 0)
	var text strings.Builder
	if err := h.Text(&text); err != nil || text.String() != "nothing is published\n" {
		t.Errorf("%q, %v", &text, err)
	}
}

// TestHistoryWhilePassesWrite reads while generations come and go.
func TestHistoryWhilePassesWrite(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("site.cue", `name: "test"`, "name: \"test\"\n\tretention: {generations: 2, grace: \"1m\"}")
	pass(t, s.reconciler(root))
	var readers sync.WaitGroup
	done := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if h := history(t, root, "", 0); len(h.Generations) == 0 || h.Current == 0 {
					t.Errorf("history %+v", h)
				}
			}
		}
	})
	versions := []string{`"1.1.0"`, `"1.0.0"`}
	for i := range 6 {
		b, err := os.ReadFile(filepath.Join(s.dir, "fecs/fecs.cue"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(b), versions[0]) > 0 {
			s.commit("fecs/fecs.cue", "version: "+versions[0], "version: "+versions[1])
		} else {
			s.commit("fecs/fecs.cue", "version: "+versions[1], "version: "+versions[0])
		}
		r := s.reconciler(root)
		r.Now = func() time.Time { return now.Add(time.Duration(i+1) * time.Hour) }
		pass(t, r)
	}
	close(done)
	readers.Wait()
	if h := history(t, root, "", 0); len(h.Generations) != 2 {
		t.Errorf("history %q", lines(h))
	}
}
