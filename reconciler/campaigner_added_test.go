package reconciler

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// A lost ledger gets back what was added to a slice, and with which round.
func TestAddedInputsAreEnteredAgain(t *testing.T) {
	root, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if err := os.MkdirAll(filepath.Join(root, durable.Private), 0o700); err != nil {
		t.Fatal(err)
	}
	records := NewRecords(root, log)
	t.Cleanup(func() { _ = records.Close() }) // the folder goes
	folder, clock := t.TempDir(), judgedAt
	tick := func() time.Time { clock = clock.Add(time.Second); return clock }
	s := NewCampaigner(&Campaigner{Reconciler: &Reconciler{Root: root, Log: log, Now: tick, Records: records}, Engines: map[string]BatchEngine{"e": {Folder: folder}}})
	for round, inputs := range [][]string{{"a", "b"}, {"c"}, {"b", "c"}, {"d", "e"}} {
		w := submit.Work{Site: "linac", UID: "keepup/1", Stage: "reco", Engine: "e", Job: desired.Job{Argv: []string{"true"}},
			Tasks: []submit.Task{{Slice: observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: "all", Count: min(2+round, 5), Inputs: inputs}, Round: round, Attempt: 1}}}
		if err := s.desk("e").Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		launch, _ := w.Intent(clock)
		if err := os.WriteFile(filepath.Join(folder, launch.Key, "call", "x"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.rebuild(t.Context(), siteNow{}); err != nil {
		t.Fatal(err)
	}
	err := records.Use(t.Context(), func(l *ledger.Ledger) error {
		names, added, err := l.SliceInputsByRound(t.Context(), "keepup/1", "reco", 1, "all")
		if !slices.Equal(names, []string{"a", "b", "c", "d", "e"}) || !maps.Equal(added, map[string]int{"c": 1, "d": 3, "e": 3}) {
			t.Errorf("%q, added %v", names, added)
		}
		slice, _, err2 := l.Slice(t.Context(), "keepup/1", "reco", 1, "all")
		if slice.Round != 3 || slice.Count != 5 || err2 != nil {
			t.Errorf("%+v, %v", slice, err2)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Who asks about a slice changes nothing of what is decided about it, and does not wait for it.
func TestAPostMortemDecidesNothing(t *testing.T) {
	s, of := judging(t, map[string]observed.SubmissionState{"all": observed.SubmissionFailed})
	of.row.Spec = `{"state": "active", "stages": {"a": {"job": {"argv": ["x"]}, "input": {"files": ["b"]}, "recoveries": [{"select": "added-inputs"}]}}}`
	of.row.Began, of.spec = judgedAt, specOf(of.row)
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), of.row) }); err != nil {
		t.Fatal(err)
	}
	f := plan.SliceFacts{Stage: of.spec.Stages["a"], Slice: observed.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: "all"}, Tries: []observed.Submission{{Key: "pom-all"}}}
	waits := time.Now().Add(time.Hour)
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.ended["pom-all"] = waits
	var asked sync.WaitGroup
	asked.Go(func() {
		p, err := s.PostMortem(t.Context(), "c", "all")
		if err != nil || !slices.Equal(p.Recovery.Names, []string{"b"}) {
			t.Errorf("%+v, %v", p.Recovery, err)
		}
	})
	for range 50 {
		now := campaignNow{tended: of, offers: offers{time.Now(), map[string]*offer{}}}
		if err := s.offered(t.Context(), &now, &f); err != errReading {
			t.Errorf("a dataset that was read too early: %v", err)
		}
		s.ended["pom-other"] = waits
	}
	asked.Wait()
	if !s.ended["pom-all"].Equal(waits) {
		t.Errorf("it is to be read after %v", s.ended["pom-all"])
	}
}
