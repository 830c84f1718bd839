package reconciler_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// entering runs what enters reports; end enters those that wait.
func entering(t *testing.T, q *reconciler.Reports) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { q.Run(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

func (f *follower) known() map[string]ledger.FECReport {
	f.t.Helper()
	out := map[string]ledger.FECReport{}
	must(f.t, f.Records.Use(f.t.Context(), func(l *ledger.Ledger) error {
		all, err := l.LatestReports(f.t.Context())
		for _, r := range all {
			out[r.FEC] = r
		}
		return err
	}))
	return out
}

// TestReportsAreEntered and pin releases: of a FEC that has proven a report, also before the service began, nothing else does.
func TestReportsAreEntered(t *testing.T) {
	f := newFollower(t)
	f.pass()
	f.said(running(1, "token", f.Now()))
	var lost atomic.Int64
	q := reconciler.NewReports(f.Reconciler, func(n int) { lost.Add(int64(n)) })
	if latest, proven := q.Known(t.Context()); len(latest) != 1 || proven["kgp2cu02"].Serial != 1 {
		t.Errorf("known are %+v and %+v", latest, proven)
	}
	end := entering(t, q)
	preview := running(4, "token", f.Now())
	preview.Preview = 7
	failed := running(5, "token", f.Now())
	failed.State = "init-failed"
	other := running(6, "report", f.Now())
	other.FEC = "kgp2cu03"
	for _, r := range []ledger.FECReport{running(2, "report", f.Now()), running(3, "token", f.Now()), preview, failed, other} {
		q.Take(r)
	}
	end()
	if got := f.known(); got["kgp2cu02"].Serial != 5 || got["kgp2cu03"].Serial != 6 || lost.Load() != 0 {
		t.Errorf("known are %+v, %d lost", got, lost.Load())
	}
	want := map[string][]int64{"kgp2cu02": {3}, "kgp2cu03": {6}}
	if d := cmp.Diff(want, observeRoot(t, f.Root).Reported); d != "" {
		t.Errorf("pinned (-want +got):\n%s", d)
	}
}

// TestAnswersOverSSHPinReleases like reports.
func TestAnswersOverSSHPinReleases(t *testing.T) {
	f := newFollower(t)
	f.pass()
	f.Proved(t.Context(), running(3, "ssh", f.Now()))
	if got := f.known()["kgp2cu02"]; got.Serial != 3 || got.Source != "ssh" {
		t.Errorf("known is %+v", got)
	}
	if d := cmp.Diff(map[string][]int64{"kgp2cu02": {3}}, observeRoot(t, f.Root).Reported); d != "" {
		t.Errorf("pinned (-want +got):\n%s", d)
	}
	q := reconciler.NewReports(f.Reconciler, func(int) {})
	q.Known(t.Context())
	end := entering(t, q)
	q.Take(running(4, "report", f.Now())) // it has no token to prove what it reports of a boot since
	end()
	if d := cmp.Diff(map[string][]int64{"kgp2cu02": {3, 4}}, observeRoot(t, f.Root).Reported); d != "" {
		t.Errorf("pinned after a boot (-want +got):\n%s", d)
	}
}

// TestAFECWhoseTokenIsTakenAway reports as any other; one that has its token, or never had one, keeps what it proved.
func TestAFECWhoseTokenIsTakenAway(t *testing.T) {
	f := newFollower(t)
	f.pass()
	without, with, over := running(1, "token", f.Now()), running(1, "token", f.Now()), running(1, "ssh", f.Now())
	with.FEC, over.FEC = "kgp2cu03", "kgp2cu04"
	without.Clock, with.Clock = f.Now(), f.Now()
	f.said(without, with, over)
	q := reconciler.NewReports(f.Reconciler, func(int) {})
	q.Forget(t.Context(), map[string]bool{"kgp2cu03": true})
	if _, proven := q.Known(t.Context()); len(proven) != 2 || proven["kgp2cu03"].Serial != 1 || proven["kgp2cu04"].Serial != 1 {
		t.Errorf("proven are %+v", proven)
	}
	f.said(running(f.fec("kgp2cu02").Published.Serial, "report", f.Now()))
	has(t, f.fec("kgp2cu02"))
}

// TestTooManyReportsAreCounted, and what is proven still finds room.
func TestTooManyReportsAreCounted(t *testing.T) {
	f := newFollower(t)
	f.pass()
	lost := 0
	q := reconciler.NewReports(f.Reconciler, func(n int) { lost += n })
	for range 40_000 {
		q.Take(running(1, "report", f.Now()))
	}
	if want := 40_000 - 24_576; lost != want {
		t.Errorf("%d lost, want %d", lost, want)
	}
	lost = 0
	for range 9_000 {
		q.Take(running(2, "token", f.Now()))
	}
	if want := 9_000 - 8_192; lost != want {
		t.Errorf("%d proven ones lost, want %d", lost, want)
	}
	end := entering(t, q)
	for f.known()["kgp2cu02"].Serial != 2 { // else the test runs out of time
		time.Sleep(10 * time.Millisecond)
	}
	end()
}

// TestReportsWithoutALedgerAreLostAndCounted; what they pin is remembered.
func TestReportsWithoutALedgerAreLostAndCounted(t *testing.T) {
	f := newFollower(t)
	must(t, os.MkdirAll(filepath.Join(f.Root, ".pomona/ledger.db"), 0o700))
	lost := 0
	q := reconciler.NewReports(f.Reconciler, func(n int) { lost += n })
	end := entering(t, q)
	q.Take(running(1, "report", f.Now()))
	end()
	if lost != 1 {
		t.Errorf("%d lost, want 1", lost)
	}
	if d := cmp.Diff(map[string][]int64{"kgp2cu02": {1}}, observeRoot(t, f.Root).Reported); d != "" {
		t.Errorf("pinned (-want +got):\n%s", d)
	}
	must(t, os.Remove(filepath.Join(f.Root, ".pomona/ledger.db")))
	end = entering(t, q)
	q.Take(running(2, "report", f.Now()))
	end()
	if got := f.known()["kgp2cu02"]; got.Serial != 2 || lost != 1 {
		t.Errorf("known is %+v, %d lost", got, lost)
	}
}

// TestWhoeverLooksIsToldOfReportsThatAreEntered: not before, or the last of a boot would never be seen.
func TestWhoeverLooksIsToldOfReportsThatAreEntered(t *testing.T) {
	f := newFollower(t)
	f.pass()
	q := reconciler.NewReports(f.Reconciler, func(int) {})
	told := make(chan plan.Condition, 1)
	q.Entered = func() {
		fleet, err := f.Fleet(context.Background())
		if i := slices.IndexFunc(fleet.FECs, func(x report.FleetFEC) bool { return x.FEC == "kgp2cu02" }); err == nil && i >= 0 {
			told <- fleet.FECs[i].Condition
		}
	}
	end := entering(t, q)
	q.Take(running(f.shown("kgp2cu02").Published, "token", f.Now()))
	select {
	case got := <-told:
		if got != plan.Runs {
			t.Errorf("whoever is told sees that it is %s", got)
		}
	case <-time.After(time.Minute):
		t.Error("nobody is told")
	}
	end()
}
