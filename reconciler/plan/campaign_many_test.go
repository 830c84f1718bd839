package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// history is a campaign with a schedule, of which so many starts have ended well.
func history(n int) plan.CampaignFacts {
	c := chain()
	c.State, c.Schedule = desired.Active, &desired.Schedule{Cron: "0 * * * *"}
	f := plan.CampaignFacts{Now: cutNow, Name: "c", Spec: c, Wanted: true, State: plan.CampaignActive, Seen: cutNow.Truncate(time.Hour), Counts: map[plan.SliceCount]int{}}
	for i := range n {
		cycle := plan.CycleOf(f.Seen.Add(time.Duration(-i) * time.Hour))
		for stage, slices := range map[string]int{"track": 3, "merge": 1} {
			f.Records = append(f.Records, plan.StageRecord{Stage: stage, Epoch: 1, Cycle: cycle, State: plan.StageUnderway})
			f.Counts[plan.SliceCount{Stage: stage, Epoch: 1, Cycle: cycle, State: observed.SliceComplete}] = slices
		}
	}
	return f
}

func BenchmarkCampaignOfManyStarts(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		f := history(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				plan.Campaign(f)
			}
		})
	}
}

// A schedule has ever more starts. What has come to rest of them is counted, and not judged once more at each look.
func TestStartsThatAreCompleteAreOnlyCounted(t *testing.T) {
	const starts = 1000
	f := history(starts)
	if p := plan.Campaign(f); len(p.Stages) != 2 || p.Stages[0].Cycle != plan.CycleOf(f.Seen) || p.State != plan.CampaignActive || len(p.Due) > 0 {
		t.Errorf("%s, stages %+v, due %v", p.State, p.Stages, p.Due)
	}
	f.Spec.State = desired.Draining
	p := plan.Campaign(f)
	if p.State != plan.CampaignComplete || p.Detail != "slices: 4000 complete" || len(p.Stages) != 2*starts {
		t.Errorf("%s (%s), %d stages", p.State, p.Detail, len(p.Stages))
	}
	for i, s := range p.Stages { // those that others need first, oldest first
		n := map[bool]int{true: 3, false: 1}[i < starts]
		if want := plan.CycleOf(f.Seen.Add(time.Duration(i%starts-starts+1) * time.Hour)); s.State != plan.StageComplete || s.Cycle != want || s.Counts[observed.SliceComplete] != n {
			t.Fatalf("%d: %+v, want that of %s", i, s, want)
		}
	}
}

func TestStartsOfWhichSomethingIsLeftAreJudged(t *testing.T) {
	old := plan.CycleOf(cutNow.Truncate(time.Hour).Add(-50 * time.Hour))
	count := func(f *plan.CampaignFacts, stage string, state observed.SliceState) {
		f.Counts[plan.SliceCount{Stage: stage, Epoch: 1, Cycle: old, State: state}] = 1
	}
	record := func(f *plan.CampaignFacts, stage, state string) {
		for i := range f.Records {
			if f.Records[i].Stage == stage && f.Records[i].Cycle == old {
				f.Records[i].State = state
			}
		}
	}
	for name, c := range map[string]struct {
		change       func(f *plan.CampaignFacts)
		track, merge string
		due          string
	}{
		"retried": {func(f *plan.CampaignFacts) { count(f, "track", observed.SlicePlanned) }, plan.StageUnderway, plan.StageOpen, ""},
		"failed":  {func(f *plan.CampaignFacts) { count(f, "merge", observed.SliceFailed) }, plan.StageComplete, plan.StagePartial, ""},
		"left more": {func(f *plan.CampaignFacts) {
			f.Edges = []plan.Edge{{Stage: "track", Epoch: 1, Slice: "a", Cycle: old, Dependent: "merge"}}
		}, plan.StageComplete, plan.StageOpen, "merge"},
		"not cut": {func(f *plan.CampaignFacts) { record(f, "track", "") }, plan.StageOpen, plan.StageOpen, "track"},
	} {
		f := history(100)
		c.change(&f)
		p := plan.Campaign(f)
		states := map[string]string{}
		for _, s := range p.Stages {
			if s.Cycle == old {
				states[s.Stage] = s.State
			}
		}
		due := ""
		for _, d := range p.Due {
			due += d.Stage
		}
		if len(p.Stages) != 4 || states["track"] != c.track || states["merge"] != c.merge || due != c.due {
			t.Errorf("%s: %v, due %q", name, p.Stages, due)
		}
	}
}

func TestAStageThatIsNewIsCutInTheStartsThatAreThere(t *testing.T) {
	f := history(3)
	f.Spec.Stages["scan"] = f.Spec.Stages["track"]
	if p := plan.Campaign(f); len(p.Due) != 3 || p.Due[0].Stage != "scan" {
		t.Errorf("%+v", p.Due)
	}
}

func TestWhatWasCompleteCountsAtTheEnd(t *testing.T) {
	f := history(3)
	f.Spec.State = desired.Draining
	for c, n := range f.Counts {
		if c.Cycle == plan.CycleOf(f.Seen) { // all of the newest has failed
			delete(f.Counts, c)
			c.State = observed.SliceFailed
			f.Counts[c] = n
		}
	}
	if p := plan.Campaign(f); p.State != plan.CampaignPartial || p.Detail != "slices: 8 complete, 4 failed" {
		t.Errorf("%s (%s)", p.State, p.Detail)
	}
}

// A start whose slices are all complete already begins no second time, although nobody has noted yet that it was dealt with.
func TestAStartThatIsCompleteDoesNotBeginAgain(t *testing.T) {
	f := history(3)
	f.Seen = f.Seen.Add(-2 * time.Hour)
	f.Spec.Schedule.Concurrency, f.Spec.Schedule.CatchUp = "allow", "all"
	if p := plan.Campaign(f); len(p.Starts.Start) != 2 || len(p.Due) > 0 {
		t.Errorf("%v, due %+v", p.Starts, p.Due)
	}
}
