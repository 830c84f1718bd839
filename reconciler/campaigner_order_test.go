package reconciler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// decided is what an order makes of a slice of a stage; empty where it is refused.
func decided(stage desired.Stage, do string, state observed.SliceState) observed.SliceState {
	s := &Campaigner{Reconciler: &Reconciler{Now: time.Now}}
	slice := ledger.Slice{ID: "all", Stage: "a", State: string(state)}
	if err := s.decide(stage, &slice, CampaignOrder{Do: do, By: "operator", Reason: "good"}, nil); err != nil {
		return ""
	}
	return observed.SliceState(slice.State)
}

func TestOrdersAreByTheTypeOfAStage(t *testing.T) {
	job, transfer, approval := desired.Stage{Job: &desired.Job{}}, desired.Stage{Type: desired.TransferStage}, desired.Stage{Type: desired.ApprovalStage}
	for _, c := range []struct {
		stage      desired.Stage
		do         string
		was, wants observed.SliceState
	}{
		{job, "retry", observed.SliceFailed, observed.SlicePlanned},
		{transfer, "retry", observed.SliceFailed, observed.SliceVerifying},
		{approval, "retry", observed.SliceCancelled, observed.SliceAwaiting},
		{approval, "retry", observed.SliceAwaiting, ""},
		{approval, "accept", observed.SliceAwaiting, ""},
		{approval, "cancel", observed.SliceAwaiting, observed.SliceCancelled},
		{job, "accept", observed.SlicePlanned, ""},
		{job, "accept", observed.SliceUnderway, ""},
		{job, "accept", observed.SlicePartial, observed.SliceComplete},
		{job, "accept", observed.SliceFailed, observed.SliceComplete},
		{job, "accept", observed.SliceLate, observed.SliceComplete},
		{transfer, "accept", observed.SliceVerifying, observed.SliceComplete},
		{job, "accept", observed.SliceComplete, ""},
	} {
		if got := decided(c.stage, c.do, c.was); got != c.wants {
			t.Errorf("%s of a slice of a %s that is %s: %q, want %q", c.do, c.stage.TheType(), c.was, got, c.wants)
		}
	}
}

func TestARetryHasAllInputsAgain(t *testing.T) {
	s := &Campaigner{Reconciler: &Reconciler{Now: time.Now}}
	stage := desired.Stage{Job: &desired.Job{}, Recoveries: []desired.Recovery{{Select: "not-consumed"}, {Select: "not-consumed"}}}
	inputs := []string{"a", "b"}
	for was, wants := range map[int]int{0: 0, 1: 3, 2: 3, 3: 4} {
		row := ledger.Slice{ID: "all", Stage: "a", State: string(observed.SlicePartial), Count: 2, Round: was, Tries: 1}
		if err := s.decide(stage, &row, CampaignOrder{Do: "retry", By: "operator"}, nil); err != nil {
			t.Fatal(err)
		}
		f := plan.SliceFacts{Stage: stage, Slice: observedSlice(row), Said: map[string]observed.InputState{"a": observed.InputConsumed}}
		for round := range was + 1 {
			f.Tries = append(f.Tries, observed.Submission{Round: round, Attempt: 1, State: observed.SubmissionFailed})
		}
		f.Slice.Inputs = inputs
		if a := plan.AttemptAt(f, desired.Resources{}); a.Round != wants || !slices.Equal(a.Inputs, inputs) {
			t.Errorf("after round %d: round %d with %v", was, a.Round, a.Inputs)
		}
	}
}

func TestASliceCanBeAcceptedOfWhoseJobNothingIsKnown(t *testing.T) {
	s := &Campaigner{Reconciler: &Reconciler{Now: time.Now}}
	for _, c := range []struct {
		open []observed.SubmissionState
		well bool
	}{
		{[]observed.SubmissionState{observed.SubmissionUnknown}, true},
		{[]observed.SubmissionState{observed.SubmissionUnknown, observed.SubmissionRunning}, false},
		{nil, false},
	} {
		var running []observed.Submission
		for _, state := range c.open {
			running = append(running, observed.Submission{Key: "pom-1", State: state})
		}
		row := ledger.Slice{ID: "all", Stage: "a", State: string(observed.SliceUnderway)}
		err := s.decide(desired.Stage{Job: &desired.Job{}}, &row, CampaignOrder{Do: "accept", By: "operator", Reason: "good"}, running)
		if (err == nil) != c.well || c.well && row.State != string(observed.SliceComplete) {
			t.Errorf("%v: %s, %v", c.open, row.State, err)
		}
	}
}

// TestARefusedAcceptChangesNothing of the slices that come before the one for which it is refused either.
func TestARefusedAcceptChangesNothing(t *testing.T) {
	a, of := ordering(t, map[string]observed.SliceState{"s1": observed.SliceUnderway, "s2": observed.SlicePlanned})
	dir, key, launch := t.TempDir(), "pom-aaaaaaaaaaaaaaaaaaaaaaaaaa", "pom-aaaaaaaaaaaaaaaaaaaaaaaaab"
	for _, d := range []string{"claim", "end"} {
		if err := os.MkdirAll(filepath.Join(dir, launch, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a.openEngines(map[string]BatchEngine{"e": {Folder: dir}})
	a.enter(t, func(l *ledger.Ledger) error {
		return l.Intend(t.Context(), nil, []ledger.Submission{{Key: key, UID: of.uid, Stage: "a", Epoch: 1, Slice: "s1", Attempt: 1, Launch: launch, Task: 1, Engine: "e",
			State: string(observed.SubmissionUnknown), Intended: judgedAt, Submitted: judgedAt}})
	})
	for _, c := range []struct {
		slices              []string
		submission, slice   string
		decided, takenBacks int
		want                error
	}{
		{[]string{"s1", "s2"}, "unknown", "underway", 0, 0, serve.ErrConflict},
		{[]string{"s1"}, "cancelled", "complete", 1, 1, nil},
	} {
		if _, err := a.Order(t.Context(), serve.Order{Do: "accept", Campaign: "c", Slices: c.slices, Reason: "ok", By: "ann"}); !errors.Is(err, c.want) {
			t.Errorf("%v: %v", c.slices, err)
		}
		a.enter(t, func(l *ledger.Ledger) error {
			sub, _, err := l.Submission(t.Context(), key)
			slice, _, err2 := l.Slice(t.Context(), of.uid, "a", 1, "s1")
			decided, err3 := l.CampaignEvidence(t.Context(), of.uid)
			if sub.State != c.submission || slice.State != c.slice || len(decided) != c.decided {
				t.Errorf("%v: submission %s, slice %s, decisions %v", c.slices, sub.State, slice.State, decided)
			}
			return errors.Join(err, err2, err3)
		})
		if marks, err := os.ReadDir(filepath.Join(dir, launch, "end")); err != nil || len(marks) != c.takenBacks {
			t.Errorf("%v: end marks %v, %v", c.slices, marks, err)
		}
	}
}

// enter has something entered in the ledger, or looked up.
func (s *Campaigner) enter(t *testing.T, do func(*ledger.Ledger) error) {
	t.Helper()
	if err := s.Records.Use(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

// TestATestWaitsForApprovalAndIsSmall of a draft too; without a need for approval it does not wait.
func TestATestWaitsForApprovalAndIsSmall(t *testing.T) {
	for _, c := range []struct {
		state, more, split string
		planned            int
		says               string
	}{
		{"draft", "", `"testSplit": {"type": "files", "n": 1},`, 0, `a test has at most 10`},
		{"draft", "", `"testSplit": {"type": "files", "n": 2},`, 6, ""},
		{"draft", "", ``, 1, ""},
		{"draft", `"needsApproval": true,`, ``, 0, "needs approval before it is tested: somebody else than ann@x has to approve it as it is, sha256:"},
		{"awaiting", `"needsApproval": true,`, ``, 0, "needs approval"},
		{"active", `"needsApproval": false,`, ``, 1, ""},
	} {
		a, of := ordering(t, nil)
		files := strings.TrimSuffix(strings.Repeat(`"x%d",`, 12), ",")
		of.row.State = c.state
		of.row.Spec = fmt.Sprintf(`{%s "requester": "ann@x", "stages": {"a": {%s "input": {"files": [`+files+`]}, "job": {"argv": ["x"]}}}}`, c.more, c.split, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		a.enter(t, func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), of.row) })
		_, err := a.Order(t.Context(), serve.Order{Do: "test", Campaign: "c", By: "ann"})
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, serve.ErrConflict) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
		a.enter(t, func(l *ledger.Ledger) error {
			all, err := l.Slices(t.Context(), of.uid, "a")
			if len(all) != c.planned {
				t.Errorf("%+v: %d slices", c, len(all))
			}
			return err
		})
	}
}

// TestATestOfWhatIsNotApprovedIsNotHandedIn: it was ordered before the campaign was changed.
func TestATestOfWhatIsNotApprovedIsNotHandedIn(t *testing.T) {
	for _, state := range []string{desired.Active, desired.Paused, desired.Draft} {
		for needs, want := range map[bool]int{true: 0, false: 1} {
			if state == desired.Active && !needs {
				continue
			}
			s, of := judging(t, nil)
			s.openEngines(map[string]BatchEngine{"local": {Engine: cancels{}, Folder: t.TempDir()}})
			of.wanted, of.spec.State, of.spec.NeedsApproval = true, state, &needs
			s.enter(t, func(l *ledger.Ledger) error {
				return l.AddSlices(t.Context(), []ledger.Slice{{UID: of.uid, Stage: "a", Epoch: 1, ID: "test-1.all", Test: true, State: string(observed.SlicePlanned), At: judgedAt, Began: judgedAt}})
			})
			if _, err := s.tend(t.Context(), siteNow{commit: "0123456789abcdef"}, of); err != nil {
				t.Fatal(err)
			}
			s.enter(t, func(l *ledger.Ledger) error {
				subs, err := l.Submissions(t.Context(), of.uid, "a", 1, "test-1.all")
				if len(subs) != want {
					t.Errorf("%s, needs approval %v: %d submissions, why %v", state, needs, len(subs), s.told.why)
				}
				return err
			})
		}
	}
}

// TestNoEndIsSaidOfAStageThatMakesItsSlicesItself, however far it is.
func TestNoEndIsSaidOfAStageThatMakesItsSlicesItself(t *testing.T) {
	a, of := ordering(t, nil)
	a.enter(t, func(l *ledger.Ledger) error {
		return l.SetCampaignStages(t.Context(), ledger.CampaignStage{UID: of.uid, Stage: "a", Epoch: 1, State: plan.StageUnderway, At: judgedAt})
	})
	if got, err := a.EndSlices(t.Context(), "c", "a", "agent"); !errors.Is(err, serve.ErrConflict) || !strings.Contains(err.Error(), "makes its slices itself") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := a.EndSlices(t.Context(), "c", "b", "agent"); !errors.Is(err, serve.ErrNoSuch) {
		t.Error(err)
	}
	of.row.Spec = `{"stages": {"a": {"split": {"type": "external"}, "job": {"argv": ["x"]}}}}`
	a.enter(t, func(l *ledger.Ledger) error { return l.SetCampaign(t.Context(), of.row) })
	if got, err := a.EndSlices(t.Context(), "c", "a", "agent"); err != nil || got.(report.StageEnd).Detail != "that was said before" {
		t.Errorf("said again: %+v, %v", got, err)
	}
}

// TestOnlyTheLastDecisionsAreShown of a campaign, and of a slice its own.
func TestOnlyTheLastDecisionsAreShown(t *testing.T) {
	a, of := ordering(t, map[string]observed.SliceState{"first": observed.SliceFailed, "s": observed.SliceFailed})
	cancels := func(slice string) {
		if _, err := a.Order(t.Context(), serve.Order{Do: "cancel", Campaign: "c", Slices: []string{slice}, By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	cancels("first")
	for range report.MostDecisions / 2 {
		cancels("s")
		if _, err := a.Order(t.Context(), serve.Order{Do: "retry", Campaign: "c", Slices: []string{"s"}, By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	cancels("s")
	all, err := a.Campaigner.Campaigns(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := all.Find("c")
	if n := len(c.Decisions); n != report.MostDecisions || c.MoreDecisions != 2 || c.Decisions[0].Kind != decidedRetried || c.Decisions[n-1].Kind != decidedCancelled {
		t.Errorf("%d decisions and %d more", n, c.MoreDecisions)
	}
	var b strings.Builder
	if err := c.Text(&b); err != nil || !strings.Contains(b.String(), "2 more decisions before these; pomona campaign c slice ID has those about a slice\n") {
		t.Errorf("%v: %s", err, b.String())
	}
	if p, err := a.PostMortem(t.Context(), of.uid, "first"); err != nil || len(p.Decisions) != 1 || p.Decisions[0].Slice != "first" {
		t.Errorf("%+v, %v", p.Decisions, err)
	}
}

// A slice whose recovery was changed while it waited, and selects nothing any more, is judged again.
func TestARecoveryThatSelectsNothingAnyMoreStartsNothing(t *testing.T) {
	s, of := judging(t, map[string]observed.SubmissionState{"all": observed.SubmissionFailed})
	s.openEngines(map[string]BatchEngine{desired.LocalEngine: {Folder: t.TempDir()}})
	stage := of.spec.Stages["a"]
	stage.Recoveries = []desired.Recovery{{Select: "added-inputs"}}
	of.spec.Stages["a"] = stage
	row := ledger.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: "all", State: string(observed.SlicePlanned), Round: 1, At: judgedAt.Add(time.Hour)}
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		more := ledger.Slice{UID: of.uid, Stage: "a", Epoch: 1, ID: "more", Count: 1, Inputs: []string{"x"}, State: string(observed.SlicePlanned), Round: 1, At: judgedAt, Began: judgedAt}
		return errors.Join(l.Judge(t.Context(), []ledger.Slice{row}, nil), l.AddSlices(t.Context(), []ledger.Slice{more}))
	})
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.look(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	due, _, err := s.attempts(t.Context(), siteNow{}, &now, "a", false)
	if err != nil || len(due) != 1 || due[0].slice.ID != "all" || !now.busy { // it has no inputs
		t.Errorf("%+v, %v", due, err)
	}
	if now, err = s.look(t.Context(), of); err != nil || len(now.open) != 2 {
		t.Fatal(now.open, err)
	}
	for _, slice := range now.open {
		if want := map[string]observed.SliceState{"all": observed.SlicePlanned, "more": observed.SliceVerifying}[slice.ID]; slice.State != want {
			t.Errorf("%s is %s", slice.ID, slice.State)
		}
	}
}
