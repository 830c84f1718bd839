package reconciler

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func TestWhatAnAttemptThatFailedHasReadIsNotConsumed(t *testing.T) {
	tries := []observed.Submission{{Key: "p1", State: observed.SubmissionFailed}, {Key: "p2", State: observed.SubmissionDone}}
	got := saidOf([]ledger.InputWord{{Submission: "p1", Name: "a", State: "consumed"}, {Submission: "p1", Name: "b", State: "consumed"}, {Submission: "p2", Name: "b", State: "consumed"},
		{Submission: "p1", Name: "b", State: "failed"}, {Submission: "p1", Name: "c", State: "failed"}}, tries)
	want := map[string]observed.InputState{"b": observed.InputConsumed, "c": observed.InputFailed}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

var judgedAt = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// judging is a campaigner without engines, whose ledger has some slices that are under way, and their submissions.
func judging(t *testing.T, states map[string]observed.SubmissionState) (*Campaigner, tended) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, durable.Private), 0o700); err != nil {
		t.Fatal(err)
	}
	records := NewRecords(root, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	of := tended{name: "c", uid: "c/1", row: ledger.Campaign{UID: "c/1", Name: "c", State: plan.CampaignActive}, spec: desired.Campaign{State: desired.Active,
		Stages: map[string]desired.Stage{"a": {Job: &desired.Job{Argv: []string{"x"}, Outputs: map[string]desired.Output{"out": {Pattern: "*"}}}}}}}
	err := records.Use(t.Context(), func(l *ledger.Ledger) error {
		if err := l.SetCampaign(t.Context(), of.row); err != nil {
			return err
		}
		for id, state := range states {
			slice := ledger.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: id, State: string(observed.SliceUnderway), Tries: 1, At: judgedAt, Began: judgedAt}
			if err := l.AddSlices(t.Context(), []ledger.Slice{slice}); err != nil {
				return err
			}
			sub := ledger.Submission{Key: "pom-" + id, UID: of.uid, Stage: "a", Epoch: 1, Slice: id, Attempt: 1, Launch: "pom-l" + id, Task: 1, Engine: "gone",
				State: string(state), Intended: judgedAt, Submitted: judgedAt}
			if err := l.Intend(t.Context(), nil, []ledger.Submission{sub}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := NewCampaigner(&Campaigner{Reconciler: &Reconciler{Records: records, Now: func() time.Time { return judgedAt.Add(72 * time.Hour) }, Log: slog.New(slog.DiscardHandler)}})
	return s, of
}

// A slice of which the outputs cannot be read keeps none of the others from being judged; and one that takes too long is told of.
func TestASliceThatCannotBeJudgedConcernsItsStageAlone(t *testing.T) {
	s, of := judging(t, map[string]observed.SubmissionState{"bad": observed.SubmissionDone, "late": observed.SubmissionRunning, "cancelled": observed.SubmissionCancelled})
	now, err := s.look(t.Context(), of)
	if err != nil || len(now.open) != 3 {
		t.Fatal(now.open, err)
	}
	troubles, err := s.judgeSlices(t.Context(), &now)
	if err != nil || troubles["a"] == nil || !strings.Contains(troubles["a"].Error(), "slice bad") {
		t.Fatalf("%v, %v", troubles, err)
	}
	if !slices.ContainsFunc(now.open, func(slice observed.Slice) bool { return slice.ID == "bad" }) {
		t.Error("a slice of which nothing is known was judged")
	}
	if slices.ContainsFunc(now.open, func(slice observed.Slice) bool { return slice.ID == "cancelled" }) {
		t.Error("the slice beside it was not judged")
	}
	told, err := s.going(t.Context())
	if lines := lateCampaigns(told); err != nil || !slices.Equal(lines, []string{"c/1: 1 slice is late"}) {
		t.Errorf("%q, %v", lines, err)
	}
}

// What has ended is told of by its state alone, however much there was of it.
func TestNothingIsCountedOfCampaignsThatHaveEnded(t *testing.T) {
	s, of := judging(t, map[string]observed.SubmissionState{"x": observed.SubmissionDone})
	s.Root, s.Repo, s.Loader = t.TempDir(), &repo.Repo{}, load.New(load.Options{}) // nothing is published
	for state, stages := range map[string]bool{plan.CampaignActive: true, plan.CampaignComplete: false} {
		of.row.State, of.row.Spec = state, `{"stages": {"a": {"job": {"argv": ["x"]}}}}`
		if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), of.row) }); err != nil {
			t.Fatal(err)
		}
		told, err := s.going(t.Context())
		if err != nil || len(told.Campaigns) != 1 || told.Campaigns[0].State != state || (len(told.Campaigns[0].Stages) > 0) != stages {
			t.Errorf("%s: %+v, %v", state, told.Campaigns, err)
		}
		all, err := s.EveryCampaign(t.Context())
		if err != nil || len(all.Campaigns) != 1 || len(all.Campaigns[0].Stages) != 1 || all.Campaigns[0].Archived != !stages {
			t.Errorf("%s: %+v, %v", state, all.Campaigns, err)
		}
		list, err := s.Campaigns(t.Context(), "")
		if err != nil || (list.Archived == 1) == stages || len(list.Campaigns) != 1-list.Archived {
			t.Errorf("%s: listed %+v, %v", state, list, err)
		}
	}
}

// heard is what was told.
type heard struct{ last report.Campaigns }

func (h *heard) Campaigns(c report.Campaigns)               { h.last = c }
func (h *heard) CampaignsAre(CampaignTrouble, []string)     {}
func (h *heard) CampaignEnded(string, string, string, bool) {}

// TestThatNothingIsDecidedIsMeasured and shown by status, beside what was known last.
func TestThatNothingIsDecidedIsMeasured(t *testing.T) {
	s, _ := judging(t, nil)
	to := &heard{}
	s.Tell = to
	s.tellPeople(t.Context())
	s.complain(t.Context(), errors.New("disk full"))
	if to.last.Trouble != "disk full" || len(to.last.Campaigns) != 1 {
		t.Errorf("told %+v", to.last)
	}
	now, err := s.CampaignsNow(t.Context())
	if err != nil || len(now.Look) == 0 || now.Look[0].Why != "disk full" || now.States[plan.CampaignActive] != 1 {
		t.Errorf("%+v, %v", now, err)
	}
	s.complain(t.Context(), nil)
	s.tellPeople(t.Context())
	if now, err = s.CampaignsNow(t.Context()); err != nil || to.last.Trouble != "" || len(now.Look) != 0 {
		t.Errorf("told %+v, %v", now, err)
	}
}

// TestAListSaysHowManySlicesItLeavesOut where there are too many to show.
func TestAListSaysHowManySlicesItLeavesOut(t *testing.T) {
	s, of := judging(t, nil)
	of.row.Spec = `{"stages": {"a": {"job": {"argv": ["x"]}}}}`
	var all []ledger.Slice
	for n := range report.MostSlices + 7 {
		all = append(all, ledger.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: fmt.Sprint("f-", n), State: string(observed.SliceFailed), Test: n == 0, At: judgedAt, Began: judgedAt})
	}
	all[1].State = string(observed.SliceComplete)
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		return errors.Join(l.SetCampaign(t.Context(), of.row), l.AddSlices(t.Context(), all))
	}); err != nil {
		t.Fatal(err)
	}
	told, err := s.Campaigns(t.Context(), "c")
	c, _ := told.Find("c")
	if err != nil || len(c.Stages) != 1 || len(c.Stages[0].Open) != report.MostSlices || c.Stages[0].More != 6 {
		t.Fatalf("%v: %d stages", err, len(c.Stages))
	}
	var text strings.Builder
	if err := c.Text(&text); err != nil || !strings.Contains(text.String(), "and 986 more: -o json shows 1000, the submission API all") {
		t.Errorf("%v:\n%s", err, text.String())
	}
}

func TestACredentialIsExpiringAsEarlyAsItsConfigurationSays(t *testing.T) {
	for warn, want := range map[string]bool{"1d": false, "3d": true} {
		e := &engineNow{name: "e", BatchEngine: BatchEngine{Conf: desired.Engine{Credential: &desired.EngineCredential{File: "/x", Warn: warn}},
			Credential: func() (time.Time, error) { return judgedAt.AddDate(0, 0, 2), nil }}}
		e.note(0, nil, judgedAt)
		s := &Campaigner{Reconciler: &Reconciler{Now: func() time.Time { return judgedAt }}, engines: map[string]*engineNow{"e": e}}
		if got := s.reportEngines()[0]; got.Expiring != want || len(s.expiring()) == 1 != want {
			t.Errorf("warned %s before: %+v, %v", warn, got, s.expiring())
		}
	}
}
