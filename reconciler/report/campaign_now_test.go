package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func slicesOf(state observed.SliceState, n int) []report.Stage {
	return []report.Stage{{Name: "reco", Engine: "slurm", Slices: map[observed.SliceState]int{state: n}, Submissions: map[observed.SubmissionState]int{}}}
}

func TestAStatusSaysWhatThereIsToLookAt(t *testing.T) {
	next := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	unknown := slicesOf(observed.SliceUnderway, 3)
	unknown[0].Submissions[observed.SubmissionUnknown] = 2
	for _, c := range []struct {
		name string
		all  report.Campaigns
		want []report.Look
	}{
		{"nothing is wrong", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive}}}, []report.Look{}},
		{"a draft says why it does not start", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignDraft, Why: []string{"draft"}}}}, []report.Look{}},
		{"it waits for its schedule", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive, Next: next, Why: []string{plan.StartsAt(next)}}}}, []report.Look{}},
		{"it is scheduled and held", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive, Next: next, Why: []string{"held: beam", plan.StartsAt(next)}}}},
			[]report.Look{{What: report.LookHeld, About: "a/1", Why: "held: beam"}}},
		{"it has ended", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignPartial, Ended: true, Late: 1, Why: []string{"x"}, Stages: slicesOf(observed.SliceFailed, 1)}}}, []report.Look{}},
		{"somebody must decide", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignIncomplete, Why: []string{"x"}, Stages: slicesOf(observed.SliceFailed, 2)}}},
			[]report.Look{{What: report.LookIncomplete, About: "a/1", Why: "2 failed: retry, accept or cancel"}}},
		{"a slice has failed while others go on", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive, Stages: append(slicesOf(observed.SliceFailed, 1), slicesOf(observed.SlicePartial, 2)...)}}},
			[]report.Look{{What: report.LookFailed, About: "a/1", Why: "2 partial, 1 failed: retry, accept or cancel"}}},
		{"a stage gets no slices", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive, Stages: []report.Stage{{Name: "made", Late: true, Why: "none has come"}}}}},
			[]report.Look{{What: report.LookLate, About: "a/1", Why: "made: none has come"}}},
		{"somebody must approve", report.Campaigns{Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignAwaiting, Why: []string{"somebody else"}}, {UID: "b/1", State: plan.CampaignActive, Stages: slicesOf(observed.SliceAwaiting, 4)}}},
			[]report.Look{{What: report.LookApproval, About: "a/1", Why: "somebody else"}, {What: report.LookApproval, About: "b/1", Why: "slices: 4 awaiting"}}},
		{"worst first", report.Campaigns{Trouble: "disk full",
			Campaigns: []report.Campaign{{UID: "a/1", State: plan.CampaignActive, Late: 1, Why: []string{"held: x"}, Stages: slicesOf(observed.SliceLate, 2)}, {UID: "b/1", State: plan.CampaignActive, Stages: unknown}},
			Engines:   []report.Engine{{Name: "slurm", Trouble: "timeout"}, {Name: "local", Answers: true, Credential: next, Expiring: true}, {Name: "grid", Answers: true, Credential: next}},
			Services:  []observed.Service{{Name: "tape", Why: "down"}, {Name: "web", Well: true}}},
			[]report.Look{{What: report.LookUndecided, Why: "disk full"}, {What: report.LookEngine, About: "slurm", Why: "timeout"}, {What: report.LookUnknown, About: "b/1", Why: "2 of reco on engine slurm"},
				{What: report.LookLate, About: "a/1", Why: "3 slices are late"}, {What: report.LookHeld, About: "a/1", Why: "held: x"},
				{What: report.LookCredential, About: "local", Why: "it ends at 2026-12-01 00:00 UTC"}, {What: report.LookService, About: "tape", Why: "down"}}},
	} {
		if d := cmp.Diff(c.want, c.all.Now().Look); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if now := (report.Campaigns{}).Now(); now != nil {
		t.Errorf("a site without campaigns: %+v", now)
	}
}

// TestAStatusStaysShort however much is wrong, and whatever the texts are.
func TestAStatusStaysShort(t *testing.T) {
	var all report.Campaigns
	for n := range 1000 {
		all.Campaigns = append(all.Campaigns, report.Campaign{UID: fmt.Sprintf("c%d/1", n), State: plan.CampaignActive, Why: []string{"held: \x1b[2J\nservice  none runs"}, Stages: slicesOf(observed.SliceUnderway, 100)})
	}
	var b strings.Builder
	if err := (report.Status{Campaigns: all.Now()}).Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"campaigns  1000 active; slices of those that have not ended: 100000 underway\n", `held c0/1: held: \x1b[2J\nservice  none runs` + "\n", "and 994 more: pomona campaign\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "\n"); n > 12 {
		t.Errorf("%d lines:\n%s", n, b.String())
	}
}
