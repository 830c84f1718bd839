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
		opened := minute
		if opened == 2 {
			opened = 0 // one wave
		}
		return ledger.Rollout{FEC: fec, Group: group, Wave: wave, Wanted: wanted, Was: wanted - 1, Need: "restart", State: state, Detail: map[string]string{"failed": "late"}[state],
			At: now.Add(time.Duration(minute) * time.Minute), Opened: now.Add(time.Duration(opened) * time.Minute)}
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

// TestOldWavesGo when others open, and orders when others are given: neither makes the other go.
func TestOldWavesGo(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for i := range int64(205) {
		at := now.Add(time.Duration(i) * time.Hour)
		for _, wave := range []int64{i + 1, 0} {
			r := ledger.Rollout{FEC: "a", Group: "g", Wave: wave, Wanted: i, State: "asking", At: at, Opened: at}
			if err := l.SetRollouts(t.Context(), []ledger.Rollout{r}, nil); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Minute)
		}
	}
	waves, err := l.PastWaves(t.Context())
	if err != nil || len(waves) != 400 || waves[0].Wave != 0 || waves[1].Wave != 205 || waves[399].Wave != 6 || !waves[399].Opened.Equal(now.Add(5*time.Hour)) {
		t.Errorf("%d waves, %v", len(waves), err)
	}
}

// restarts enters what becomes of restarts of group g, some minutes after now; with an asking one, the wave opens then.
type restarts struct {
	*testing.T
	l *ledger.Ledger
}

func (s restarts) of(fec string, wave, wanted int64, state string, minute int) {
	s.Helper()
	at := now.Add(time.Duration(minute) * time.Minute)
	r := ledger.Rollout{FEC: fec, Group: "g", Wave: wave, Wanted: wanted, Was: wanted - 1, Need: "restart", State: state, At: at, Opened: at}
	if err := s.l.SetRollouts(s.Context(), []ledger.Rollout{r}, nil); err != nil {
		s.Fatal(err)
	}
}

func (s restarts) are(want ...ledger.PastWave) {
	s.Helper()
	waves, err := s.l.PastWaves(s.Context())
	if d := cmp.Diff(want, waves); d != "" || err != nil {
		s.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// TestAWaveOfTheSameNumberIsAnother, although the one before was never done: something else was published meanwhile.
func TestAWaveOfTheSameNumberIsAnother(t *testing.T) {
	s := restarts{t, open(t, filepath.Join(t.TempDir(), "l.db"))}
	for _, fec := range []string{"a", "b"} {
		s.of(fec, 1, 7, "asking", 0)
		s.of(fec, 1, 7, "running", 3)
	}
	s.of("a", 1, 8, "asking", 60)
	s.of("c", 1, 8, "asking", 60)
	s.of("a", 1, 8, "running", 62)
	at := func(minute int) time.Time { return now.Add(time.Duration(minute) * time.Minute) }
	s.are(ledger.PastWave{Opened: at(60), Group: "g", Wave: 1, FECs: 2, Runs: 1, Last: at(62)}, ledger.PastWave{Opened: now, Group: "g", Wave: 1, FECs: 2, Runs: 2, Last: at(3)})
	all, began, err := s.l.PastRestarts(t.Context(), at(60))
	if err != nil || len(all) != 2 || all[0].Was != 7 || all[0].Wanted != 8 || !began[0].Equal(at(60)) {
		t.Errorf("%+v %v %v", all, began, err)
	}
}

// TestOrdersAreOneWave that follow each other, but no FEC is in it twice, nor in one that opened before its latest.
func TestOrdersAreOneWave(t *testing.T) {
	s := restarts{t, open(t, filepath.Join(t.TempDir(), "l.db"))}
	s.of("a", 0, 7, "asking", 0)
	s.of("b", 0, 7, "asking", 9)
	s.of("c", 1, 7, "asking", 4)
	s.of("c", 1, 7, "failed", 5)
	s.of("c", 0, 7, "asking", 6)
	s.of("c", 0, 7, "running", 8)
	s.of("d", 0, 7, "asking", 30)
	at := func(minute int) time.Time { return now.Add(time.Duration(minute) * time.Minute) }
	s.are(ledger.PastWave{Opened: at(30), Group: "g", FECs: 1, Last: at(30)}, ledger.PastWave{Opened: at(6), Group: "g", FECs: 1, Runs: 1, Last: at(8)},
		ledger.PastWave{Opened: at(4), Group: "g", Wave: 1, FECs: 1, Failed: 1, Last: at(5)}, ledger.PastWave{Opened: now, Group: "g", FECs: 2, Last: at(9)})
}

// TestAnOrderThatWaitsAgainIsNoRestart: its FEC was not restarted.
func TestAnOrderThatWaitsAgainIsNoRestart(t *testing.T) {
	s := restarts{t, open(t, filepath.Join(t.TempDir(), "l.db"))}
	s.of("d", 0, 7, "asking", 0)
	s.of("d", 0, 7, "asked", 1)
	s.of("d", 0, 7, "now", 2)
	s.are()
	s.of("d", 0, 8, "asking", 3)
	s.of("d", 0, 8, "running", 5)
	s.are(ledger.PastWave{Opened: now.Add(3 * time.Minute), Group: "g", FECs: 1, Runs: 1, Last: now.Add(5 * time.Minute)})
}

// TestARestartThatFailedStaysSo when the FEC runs something else later; what it was restarted for, it may run late.
func TestARestartThatFailedStaysSo(t *testing.T) {
	s := restarts{t, open(t, filepath.Join(t.TempDir(), "l.db"))}
	s.of("a", 1, 7, "asking", 0)
	s.of("a", 1, 7, "failed", 1)
	s.of("a", 0, 8, "running", 2)
	wave := ledger.PastWave{Opened: now, Group: "g", Wave: 1, FECs: 1, Failed: 1, Last: now.Add(time.Minute)}
	s.are(wave)
	s.of("a", 1, 7, "running", 3)
	wave.Failed, wave.Runs, wave.Last = 0, 1, now.Add(3*time.Minute)
	s.are(wave)
}
