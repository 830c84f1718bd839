package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// pilotTrouble is what halts a pilot.
type pilotTrouble struct {
	halted  bool
	step    int // the first that is in trouble: who has it goes back to the one before
	why     string
	at      time.Time
	record  string
	resume  *pilotRecord // would end it, but for what it waits for
	resumed time.Time    // when it last went on
}

// begin halts a pilot, or has it go back further.
func (t *pilotTrouble) begin(step int, at time.Time, why, record string) {
	if !t.halted {
		t.halted, t.step, t.why, t.at, t.record = true, step, why, at, record
	}
	t.step = min(t.step, step)
}

// halt is what somebody has halted: the first release, unless he names an update or its packages.
func (j *pilotJudge) halt(r *pilotRecord) {
	if len(j.steps) == 0 || r.at.Before(j.steps[0].at) {
		return
	}
	step := 0
	switch {
	case r.Update != "":
		step = j.stepOf(r.Update)
	case r.Subject != "":
		step = j.mirroredStep(r.Subject)
	}
	if step < 0 {
		step = len(j.steps) // nobody has that yet
	}
	j.trouble.begin(step, r.at, fmt.Sprintf("%s halted it: %s", r.By, r.Reason), r.name)
}

// resume has a pilot go on, and says whether it does: not before the update is mirrored that is to help.
func (j *pilotJudge) resume(r *pilotRecord) bool {
	if r.Update != "" && j.stepOf(r.Update) < 0 {
		j.trouble.resume = r
		return false
	}
	if fixed := j.stepOf(r.Update); r.Update != "" && j.trouble.halted && j.trouble.step < fixed {
		j.bad = append(j.bad, badSteps{j.trouble.step, fixed})
	}
	j.trouble = pilotTrouble{resumed: r.at}
	return true
}

// remembered halts a pilot whose FECs failed, and have gone back since: nobody has said that it may go on.
func (j *pilotJudge) remembered() {
	if at := j.f.Tripped; !at.IsZero() && !at.After(j.at) && !j.trouble.resumed.After(at) && len(j.steps) > 0 {
		j.trouble.begin(0, at, cmp.Or(j.f.TrippedWhy, "too many failed with it"), "")
	}
}

// stop says how a pilot is that goes no further, however far it got.
func (j *pilotJudge) stop() {
	j.far = j.now.State
	j.remembered()
	if j.trouble.halted && stateNumber(j.far) >= stateNumber(PilotMirrored) {
		j.now.State, j.now.Why = PilotHalted, j.trouble.why
		j.now.Gates = append(j.now.Gates, j.resumeGate())
	}
	j.now.LastDay = j.lastDay()
	if desired.Expired(j.now.LastDay, j.at) {
		j.now.State, j.now.Why = PilotExpired, "its last day was "+j.now.LastDay
	}
	if r := j.denial(); r != nil && j.over(PilotDenied, r) {
		j.now.State, j.now.Why, j.now.Record = PilotDenied, fmt.Sprintf("%s denied it: %s", r.By, r.Reason), r.name
	}
}

// resumeGate says what a pilot that is halted waits for.
func (j *pilotJudge) resumeGate() Gate {
	g := j.first.gate("resume", j.coordinator(), "resume")
	g.State, g.Why = PilotHalted, j.trouble.why
	if r := j.trouble.resume; r != nil {
		g.Why, g.Records = fmt.Sprintf("%s waits until update %s is mirrored", r.name, r.Update), recordNames(r)
		return g
	}
	for _, r := range j.made {
		if r.Kind == desired.RecordResume && r.doubt != "" && r.at.After(j.trouble.at) {
			g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
		}
	}
	return g
}

// denial is the record that denies a pilot; nil: none.
func (j *pilotJudge) denial() *pilotRecord {
	for _, r := range j.by[recordKey{"", desired.RecordAuthorisation}] {
		if denies(r) && !r.void && r.doubt == "" {
			return r
		}
	}
	return nil
}

// closeGates are those that lead to a pilot that is promoted.
func (j *pilotJudge) closeGates() (gates []Gate) {
	for _, name := range sortedKeys(j.p.Success) {
		gates = append(gates, j.criterionGate(name))
	}
	gates = append(gates, j.soakGate(), j.blockerGate())
	c := j.closureRecordGate()
	if c.Verdict == GatePending && slices.ContainsFunc(gates, func(g Gate) bool { return !g.Verdict.Holds() }) {
		c.Verdict = GateWaiting
	}
	return append(gates, c)
}

// criterionGate holds if somebody has found that a criterion is met, and nobody otherwise since: of the last packages of the pilot itself, with or
// without what production nodes get too, that a site had.
func (j *pilotJudge) criterionGate(name string) Gate {
	g := j.first.gate("criterion "+name, j.coordinator(), "criterion", name)
	g.Why = "nobody has said whether it is met"
	var last *pilotRecord
	measured := j.gatedUpTo(len(j.steps) - 1)
	for _, r := range j.by[recordKey{"", desired.RecordCriterion}] {
		switch step := j.mirroredStep(r.Subject); {
		case r.Criterion != name || r.void:
		case r.doubt != "":
			if last == nil {
				g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
			}
		case step < 0 || r.at.Before(j.steps[step].at):
			if last == nil && g.Verdict == GatePending {
				g.Why = r.name + " was written before anybody could have installed it"
			}
		case j.ofSites() && (j.ran[step].IsZero() || r.at.Before(j.ran[step])):
			if last == nil && g.Verdict == GatePending {
				g.Why = r.name + " is about what no site had installed by then"
			}
		case step < measured:
			if last == nil && g.Verdict == GatePending {
				g.Why = fmt.Sprintf("%s is about what was before update %s: it has to be measured again", r.name, j.steps[measured].update)
			}
		default:
			last = r
		}
	}
	if last == nil {
		return g
	}
	g.Verdict, g.Why, g.Records = GatePending, cmp.Or(last.Text, "nobody knows"), recordNames(last)
	switch last.Met {
	case "yes":
		g.Verdict, g.Why = GatePass, last.Text
	case "no":
		g.Verdict, g.Why = GateFail, cmp.Or(last.Text, "it is not met")
	default:
		g.Verdict = GateInconclusive
	}
	return g
}

// soakGate holds if every wave has run the pilot itself for as long as it must, its last update included.
func (j *pilotJudge) soakGate() Gate {
	g := Gate{Name: checkSoak, Verdict: GatePass}
	last := j.gatedUpTo(len(j.steps) - 1)
	if last < 0 || len(j.courses) == 0 {
		g.Verdict, g.Why = GatePending, "nobody runs it"
		return g
	}
	waiver := j.soakWaiver(last)
	for i := range j.courses {
		w := &j.courses[i]
		full, ends := w.soaked(last, w.soak), w.soaked(last, j.soak(w, last))
		switch {
		case ends.IsZero():
			g.Verdict, g.Why = GatePending, fmt.Sprintf("too few of wave %d run it", i+1)
			return g
		case ends.After(j.at):
			g.Verdict, g.Why = GatePending, fmt.Sprintf("wave %d has to run it until %s", i+1, observed.Minute(ends))
			return g
		case waiver != nil && full.After(j.at):
			g.Verdict, g.Why, g.Records = GateWaived, fmt.Sprintf("%s waived it until %s: %s", waiver.By, waiver.Expires, waiver.Reason), recordNames(waiver)
		}
	}
	return g
}

// closureRecordGate holds if the coordinator has closed it when all else held.
func (j *pilotJudge) closureRecordGate() Gate {
	g := j.first.gate("closure", j.coordinator(), "close", "promoted")
	g.Why = "nobody has closed it"
	for _, r := range j.by[recordKey{"", desired.RecordClosure}] {
		switch {
		case r == j.closing:
			g.Verdict, g.Why, g.Records = GatePass, "", recordNames(r)
			return g
		case r.doubt != "":
			g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
		default:
			g.Verdict, g.Why, g.Records = GatePending, r.name+" came before all else held", recordNames(r)
		}
	}
	return g
}

// closes says whether a record that was made at the time that is judged closes the pilot. What was closed once stays so, whatever becomes of those
// who have run it.
func (j *pilotJudge) closes(r *pilotRecord) bool {
	switch {
	case j.now.State == PilotDenied || r.void:
		return false
	case r.Outcome == "withdrawn":
		return true
	}
	since, seen := j.f.Since[PilotClosed]
	return j.now.State == PilotPublished && j.reached || seen && !since.Before(r.at)
}

// mayClose says whether it is worth while to judge whether a record closes the pilot: somebody may have closed it again and again, without what that wants.
func (c *pilotCase) mayClose(r *pilotRecord) bool {
	since, seen := c.f.Since[PilotClosed]
	switch {
	case r.void:
		return false
	case r.Outcome == "withdrawn", seen && !since.Before(r.at):
		return true
	}
	if c.met == nil {
		at := c.metAt()
		c.met = &at
	}
	return !c.met.IsZero() && !c.met.After(r.known)
}

// metAt is when somebody had first said of each criterion that it is met; zero: of one, nobody has.
func (c *pilotCase) metAt() time.Time {
	first := map[string]time.Time{}
	for _, r := range c.records { // the oldest first
		if _, ok := first[r.Criterion]; !ok && r.Kind == desired.RecordCriterion && r.Met == "yes" && !r.void && r.doubt == "" {
			first[r.Criterion] = r.at
		}
	}
	last := always
	for name := range c.p.Success {
		at, ok := first[name]
		if !ok {
			return time.Time{}
		}
		last = later(last, at)
	}
	return last
}

// end is a pilot that a record has closed.
func (j *pilotJudge) end(r *pilotRecord) PilotNow {
	j.now.State, j.now.Why, j.now.Overdue, j.now.Due = PilotClosed, strings.TrimSuffix(cmp.Or(r.Outcome, "closed")+": "+r.Reason, ": "), 0, time.Time{}
	j.outcome, j.now.Record = r.Outcome, r.name
	j.now.Since = j.f.Since[PilotClosed]
	j.place()
	return j.now
}
