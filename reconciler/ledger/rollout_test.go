package ledger_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestRolloutsReplaceTheirEarlierOnesAndAreForgotten(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	a := ledger.Rollout{FEC: "a", Wanted: 7, Was: 6, Need: "restart", Software: "bpm timing", Group: "linac", Wave: 2, State: "asking", Boot: "x", At: now}
	b := ledger.Rollout{FEC: "b", Wanted: 8, State: "failed", Detail: "why", Closed: true, At: now.Add(time.Second)}
	set := func(set []ledger.Rollout, forget ...string) {
		t.Helper()
		if err := l.SetRollouts(t.Context(), set, forget); err != nil {
			t.Fatal(err)
		}
	}
	set([]ledger.Rollout{a, b})
	a.Wanted, a.State, a.At = 9, "asked", now.Add(time.Minute)
	set([]ledger.Rollout{a, {FEC: "c", State: "running", At: now}})
	set(nil, "c", "nobody")
	got, pause, err := l.Rollouts(t.Context())
	if err != nil || pause.Reason != "" {
		t.Fatal(pause, err)
	}
	if d := cmp.Diff(map[string]ledger.Rollout{"a": a, "b": b}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestThePauseThatIsInForceStays(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	first := ledger.RolloutPause{Reason: "three failed", At: now}
	for _, p := range []ledger.RolloutPause{first, {Reason: "four failed", At: now.Add(time.Hour)}} {
		if err := l.PauseRollouts(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, err := l.Rollouts(t.Context()); got != first || err != nil {
		t.Errorf("paused by %+v, %v", got, err)
	}
	mine := ledger.RolloutPause{Reason: "beam", By: "bob", At: now.Add(2 * time.Hour)}
	for _, p := range []ledger.RolloutPause{mine, {Reason: "again", By: "ann", At: now.Add(3 * time.Hour)}, first} {
		if err := l.PauseRollouts(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, err := l.Rollouts(t.Context()); got != mine || err != nil {
		t.Errorf("after an operator took over: %+v, %v", got, err)
	}
	if err := l.PauseRollouts(t.Context(), ledger.RolloutPause{}); err != nil {
		t.Fatal(err)
	}
	if _, got, err := l.Rollouts(t.Context()); got != (ledger.RolloutPause{}) || err != nil {
		t.Errorf("after it ended: %+v, %v", got, err)
	}
}
