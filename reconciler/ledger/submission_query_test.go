package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func TestSubmissionsAreFoundInPages(t *testing.T) {
	l := campaignLedger(t)
	check(t, l.SetCampaign(t.Context(), ledger.Campaign{UID: "keepup/1", Name: "keepup", State: "active", At: now, Began: now}))
	var all []ledger.Submission
	for i := range 5 {
		s := submission(fmt.Sprint(i), 1)
		s.Task = i + 1
		if i == 3 {
			s.State = "running"
		}
		all = append(all, s)
	}
	check(t, l.Intend(t.Context(), []ledger.Launch{{Key: "pom-l1", Engine: "slurm", UID: "keepup/1", Stage: "reco", Tasks: 5, State: "intent", Intended: now}}, all))
	for _, c := range []struct {
		f    ledger.SubmissionFilter
		want []ledger.Submission
	}{
		{ledger.SubmissionFilter{Limit: 2}, all[:2]},
		{ledger.SubmissionFilter{After: all[1].Key, Limit: 2}, all[2:4]},
		{ledger.SubmissionFilter{After: all[4].Key, Limit: 2}, nil},
		{ledger.SubmissionFilter{Campaign: "keepup", Stage: "reco", State: "running", Limit: 9}, all[3:4]},
		{ledger.SubmissionFilter{Campaign: "keepup/1", State: "running", Limit: 9}, all[3:4]},
		{ledger.SubmissionFilter{Campaign: "keepup/2", Limit: 9}, nil},
		{ledger.SubmissionFilter{Slice: "2", Limit: 9}, all[2:3]},
		{ledger.SubmissionFilter{Campaign: "other", Limit: 9}, nil},
		{ledger.SubmissionFilter{Stage: "other", Limit: 9}, nil},
	} {
		got, err := l.FindSubmissions(t.Context(), c.f)
		same(t, fmt.Sprintf("%+v", c.f), c.want, got, err)
	}
}

func TestAWordOnASubmissionIsHistoryOnly(t *testing.T) {
	l := campaignLedger(t)
	s := submission("1", 1)
	check(t, l.Intend(t.Context(), nil, []ledger.Submission{s}))
	word := ledger.SubmissionEvent{State: "running", Detail: "copying", At: now.Add(time.Minute)}
	check(t, l.AddSubmissionEvent(t.Context(), s.Key, word))
	got, _, err := l.Submission(t.Context(), s.Key)
	same(t, "submission", s, got, err)
	s.State = "queued"
	check(t, l.SetSubmissions(t.Context(), now.Add(time.Hour), s))
	events, err := l.SubmissionEvents(t.Context(), s.Key)
	same(t, "history", []ledger.SubmissionEvent{{State: "intent", At: now}, word, {State: "queued", At: now.Add(time.Hour)}}, events, err)
	n, err := l.EventsSince(t.Context(), s.Key, now.Add(time.Minute))
	same(t, "since", 2, n, err)
	if err := l.AddSubmissionEvent(t.Context(), "pom-none", word); err == nil {
		t.Error("a word on nothing is taken")
	}
}
