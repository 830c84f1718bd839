package ledger_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// TestWavesAreRemembered: each by when it opened, although FECs of it are asked one after the other, and the next release's wave 1 is another one.
func TestWavesAreRemembered(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	rollout := func(fec, group string, wave, wanted int64, state string, minute int) ledger.Rollout {
		return ledger.Rollout{FEC: fec, Group: group, Wave: wave, Wanted: wanted, Was: wanted - 1, Need: "restart", State: state, Detail: map[string]string{"failed": "late"}[state],
			At: now.Add(time.Duration(minute) * time.Minute)}
	}
	set := func(forget string, set ...ledger.Rollout) {
		t.Helper()
		if err := l.SetRollouts(t.Context(), set, []string{forget}); err != nil {
			t.Fatal(err)
		}
	}
	set("", rollout("a", "linac", 1, 7, "asking", 0))
	set("", rollout("a", "linac", 1, 7, "asked", 1))
	set("", rollout("b", "linac", 1, 7, "asking", 2), rollout("c", "linac", 1, 7, "asking", 2))
	set("c") // it was not restarted
	set("", rollout("a", "linac", 1, 7, "running", 3), rollout("b", "linac", 1, 7, "failed", 4))
	set("", rollout("x", "ring", 1, 7, "asking", 5), rollout("d", "", 0, 7, "asking", 6))
	done := rollout("b", "linac", 1, 7, "failed", 4)
	done.Closed = true
	set("a", done, rollout("e", "linac", 0, 7, "skipped", 7)) // all is done; who is left alone was not restarted
	set("x")
	set("", rollout("a", "linac", 1, 8, "asking", 8))

	waves, err := l.PastWaves(t.Context())
	at := func(minute int) time.Time { return now.Add(time.Duration(minute) * time.Minute) }
	want := []ledger.PastWave{
		{Opened: at(8), Group: "linac", Wave: 1, FECs: 1, Last: at(8)},
		{Opened: at(6), FECs: 1, Last: at(6)},
		{Opened: at(0), Group: "linac", Wave: 1, FECs: 2, Runs: 1, Failed: 1, Last: at(4)},
	}
	if d := cmp.Diff(want, waves); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	all, began, err := l.PastRestarts(t.Context(), at(0))
	if err != nil || len(all) != 2 || all[0].FEC != "a" || all[0].State != "running" || !began[1].Equal(at(2)) || all[1].State != "failed" || all[1].Detail != "late" || all[1].Was != 6 {
		t.Errorf("%+v %v %v", all, began, err)
	}
}

// TestOldWavesGo when others open.
func TestOldWavesGo(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for i := range 205 {
		r := ledger.Rollout{FEC: "a", Group: "g", Wanted: int64(i), State: "asking", At: now.Add(time.Duration(i) * time.Second)}
		if err := l.SetRollouts(t.Context(), []ledger.Rollout{r}, nil); err != nil {
			t.Fatal(err)
		}
	}
	waves, err := l.PastWaves(t.Context())
	if err != nil || len(waves) != 200 || !waves[0].Opened.Equal(now.Add(204*time.Second)) {
		t.Errorf("%d waves, %v", len(waves), err)
	}
}
