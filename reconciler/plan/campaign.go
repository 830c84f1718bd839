package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// States of a campaign, as they are recorded and shown. The last four are ends: a campaign that has ended never starts again.
const (
	CampaignDraft      = "draft"      // the site does not want it to start
	CampaignAwaiting   = "awaiting"   // approval
	CampaignActive     = "active"     //
	CampaignPaused     = "paused"     // what runs goes on
	CampaignDraining   = "draining"   // what is planned is done
	CampaignClosing    = "closing"    // what runs is cancelled
	CampaignIncomplete = "incomplete" // nothing is left to do, and not all is complete: somebody must decide
	CampaignComplete   = "complete"
	CampaignPartial    = "partial" // drained with slices that are not complete
	CampaignFailed     = "failed"  // drained without any that is
	CampaignClosed     = "closed"  // by the site, or all that there was is cancelled
)

// CampaignEnded says whether a state is an end.
func CampaignEnded(state string) bool {
	return state == CampaignComplete || state == CampaignPartial || state == CampaignFailed || state == CampaignClosed
}

// CampaignFacts is all that is decided by about one run of a campaign.
type CampaignFacts struct {
	Now      time.Time
	Name     string
	Spec     desired.Campaign // as the site has it, or had it last
	Wanted   bool             // the site has it
	Settings desired.Settings
	State    string            // as it was recorded last; empty: nothing is recorded
	Seen     time.Time         // the last start of its schedule that was dealt with, or when the campaign became active
	Approved map[string]string // digests of approvals that count, and who gave each
	Changed  bool              // it was approved once, as something else than it is now
	Doubts   []string          // why approvals that are written down do not count
	Holds    []observed.Hold   // in force
	Services map[string]observed.Service
	Records  []StageRecord
	Counts   map[SliceCount]int // slices that are no tests
	Edges    []Edge             // what slices that have ended lead to, and what is not planned yet
}

// StageRecord is how far a stage was in a cycle.
type StageRecord struct {
	Stage         string
	Epoch         int
	Cycle         string
	State, Detail string
	At            time.Time // when its last slices came
}

// SliceCount is what slices are counted by.
type SliceCount struct {
	Stage string
	Epoch int
	Cycle string
	State observed.SliceState
}

// Edge is what a slice that has ended leads to: work of another stage.
type Edge struct {
	Stage     string
	Epoch     int
	Slice     string
	Cycle     string // of the slice
	Dependent string // stage, as Dependents has it
}

// States of a stage in a cycle. The last five are ends, unless somebody decides about a slice.
const (
	StageWaiting   = "waiting"  // for what it needs
	StageOpen      = "open"     // it has slices, perhaps, and more may come
	StageUnderway  = "underway" // all of its slices are there
	StageComplete  = "complete"
	StagePartial   = "partial"
	StageFailed    = "failed"
	StageCancelled = "cancelled"
	StageBlocked   = "blocked" // what it needs is not complete, and will not be by itself
)

// StageEnded says whether a state of a stage is an end.
func StageEnded(state string) bool {
	return state == StageComplete || state == StagePartial || state == StageFailed || state == StageCancelled || state == StageBlocked
}

// CampaignPlan is what is to be done about a campaign.
type CampaignPlan struct {
	State, Detail string
	Digest        string
	Why           []string // why nothing new starts, or will ever; sentences
	// Launch says that new submissions may start, but of stages that Stopped names, with the reason. Cancel has those that are under
	// way cancelled: of all cycles, or of those named.
	Launch       bool
	Stopped      map[string]string
	Cancel       bool
	CancelCycles []string
	Starts       Starts
	Due          []DueCut // what slices are to be cut of now, those that others need first
	// Renew are stages whose epoch is new: each slice that has ended among what they need leads to them again.
	Renew  []string
	Stages []StageNow        // those that others need first; each by cycle
	Late   []string          // stages for whose slices others take too long
	Whys   map[string]string // by stage: why nothing of it moves, a sentence
}

// StageNow is how far a stage is in a cycle.
type StageNow struct {
	StageRecord
	Counts map[observed.SliceState]int
}

// DueCut is a stage whose slices are to be cut now.
type DueCut struct {
	Stage string
	Cycle string // of the slices
	From  Source
	// Edges are of the slices whose outputs are the inputs. Each is cut by itself, or all together; they are taken with the slices that
	// are cut, but for those of which something is left over.
	Edges  []Edge
	Each   bool
	Bare   bool // what it needs leaves no files: slices have no inputs
	Final  bool // nothing comes after that in this cycle: the stage is recorded as underway with it, else as open
	Idle   bool // nothing of it is under way
	Growth bool // its dataset may have more by now: there is no hurry to look again
}

// Campaign decides what is to be done about one run of a campaign.
func Campaign(f CampaignFacts) CampaignPlan {
	d := campaignDecision{CampaignFacts: f, order: StageOrder(f.Spec), needs: map[string][]string{}, records: map[[2]string]StageRecord{}, counts: map[[2]string]map[observed.SliceState]int{}}
	d.out = CampaignPlan{Digest: SpecDigest(f.Name, f.Spec, f.Settings), Stopped: map[string]string{}, Whys: map[string]string{}}
	if CampaignEnded(f.State) {
		d.out.State = f.State
		return d.out
	}
	d.gather()
	d.gate()
	d.stages()
	d.schedule()
	d.holds()
	d.conclude()
	if CampaignEnded(d.out.State) {
		d.endRest()
	}
	return d.out
}

type campaignDecision struct {
	CampaignFacts
	order   []string
	cycles  []string                                  // oldest first, without those in rest
	rest    []string                                  // all of these is complete and nothing more comes: they are counted, and not judged
	resting int                                       // slices of those
	needs   map[string][]string                       // what each stage needs, in the order of their names
	records map[[2]string]StageRecord                 // by stage and cycle, of the epochs that count
	counts  map[[2]string]map[observed.SliceState]int // likewise
	old     int                                       // open slices of other epochs, which are about to be cancelled
	states  map[string]map[string]string              // by cycle and stage
	settled map[string]map[string]bool                // no more slices come, by cycle and stage
	edges   map[[2]string][]Edge                      // by dependent and the cycle of its slices
	begins  bool                                      // inputs of datasets may be planned
	follows bool                                      // what slices lead to may be planned
	out     CampaignPlan
}

func (d *campaignDecision) because(format string, a ...any) {
	d.out.Why = append(d.out.Why, fmt.Sprintf(format, a...))
}

// gather sorts what is known by stage and cycle.
func (d *campaignDecision) gather() {
	for name, stage := range d.Spec.Stages {
		d.needs[name] = sortedKeys(stage.Needs)
	}
	cycles := map[string]bool{}
	d.edges = map[[2]string][]Edge{}
	for _, e := range d.Edges { // those of an earlier epoch lead nowhere any more: all of it is done once more
		stage, there := DependentStage(d.Spec, e.Dependent)
		if cycle, leads := d.cycleAfter(e, stage); there && leads && d.current(e.Stage, e.Epoch) {
			d.edges[[2]string{stage, cycle}] = append(d.edges[[2]string{stage, cycle}], e)
			cycles[cycle] = true
		}
	}
	rests := d.rests(cycles)
	for _, r := range d.Records {
		if d.current(r.Stage, r.Epoch) && !rests[r.Cycle] {
			d.records[[2]string{r.Stage, r.Cycle}] = r
			cycles[r.Cycle] = true
		}
	}
	for c, n := range d.Counts {
		switch key := [2]string{c.Stage, c.Cycle}; {
		case !d.current(c.Stage, c.Epoch):
			if !c.State.Ended() && len(d.Spec.Stages) > 0 {
				d.old += n
			}
		case n > 0 && rests[c.Cycle]:
			d.resting += n
		case n > 0:
			if d.counts[key] == nil {
				d.counts[key] = map[observed.SliceState]int{}
			}
			d.counts[key][c.State] += n
			cycles[c.Cycle] = true
		}
	}
	if d.Spec.Schedule == nil {
		cycles[""] = true
	}
	d.cycles, d.rest = byAge(cycles), slices.Collect(maps.Keys(rests))
}

// current says whether a stage is in an epoch now.
func (d *campaignDecision) current(stage string, epoch int) bool {
	s, there := d.Spec.Stages[stage]
	return there && s.TheEpoch() == epoch
}

// rests are the cycles of a schedule of which there is nothing to judge any more, because no edge leads there, all of their slices are complete
// and their stages get no more: each of these is complete. The newest is none of them, because it is shown. A schedule has ever more of them.
func (d *campaignDecision) rests(led map[string]bool) map[string]bool {
	if d.Spec.Schedule == nil || d.Spec.Loop != nil { // each time around a loop depends on the one before
		return nil
	}
	final := map[string]bool{} // stages that have to say that nothing more comes
	for name, stage := range d.Spec.Stages {
		if SourceOf(stage) != FromOutputs || stage.TheEpoch() > 1 { // of other stages those before them tell
			final[name] = true
		}
	}
	said, newest := map[string]int{}, ""
	for _, r := range d.Records {
		if d.current(r.Stage, r.Epoch) {
			newest = max(newest, r.Cycle) // in UTC, so that they are in the order of time
			if final[r.Stage] && (r.State == StageUnderway || StageEnded(r.State)) {
				said[r.Cycle]++
			}
		}
	}
	for c, n := range d.Counts {
		if n > 0 && d.current(c.Stage, c.Epoch) {
			if newest = max(newest, c.Cycle); c.State != observed.SliceComplete {
				delete(said, c.Cycle)
			}
		}
	}
	rests := map[string]bool{}
	for cycle, n := range said {
		if n == len(final) && !led[cycle] && cycle != newest {
			rests[cycle] = true
		}
	}
	return rests
}

// cycleAfter is the cycle of the slices that an edge leads to: a loop's next, if that is what it is; false if it leads there no more.
func (d *campaignDecision) cycleAfter(e Edge, dependent string) (string, bool) {
	if _, needs := d.Spec.Stages[dependent].Needs[e.Stage]; needs {
		return e.Cycle, true
	}
	return nextAround(e.Cycle), d.Spec.Loop != nil && d.Spec.Loop.Stage == e.Stage
}

// gate says whether the campaign may do anything at all.
func (d *campaignDecision) gate() {
	state := d.Spec.TheState()
	if !d.Wanted && state != desired.Closed && d.untouched() {
		if d.out.State = d.State; d.State == "" || d.State == CampaignActive {
			d.out.State = CampaignDraft
		}
		d.because("the site has this run of the campaign no more, and nothing of it was begun")
		return
	}
	if !d.Wanted && state != desired.Closed {
		state = desired.Draining
		d.because("the site has this run of the campaign no more: what is planned is done with what it leads to, and nothing is added")
	}
	started := d.State != "" && d.State != CampaignDraft && d.State != CampaignAwaiting || len(d.Records) > 0
	switch state {
	case desired.Active:
		d.out.State, d.begins, d.follows, d.out.Launch = CampaignActive, true, true, true
	case desired.Paused:
		d.out.State = CampaignPaused
		d.because("the site says that it is paused: what runs goes on, and nothing new starts")
	case desired.Draining:
		d.out.State, d.follows, d.out.Launch = CampaignDraining, true, true
		if d.Wanted {
			d.because("the site says that it is draining: what is planned is done with what it leads to, and nothing is added")
		}
	case desired.Closed:
		d.out.State, d.out.Cancel = CampaignClosing, true
		d.because("the site says that it is closed")
	default:
		d.out.State = CampaignDraft
		d.because("the site says that it is a draft; set its state to active to have it start")
		if started {
			d.out.State = CampaignPaused
		}
	}
	if d.out.State == CampaignActive || d.out.State == CampaignPaused || d.out.State == CampaignDraining && started {
		d.approval()
	}
}

// untouched says that nothing of the campaign was begun: it leaves no end, so that the site may have it again.
func (d *campaignDecision) untouched() bool {
	return !CampaignEnded(d.State) && d.State != CampaignDraining && len(d.Records) == 0 && len(d.Counts) == 0
}

// approval holds a campaign back that somebody has to approve, as it is now.
func (d *campaignDecision) approval() {
	if !NeedsApproval(d.Spec, d.Settings) || d.Approved[d.out.Digest] != "" || !d.Wanted {
		return
	}
	d.begins, d.follows, d.out.Launch = false, false, false
	if d.out.State == CampaignActive {
		d.out.State = CampaignAwaiting
	}
	changed := ""
	if d.Changed {
		changed = " It was changed since it was approved."
	}
	d.because("somebody else than %s has to approve it: a commit that adds {digest: %q} to its approvals, signed or by a pull request that was approved.%s",
		d.Spec.Requester, d.out.Digest, changed)
	for _, doubt := range d.Doubts {
		d.because("%s", doubt)
	}
}

// NeedsApproval says whether somebody else than its requester has to approve a campaign.
func NeedsApproval(c desired.Campaign, s desired.Settings) bool {
	if c.NeedsApproval != nil {
		return *c.NeedsApproval
	}
	return slices.Contains(s.Campaigns.Approval, c.TheRole())
}

// schedule says which starts are due.
func (d *campaignDecision) schedule() {
	s := d.Spec.Schedule
	if s == nil || !d.begins {
		return
	}
	d.out.Starts = DueStarts(*s, d.Seen, d.Now, slices.ContainsFunc(d.cycles, d.underway))
	starts := d.out.Starts
	if starts.Doubtful != nil {
		d.because("its schedule %v", starts.Doubtful)
	}
	if starts.Why != "" {
		d.because("%s", starts.Why)
	}
	if starts.Replace {
		d.out.CancelCycles = slices.DeleteFunc(slices.Clone(d.cycles), func(c string) bool {
			return !d.underway(c) || slices.ContainsFunc(starts.Start, startOf(c).Equal)
		})
	}
	begun := d.begun(starts.Start)
	for _, t := range starts.Start {
		if begun[t.Unix()] {
			continue // it was recorded without being dealt with to the end: its stages are judged like those of others
		}
		for _, name := range FirstStages(d.Spec) {
			d.firstCut(name, CycleOf(t))
		}
	}
	if len(d.cycles) == 0 && len(starts.Start) == 0 && starts.Why == "" && !starts.Next.IsZero() {
		d.because("%s", StartsAt(starts.Next))
	}
}

// begun says which of some starts have a cycle that is recorded, in seconds since 1970.
func (d *campaignDecision) begun(starts []time.Time) map[int64]bool {
	begun := map[int64]bool{}
	if len(starts) == 0 {
		return begun
	}
	for _, cycles := range [][]string{d.cycles, d.rest} {
		for _, cycle := range cycles {
			begun[startOf(cycle).Unix()] = true
		}
	}
	return begun
}

// StartsAt is why nothing of a campaign moves that only waits for its schedule.
func StartsAt(next time.Time) string {
	return "its schedule starts it at " + observed.Minute(next)
}

// underway says whether anything of a cycle has not ended.
func (d *campaignDecision) underway(cycle string) bool {
	for _, state := range d.states[cycle] {
		if !StageEnded(state) {
			return true
		}
	}
	return false
}

// holds keeps stages from launching: those that are held, and all while a service is not well.
func (d *campaignDecision) holds() {
	for _, h := range d.Holds {
		stages, says := d.heldBy(h)
		for _, stage := range stages {
			if d.out.Stopped[stage] == "" {
				d.out.Stopped[stage] = says
			}
		}
		if len(stages) == len(d.order) && len(stages) > 0 {
			d.because("%s", says)
		} else if len(stages) > 0 {
			d.because("%s: %s", strings.Join(stages, ", "), says)
		}
	}
	for _, name := range d.Spec.Services {
		s, sampled := d.Services[name]
		says := ""
		switch {
		case !sampled:
			says = fmt.Sprintf("service %s, which it needs, has not been asked yet, or this service's configuration does not name it", name)
		case !s.Well:
			says = fmt.Sprintf("service %s, which it needs, is not well since %s: %s", name, observed.Minute(s.At), s.Why)
		default:
			continue
		}
		d.out.Launch = false
		d.because("%s", says)
	}
	for _, stage := range d.order {
		if d.Spec.Stages[stage].Completion.WhenLate() == "hold" && d.out.Stopped[stage] == "" && d.late(stage) {
			d.out.Stopped[stage] = "a slice of it is late: retry, accept or cancel it"
		}
		if says := d.out.Stopped[stage]; says != "" && d.out.Whys[stage] == "" {
			d.out.Whys[stage] = says
		}
	}
}

func (d *campaignDecision) late(stage string) bool {
	return slices.ContainsFunc(d.cycles, func(cycle string) bool { return d.counts[[2]string{stage, cycle}][observed.SliceLate] > 0 })
}

// heldBy are the stages that a hold keeps from launching, and what it says.
func (d *campaignDecision) heldBy(h observed.Hold) (stages []string, says string) {
	if h.Kind != desired.Stop {
		return nil, ""
	}
	what, name := desired.SplitScope(h.Scope)
	campaign, stage, _ := strings.Cut(name, "/")
	switch {
	case what == desired.SiteScope, what == desired.CampaignScope && (name == "" || campaign == d.Name && stage == ""):
		stages = d.order
	case what == desired.CampaignScope && campaign == d.Name && slices.Contains(d.order, stage):
		stages = []string{stage}
	}
	says = "held: " + h.Reason
	if h.By != "" {
		says += " (" + h.By + ")"
	}
	if !h.Until.IsZero() {
		says += ", until " + observed.Minute(h.Until)
	}
	return stages, says
}

// conclude says whether the campaign has ended, and how.
func (d *campaignDecision) conclude() {
	if d.out.State == CampaignDraft || d.out.State == CampaignAwaiting {
		return
	}
	open, well, bad := d.tally()
	switch {
	case open > 0:
	case d.out.State == CampaignClosing:
		d.out.State, d.out.Detail = CampaignClosed, "closed by the site; "+d.summary()
	case d.out.State == CampaignDraining && !d.pending():
		d.out.Detail = d.summary()
		switch {
		case bad == 0:
			d.out.State = d.done(well)
		case well > 0:
			d.out.State = CampaignPartial
		default:
			d.out.State = CampaignFailed
		}
	case d.out.State != CampaignActive || d.Spec.Schedule != nil || d.pending() || slices.ContainsFunc(d.cycles, d.underway):
	case bad == 0 && !d.blocked():
		d.out.State, d.out.Detail = d.done(well), d.summary()
	default:
		d.out.State, d.out.Detail = CampaignIncomplete, d.summary()
		d.because("nothing is left to do, and not all is complete: retry, accept or cancel slices, or set its state to draining to end it as it is")
	}
}

// done is how a campaign has ended of which nothing is partial or failed: closed, if all that there was is cancelled, or was never
// planned.
func (d *campaignDecision) done(well int) string {
	if well > 0 {
		return CampaignComplete
	}
	for _, states := range d.states {
		for _, state := range states {
			if state == StageCancelled {
				return CampaignClosed
			}
		}
	}
	return CampaignComplete
}

// pending says whether there is something to cut now.
func (d *campaignDecision) pending() bool { return len(d.out.Renew) > 0 || len(d.out.Due) > 0 }

// tally counts slices by whether they are open, well or neither.
func (d *campaignDecision) tally() (open, well, bad int) {
	open, well = d.old, d.resting
	for _, counts := range d.counts {
		for state, n := range counts {
			switch {
			case !state.Ended():
				open += n
			case state == observed.SliceComplete:
				well += n
			case state != observed.SliceCancelled:
				bad += n
			}
		}
	}
	return open, well, bad
}

// blocked says whether a stage waits for what will not come by itself.
func (d *campaignDecision) blocked() bool {
	for _, cycle := range d.cycles {
		for _, name := range d.order {
			if d.states[cycle][name] == StageBlocked {
				return true
			}
		}
	}
	return false
}

// summary counts slices by how they ended.
func (d *campaignDecision) summary() string {
	all := map[observed.SliceState]int{observed.SliceComplete: d.resting}
	for _, counts := range d.counts {
		for state, n := range counts {
			all[state] += n
		}
	}
	var said []string
	for _, state := range []observed.SliceState{observed.SliceComplete, observed.SlicePartial, observed.SliceFailed, observed.SliceCancelled} {
		if all[state] > 0 {
			said = append(said, fmt.Sprintf("%d %s", all[state], state))
		}
	}
	if len(said) == 0 {
		return "no slices: there was nothing to do"
	}
	return "slices: " + strings.Join(said, ", ")
}
