package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestTheNextRecoveryIsTheOneThatIsBegun compares what would be selected with what is judged when the slice's last attempt has failed.
func TestTheNextRecoveryIsTheOneThatIsBegun(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	job := &desired.Job{Argv: []string{"x"}, Outputs: map[string]desired.Output{"out": {Pattern: "*.root"}}}
	slice := observed.Slice{Stage: "reco", ID: "a", Count: 3, Inputs: []string{"a.raw", "b.raw", "c.raw"}, State: observed.SliceUnderway, Tries: 1, At: now}
	for name, c := range map[string]struct {
		recoveries []desired.Recovery
		said       map[string]observed.InputState
		round      int
		want       int
		inputs     []string
	}{
		"none":                         {nil, nil, 0, 0, nil},
		"all were tried":               {[]desired.Recovery{{Select: "missing-output"}}, nil, 1, 0, nil},
		"missing output":               {[]desired.Recovery{{Select: "missing-output"}}, nil, 0, 1, []string{"b.raw", "c.raw"}},
		"too few for the first":        {[]desired.Recovery{{Select: "missing-output", MinFiles: 3}, {Select: "failed-or-not-consumed"}}, nil, 0, 2, slice.Inputs},
		"what no job has read":         {[]desired.Recovery{{Select: "not-consumed"}}, map[string]observed.InputState{"a.raw": observed.InputConsumed, "b.raw": observed.InputFailed}, 0, 1, []string{"c.raw"}},
		"and what one has failed with": {[]desired.Recovery{{Select: "failed-or-not-consumed"}}, map[string]observed.InputState{"a.raw": observed.InputConsumed, "b.raw": observed.InputFailed}, 0, 1, []string{"b.raw", "c.raw"}},
	} {
		f := plan.SliceFacts{Now: now, Slice: slice, Said: c.said, Stage: desired.Stage{Job: job, Recoveries: c.recoveries},
			Tries:   []observed.Submission{{Key: "pom-1", Round: c.round, Attempt: 1, State: observed.SubmissionFailed, Exit: 1, Ended: now}},
			Outputs: map[string][]observed.Input{"out": {{Name: "/out/a.root"}}}}
		f.Slice.Round = c.round
		n, inputs := plan.NextRecovery(f)
		if n != c.want || !slices.Equal(inputs, c.inputs) {
			t.Errorf("%s: %d with %v, want %d with %v", name, n, inputs, c.want, c.inputs)
		}
		switch v := plan.JudgeSlice(f).Slice; {
		case c.want == 0 && v.State != observed.SliceFailed && v.State != observed.SlicePartial:
			t.Errorf("%s: it is judged %s, round %d: %s", name, v.State, v.Round, v.Detail)
		case c.want > 0 && (v.State != observed.SlicePlanned || v.Round != c.want):
			t.Errorf("%s: it is judged %s, round %d: %s", name, v.State, v.Round, v.Detail)
		}
	}
}

// What was missed for so long that it is more than is looked at once ends with the latest all the same.
func TestTheLatestOfManyMissedStarts(t *testing.T) {
	seen, now := time.Date(2026, 11, 19, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 21, 12, 30, 0, 0, time.UTC)
	last := time.Date(2026, 11, 21, 11, 59, 0, 0, time.UTC)
	for catchUp, starts := range map[string][]time.Time{"latest": {last}, "none": nil} {
		got := plan.DueStarts(desired.Schedule{Cron: "* 0-11 * * *", CatchUp: catchUp}, seen, now, false)
		if !slices.EqualFunc(got.Start, starts, time.Time.Equal) || !got.Seen.Equal(last) {
			t.Errorf("%s: start %v, seen %v", catchUp, got.Start, got.Seen)
		}
	}
}
