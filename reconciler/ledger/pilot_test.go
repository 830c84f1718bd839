package ledger_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestPilotsAreRemembered(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	ctx, at := t.Context(), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	proof := ledger.RecordProof{Section: "pilots", Name: "try", Record: "notes-1", Digest: "d", By: "ann", Source: "signature", At: at}
	other := proof
	other.By = "bob" // nobody takes the place of whom it is known of
	must(t, l.ProveRecords(ctx, []ledger.RecordProof{proof}))
	must(t, l.ProveRecords(ctx, []ledger.RecordProof{other}))
	if got, err := l.RecordProofs(ctx, "pilots"); err != nil || !reflect.DeepEqual(got, []ledger.RecordProof{proof}) {
		t.Errorf("proofs are %+v, %v", got, err)
	}
	gone := proof
	gone.Gone = true
	for _, c := range []struct {
		gone []ledger.RecordProof
		back [][2]string
		want ledger.RecordProof
	}{{[]ledger.RecordProof{proof}, nil, gone}, {nil, [][2]string{{"prerequisites", "try"}}, gone}, {nil, [][2]string{{"pilots", "try"}}, proof}, {nil, nil, proof}} {
		must(t, l.RecordsGo(ctx, c.gone, c.back))
		if got, err := l.RecordProofs(ctx, "pilots"); err != nil || !reflect.DeepEqual(got, []ledger.RecordProof{c.want}) {
			t.Errorf("%+v gone, %v back: proofs are %+v, %v", c.gone, c.back, got, err)
		}
	}
	proof.Source, proof.At = "operator opal: ann has left", at.Add(time.Hour)
	must(t, l.VouchRecord(ctx, proof)) // but an operator may say since when it counts
	if got, err := l.RecordProofs(ctx, "pilots"); err != nil || !reflect.DeepEqual(got, []ledger.RecordProof{proof}) {
		t.Errorf("vouched for, proofs are %+v, %v", got, err)
	}
	if got, err := l.RecordProofs(ctx, "prerequisites"); err != nil || len(got) > 0 {
		t.Errorf("proofs of another section are %+v, %v", got, err)
	}
	wave, trip := ledger.PilotSight{Pilot: "try", Kind: "wave", What: "1 s", At: at}, ledger.PilotSight{Pilot: "try", Kind: "trip", At: at, Detail: "two failed"}
	must(t, l.SeePilots(ctx, []ledger.PilotSight{wave, trip}, nil))
	trip.At = at.Add(time.Hour)
	must(t, l.SeePilots(ctx, []ledger.PilotSight{trip}, []ledger.PilotSight{wave}))
	if got, err := l.PilotSights(ctx); err != nil || !reflect.DeepEqual(got, []ledger.PilotSight{trip}) {
		t.Errorf("sights are %+v, %v", got, err)
	}
	run := ledger.PilotRun{FEC: "a", Software: "bpm", Serial: 7, Version: "2", State: "running", Since: at}
	must(t, l.PutPilotRuns(ctx, []ledger.PilotRun{run}))
	run.State, run.Since = "init-failed", at.Add(time.Minute)
	must(t, l.PutPilotRuns(ctx, []ledger.PilotRun{run}))
	if got, err := l.PilotRuns(ctx); err != nil || !reflect.DeepEqual(got, []ledger.PilotRun{run}) {
		t.Errorf("runs are %+v, %v", got, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
