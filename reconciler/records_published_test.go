package reconciler_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// entered is what the ledger of a root has of a FEC, newest first, and which FECs it has at all.
func entered(f *follower, fec string) (of []ledger.PublishedFEC, serials map[string]int64, releases []ledger.PublishedRelease) {
	f.t.Helper()
	must(f.t, f.Records.Use(f.t.Context(), func(l *ledger.Ledger) (err error) {
		if of, err = l.PublishedOf(f.t.Context(), fec, 100); err == nil {
			serials, err = l.Serials(f.t.Context())
		}
		if err == nil {
			releases, err = l.Releases(f.t.Context())
		}
		return err
	}))
	return of, serials, releases
}

func TestThePassEntersWhatItPublishes(t *testing.T) {
	f := newFollower(t)
	f.pass()
	of, _, _ := entered(f, "kgp2cu02")
	if len(of) != 1 || of[0].Commit != f.head() || of[0].Generation != 1 || of[0].Software["bpm"] != "1.1.0" {
		t.Fatalf("after the first pass: %+v", of)
	}
	m, _, unsigned, err := tree.ParseManifest(of[0].Manifest)
	if err != nil || m.Serial != of[0].Serial || m.FEC != "kgp2cu02" || len(unsigned) != len(of[0].Manifest) {
		t.Errorf("manifest %+v, %v", m, err)
	}
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	have := f.pass()
	f.pass()
	of, serials, releases := entered(f, "kgp2cu02")
	if len(of) != 2 || of[0].Commit != f.head() || of[0].Generation != 2 || of[0].Software["bpm"] != "1.0.0" || of[1].Generation != 1 {
		t.Errorf("after a change: %+v", of)
	}
	want := map[string]int64{}
	for _, x := range have.Index.FECs {
		want[x.Name] = x.Serial
	}
	if d := cmp.Diff(want, serials); d != "" {
		t.Errorf("serials (-index +ledger):\n%s", d)
	}
	if len(releases) == 0 || releases[0].Software != "bpm" || releases[0].Generation != 1 {
		t.Errorf("releases %+v", releases)
	}
}

// TestWhatIsPublishedIsEnteredAgain loses the ledger, and makes a pass without one.
func TestWhatIsPublishedIsEnteredAgain(t *testing.T) {
	f := newFollower(t)
	f.pass()
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	f.pass()
	before, serials, releases := entered(f, "kgp2cu02")

	for _, running := range []bool{true, false} {
		if !running {
			f = f.restarted()
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			must(t, os.RemoveAll(filepath.Join(f.Root, durable.Private, ledger.File+suffix)))
		}
		f.pass()
		of, now, rel := entered(f, "kgp2cu02")
		if d := cmp.Diff(before, of) + cmp.Diff(serials, now) + cmp.Diff(releases, rel); d != "" {
			t.Errorf("running %v: entered again (-before +after):\n%s", running, d)
		}
	}

	nowhere := ledger.Postgres{File: filepath.Join(t.TempDir(), "connection"), Schema: "pomona"}
	must(t, reconciler.PlaceLedger(f.Root, &nowhere))
	f.change("fecs/fecs.cue", "\"1.0.0\"\n\t\tinit", "\"1.1.0\"\n\t\tinit")
	f.pass()
	if n := strings.Count(f.log.String(), "ledger cannot be used"); n != 1 {
		t.Errorf("that there is no ledger is said %d times:\n%s", n, f.log)
	}
	must(t, reconciler.PlaceLedger(f.Root, nil))
	if of, _, _ := entered(f, "kgp2cu02"); len(of) != 2 {
		t.Fatalf("without a ledger, %d are entered", len(of))
	}
	f.pass()
	if of, _, _ := entered(f, "kgp2cu02"); len(of) != 3 || of[0].Generation != 3 {
		t.Errorf("when it is back: %d\n%s", len(of), f.log)
	}
}
