package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// yard carries out what is decided about a campaign: it records slices and edges as a ledger does, and its jobs end as it is told.
type yard struct {
	plan.CampaignFacts
	slices  map[string]observed.Slice // by stage and id
	records map[string]plan.StageRecord
	edges   map[plan.Edge]bool          // true: taken
	data    map[string][]observed.Input // of each stage with an input
	ends    func(observed.Slice) observed.SliceState
}

func newYard(c desired.Campaign) *yard {
	y := &yard{slices: map[string]observed.Slice{}, records: map[string]plan.StageRecord{}, edges: map[plan.Edge]bool{}, data: map[string][]observed.Input{}}
	c.State = desired.Active
	y.CampaignFacts = plan.CampaignFacts{Now: cutNow, Name: "c", Spec: c, Wanted: true, Seen: cutNow}
	y.ends = func(observed.Slice) observed.SliceState { return observed.SliceComplete }
	return y
}

// decide decides by what is recorded.
func (y *yard) decide() plan.CampaignPlan {
	y.Counts, y.Records, y.Edges = map[plan.SliceCount]int{}, nil, nil
	for _, s := range y.slices {
		y.Counts[plan.SliceCount{Stage: s.Stage, Epoch: s.Epoch, Cycle: s.Cycle, State: s.State}]++
	}
	for _, key := range slices.Sorted(maps.Keys(y.records)) {
		y.Records = append(y.Records, y.records[key])
	}
	for e, taken := range y.edges {
		if !taken {
			y.Edges = append(y.Edges, e)
		}
	}
	slices.SortFunc(y.Edges, func(a, b plan.Edge) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	p := plan.Campaign(y.CampaignFacts)
	y.State = p.State
	return p
}

// plan cuts what is due, and records it.
func (y *yard) plan(p plan.CampaignPlan) (added int) {
	for _, stage := range p.Renew {
		for _, s := range y.slices {
			y.edgesOf(s)
		}
		y.records[stage] = plan.StageRecord{Stage: stage, Epoch: y.Spec.Stages[stage].TheEpoch(), State: plan.StageOpen}
		added++
	}
	for _, due := range p.Due {
		c := plan.StageCut{Now: y.Now, UID: "c/1", Name: due.Stage, Stage: y.Spec.Stages[due.Stage], Cycle: due.Cycle, Bare: due.Bare, Final: due.Final, Idle: due.Idle,
			Known:    func(id string) bool { _, ok := y.slices[due.Stage+"/"+id]; return ok },
			Assigned: func(name string) bool { return y.assigned(due.Stage)[name] > 0 }}
		switch {
		case due.From == plan.FromDataset:
			c.Inputs = y.data[due.Stage]
			added += y.record(due, plan.Cut(c))
		case due.From == plan.FromNothing:
			added += y.record(due, plan.Cut(c))
		case due.Each:
			for _, e := range due.Edges {
				parent := y.slices[e.Stage+"/"+e.Slice]
				c.Parent, c.Inputs = &parent, y.outputs(parent)
				added += y.record(due, plan.Cut(c), e)
			}
		default:
			for _, e := range due.Edges {
				c.Inputs = append(c.Inputs, y.outputs(y.slices[e.Stage+"/"+e.Slice])...)
			}
			added += y.record(due, plan.Cut(c), due.Edges...)
		}
	}
	for _, t := range p.Starts.Start {
		y.Seen = t
	}
	return added
}

func (y *yard) assigned(stage string) map[string]int {
	out := map[string]int{}
	for _, s := range y.slices {
		if s.Stage == stage && s.State != observed.SliceCancelled {
			for _, name := range s.Inputs {
				out[name]++
			}
		}
	}
	return out
}

func (y *yard) record(due plan.DueCut, cuts plan.Cuts, edges ...plan.Edge) int {
	for _, s := range cuts.Slices {
		y.slices[s.Stage+"/"+s.ID] = s
	}
	for _, e := range edges {
		if !slices.ContainsFunc(y.outputs(y.slices[e.Stage+"/"+e.Slice]), func(i observed.Input) bool { return slices.Contains(cuts.Rest, i.Name) }) {
			y.edges[e] = true
		}
	}
	state := plan.StageOpen
	if due.Final {
		state = plan.StageUnderway
	}
	y.records[due.Stage+due.Cycle] = plan.StageRecord{Stage: due.Stage, Epoch: y.Spec.Stages[due.Stage].TheEpoch(), Cycle: due.Cycle, State: state}
	return len(cuts.Slices)
}

// outputs are two files of each slice with a job, the second alone of one that is partial, and the inputs of others.
func (y *yard) outputs(s observed.Slice) (out []observed.Input) {
	if y.Spec.Stages[s.Stage].Job == nil {
		return named(s.Inputs...)
	}
	for i := range 2 * len(y.Spec.Stages[s.Stage].Job.Outputs) {
		if s.State == observed.SliceFailed || s.State == observed.SlicePartial && i%2 == 0 {
			continue
		}
		out = append(out, observed.Input{Name: fmt.Sprintf("/%s/%s/%d", s.Stage, s.ID, i), Size: 10})
	}
	return out
}

// run has the jobs of some open slices end.
func (y *yard) run(some func(observed.Slice) bool) (ended int) {
	for _, key := range slices.Sorted(maps.Keys(y.slices)) {
		s := y.slices[key]
		if s.State.Ended() || !some(s) {
			continue
		}
		s.State = y.ends(s)
		y.slices[key] = s
		y.edgesOf(s)
		ended++
	}
	return ended
}

// retry has slices that are not complete done again.
func (y *yard) retry(some func(observed.Slice) bool) {
	for _, key := range slices.Sorted(maps.Keys(y.slices)) {
		if s := y.slices[key]; (s.State == observed.SlicePartial || s.State == observed.SliceFailed) && some(s) {
			s.State, s.Tries = observed.SlicePlanned, s.Tries+1
			y.slices[key] = s
			for e := range y.edges {
				if e.Stage == s.Stage && e.Slice == s.ID {
					delete(y.edges, e) // they are open again when it ends
				}
			}
		}
	}
}

func (y *yard) edgesOf(s observed.Slice) {
	for _, d := range plan.Dependents(y.Spec, s) {
		if e := (plan.Edge{Stage: s.Stage, Epoch: s.Epoch, Slice: s.ID, Cycle: s.Cycle, Dependent: d}); !y.edges[e] {
			y.edges[e] = false
		}
	}
}

// finish carries out everything there is to do.
func (y *yard) finish() plan.CampaignPlan {
	for range 200 {
		p := y.decide()
		if plan.CampaignEnded(p.State) || y.plan(p)+y.run(func(observed.Slice) bool { return p.Launch }) == 0 && p.State != plan.CampaignActive {
			return p
		}
	}
	return y.decide()
}

func job(outputs ...string) *desired.Job {
	j := &desired.Job{Argv: []string{"x"}, Outputs: map[string]desired.Output{}}
	for _, name := range outputs {
		j.Outputs[name] = desired.Output{Pattern: "*"}
	}
	return j
}

// chain is one slice for each of some files, and then all of their outputs at once.
func chain() desired.Campaign {
	return desired.Campaign{Requester: "requester", Stages: map[string]desired.Stage{
		"track": {Input: &desired.Input{Files: []string{"a", "b", "c"}}, Split: &desired.Split{Type: "files", N: 1}, Job: job("hits")},
		"merge": {Needs: map[string]desired.Need{"track": {Join: "all"}}, Job: job("all")},
	}}
}

func newChain() *yard {
	y := newYard(chain())
	y.data["track"] = named("a", "b", "c")
	return y
}

func stateOf(p plan.CampaignPlan, stage string) string {
	for _, s := range p.Stages {
		if s.Stage == stage {
			return s.State
		}
	}
	return "none"
}

func TestCampaignRunsToItsEnd(t *testing.T) {
	y := newChain()
	p := y.finish()
	if p.State != plan.CampaignComplete || p.Detail != "slices: 4 complete" || len(y.slices["merge/all"].Inputs) != 6 {
		t.Errorf("%s (%s), %v", p.State, p.Detail, y.slices)
	}
	y.Spec.Stages["track"].Input.Files = []string{"d"}
	y.data["track"] = named("d")
	if p := y.decide(); p.State != plan.CampaignComplete || len(p.Due) > 0 || p.Launch {
		t.Errorf("what has ended starts again: %+v", p)
	}
}

// What is partly there is not complete: what needs all of it waits, and says so, until somebody has decided.
func TestCampaignWithAFailure(t *testing.T) {
	y := newChain()
	y.ends = func(s observed.Slice) observed.SliceState {
		if s.Label == "b" {
			return observed.SliceFailed
		}
		return observed.SliceComplete
	}
	p := y.finish()
	if p.State != plan.CampaignIncomplete || stateOf(p, "merge") != plan.StageBlocked || p.Whys["merge"] != "it needs all of track, which is partial: retry or accept its slices" {
		t.Fatalf("%s, merge %s: %q", p.State, stateOf(p, "merge"), p.Whys["merge"])
	}
	for key, s := range y.slices { // an operator accepts it
		if s.State == observed.SliceFailed {
			s.State = observed.SliceComplete
			y.slices[key] = s
			y.edgesOf(s)
		}
	}
	if p := y.finish(); p.State != plan.CampaignComplete {
		t.Errorf("%s: %v", p.State, p.Why)
	}
}

func TestCampaignThatTakesAnyEnd(t *testing.T) {
	y := newChain()
	merge := y.Spec.Stages["merge"]
	merge.Needs = map[string]desired.Need{"track": {Join: "all", On: "any"}}
	y.Spec.Stages["merge"] = merge
	y.ends = func(s observed.Slice) observed.SliceState {
		return map[bool]observed.SliceState{true: observed.SlicePartial, false: observed.SliceComplete}[s.Label == "b"]
	}
	if p := y.finish(); p.State != plan.CampaignIncomplete || stateOf(p, "merge") != plan.StageComplete || len(y.slices["merge/all"].Inputs) != 5 {
		t.Errorf("%s, merge %s", p.State, stateOf(p, "merge"))
	}
}

// What somebody cancels is not complete.
func TestCampaignOfCancelledSlices(t *testing.T) {
	for _, state := range []string{desired.Active, desired.Draining} {
		y := newChain()
		merge := y.Spec.Stages["merge"]
		merge.Needs = map[string]desired.Need{"track": {Join: "all", On: "any"}}
		y.Spec.Stages["merge"] = merge
		y.ends = func(observed.Slice) observed.SliceState { return observed.SliceCancelled }
		y.plan(y.decide())
		y.Spec.State = state
		if p := y.finish(); p.State != plan.CampaignClosed || p.Detail != "slices: 3 cancelled" {
			t.Errorf("%s: %s (%s), %v", state, p.State, p.Detail, p.Why)
		}
	}
}

func TestCampaignOfNothing(t *testing.T) {
	y := newChain()
	y.data["track"] = nil
	if p := y.finish(); p.State != plan.CampaignComplete || p.Detail != "no slices: there was nothing to do" {
		t.Errorf("%s (%s), %v", p.State, p.Detail, p.Why)
	}
}

func TestCampaignStates(t *testing.T) {
	for name, c := range map[string]struct {
		change     func(*yard)
		state, why string
		launch     bool
		due        int
		cancel     bool
	}{
		"draft":          {func(y *yard) { y.Spec.State = "" }, "draft", "set its state to active", false, 0, false},
		"active":         {func(y *yard) {}, "active", "", true, 1, false},
		"paused":         {func(y *yard) { y.Spec.State = desired.Paused }, "paused", "paused", false, 0, false},
		"draining early": {func(y *yard) { y.Spec.State = desired.Draining }, "closed", "draining", true, 0, false},
		"gone as draft":  {func(y *yard) { y.Wanted = false }, "draft", "nothing of it was begun", false, 0, false},
		"gone awaiting":  {func(y *yard) { y.State, y.Wanted = plan.CampaignAwaiting, false }, "awaiting", "nothing of it was begun", false, 0, false},
		"gone paused":    {func(y *yard) { y.State, y.Wanted = plan.CampaignPaused, false }, "paused", "nothing of it was begun", false, 0, false},
		"gone active":    {func(y *yard) { y.State, y.Wanted = plan.CampaignActive, false }, "draft", "nothing of it was begun", false, 0, false},
		"closed early":   {func(y *yard) { y.Spec.State = desired.Closed }, "closed", "closed", false, 0, true},
		"draft again":    {func(y *yard) { y.plan(y.decide()); y.Spec.State = "" }, "paused", "draft", false, 0, false},
		"draining":       {func(y *yard) { y.plan(y.decide()); y.Spec.State = desired.Draining }, "draining", "draining", true, 0, false},
		"closed":         {func(y *yard) { y.plan(y.decide()); y.Spec.State = desired.Closed }, "closing", "closed", false, 0, true},
		"not approved": {func(y *yard) {
			y.Spec.NeedsApproval = new(bool)
			*y.Spec.NeedsApproval = true
			y.Doubts = []string{"nobody signed"}
		}, "awaiting",
			"somebody else than requester has to approve it", false, 0, false},
		"approved": {func(y *yard) {
			y.Settings.Campaigns.Approval = []string{"production"}
			y.Approved = map[string]string{plan.SpecDigest("c", y.Spec, y.Settings): "somebody"}
		}, "active", "", true, 1, false},
		"changed after": {func(y *yard) {
			y.Settings.Campaigns.Approval = []string{"production"}
			y.Approved = map[string]string{plan.SpecDigest("c", y.Spec, y.Settings): "somebody"}
			y.plan(y.decide())
			y.Spec.Params, y.Changed = desired.Params{"x": "1"}, true
		}, "awaiting", "It was changed since it was approved", false, 0, false},
		"changed long ago": {func(y *yard) {
			y.Settings.Campaigns.Approval = []string{"production"}
			y.plan(y.decide())
			y.State, y.Changed = plan.CampaignAwaiting, true
		}, "awaiting", "It was changed since it was approved", false, 0, false},
		"drained instead of approved": {func(y *yard) {
			y.plan(y.decide())
			y.Settings.Campaigns.Approval = []string{"production"}
			y.State, y.Spec.State = plan.CampaignAwaiting, desired.Draining
		}, "draining", "somebody else than requester has to approve it", false, 0, false},
		"service is not well": {func(y *yard) {
			y.Spec.Services = []string{"tape"}
			y.Services = map[string]observed.Service{"tape": {Name: "tape", Why: "503"}}
		}, "active", "service tape, which it needs, is not well", false, 1, false},
		"service was never asked": {func(y *yard) { y.Spec.Services = []string{"tape"} }, "active", "has not been asked yet", false, 1, false},
		"service is well": {func(y *yard) {
			y.Spec.Services = []string{"tape"}
			y.Services = map[string]observed.Service{"tape": {Name: "tape", Well: true}}
		}, "active", "", true, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			y := newChain()
			c.change(y)
			p := y.decide()
			if p.State != c.state || p.Launch != c.launch || len(p.Due) != c.due || p.Cancel != c.cancel || !strings.Contains(strings.Join(p.Why, "\n"), c.why) || c.why == "" && len(p.Why) > 0 {
				t.Errorf("%s, launch %v, due %d, cancel %v: %q", p.State, p.Launch, len(p.Due), p.Cancel, p.Why)
			}
		})
	}
}

// Draining does what is begun with all that it leads to, and nothing else.
func TestDrainingFollowsThrough(t *testing.T) {
	y := newChain()
	y.plan(y.decide())
	y.Wanted = false
	if p := y.finish(); p.State != plan.CampaignComplete || y.slices["merge/all"].State != observed.SliceComplete {
		t.Errorf("%s, %v", p.State, p.Why)
	}
	y = newChain()
	y.plan(y.decide())
	y.ends = func(observed.Slice) observed.SliceState { return observed.SliceFailed }
	y.Spec.State = desired.Draining
	if p := y.finish(); p.State != plan.CampaignFailed {
		t.Errorf("%s, %v", p.State, p.Why)
	}
}

func TestHoldsOfCampaigns(t *testing.T) {
	for _, c := range []struct {
		scope, kind string
		stopped     []string
	}{
		{"campaigns", desired.Stop, []string{"merge", "track"}}, {"campaigns.c", desired.Stop, []string{"merge", "track"}}, {"site", desired.Stop, []string{"merge", "track"}},
		{"campaigns.c/merge", desired.Stop, []string{"merge"}}, {"campaigns.d", desired.Stop, nil}, {"site", desired.Stay, nil}, {"fecs.c", desired.Stop, nil},
	} {
		y := newChain()
		y.Holds = []observed.Hold{{Scope: c.scope, Kind: c.kind, Reason: "tapes are full", By: "an operator", Until: cutNow.Add(time.Hour)}}
		p := y.decide()
		if got := slices.Sorted(maps.Keys(p.Stopped)); !slices.Equal(got, c.stopped) {
			t.Errorf("%s: stopped %v", c.scope, got)
		}
		if len(c.stopped) > 0 && p.Stopped["merge"] != "held: tapes are full (an operator), until 2026-10-10 13:00 UTC" {
			t.Errorf("%s: %q", c.scope, p.Stopped["merge"])
		}
	}
}

func TestLoopGoesAroundSoOften(t *testing.T) {
	y := newChain()
	y.Spec.Loop = &desired.Loop{Stage: "merge", Max: 3}
	p := y.finish()
	if p.State != plan.CampaignComplete {
		t.Fatalf("%s, %v", p.State, p.Why)
	}
	n := map[string]int{}
	for _, s := range y.slices {
		n[s.Stage+s.Cycle]++
	}
	// Once around, each of two outputs of merge is a slice of track.
	if want := map[string]int{"track": 3, "merge": 1, "track#2": 2, "merge#2": 1, "track#3": 2, "merge#3": 1}; !maps.Equal(n, want) {
		t.Errorf("%v, want %v", n, want)
	}
}

// In another epoch all that a stage has worked on leads to it once more.
func TestEpochOfAConsumer(t *testing.T) {
	y := newChain()
	y.ends = func(s observed.Slice) observed.SliceState {
		return map[bool]observed.SliceState{true: observed.SliceFailed, false: observed.SliceComplete}[s.Stage == "merge"]
	}
	if p := y.finish(); p.State != plan.CampaignIncomplete {
		t.Fatal(p.State)
	}
	merge := y.Spec.Stages["merge"]
	merge.Epoch = 2
	y.Spec.Stages["merge"] = merge
	for key := range y.slices {
		if strings.HasPrefix(key, "merge/") {
			delete(y.slices, key) // they are of another epoch, which this yard does not tell apart
		}
	}
	p := y.decide()
	if !slices.Equal(p.Renew, []string{"merge"}) {
		t.Fatalf("renew %v", p.Renew)
	}
	y.ends = func(observed.Slice) observed.SliceState { return observed.SliceComplete }
	if p := y.finish(); p.State != plan.CampaignComplete || y.slices["merge/all"].Epoch != 2 {
		t.Errorf("%s: %+v", p.State, y.slices["merge/all"])
	}
}

// Whether something has just ended that leads to the new epoch already makes no difference.
func TestANewEpochFollowsAllAtOnce(t *testing.T) {
	y := newChain()
	y.finish()
	merge := y.Spec.Stages["merge"]
	merge.Epoch = 2
	y.Spec.Stages["merge"] = merge
	delete(y.slices, "merge/all")
	y.State = plan.CampaignActive
	for _, s := range y.slices {
		y.edgesOf(s)
		break
	}
	if p := y.decide(); !slices.Equal(p.Renew, []string{"merge"}) || len(p.Due) > 0 || p.State != plan.CampaignActive {
		t.Errorf("%s, renew %v, due %+v", p.State, p.Renew, p.Due)
	}
	y.records["merge"] = plan.StageRecord{Stage: "merge", Epoch: 2, State: plan.StageOpen}
	if p := y.decide(); len(p.Renew) > 0 || len(p.Due) != 1 {
		t.Errorf("renew %v, due %+v", p.Renew, p.Due)
	}
}

// What a provider has left in an earlier epoch is not worked on together with what it leaves in this one.
func TestWhatAnEarlierEpochHasLeftLeadsNowhere(t *testing.T) {
	y := newChain()
	track := y.Spec.Stages["track"]
	track.Epoch = 2
	y.Spec.Stages["track"] = track
	y.records["track"] = plan.StageRecord{Stage: "track", Epoch: 2, State: plan.StageUnderway}
	y.slices["track/a"] = observed.Slice{Stage: "track", Epoch: 2, ID: "a", State: observed.SliceComplete}
	for epoch := 1; epoch <= 2; epoch++ {
		y.edges[plan.Edge{Stage: "track", Epoch: epoch, Slice: "a", Dependent: "merge"}] = false
	}
	p := y.decide()
	if len(p.Due) != 1 || len(p.Due[0].Edges) != 1 || p.Due[0].Edges[0].Epoch != 2 {
		t.Errorf("%+v", p.Due)
	}
	for i, change := range []func(*desired.Stage){func(s *desired.Stage) { s.Needs = map[string]desired.Need{"other": {}} }, func(s *desired.Stage) { s.Needs = nil }} {
		merge := y.Spec.Stages["merge"]
		change(&merge)
		y.Spec.Stages["merge"] = merge
		for _, due := range y.decide().Due {
			if len(due.Edges) > 0 {
				t.Errorf("%d: it works on what it needs no more: %+v", i, due)
			}
		}
	}
}

// Whoever makes the slices of a stage says when no more come; that none comes for long, people are told.
func TestAStageWhoseSlicesOthersMake(t *testing.T) {
	y := newYard(desired.Campaign{Stages: map[string]desired.Stage{
		"given": {Split: &desired.Split{Type: desired.ExternalSplit}, Job: job("hits"), Completion: desired.Completion{Timeout: "3h"}},
		"merge": {Needs: map[string]desired.Need{"given": {Join: "all"}}, Job: job("all")},
	}})
	y.plan(y.decide())
	given := y.records["given"]
	given.At = y.Now
	y.records["given"] = given
	y.slices["given/a"] = observed.Slice{Stage: "given", Epoch: 1, ID: "a", State: observed.SlicePlanned}
	y.run(func(observed.Slice) bool { return true })
	y.Now = y.Now.Add(2 * time.Hour)
	if p := y.decide(); p.State != plan.CampaignActive || stateOf(p, "given") != plan.StageOpen || stateOf(p, "merge") != plan.StageWaiting || len(p.Late) > 0 {
		t.Errorf("%s, given %s, merge %s, late %v", p.State, stateOf(p, "given"), stateOf(p, "merge"), p.Late)
	}
	y.Now = y.Now.Add(time.Hour)
	if p := y.decide(); !slices.Equal(p.Late, []string{"given"}) || !strings.Contains(p.Whys["given"], "nobody has said that none comes any more") {
		t.Errorf("late %v: %v", p.Late, p.Whys)
	}
	given.State = plan.StageUnderway
	y.records["given"] = given
	if p := y.finish(); p.State != plan.CampaignComplete || y.slices["merge/all"].Count != 2 || len(p.Late) > 0 {
		t.Errorf("%s, %+v", p.State, y.slices)
	}
}

// A service that dies between recording a cycle and recording that its start was dealt with does not begin it again.
func TestAStartThatIsRecordedDoesNotReplaceItself(t *testing.T) {
	y := newChain()
	y.Spec.Schedule = &desired.Schedule{Cron: "0 * * * *", Concurrency: "replace"}
	y.Now = at("2026-10-10T13:00:02Z")
	y.plan(y.decide())
	y.Seen = cutNow
	if p := y.decide(); len(p.Due) > 0 || len(p.CancelCycles) > 0 {
		t.Errorf("%+v, cancel %v", p.Due, p.CancelCycles)
	}
	delete(y.records, "track2026-10-10T13:00:00Z")
	if p := y.decide(); len(p.Due) != 1 || len(p.CancelCycles) > 0 {
		t.Errorf("%+v, cancel %v", p.Due, p.CancelCycles)
	}
	y.Now = at("2026-10-10T14:00:02Z")
	if p := y.decide(); !slices.Equal(p.CancelCycles, []string{"2026-10-10T13:00:00Z"}) {
		t.Errorf("cancel %v", p.CancelCycles)
	}
}

func TestACampaignDoesNotEndBeforeSlicesOfOldEpochs(t *testing.T) {
	y := newChain()
	if p := y.finish(); p.State != plan.CampaignComplete {
		t.Fatal(p.State)
	}
	y.State = plan.CampaignActive
	old := observed.Slice{Stage: "track", Epoch: 7, ID: "old", State: observed.SliceUnderway}
	y.slices["track/old"] = old
	if p := y.decide(); p.State != plan.CampaignActive {
		t.Errorf("%s while a slice is under way", p.State)
	}
	old.State = observed.SliceCancelled
	y.slices["track/old"] = old
	if p := y.decide(); p.State != plan.CampaignComplete {
		t.Error(p.State)
	}
}

func TestScheduleOfACampaign(t *testing.T) {
	y := newChain()
	y.Spec.Schedule = &desired.Schedule{Cron: "0 * * * *"}
	if p := y.decide(); len(p.Due) > 0 || p.State != plan.CampaignActive || !slices.Contains(p.Why, "its schedule starts it at 2026-10-10 13:00 UTC") {
		t.Fatalf("%+v", p)
	}
	y.Now = at("2026-10-10T13:00:02Z")
	p := y.decide()
	if len(p.Due) != 1 || p.Due[0].Cycle != "2026-10-10T13:00:00Z" {
		t.Fatalf("%+v", p.Due)
	}
	y.plan(p)
	if _, ok := y.slices["track/20261010t1300z.f-ca978112ca1b"]; !ok || len(y.slices) != 3 {
		t.Fatalf("%v", slices.Collect(maps.Keys(y.slices)))
	}
	y.Now = at("2026-10-10T14:00:02Z")
	if p := y.decide(); len(p.Due) > 0 || !strings.Contains(strings.Join(p.Why, ""), "the start of 2026-10-10 14:00 UTC waits until slices of the one before have ended") {
		t.Fatalf("%+v, %v", p.Due, p.Why)
	}
	for range 3 {
		y.run(func(observed.Slice) bool { return true })
		if p = y.decide(); len(p.Starts.Start) > 0 {
			break
		}
		y.plan(p)
	}
	if len(p.Starts.Start) != 1 || !p.Starts.Start[0].Equal(at("2026-10-10T14:00:00Z")) {
		t.Errorf("%+v", p.Starts)
	}
}

// drawCampaign is any graph of stages, each of which works on all that others leave, or on a dataset.
func drawCampaign(t *rapid.T) desired.Campaign {
	c := desired.Campaign{Stages: map[string]desired.Stage{}}
	n := rapid.IntRange(1, 5).Draw(t, "stages")
	for i := range n {
		s := desired.Stage{Needs: map[string]desired.Need{}, Job: job("out")}
		for j := range i {
			if rapid.IntRange(0, 2).Draw(t, "needs") == 0 {
				s.Needs[fmt.Sprint("s", j)] = desired.Need{Join: rapid.SampledFrom([]string{"all", "each"}).Draw(t, "join")}
			}
		}
		size := rapid.IntRange(1, 4).Draw(t, "n")
		s.Split = rapid.SampledFrom([]*desired.Split{nil, {Type: "files", N: size}, {Type: "drain", N: size}, {Type: "merge", N: size}}).Draw(t, "split")
		if len(s.Needs) == 0 {
			s.Input = &desired.Input{Glob: "/x"}
		}
		c.Stages[fmt.Sprint("s", i)] = s
	}
	return c
}

// Whatever the graph, in whatever order jobs end and however often Pomona dies: a campaign comes to its end, and each stage has worked on each
// file that was left for it exactly once.
func TestLawOfCampaigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := newYard(drawCampaign(t))
		for name, s := range y.Spec.Stages {
			if s.Input != nil {
				for i := range rapid.IntRange(0, 7).Draw(t, "files") {
					y.data[name] = append(y.data[name], observed.Input{Name: fmt.Sprintf("%s-%d", name, i), Size: 10})
				}
			}
		}
		var p plan.CampaignPlan
		for range 300 {
			p = y.decide()
			if plan.CampaignEnded(p.State) {
				break
			}
			some := rapid.IntRange(0, len(p.Due)).Draw(t, "planned before it died")
			p.Due = p.Due[:some]
			y.plan(p)
			y.run(func(s observed.Slice) bool { return rapid.Bool().Draw(t, "ends") })
		}
		if p.State != plan.CampaignComplete {
			t.Fatalf("%s: %v, %v, stages %+v", p.State, p.Why, p.Whys, p.Stages)
		}
		y.eachOnce(t)
	})
}

// eachOnce says that each stage has worked on each file that was left for it exactly once.
func (y *yard) eachOnce(t *rapid.T) {
	for name, s := range y.Spec.Stages {
		want := map[string]int{}
		for _, in := range y.data[name] {
			want[in.Name] = 1
		}
		for _, slice := range y.slices {
			if _, needs := s.Needs[slice.Stage]; needs {
				for _, in := range y.outputs(slice) {
					want[in.Name] = 1
				}
			}
		}
		if got := y.assigned(name); !maps.Equal(got, want) {
			t.Fatalf("stage %s has worked on %v, want %v", name, got, want)
		}
	}
}

// Whatever the split, and however often slices are tried again of which others have worked on a part: these work on each file exactly once.
func TestLawOfRetries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCampaign(t)
		for name, s := range c.Stages {
			for need, n := range s.Needs {
				n.On = "any"
				s.Needs[need] = n
			}
			c.Stages[name] = s
		}
		y := newYard(c)
		for _, name := range slices.Sorted(maps.Keys(c.Stages)) {
			if s := c.Stages[name]; s.Input != nil {
				y.data[name] = named("x-"+name, "y-"+name, "z-"+name)
			} else if rapid.IntRange(0, 3).Draw(t, "modulo") == 0 {
				s.Split = &desired.Split{Type: "modulo", N: rapid.IntRange(1, 3).Draw(t, "parts")}
				c.Stages[name] = s
			}
		}
		y.ends = func(s observed.Slice) observed.SliceState {
			if s.Tries > 1 {
				return observed.SliceComplete
			}
			return rapid.SampledFrom([]observed.SliceState{observed.SliceComplete, observed.SlicePartial, observed.SliceFailed}).Draw(t, "end")
		}
		some := func(observed.Slice) bool { return rapid.Bool().Draw(t, "some") }
		var p plan.CampaignPlan
		for range 300 {
			if p = y.decide(); plan.CampaignEnded(p.State) {
				break
			}
			y.plan(p)
			y.run(some)
			y.retry(some)
		}
		if p.State != plan.CampaignComplete {
			t.Fatalf("%s: %v, %v, stages %+v", p.State, p.Why, p.Whys, p.Stages)
		}
		y.eachOnce(t)
	})
}

// A matrix hands all of its slices what comes later, too.
func TestWhatARetryLeavesReachesEachOfAMatrix(t *testing.T) {
	b := newBench(desired.Stage{Needs: map[string]desired.Need{"p": {On: "any"}}, Split: &desired.Split{Type: "matrix", Params: map[string][]desired.ParamValue{"p": {"1", "2"}}}})
	b.Parent, b.Final = &observed.Slice{Stage: "p", ID: "all"}, true
	b.Inputs = named("x")
	b.record(plan.Cut(b.StageCut).Slices)
	b.Inputs = named("w", "x")
	more := plan.Cut(b.StageCut)
	if show(more) != "1.f-50e721e49c01: w p=1\n2.f-50e721e49c01: w p=2" {
		t.Error(show(more))
	}
	b.record(more.Slices)
	if got := plan.Cut(b.StageCut); len(got.Slices) != 0 {
		t.Errorf("twice: %s", show(got))
	}
}

// Who needs all of a stage waits while there is work for that stage that nobody has planned yet.
func TestAllIsMoreThanWhatIsPlanned(t *testing.T) {
	y := newChain()
	y.Spec.Stages["fit"] = desired.Stage{Needs: map[string]desired.Need{"track": {}}, Job: job("fits")}
	y.Spec.Stages["merge"] = desired.Stage{Needs: map[string]desired.Need{"fit": {Join: "all"}}, Job: job("all")}
	all := func(observed.Slice) bool { return true }
	y.plan(y.decide())
	y.run(all)
	p := y.decide()
	if len(p.Due) != 1 || p.Due[0].Stage != "fit" || len(p.Due[0].Edges) != 3 {
		t.Fatalf("%+v", p.Due)
	}
	p.Due[0].Edges = p.Due[0].Edges[:1]
	y.plan(p)
	y.run(all)
	p = y.decide()
	if len(p.Due) != 1 || p.Due[0].Stage != "fit" || p.Whys["merge"] != "it needs all of fit, which is not done" {
		t.Errorf("%+v, %q", p.Due, p.Whys["merge"])
	}
}
