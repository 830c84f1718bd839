package ledger_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func published(fec string, serial int64, version string) ledger.PublishedFEC {
	return ledger.PublishedFEC{FEC: fec, Serial: serial, Commit: fmt.Sprintf("%040d", serial), Generation: serial, At: now,
		Manifest: []byte("pomona-boot 1\nfec " + fec + "\n"), Software: map[string]string{"bpm": version, "timing": "2.0.0"}}
}

func TestWhatIsPublishedToAFECIsKnownBySerial(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	publish := func(fecs []ledger.PublishedFEC, gone ...string) {
		t.Helper()
		if err := l.Publish(t.Context(), fecs, gone); err != nil {
			t.Fatal(err)
		}
	}
	serials := func(want map[string]int64) {
		t.Helper()
		got, err := l.Serials(t.Context())
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("serials (-want +got), %v:\n%s", err, d)
		}
	}
	a1, a2, b1 := published("a", 1, "1.0.0"), published("a", 2, "1.1.0"), published("b", 1, "1.0.0")
	publish([]ledger.PublishedFEC{a1, b1})
	serials(map[string]int64{"a": 1, "b": 1})
	publish([]ledger.PublishedFEC{a2}, "b")
	publish([]ledger.PublishedFEC{a2}) // once more changes nothing
	serials(map[string]int64{"a": 2})
	if since, err := l.PublishedSince(t.Context()); len(since) != 1 || !since["a"].Equal(a2.At) || err != nil {
		t.Errorf("published since %v, %v", since, err)
	}
	if got, ok, err := l.PublishedFEC(t.Context(), "a", 1); !cmp.Equal(a1, got) || !ok || err != nil {
		t.Errorf("got %v, %v: %s", ok, err, cmp.Diff(a1, got))
	}
	if _, ok, err := l.PublishedFEC(t.Context(), "a", 3); ok || err != nil {
		t.Errorf("a serial that was never published: %v, %v", ok, err)
	}
	of, err := l.PublishedOf(t.Context(), "a", 10)
	if d := cmp.Diff([]ledger.PublishedFEC{a2, a1}, of); d != "" || err != nil {
		t.Errorf("published to a (-want +got), %v:\n%s", err, d)
	}
	if of, err := l.PublishedOf(t.Context(), "a", 1); len(of) != 1 || of[0].Serial != 2 || err != nil {
		t.Errorf("the last one is %v, %v", of, err)
	}
	publish([]ledger.PublishedFEC{b1})
	serials(map[string]int64{"a": 2, "b": 1})
}

func TestManyFECsArePublishedAtOnceAndFewOfEachAreKept(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	if err := l.AddReports(t.Context(), []ledger.FECReport{{FEC: "fec0007", Serial: 3, State: "running", Source: "report", At: now}}); err != nil {
		t.Fatal(err) // it does not boot for long
	}
	for serial := range int64(25) {
		var fecs []ledger.PublishedFEC
		for i := range 1200 {
			if f := fmt.Sprintf("fec%04d", i); serial > 22 || i == 7 {
				fecs = append(fecs, published(f, serial+1, "1.0.0"))
			}
		}
		if err := l.Publish(t.Context(), fecs, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Serials(t.Context()); len(got) != 1200 || got["fec1199"] != 25 || err != nil {
		t.Errorf("%d FECs, %v", len(got), err)
	}
	of, err := l.PublishedOf(t.Context(), "fec0007", 100)
	if len(of) != 21 || of[0].Serial != 25 || of[19].Serial != 6 || of[20].Serial != 3 || len(of[20].Software) != 2 || err != nil {
		t.Errorf("kept %d, %v", len(of), err)
	}
	if of, err := l.PublishedOf(t.Context(), "fec0008", 100); len(of) != 2 || err != nil {
		t.Errorf("kept %d of another, %v", len(of), err)
	}
}

func TestReleasesKeepTheirTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l := open(t, path)
	first := ledger.PublishedRelease{Software: "bpm", Version: "1.0.0", Commit: "c1", Generation: 1, At: now}
	later := ledger.PublishedRelease{Software: "bpm", Version: "1.1.0", Commit: "c2", Generation: 2, At: now.Add(1e9)}
	again := later
	again.Version = first.Version
	for _, releases := range [][]ledger.PublishedRelease{{first}, {again, later}, {later}} {
		if err := l.PublishReleases(t.Context(), releases); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Releases(t.Context())
	if !slices.Equal(got, []ledger.PublishedRelease{later}) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if err := l.PublishReleases(t.Context(), []ledger.PublishedRelease{again}); err != nil {
		t.Fatal(err)
	}
	if got, err = l.Releases(t.Context()); !slices.Equal(got, []ledger.PublishedRelease{first}) || err != nil {
		t.Errorf("one that is back: %v, %v", got, err)
	}
}

// TestVersionsOfManyFECs: of each what its own serial had, of those without the software that there is none, of unknown ones nothing.
func TestVersionsOfManyFECs(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	var all []ledger.PublishedFEC
	asked := map[string]int64{"gone": 1, "fec0000": 9}
	for i := range 450 {
		f := published(fmt.Sprintf("fec%04d", i), int64(1+i%2), fmt.Sprintf("1.%d.0", i%2))
		if i == 4 {
			delete(f.Software, "bpm")
		}
		other := published(f.FEC, 5, "9.0.0")
		all = append(all, f, other)
		if i > 0 {
			asked[f.FEC] = f.Serial
		}
	}
	if err := l.Publish(t.Context(), all, nil); err != nil {
		t.Fatal(err)
	}
	of, err := l.VersionsOf(t.Context(), "bpm", asked)
	if none, known := of["fec0004"]; err != nil || len(of) != 449 || of["fec0001"] != "1.1.0" || of["fec0448"] != "1.0.0" || none != "" || !known {
		t.Errorf("%d versions, %v: %v", len(of), err, of)
	}
	n, err := l.CountVersions(t.Context(), asked)
	if d := cmp.Diff(map[string]map[string]int{"bpm": {"1.0.0": 223, "1.1.0": 225}, "timing": {"2.0.0": 449}}, n); d != "" || err != nil {
		t.Errorf("counts (-want +got), %v:\n%s", err, d)
	}
}
