package reconciler

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// newTestCampaigner has an empty ledger and engines of these names, which nobody asks anything.
func newTestCampaigner(t testing.TB, names ...string) *Campaigner {
	t.Helper()
	root, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if err := os.MkdirAll(filepath.Join(root, durable.Private), 0o700); err != nil {
		t.Fatal(err)
	}
	records := NewRecords(root, log)
	t.Cleanup(func() { _ = records.Close() }) // the folder goes
	engines := map[string]BatchEngine{}
	for _, name := range names {
		engines[name] = BatchEngine{Engine: cancels{}, Folder: filepath.Join(t.TempDir(), name)}
	}
	return NewCampaigner(&Campaigner{Reconciler: &Reconciler{Root: root, Log: log, Now: time.Now, Records: records}, Engines: engines})
}

// campaigns are the rows of a ledger.
func (s *Campaigner) campaigns(t *testing.T) (rows map[string]ledger.Campaign) {
	t.Helper()
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		rows, err = l.Campaigns(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestARunWhoseEndIsKeptHasEnded(t *testing.T) {
	s := newTestCampaigner(t, "a", "b")
	row := ledger.Campaign{UID: "keepup/1", Name: "keepup", State: plan.CampaignActive, At: time.Now(), Began: time.Now()}
	set := func() {
		t.Helper()
		if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), row) }); err != nil {
			t.Fatal(err)
		}
	}
	set()
	c := tended{name: "keepup", uid: "keepup/1", row: row}
	if ended, err := s.endedBefore(t.Context(), &c); ended || err != nil {
		t.Fatalf("%v, %v", ended, err)
	}
	// One folder is away, and Pomona dies before the ledger has it.
	folder := s.engines["b"].desk.Folder
	if err := os.WriteFile(folder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	end := keptEnd{Campaign: row, Stages: []ledger.CampaignStage{{UID: "keepup/1", Stage: "reco", Epoch: 1, State: plan.StageComplete}}}
	end.Campaign.State = plan.CampaignComplete
	if err := s.keepEnd(end); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	s.goesOn = map[string]bool{} // another process
	if busy, err := s.tend(t.Context(), siteNow{}, c); busy || err != nil {
		t.Fatalf("%v, %v", busy, err)
	}
	if got := s.campaigns(t)["keepup/1"]; got.State != plan.CampaignComplete {
		t.Errorf("%+v", got)
	}
	// The ledger is lost.
	again := newTestCampaigner(t)
	again.engines = s.engines
	rows, err := again.rebuild(t.Context(), siteNow{})
	if err != nil || rows["keepup/1"].State != plan.CampaignComplete || again.campaigns(t)["keepup/1"].State != plan.CampaignComplete {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestNothingIsDecidedThatCannotBeKept(t *testing.T) {
	s := newTestCampaigner(t, "a")
	if err := os.WriteFile(s.engines["a"].desk.Folder, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var have []ledger.CampaignEvidence
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		if err := s.enterDecisions(t.Context(), l, keptDecision{Evidence: ledger.CampaignEvidence{UID: "keepup/1", Kind: decidedAccepted, At: time.Now()}}); err == nil {
			t.Error("it was kept")
		}
		var err error
		have, err = l.CampaignEvidence(t.Context(), "keepup/1")
		return err
	})
	if err != nil || len(have) != 0 {
		t.Errorf("%+v, %v", have, err)
	}
}

// TestDecisionsStandUntilSomethingIsTriedAgain in a ledger that is made anew.
func TestDecisionsStandUntilSomethingIsTriedAgain(t *testing.T) {
	at := time.Now().UTC()
	slice := func(id string) observed.Slice {
		return observed.Slice{UID: "keepup/1", Stage: "reco", Epoch: 1, ID: id, Inputs: []string{id}}
	}
	decision := func(id string, kind string, state observed.SliceState, after time.Duration) keptDecision {
		is := ledgerSlice(slice(id))
		is.State = string(state)
		return keptDecision{Evidence: ledger.CampaignEvidence{UID: "keepup/1", Kind: kind, Stage: "reco", Slice: id, At: at.Add(after)}, Slice: &is}
	}
	var all []submit.Rebuilt
	for id, after := range map[string]time.Duration{"accepted": 0, "retried": 3 * time.Minute, "waits": 0} {
		w := submit.Work{Site: "linac", UID: "keepup/1", Stage: "reco", Job: desired.Job{Argv: []string{"true"}}, Tasks: []submit.Task{{Slice: slice(id), Attempt: 1}}}
		l, submissions := w.Intent(at.Add(after))
		all = append(all, submit.Rebuilt{Open: submit.Open{Launch: l, Submissions: submissions}, Slices: []observed.Slice{slice(id)}})
	}
	kept := map[string]keptRun{"keepup/1": {decisions: []keptDecision{
		decision("retried", decidedCancelled, observed.SliceCancelled, time.Minute), decision("accepted", decidedAccepted, observed.SliceComplete, time.Minute),
		decision("waits", decidedRetried, observed.SlicePlanned, time.Minute), decision("never", decidedCancelled, observed.SliceCancelled, time.Minute),
	}}}
	got := map[string]observed.SliceState{}
	rows, _ := rebuiltSlices(all, kept)
	for _, row := range rows {
		got[row.ID] = observed.SliceState(row.State)
		if len(row.Inputs) != 1 {
			t.Errorf("%+v", row)
		}
	}
	for id, want := range map[string]observed.SliceState{"accepted": observed.SliceComplete, "retried": observed.SliceUnderway, "waits": observed.SlicePlanned, "never": observed.SliceCancelled} {
		if got[id] != want {
			t.Errorf("%s is %s, want %s", id, got[id], want)
		}
	}
}

func TestAStageThatWasEndedStaysSo(t *testing.T) {
	s := newTestCampaigner(t, "a")
	row := ledger.CampaignStage{UID: "keepup/1", Stage: "given", Epoch: 2, State: plan.StageUnderway, Detail: "agent has said so", At: time.Now().UTC()}
	said := keptDecision{Evidence: ledger.CampaignEvidence{UID: row.UID, Kind: decidedEnded, Stage: row.Stage, By: "agent", At: row.At}, Stage: &row}
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return s.enterDecisions(t.Context(), l, said) }); err != nil {
		t.Fatal(err)
	}
	again := newTestCampaigner(t) // the ledger is lost
	again.engines = s.engines
	var stages []ledger.CampaignStage
	_, err := again.rebuild(t.Context(), siteNow{})
	if err == nil {
		err = again.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
			stages, err = l.CampaignStages(t.Context(), row.UID)
			return err
		})
	}
	if err != nil || len(stages) != 1 || stages[0].State != plan.StageUnderway || stages[0].Epoch != 2 {
		t.Errorf("%+v, %v", stages, err)
	}
}

// TestSlicesOfOthersOutliveTheLedger although nothing of them was handed in yet.
func TestSlicesOfOthersOutliveTheLedger(t *testing.T) {
	s := newTestCampaigner(t, "a", "b")
	c, stage := tended{name: "keepup", uid: "keepup/1"}, desired.Stage{Epoch: 2, Job: &desired.Job{Argv: []string{"true"}}}
	for _, n := range []serve.ExternalSlice{{Stage: "given", ID: "one", Inputs: []string{"x", "y"}}, {Stage: "given", ID: "two"}, {Stage: "given", ID: "one", Inputs: []string{"x", "y"}}} {
		if _, err := (CampaignAPI{s}).addSlice(t.Context(), c, stage, n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (CampaignAPI{s}).addSlice(t.Context(), c, stage, serve.ExternalSlice{Stage: "given", ID: "one", Inputs: []string{"z"}}); !errors.Is(err, serve.ErrConflict) {
		t.Error("it is there with other inputs:", err)
	}
	again := newTestCampaigner(t)
	again.engines = s.engines
	rows, err := again.rebuild(t.Context(), siteNow{})
	if err != nil || rows[c.uid].State != plan.CampaignActive {
		t.Fatal(rows, err)
	}
	err = again.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		all, err := l.Slices(t.Context(), c.uid, "given")
		one, there, err2 := l.Slice(t.Context(), c.uid, "given", 2, "one")
		if len(all) != 2 || !there || !slices.Equal(one.Inputs, []string{"x", "y"}) || one.State != string(observed.SlicePlanned) {
			t.Errorf("%+v, %+v", all, one)
		}
		decisions, err3 := l.CampaignEvidence(t.Context(), c.uid)
		if len(decisions) != 0 {
			t.Errorf("people are told %+v", decisions)
		}
		return errors.Join(err, err2, err3)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnEndThatTheLedgerDidNotTake is one for whoever comes next.
func TestAnEndThatTheLedgerDidNotTake(t *testing.T) {
	a, of := ordering(t, map[string]observed.SliceState{"failed": observed.SliceFailed})
	a.openEngines(map[string]BatchEngine{"e": {Folder: t.TempDir()}})
	if _, err := a.Order(t.Context(), serve.Order{Do: "retry", Campaign: "c", Slices: []string{"none"}, By: "ann"}); !errors.Is(err, serve.ErrNoSuch) {
		t.Fatal("it goes on:", err)
	}
	row := of.row
	row.State = plan.CampaignClosed
	gone, stop := context.WithCancel(t.Context())
	stop()
	if err := a.enterState(gone, &campaignNow{tended: of}, plan.CampaignPlan{}, row); err == nil {
		t.Fatal("the ledger has taken it")
	}
	if _, err := a.Order(t.Context(), serve.Order{Do: "retry", Campaign: "c", Slices: []string{"failed"}, By: "ann"}); !errors.Is(err, serve.ErrConflict) || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
	if got := a.campaigns(t)[of.uid]; got.State != plan.CampaignClosed {
		t.Errorf("%+v", got)
	}
}
