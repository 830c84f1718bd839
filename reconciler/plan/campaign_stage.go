package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// stages judges each stage in each cycle, those that others need first, and says what is to be cut.
func (d *campaignDecision) stages() {
	d.states, d.settled = map[string]map[string]string{}, map[string]map[string]bool{}
	for _, cycle := range d.cycles {
		d.states[cycle], d.settled[cycle] = map[string]string{}, map[string]bool{}
		for _, name := range d.order {
			d.stage(name, cycle)
		}
	}
	d.out.Stages = d.byStage(d.out.Stages)
	for _, name := range d.order {
		if d.renewed(name) {
			d.out.Renew = append(d.out.Renew, name)
		}
	}
}

// byStage are stages, those that others need first, each in the order in which it is there.
func (d *campaignDecision) byStage(all []StageNow) (ordered []StageNow) {
	by := map[string][]StageNow{}
	for _, s := range all {
		by[s.Stage] = append(by[s.Stage], s)
	}
	for _, name := range d.order {
		ordered = append(ordered, by[name]...)
	}
	return ordered
}

// endRest adds how the stages have ended of cycles that were not judged, before the others.
func (d *campaignDecision) endRest() {
	slices.Sort(d.rest)
	counts := map[[2]string]int{}
	for c, n := range d.Counts {
		if d.current(c.Stage, c.Epoch) {
			counts[[2]string{c.Stage, c.Cycle}] += n
		}
	}
	var ended []StageNow
	for _, cycle := range d.rest {
		for _, name := range d.order {
			s := StageNow{StageRecord{Stage: name, Epoch: d.Spec.Stages[name].TheEpoch(), Cycle: cycle, State: StageComplete}, nil}
			if n := counts[[2]string{name, cycle}]; n > 0 {
				s.Counts = map[observed.SliceState]int{observed.SliceComplete: n}
			} else {
				s.Detail = emptyInput
			}
			ended = append(ended, s)
		}
	}
	d.out.Stages = d.byStage(append(ended, d.out.Stages...))
}

const emptyInput = "its input is empty"

// stage judges a stage in a cycle.
func (d *campaignDecision) stage(name, cycle string) {
	key := [2]string{name, cycle}
	waits, blocked := d.waits(name, cycle)
	d.settled[cycle][name] = d.isSettled(name, cycle)
	state, detail := d.state(name, cycle, waits, blocked)
	d.states[cycle][name] = state
	d.out.Stages = append(d.out.Stages, StageNow{
		StageRecord{Stage: name, Epoch: d.Spec.Stages[name].TheEpoch(), Cycle: cycle, State: state, Detail: detail}, d.counts[key],
	})
	if waits != "" {
		d.why(name, waits)
		return
	}
	if d.from(name, cycle) == FromOutputs {
		d.following(name, cycle)
	} else {
		d.firstCut(name, cycle)
	}
	if n := d.counts[key][observed.SliceAwaiting]; n > 0 {
		d.why(name, strings.Join(append([]string{counted(n, "slice waits", "slices wait") + " for approval"}, d.Doubts...), "; "))
	}
	if n := d.counts[key][observed.SliceLate]; n > 0 {
		d.why(name, counted(n, "slice is late: retry, accept or cancel it", "slices are late: retry, accept or cancel them"))
	}
}

func (d *campaignDecision) why(stage, says string) {
	if says != "" && d.out.Whys[stage] == "" {
		d.out.Whys[stage] = says
	}
}

// from is where a stage's inputs come from in a cycle: of the first stages of a loop the second time around, from its end.
func (d *campaignDecision) from(name, cycle string) Source {
	if len(d.Spec.Stages[name].Needs) == 0 && Iteration(cycle) > 1 {
		return FromOutputs
	}
	return SourceOf(d.Spec.Stages[name])
}

// provider is a stage that another needs, in the cycle in which it does.
type provider struct {
	stage, cycle string
	need         desired.Need
}

func (d *campaignDecision) providers(name, cycle string) (all []provider) {
	needs := d.Spec.Stages[name].Needs
	for _, need := range d.needs[name] {
		if _, there := d.Spec.Stages[need]; there {
			all = append(all, provider{need, cycle, needs[need]})
		}
	}
	if before, again := lastAround(cycle); again && len(needs) == 0 && d.Spec.Loop != nil {
		all = append(all, provider{d.Spec.Loop.Stage, before, desired.Need{}})
	}
	return all
}

// waits says what a stage waits for before any slice of it is cut, and whether that will not come by itself.
func (d *campaignDecision) waits(name, cycle string) (says string, blocked bool) {
	for _, p := range d.providers(name, cycle) {
		if !p.need.JoinsAll() && d.from(name, cycle) == FromOutputs {
			continue
		}
		switch state := d.states[p.cycle][p.stage]; {
		case state == StageComplete, StageEnded(state) && state != StageBlocked && p.need.AcceptsAny():
		case StageEnded(state):
			return fmt.Sprintf("it needs all of %s, which is %s: retry or accept its slices", p.stage, state), true
		default:
			says = fmt.Sprintf("it needs all of %s, which is not done", p.stage)
		}
	}
	return says, false
}

// isSettled says that a stage gets no more slices in a cycle.
func (d *campaignDecision) isSettled(name, cycle string) bool {
	key := [2]string{name, cycle}
	if d.from(name, cycle) != FromOutputs {
		state := d.records[key].State
		return state == StageUnderway || StageEnded(state) || !d.begins && d.follows
	}
	return len(d.edges[key]) == 0 && d.providersEnded(name, cycle)
}

func (d *campaignDecision) providersEnded(name, cycle string) bool {
	for _, p := range d.providers(name, cycle) {
		if !StageEnded(d.states[p.cycle][p.stage]) {
			return false
		}
	}
	return true
}

// state is how far a stage is, and why if that says more.
func (d *campaignDecision) state(name, cycle, waits string, blocked bool) (state, detail string) {
	counts := d.counts[[2]string{name, cycle}]
	all, open, well, bad := 0, 0, 0, 0
	for s, n := range counts {
		all += n
		switch {
		case !s.Ended():
			open += n
		case s == observed.SliceComplete:
			well += n
		case s != observed.SliceCancelled:
			bad += n
		}
	}
	settled := d.settled[cycle][name]
	switch {
	case blocked && open == 0:
		return StageBlocked, waits
	case all == 0 && !settled && waits == "" && d.from(name, cycle) != FromOutputs:
		return StageOpen, ""
	case all == 0 && !settled:
		return StageWaiting, waits
	case !settled:
		return StageOpen, ""
	case open > 0:
		return StageUnderway, ""
	}
	lacking := d.lacking(name, cycle)
	switch {
	case all == 0 && lacking != "":
		return StageBlocked, "nothing has reached it: " + lacking
	case all == 0 && d.from(name, cycle) != FromOutputs && d.records[[2]string{name, cycle}].State == "":
		return StageCancelled, "nothing was planned of it"
	case all == 0:
		return StageComplete, emptyInput
	case bad > 0 && well == 0:
		return StageFailed, ""
	case bad > 0:
		return StagePartial, ""
	case well == 0:
		return StageCancelled, ""
	case lacking != "":
		return StagePartial, lacking
	}
	return StageComplete, ""
}

// lacking says which of the stages that a stage works for is not complete, unless any end will do.
func (d *campaignDecision) lacking(name, cycle string) string {
	for _, p := range d.providers(name, cycle) {
		if state := d.states[p.cycle][p.stage]; StageEnded(state) && state != StageComplete && !p.need.AcceptsAny() {
			return p.stage + ", which it needs, is " + state
		}
	}
	return ""
}

// firstCut has a stage cut that works on a dataset or on nothing: once in each cycle, or again and again while its dataset grows.
func (d *campaignDecision) firstCut(name, cycle string) {
	key := [2]string{name, cycle}
	state := d.records[key].State
	if !d.begins || state == StageUnderway || StageEnded(state) {
		return
	}
	s := d.Spec.Stages[name]
	others := SourceOf(s) == FromOthers
	if patience := s.Completion.Patience(); others && state == StageOpen && d.Now.Sub(d.records[key].At) >= patience {
		d.out.Late = append(d.out.Late, name)
		d.why(name, fmt.Sprintf("no slice has come since %s, and nobody has said that none comes any more", observed.Minute(d.records[key].At)))
	}
	grows := s.Input != nil && s.Input.Live && d.Spec.Schedule == nil || others
	d.out.Due = append(d.out.Due, DueCut{
		Stage: name, Cycle: cycle, From: SourceOf(s), Final: !grows, Growth: grows && state == StageOpen, Idle: !d.has(name, cycle),
	})
}

// has says whether a stage has slices in a cycle that have not ended.
func (d *campaignDecision) has(stage, cycle string) bool {
	for state, n := range d.counts[[2]string{stage, cycle}] {
		if n > 0 && !state.Ended() {
			return true
		}
	}
	return false
}

// following has a stage cut that works on the outputs of slices: of each by itself, or of all together where a split looks at all, or where
// the stage needs all.
func (d *campaignDecision) following(name, cycle string) {
	edges := d.edges[[2]string{name, cycle}]
	if !d.follows || len(edges) == 0 || d.renewed(name) { // then more than these lead to it in a moment
		return
	}
	s := d.Spec.Stages[name]
	due := DueCut{Stage: name, Cycle: cycle, From: FromOutputs, Bare: !d.files(name, cycle), Idle: !d.has(name, cycle), Final: d.providersEnded(name, cycle)}
	var each, together []Edge
	for _, e := range edges {
		if s.Needs[e.Stage].JoinsAll() || s.TheSplit(d.Spec.IsTest()).Pools() {
			together = append(together, e)
		} else {
			each = append(each, e)
		}
	}
	if len(each) > 0 {
		one := due
		one.Edges, one.Each = each, true
		d.out.Due = append(d.out.Due, one)
	}
	if len(together) > 0 {
		due.Edges = together
		d.out.Due = append(d.out.Due, due)
	}
}

// files says whether what a stage works for leaves files.
func (d *campaignDecision) files(name, cycle string) bool {
	return slices.ContainsFunc(d.providers(name, cycle), func(p provider) bool { return Leaves(d.Spec, p.stage) })
}

// renewed says whether a stage is to work once more on all that it has worked on, because its epoch is new.
func (d *campaignDecision) renewed(name string) bool {
	if len(d.rest) > 0 { // it has worked on all of those
		return false
	}
	if d.Spec.Stages[name].TheEpoch() == 1 || !d.follows || SourceOf(d.Spec.Stages[name]) != FromOutputs {
		return false
	}
	ready := false
	for _, cycle := range d.cycles {
		key := [2]string{name, cycle}
		// What has just ended may lead to it already: that says nothing of what had ended before.
		if len(d.counts[key]) > 0 || d.records[key].State != "" {
			return false
		}
		for _, p := range d.providers(name, cycle) {
			ready = ready || d.counts[[2]string{p.stage, p.cycle}][observed.SliceComplete] > 0
		}
	}
	return ready
}

// dependent names a stage as edges do: with its epoch, unless that is the first, because in another one all is done once more.
func dependent(c desired.Campaign, stage string) string {
	if epoch := c.Stages[stage].TheEpoch(); epoch > 1 {
		return stage + "@" + strconv.Itoa(epoch)
	}
	return stage
}

// DependentStage is the stage that an edge's Dependent names; false if the campaign has it no more, or in another epoch.
func DependentStage(c desired.Campaign, edge string) (string, bool) {
	stage, _, _ := strings.Cut(edge, "@")
	_, there := c.Stages[stage]
	return stage, there && dependent(c, stage) == edge
}
