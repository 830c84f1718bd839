package ledger_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// TestABroadcastIsEnteredOnce enters one twice, the second time with another text and another way.
func TestABroadcastIsEnteredOnce(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	if all, begun, err := l.PilotBroadcasts(t.Context()); len(all) > 0 || begun || err != nil {
		t.Fatal(all, begun, err)
	}
	a := ledger.PilotBroadcast{Pilot: "cream", Kind: "call", About: "call-1", Title: "t", Text: "x", At: now}
	way := ledger.PilotDelivery{Pilot: "cream", Kind: "call", About: "call-1", Channel: "mail", Event: []byte("{}"), Since: now, Due: now}
	put := func(at time.Time, b []ledger.PilotBroadcast, d ...ledger.PilotDelivery) {
		t.Helper()
		if err := l.Broadcast(t.Context(), b, d, at); err != nil {
			t.Fatal(err)
		}
	}
	put(now, []ledger.PilotBroadcast{a}, way)
	again, other := a, ledger.PilotBroadcast{Pilot: "cream", Kind: "closed", Past: true, At: now.Add(-time.Hour)}
	again.Title, again.At = "another", now.Add(time.Hour)
	wayAgain := way
	wayAgain.Event = []byte("other")
	put(now.Add(time.Hour), []ledger.PilotBroadcast{again, other}, wayAgain)
	all, begun, err := l.PilotBroadcasts(t.Context())
	if d := cmp.Diff([]ledger.PilotBroadcast{other, a}, all); d != "" || !begun || err != nil {
		t.Errorf("%v %v (-want +got):\n%s", begun, err, d)
	}
	ways := func() (all []ledger.PilotDelivery) {
		t.Helper()
		all, err := l.PilotDeliveries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if d := cmp.Diff([]ledger.PilotDelivery{way}, ways()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := l.BroadcastLater(t.Context(), way, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := ways(); len(got) != 1 || got[0].Tries != 1 || !got[0].Due.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v", got)
	}
	if err := l.Broadcasted(t.Context(), way, "sent"); err != nil {
		t.Fatal(err)
	}
	put(now, []ledger.PilotBroadcast{a}, way)
	if got := ways(); len(got) > 0 {
		t.Errorf("it is on its way again: %+v", got)
	}
}

func TestProbesReplaceTheirEarlierOnes(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	a := ledger.PilotProbe{Pilot: "cream", Site: "A", Why: "nobody knows", At: now}
	b := ledger.PilotProbe{Pilot: "cream", Site: "B", Seen: true, Why: "wrong level", At: now}
	for _, some := range [][]ledger.PilotProbe{{b, a}, nil, {{Pilot: "cream", Site: "A", Seen: true, Right: true, At: now.Add(time.Minute)}, {Pilot: "cream", Site: "B", Seen: true, Why: "still", At: now.Add(time.Minute)}}} {
		if err := l.PutPilotProbes(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	a.Seen, a.Right, a.Why, a.At, a.Since = true, true, "", now.Add(time.Minute), now.Add(time.Minute)
	b.Why, b.At, b.Since = "still", now.Add(time.Minute), now // it says the same
	got, err := l.PilotProbes(t.Context())
	if d := cmp.Diff([]ledger.PilotProbe{a, b}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}
