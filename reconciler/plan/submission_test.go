package plan_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

func TestWordsOnSubmissionsThatAreBelieved(t *testing.T) {
	const (
		intent, queued, running, unknown = observed.SubmissionIntent, observed.SubmissionQueued, observed.SubmissionRunning, observed.SubmissionUnknown
		done, failed, lost, cancelled    = observed.SubmissionDone, observed.SubmissionFailed, observed.SubmissionLost, observed.SubmissionCancelled
	)
	for _, c := range []struct {
		name       string
		have, said observed.SubmissionState
		operator   bool
		want       string // part of why not; empty: it is believed
	}{
		{"an agent sees it run", queued, running, false, ""},
		{"a requeue", running, queued, false, ""},
		{"an agent sees its end", running, done, false, ""},
		{"an agent sees its end before its begin", intent, failed, false, ""},
		{"the same again", failed, failed, false, ""},
		{"an agent leaves an end", failed, done, false, "has ended: failed"},
		{"an agent has a cancelled job run", cancelled, running, false, "has ended: cancelled"},
		{"done rolls back", done, running, false, "has ended: done"},
		{"an operator rolls done back", done, failed, true, "has ended: done"},
		{"an operator corrects an end", lost, done, true, "pomona campaign retry or accept"},
		{"an agent does not see it", running, lost, false, "only an operator"},
		{"an operator gives it up", unknown, lost, true, ""},
		{"somebody hands it in", queued, observed.SubmissionSubmitted, true, "only Pomona"},
		{"somebody denies it", queued, observed.SubmissionDenied, true, "only Pomona"},
	} {
		have, said := observed.Submission{State: c.have}, observed.Submission{State: c.said}
		err := plan.Believes(have, said, c.operator)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAnotherJobIsNeverBelieved(t *testing.T) {
	have := observed.Submission{State: observed.SubmissionQueued, Job: "12@schedd"}
	if err := plan.Believes(have, observed.Submission{State: observed.SubmissionRunning, Job: "13@schedd"}, true); err == nil {
		t.Error("another job is believed")
	}
	if err := plan.Believes(have, observed.Submission{State: observed.SubmissionRunning, Job: "12@schedd"}, false); err != nil {
		t.Error(err)
	}
}
