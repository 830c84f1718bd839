package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// reco is a stage whose jobs leave a file for each input.
func reco() desired.Stage {
	return desired.Stage{
		Job: &desired.Job{Argv: []string{"reco"}, Outputs: map[string]desired.Output{"reco": {Pattern: "*.reco"}}, Resources: desired.Resources{Memory: "1GiB"}},
		Recoveries: []desired.Recovery{
			{Select: "missing-output", MinFiles: 2}, {Select: "failed-or-not-consumed", Resources: desired.Resources{Memory: "4GiB"}, Params: desired.Params{"careful": "true"}},
		},
	}
}

// try is an attempt that was handed in an hour ago.
func try(round, number int, state observed.SubmissionState, exit int) observed.Submission {
	return observed.Submission{Key: "pom-x", Job: "17", Round: round, Attempt: number, State: state, Exit: exit, Submitted: cutNow.Add(-time.Hour)}
}

func judged(stage desired.Stage, round int, outputs []string, tries ...observed.Submission) plan.SliceFacts {
	f := plan.SliceFacts{Now: cutNow, Stage: stage, Tries: tries, Outputs: map[string][]observed.Input{}}
	f.Slice = observed.Slice{ID: "x", State: observed.SliceUnderway, Round: round, Tries: 1, Inputs: []string{"/d/run-1.raw", "/d/run-10.raw", "/d/run-2.raw", "/d/run-3.raw"}, Count: 4}
	for _, name := range outputs {
		f.Outputs["reco"] = append(f.Outputs["reco"], observed.Input{Name: name})
	}
	return f
}

func TestWhatBecomesOfASlice(t *testing.T) {
	const done, failed, lost, denied, cancelled = observed.SubmissionDone, observed.SubmissionFailed, observed.SubmissionLost, observed.SubmissionDenied, observed.SubmissionCancelled
	all := []string{"run-1.reco", "run-10.reco", "run-2.reco", "run-3.reco"}
	with := func(change func(*desired.Stage)) desired.Stage { s := reco(); change(&s); return s }
	jobs := with(func(s *desired.Stage) { s.Completion.Criterion, s.Recoveries = "jobs", nil })
	late := func(what string) desired.Stage {
		return with(func(s *desired.Stage) { s.Completion.Timeout, s.Completion.OnTimeout = "30m", what })
	}
	added := with(func(s *desired.Stage) {
		s.Completion.Criterion, s.Recoveries = "jobs", []desired.Recovery{{Select: "added-inputs"}, {Select: "not-consumed"}}
	})
	retried := with(func(s *desired.Stage) {
		s.Job.Retry = desired.Retry{OnExit: []int{9}, Max: 2, MemoryFactor: 2}
		s.Recoveries = nil
	})
	said := func(f plan.SliceFacts, states ...observed.InputState) plan.SliceFacts {
		f.Said = map[string]observed.InputState{}
		for i, s := range states {
			f.Said[f.Slice.Inputs[i]] = s
		}
		return f
	}
	for name, c := range map[string]struct {
		facts  plan.SliceFacts
		state  observed.SliceState
		round  int
		detail string
	}{
		"under way":              {judged(reco(), 0, nil, try(0, 1, observed.SubmissionRunning, 0)), "underway", 0, ""},
		"unknown":                {judged(reco(), 0, all, try(0, 1, observed.SubmissionUnknown, 0)), "underway", 0, "nobody knows what became of pom-x: "},
		"all there":              {judged(reco(), 0, all, try(0, 1, done, 0)), "complete", 0, ""},
		"one missing":            {judged(reco(), 0, all[:3], try(0, 1, done, 0)), "partial", 0, "there are 3 of 4 files reco; no recovery is for what it lacks"},
		"two missing":            {judged(reco(), 0, all[:2], try(0, 1, done, 0)), "planned", 1, "recovery 1 of 2: missing-output, 2 inputs"},
		"failed":                 {judged(reco(), 0, nil, try(0, 1, failed, 3)), "planned", 1, "recovery 1 of 2: missing-output, 4 inputs"},
		"recovered":              {judged(reco(), 1, all, try(0, 1, done, 0), try(1, 1, done, 0)), "complete", 1, ""},
		"not recovered":          {judged(reco(), 2, all[:3], try(0, 1, done, 0), try(2, 1, failed, 3)), "partial", 2, "there are 3 of 4 files reco; the last attempt, 17, is failed with exit status 3; its recoveries did not help"},
		"nothing at all":         {judged(reco(), 2, nil, try(0, 1, failed, 1), try(2, 1, failed, 3)), "failed", 2, "there are 0 of 4 files reco; the last"},
		"enough":                 {judged(with(func(s *desired.Stage) { s.Completion.Threshold = "75%" }), 0, all[:3], try(0, 1, done, 0)), "complete", 0, "there are 3 of 4 files reco, which is enough: 75% of its inputs"},
		"nearly enough":          {judged(with(func(s *desired.Stage) { s.Completion.Threshold, s.Recoveries = "76%", nil }), 0, all[:3], try(0, 1, done, 0)), "partial", 0, "there are 3 of 4"},
		"one for all":            {judged(with(func(s *desired.Stage) { s.Job.Outputs["reco"] = desired.Output{Pattern: "*", PerInput: new(int)} }), 0, nil, try(0, 1, done, 0)), "complete", 0, ""},
		"job done":               {judged(jobs, 0, nil, try(0, 1, done, 0)), "complete", 0, ""},
		"job failed":             {judged(jobs, 0, nil, try(0, 1, failed, 1)), "failed", 0, "0 of 4 inputs are done; the last attempt, 17, is failed with exit status 1"},
		"job failed, but counts": {judged(with(func(s *desired.Stage) { s.Completion.Criterion, s.Completion.CountFailedAsDone = "jobs", true }), 0, nil, try(0, 1, failed, 1)), "complete", 0, ""},
		"job failed at one":      {said(judged(jobs, 0, nil, try(0, 1, failed, 1)), "consumed", "consumed", "consumed", "failed"), "partial", 0, "3 of 4 inputs are done"},
		"job done but for one":   {said(judged(jobs, 0, nil, try(0, 1, done, 0)), "consumed", "failed", "consumed", "consumed"), "partial", 0, "3 of 4 inputs are done"},
		"only what was added":    {judged(added, 1, nil, try(0, 1, failed, 1), try(1, 1, done, 0)), "planned", 2, "recovery 2 of 2: not-consumed, 4 inputs"},
		"added in vain":          {judged(added, 1, nil, try(0, 1, done, 0), try(1, 1, failed, 0)), "complete", 1, ""},
		"cancelled":              {judged(reco(), 0, nil, try(0, 1, cancelled, 0)), "failed", 0, "its job was cancelled"},
		"cancelled in part":      {judged(reco(), 1, all[:1], try(0, 1, done, 0), try(1, 1, cancelled, 0)), "partial", 1, "its job was cancelled"},
		"denied":                 {judged(reco(), 0, nil, try(0, 1, denied, 75)), "planned", 0, "again: the last attempt, 17, is denied"},
		"denied for ever":        {judged(reco(), 0, nil, try(0, 1, denied, 75), try(0, 2, denied, 75), try(0, 3, denied, 75), try(0, 4, denied, 75), try(0, 5, denied, 75)), "failed", 0, "it was denied 5 times"},
		"lost":                   {judged(with(func(s *desired.Stage) { s.Job.Retry.Max = 1 }), 0, nil, try(0, 1, lost, 0)), "planned", 0, "again: the last attempt, 17, is lost"},
		"lost twice":             {judged(with(func(s *desired.Stage) { s.Job.Retry.Max = 1 }), 0, nil, try(0, 1, lost, 0), try(0, 2, lost, 0)), "planned", 1, "recovery 1 of 2"},
		"wants memory":           {judged(retried, 0, nil, try(0, 1, failed, 9)), "planned", 0, "again: "},
		"wants no memory":        {judged(retried, 0, nil, try(0, 1, failed, 1)), "failed", 0, "there are 0 of 4 files"},
		"has all memory":         {judged(retried, 0, nil, try(0, 1, failed, 9), try(0, 2, failed, 9), try(0, 3, failed, 9)), "failed", 0, "there are 0 of 4 files"},
		"in time":                {judged(with(func(s *desired.Stage) { s.Completion.Timeout = "2h" }), 0, nil, try(0, 1, observed.SubmissionQueued, 0)), "underway", 0, ""},
		"tried again":            {judged(late("fail"), 0, nil, try(0, 1, failed, 1), observed.Submission{Attempt: 2, State: observed.SubmissionIntent, Intended: cutNow}), "underway", 0, ""},
		"late":                   {judged(late(""), 0, nil, try(0, 1, observed.SubmissionQueued, 0)), "underway", 0, "it is not complete 30m after it was submitted"},
		"late and held":          {judged(late("hold"), 0, nil, try(0, 1, observed.SubmissionQueued, 0)), "late", 0, "retry, accept or cancel it"},
		"late and failed":        {judged(late("fail"), 0, nil, try(0, 1, observed.SubmissionQueued, 0)), "failed", 0, "it is not complete 30m after it was submitted"},
		"late and accepted":      {judged(late("accept"), 0, nil, try(0, 1, observed.SubmissionQueued, 0)), "complete", 0, "is accepted as it is"},
	} {
		t.Run(name, func(t *testing.T) {
			v := plan.JudgeSlice(c.facts)
			if s := v.Slice; s.State != c.state || s.Round != c.round || !strings.HasPrefix(s.Detail, c.detail) && !strings.Contains(s.Detail, c.detail) || c.detail == "" && s.Detail != "" {
				t.Errorf("%s in round %d: %q", s.State, s.Round, s.Detail)
			}
			if strings.HasPrefix(name, "late") != v.Late || (name == "late and failed" || name == "late and accepted") != v.Cancel {
				t.Errorf("late %v, cancel %v", v.Late, v.Cancel)
			}
		})
	}
}

// A recovery takes the inputs that are lacking, with its own resources and parameters.
func TestAttempts(t *testing.T) {
	f := judged(reco(), 1, []string{"x_run-10.reco", "run-1_v2.reco"}, try(0, 1, observed.SubmissionDone, 0), try(1, 1, observed.SubmissionDenied, 75))
	got := plan.AttemptAt(f, desired.Resources{CPUs: 2, Memory: "8GiB"})
	want := plan.Attempt{Round: 1, Number: 2, Inputs: []string{"/d/run-2.raw", "/d/run-3.raw"}, Resources: desired.Resources{CPUs: 2, Memory: "1GiB"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f = judged(reco(), 2, nil, try(0, 1, observed.SubmissionFailed, 1))
	got = plan.AttemptAt(f, desired.Resources{})
	want = plan.Attempt{Round: 2, Number: 1, Inputs: f.Slice.Inputs, Resources: desired.Resources{Memory: "4GiB"}, Params: desired.Params{"careful": "true"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f = judged(reco(), 0, nil, try(0, 1, observed.SubmissionFailed, 9), try(0, 2, observed.SubmissionLost, 0), try(0, 3, observed.SubmissionFailed, 9))
	f.Stage.Job.Retry = desired.Retry{OnExit: []int{9}, Max: 5, MemoryFactor: 1.5}
	if got := plan.AttemptAt(f, desired.Resources{}); got.Number != 4 || got.Resources.MemoryBytes() != 1<<30*9/4 {
		t.Errorf("attempt %d with %s", got.Number, got.Resources.Memory)
	}
}

func TestSelectionsOfRecoveries(t *testing.T) {
	for which, want := range map[string]string{
		"not-consumed": "/d/run-10.raw /d/run-3.raw", "failed-or-not-consumed": "/d/run-10.raw /d/run-2.raw /d/run-3.raw", "delivered-not-consumed": "/d/run-10.raw /d/run-3.raw",
		"missing-output": "/d/run-10.raw /d/run-2.raw /d/run-3.raw", "added-inputs": "/d/new.raw",
	} {
		f := judged(reco(), 1, []string{"run-1.reco"}, try(0, 1, observed.SubmissionFailed, 1))
		f.Stage.Recoveries = []desired.Recovery{{Select: which}}
		f.Said = map[string]observed.InputState{"/d/run-1.raw": observed.InputConsumed, "/d/run-10.raw": observed.InputDelivered, "/d/run-2.raw": observed.InputFailed}
		f.Slice.Inputs, f.Slice.Count, f.AddedIn = append(f.Slice.Inputs, "/d/new.raw"), 5, map[string]int{"/d/new.raw": 1}
		if which != "added-inputs" {
			f.Slice.Inputs, f.Slice.Count = f.Slice.Inputs[:4], 4
		}
		if got := strings.Join(plan.AttemptAt(f, desired.Resources{}).Inputs, " "); got != want {
			t.Errorf("%s: %s, want %s", which, got, want)
		}
	}
}

// What was added is the slice's own from then on: it is not complete without.
func TestWhatWasAddedCounts(t *testing.T) {
	const done, failed = observed.SubmissionDone, observed.SubmissionFailed
	stage := reco()
	stage.Completion.Criterion = "jobs"
	stage.Recoveries = []desired.Recovery{{Select: "added-inputs", MinFiles: 2}, {Select: "added-inputs"}, {Select: "not-consumed"}}
	f := judged(stage, 0, nil, try(0, 1, done, 0))
	if f.Added = []string{"/d/x"}; plan.WantsAdded(f.Stage) != true {
		t.Error("it wants none")
	}
	v := plan.JudgeSlice(f)
	if s := v.Slice; s.State != observed.SlicePlanned || s.Round != 2 || s.Count != 5 || s.Digest != plan.InputsDigest(append(f.Slice.Inputs, "/d/x"), nil) || len(v.Added) != 1 {
		t.Errorf("%+v", v)
	}
	for name, c := range map[string]struct {
		tries []observed.Submission
		state observed.SliceState
		round int
		next  []string // inputs of the next attempt
	}{
		"added":               {[]observed.Submission{try(0, 1, done, 0), try(2, 1, done, 0)}, "complete", 2, nil},
		"added in vain":       {[]observed.Submission{try(0, 1, done, 0), try(2, 1, failed, 1)}, "planned", 3, []string{"/d/x"}},
		"only what was added": {[]observed.Submission{try(0, 1, failed, 1), try(2, 1, done, 0)}, "planned", 3, f.Slice.Inputs},
		"recovered":           {[]observed.Submission{try(0, 1, failed, 1), try(2, 1, failed, 1), try(3, 1, done, 0)}, "complete", 3, nil},
		"neither":             {[]observed.Submission{try(0, 1, failed, 1), try(2, 1, failed, 1), try(3, 1, failed, 1)}, "failed", 3, nil},
		"one of both":         {[]observed.Submission{try(0, 1, done, 0), try(2, 1, failed, 1), try(3, 1, failed, 1)}, "partial", 3, nil},
	} {
		g := f
		g.Slice, g.Tries, g.Added, g.AddedIn = v.Slice, c.tries, nil, map[string]int{"/d/x": 2}
		g.Slice.State, g.Slice.Round = observed.SliceUnderway, c.tries[len(c.tries)-1].Round
		w := plan.JudgeSlice(g)
		if w.Slice.State != c.state || w.Slice.Round != c.round || w.Slice.Count != 5 || len(w.Added) > 0 {
			t.Errorf("%s: %+v", name, w)
		}
		if c.next == nil {
			continue
		}
		g.Slice = w.Slice
		g.Slice.Inputs = v.Slice.Inputs
		if got := plan.AttemptAt(g, desired.Resources{}).Inputs; !slices.Equal(got, c.next) {
			t.Errorf("%s: next has %v", name, got)
		}
	}
}

// Files of one name that rounds have made of different inputs are no complete slice, unless somebody accepts it.
func TestRoundsThatLeaveOtherFilesOfOneName(t *testing.T) {
	none := 0
	stage := reco()
	stage.Job.Outputs = map[string]desired.Output{"all": {Pattern: "all.txt", PerInput: &none}}
	f := judged(stage, 2, nil, try(0, 1, observed.SubmissionDone, 0), try(2, 1, observed.SubmissionDone, 0))
	f.Clashes = []string{"all.txt"}
	if s := plan.JudgeSlice(f).Slice; s.State != observed.SlicePartial || !strings.HasPrefix(s.Detail, "several rounds have left files all.txt, each of other inputs") || strings.Contains(s.Detail, "recover") {
		t.Errorf("%s: %s", s.State, s.Detail)
	}
	for i := range 40_000 {
		f.Clashes = append(f.Clashes, fmt.Sprintf("%d.txt", i))
	}
	if s := plan.JudgeSlice(f).Slice; !strings.HasPrefix(s.Detail, "several rounds have left files all.txt, 0.txt, 1.txt, 2.txt, 3.txt and 39996 more, each") || len(s.Detail) > 1000 {
		t.Errorf("%.1000s", s.Detail)
	}
}

// TestARoundWithoutAttempts is not tried once more for what befell one before it.
func TestARoundWithoutAttempts(t *testing.T) {
	for state, wants := range map[observed.SubmissionState]int{observed.SubmissionLost: 2, observed.SubmissionDenied: 2} {
		f := judged(reco(), 1, nil, try(0, 1, state, 0))
		f.Stage.Job.Retry.Max, f.Slice.State = 5, observed.SliceVerifying
		if s := plan.JudgeSlice(f).Slice; s.State != observed.SlicePlanned || s.Round != wants {
			t.Errorf("%s: %s in round %d: %s", state, s.State, s.Round, s.Detail)
		}
		f.Stage.Recoveries = f.Stage.Recoveries[:1]
		if s := plan.JudgeSlice(f).Slice; s.State != observed.SliceFailed {
			t.Errorf("%s: %s in round %d: %s", state, s.State, s.Round, s.Detail)
		}
	}
}

func TestInputsAreAddedWhereTheSplitPutsThem(t *testing.T) {
	noon := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	all := []observed.Input{{Name: "a", Run: 7, Time: noon}, {Name: "b", Run: 8, Time: noon.Add(time.Hour)}, {Name: "own", Run: 7, Time: noon}, {Name: "theirs", Run: 7, Time: noon}}
	for _, c := range []struct {
		split  desired.Split
		params map[string]string
		want   string
	}{
		{desired.Split{Type: desired.FilesSplit, N: 1}, nil, "a b"},
		{desired.Split{Type: desired.NoSplit}, nil, "a b theirs"},
		{desired.Split{Type: desired.MatrixSplit}, nil, "a b theirs"},
		{desired.Split{Type: desired.SampleSplit, N: 1}, nil, ""},
		{desired.Split{Type: desired.ExistingRunsSplit}, map[string]string{"run": "7"}, "a"},
		{desired.Split{Type: desired.WindowSplit}, map[string]string{"from": "2026-10-01T12:00:00Z", "until": "2026-10-01T13:00:00Z"}, "a"},
		{desired.Split{Type: desired.TagsSplit, Tags: map[string]string{"x": "b*", "y": "*"}}, map[string]string{"tag": "x"}, "b"},
	} {
		s := observed.Slice{Inputs: []string{"own"}, Params: c.params}
		if got := strings.Join(plan.AddedTo(c.split, s, all, func(name string) bool { return name == "theirs" }), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.split.Type, got, c.want)
		}
	}
}

func TestTransfers(t *testing.T) {
	s := desired.Stage{Type: desired.TransferStage, Needs: map[string]desired.Need{"reco": {}}, Input: &desired.Input{Glob: "/tape/*"}}
	f := judged(s, 0, nil)
	f.Slice.State, f.Slice.Began = observed.SliceVerifying, cutNow.Add(-72*time.Hour)
	for onTimeout, state := range map[string]observed.SliceState{"": observed.SliceVerifying, "hold": observed.SliceLate, "fail": observed.SliceVerifying, "accept": observed.SliceVerifying} {
		f.Stage.Completion.OnTimeout = onTimeout
		if v := plan.JudgeSlice(f); v.Slice.State != state || v.Late != (onTimeout == "" || onTimeout == "hold") {
			t.Errorf("nobody could look, %q: %+v", onTimeout, v)
		}
	}
	f.Stage.Completion.OnTimeout = ""
	f.Arrived = func(name string) bool { return name != "/d/run-2.raw" }
	const late = "3 of 4 files have arrived; it is not complete 2d after its files were left"
	if v := plan.JudgeSlice(f); v.Slice.State != observed.SliceVerifying || !v.Late || v.Slice.Detail != late {
		t.Errorf("%+v", v)
	}
	for _, c := range []struct{ was, says string }{{late, late}, {"", "it is not complete 2d after its files were left"}} {
		again := f
		again.Arrived, again.Slice.Detail = nil, c.was
		for range 3 { // again and again, while nobody can look
			if again.Slice = plan.JudgeSlice(again).Slice; again.Slice.Detail != c.says {
				t.Errorf("nobody could look: %q, want %q", again.Slice.Detail, c.says)
			}
		}
	}
	f.Arrived = func(string) bool { return true }
	if v := plan.JudgeSlice(f); v.Slice.State != observed.SliceComplete {
		t.Errorf("%+v", v)
	}
}

// An approval is of those very slices.
func TestApprovalsOfSlices(t *testing.T) {
	a, b := observed.Slice{ID: "a", Digest: "sha256:1", Epoch: 1}, observed.Slice{ID: "b", Digest: "sha256:2", Epoch: 1}
	both, one := plan.StageDigest("spec", "look", a, b), plan.StageDigest("spec", "look", b)
	if both != plan.StageDigest("spec", "look", b, a) {
		t.Error("the order matters")
	}
	approved := func(digests ...string) string {
		all := map[string]string{}
		for _, d := range digests {
			all[d] = "somebody"
		}
		var ids []string
		for _, s := range plan.JudgeApproval("spec", "look", []observed.Slice{a, b}, all, cutNow) {
			if s.State != observed.SliceComplete || s.Detail != "approved by somebody" || !s.At.Equal(cutNow) {
				t.Errorf("%+v", s)
			}
			ids = append(ids, s.ID)
		}
		return strings.Join(ids, " ")
	}
	other := b
	other.Digest = "sha256:3"
	for want, digests := range map[string][]string{
		"a b": {both}, "b": {one}, "": {plan.StageDigest("other", "look", a, b), plan.StageDigest("spec", "peer", a, b), plan.StageDigest("spec", "look", a, other)},
	} {
		if got := approved(digests...); got != want {
			t.Errorf("approved %q, want %q", got, want)
		}
	}
}

// What is reviewed is bound, and nothing else.
func TestDigestOfACampaign(t *testing.T) {
	digest := func(change func(*desired.Campaign, *desired.Settings)) string {
		c, s := chain(), desired.Settings{Profiles: map[string]desired.Profile{"grid": {Engine: "slurm"}, "spare": {Engine: "local"}}}
		c.Profile = "grid"
		change(&c, &s)
		return plan.SpecDigest("c", c, s)
	}
	was := digest(func(*desired.Campaign, *desired.Settings) {})
	for name, change := range map[string]func(*desired.Campaign, *desired.Settings){
		"params": func(c *desired.Campaign, _ *desired.Settings) { c.Params = desired.Params{"a": "1"} },
		"job":    func(c *desired.Campaign, _ *desired.Settings) { c.Stages["track"].Job.Argv[0] = "other" },
		"run":    func(c *desired.Campaign, _ *desired.Settings) { c.Run = "2" },
		"profile": func(_ *desired.Campaign, s *desired.Settings) {
			s.Profiles["grid"] = desired.Profile{Engine: "slurm", Account: "other"}
		},
	} {
		if digest(change) == was {
			t.Errorf("%s is not bound", name)
		}
	}
	for name, change := range map[string]func(*desired.Campaign, *desired.Settings){
		"state":     func(c *desired.Campaign, _ *desired.Settings) { c.State = desired.Active },
		"approvals": func(c *desired.Campaign, _ *desired.Settings) { c.Approvals = []desired.Approval{{Digest: was}} },
		"what a profile provides": func(_ *desired.Campaign, s *desired.Settings) {
			s.Profiles["grid"] = desired.Profile{Engine: "slurm", Provides: []string{"dbus"}}
		},
		"other profile": func(_ *desired.Campaign, s *desired.Settings) { delete(s.Profiles, "spare") },
	} {
		if digest(change) != was {
			t.Errorf("%s is bound", name)
		}
	}
}

func TestStartsOfASchedule(t *testing.T) {
	seen := at("2026-10-10T00:00:00Z")
	for name, c := range map[string]struct {
		s          desired.Schedule
		now        string
		busy       bool
		start      string
		missed     int
		seen, next string
		replace    bool
		why        string
	}{
		"none yet":             {desired.Schedule{Cron: "0 6 * * *"}, "2026-10-10T05:59:59Z", false, "", 0, "2026-10-10T00:00:00Z", "2026-10-10T06:00:00Z", false, ""},
		"one":                  {desired.Schedule{Cron: "0 6 * * *"}, "2026-10-10T06:00:00Z", false, "10T06:00", 0, "2026-10-10T06:00:00Z", "2026-10-11T06:00:00Z", false, ""},
		"one, too late":        {desired.Schedule{Cron: "0 6 * * *"}, "2026-10-10T06:10:01Z", false, "", 1, "2026-10-10T06:00:00Z", "2026-10-11T06:00:00Z", false, ""},
		"late, but in time":    {desired.Schedule{Cron: "0 6 * * *", Deadline: "1h"}, "2026-10-10T06:59:00Z", false, "10T06:00", 0, "2026-10-10T06:00:00Z", "2026-10-11T06:00:00Z", false, ""},
		"the latest of missed": {desired.Schedule{Cron: "0 6 * * *", CatchUp: "latest"}, "2026-10-13T05:00:00Z", false, "12T06:00", 2, "2026-10-12T06:00:00Z", "2026-10-13T06:00:00Z", false, ""},
		"all of missed":        {desired.Schedule{Cron: "0 6 * * *", CatchUp: "all", Concurrency: "allow"}, "2026-10-13T05:00:00Z", false, "10T06:00 11T06:00 12T06:00", 0, "2026-10-12T06:00:00Z", "2026-10-13T06:00:00Z", false, ""},
		"all, one by one":      {desired.Schedule{Cron: "0 6 * * *", CatchUp: "all"}, "2026-10-13T05:00:00Z", false, "10T06:00", 0, "2026-10-10T06:00:00Z", "2026-10-13T06:00:00Z", false, ""},
		"busy":                 {desired.Schedule{Cron: "0 6 * * *"}, "2026-10-10T06:00:00Z", true, "", 0, "2026-10-10T00:00:00Z", "2026-10-11T06:00:00Z", false, "waits until slices"},
		"busy for long":        {desired.Schedule{Cron: "0 6 * * *"}, "2026-10-10T07:00:00Z", true, "", 1, "2026-10-10T06:00:00Z", "2026-10-11T06:00:00Z", false, ""},
		"busy, allowed":        {desired.Schedule{Cron: "0 6 * * *", Concurrency: "allow"}, "2026-10-10T06:00:00Z", true, "10T06:00", 0, "2026-10-10T06:00:00Z", "2026-10-11T06:00:00Z", false, ""},
		"busy, replaced":       {desired.Schedule{Cron: "*/5 * * * *", Concurrency: "replace"}, "2026-10-10T00:10:00Z", true, "10T00:10", 1, "2026-10-10T00:10:00Z", "2026-10-10T00:15:00Z", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.DueStarts(c.s, seen, at(c.now), c.busy)
			var start []string
			for _, s := range got.Start {
				start = append(start, s.Format("02T15:04"))
			}
			if strings.Join(start, " ") != c.start || len(got.Missed) != c.missed || !got.Seen.Equal(at(c.seen)) || !got.Next.Equal(at(c.next)) || got.Replace != c.replace || !strings.Contains(got.Why, c.why) || got.Doubtful != nil {
				t.Errorf("start %v, missed %v, seen %v, next %v, replace %v: %q", start, got.Missed, got.Seen, got.Next, got.Replace, got.Why)
			}
		})
	}
}
