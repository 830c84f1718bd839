package reconciler

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// cancels is a batch system that can only cancel.
type cancels struct {
	engine.Engine
	cancel func(ids []string)
}

func (c cancels) Cancel(_ context.Context, ids ...string) error {
	c.cancel(ids)
	return nil
}

func TestAJobIsCancelledAfterItsEndIsRecordedAndNothingIsLockedMeanwhile(t *testing.T) {
	root, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if err := os.MkdirAll(filepath.Join(root, durable.Private), 0o700); err != nil {
		t.Fatal(err)
	}
	records := NewRecords(root, log)
	t.Cleanup(func() { _ = records.Close() }) // the folder goes
	folder, called := t.TempDir(), 0
	var s *Campaigner
	batch := cancels{cancel: func(ids []string) {
		called++
		if !s.deciding.TryLock() || !records.mu.TryLock() {
			t.Fatal("while the batch system is asked, others wait")
		}
		s.deciding.Unlock()
		records.mu.Unlock()
		if len(ids) != 1 || ids[0] != "17_1" {
			t.Errorf("cancelled %v", ids)
		}
	}}
	s = NewCampaigner(&Campaigner{Reconciler: &Reconciler{Root: root, Log: log, Now: time.Now, Records: records}, Engines: map[string]BatchEngine{"e": {Engine: batch, Folder: folder}}})

	w := submit.Work{Site: "linac", UID: "keepup/1", Stage: "reco", Engine: "e", Job: desired.Job{Argv: []string{"true"}},
		Tasks: []submit.Task{{Slice: observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: "a"}, Attempt: 1}}}
	if err := s.desk("e").Prepare(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	l, submissions := w.Intent(time.Now())
	submissions[0].State, submissions[0].Job = observed.SubmissionRunning, "17_1"
	if err := s.record(t.Context(), []observed.Launch{l}, submissions); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it has ended
		if _, err := (CampaignAPI{s}).Say(t.Context(), serve.SubmissionWord{Key: submissions[0].Key, State: observed.SubmissionLost, By: "me", Operator: true, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	var got ledger.Submission
	err := records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		got, _, err = l.Submission(t.Context(), submissions[0].Key)
		return err
	})
	if err != nil || got.State != string(observed.SubmissionLost) || called != 1 {
		t.Errorf("%+v, %v, cancelled %d times", got, err, called)
	}
}

func TestOnlyActiveCampaignsTakeSlicesOfOthers(t *testing.T) {
	external := desired.Stage{Split: &desired.Split{Type: desired.ExternalSplit}, Job: &desired.Job{}}
	jobless := external
	jobless.Job = nil
	for _, c := range []struct {
		stage    desired.Stage
		site, is string
		gone     bool
		takes    bool
	}{
		{external, desired.Active, plan.CampaignActive, false, true},
		{external, desired.Active, plan.CampaignIncomplete, false, true},
		{external, desired.Active, plan.CampaignAwaiting, false, false},
		{external, desired.Active, plan.CampaignComplete, false, false},
		{external, desired.Active, "", false, false},
		{external, "", plan.CampaignDraft, false, false},
		{external, desired.Paused, plan.CampaignActive, false, false}, // it has just been paused
		{external, desired.Draining, plan.CampaignDraining, false, false},
		{external, desired.Closed, plan.CampaignClosing, false, false},
		{external, desired.Active, plan.CampaignActive, true, false},
		{jobless, desired.Active, plan.CampaignActive, false, false},
		{desired.Stage{Job: &desired.Job{}}, desired.Active, plan.CampaignActive, false, false},
	} {
		of := tended{uid: "c/1", spec: desired.Campaign{State: c.site}, wanted: !c.gone, row: ledger.Campaign{State: c.is}}
		if err := of.takesSlices("a", c.stage); (err == nil) != c.takes {
			t.Errorf("the site says %q, it is %q, gone %v, %s: %v", c.site, c.is, c.gone, c.stage.TheType(), err)
		}
	}
}
