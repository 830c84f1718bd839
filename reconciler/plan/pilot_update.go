package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// States of an update, one after the other, and the two in which it goes no further.
const (
	UpdateCandidate  = "candidate"
	UpdateApproved   = "approved"
	UpdateFrozen     = "frozen"
	UpdateChecked    = "checked"
	UpdateNoted      = "noted"
	UpdateMirrored   = "mirrored"
	UpdateAnnounced  = "announced"
	UpdateRejected   = "rejected"
	UpdateSuperseded = "superseded"
)

// pilotUpdate is an update, and what it leads to.
type pilotUpdate struct {
	desired.PilotUpdate
	name    string
	subject string   // of the packages after it; empty: its base is nowhere
	changes []string // files that it does not add: they are there already, and are others
}

// pilotStep is packages that have been mirrored: what may be served to sites.
type pilotStep struct {
	update  string // empty: the first release
	subject string
	at      time.Time
	known   time.Time // since when that is known: from then on it is served
	gated   bool      // a wave gets it after the one before has run it
}

// updatesOf works out what each update leads to, beginning with a subject.
func updatesOf(p desired.Pilot, subject string) map[string]*pilotUpdate {
	if len(p.Updates) == 0 {
		return nil
	}
	updates, onto := map[string]*pilotUpdate{}, map[string][]*pilotUpdate{}
	for _, name := range sortedKeys(p.Updates) {
		u := &pilotUpdate{PilotUpdate: p.Updates[name], name: name}
		updates[name], onto[u.Base] = u, append(onto[u.Base], u)
	}
	type tree struct {
		subject  string
		packages desired.Snapshot
	}
	for queue := []tree{{subject, p.Snapshot()}}; len(queue) > 0; queue = queue[1:] {
		t := queue[0]
		for _, u := range onto[t.subject] {
			u.changes = changesTo(t.packages, u.PilotUpdate)
			after := t.packages.With(u.PilotUpdate)
			u.subject = after.Subject()
			queue = append(queue, tree{u.subject, after})
		}
		delete(onto, t.subject) // what leads to where it began adds nothing
	}
	return updates
}

// changesTo are files of an update that are there already, and are others.
func changesTo(s desired.Snapshot, u desired.PilotUpdate) (out []string) {
	for _, branch := range sortedKeys(u.Packages) {
		for _, r := range u.Packages[branch] {
			path := branch + "/" + u.Directory() + "/" + r.File
			if old, ok := s[path]; ok && old.SHA256 != r.SHA256 {
				out = append(out, "it changes "+path)
			}
		}
	}
	return out
}

// judgeUpdates follows updates from what was mirrored first: each time, of those that add to what was mirrored last the one that was mirrored first.
func (j *pilotJudge) judgeUpdates() {
	onto, done := map[string][]*pilotUpdate{}, map[string]UpdateNow{}
	for _, name := range sortedKeys(j.updates) {
		onto[j.updates[name].Base] = append(onto[j.updates[name].Base], j.updates[name])
	}
	for len(j.steps) > 0 {
		last := j.steps[len(j.steps)-1]
		rivals := onto[last.subject]
		delete(onto, last.subject)
		next := j.judgeRivals(rivals, last, done)
		if next == nil {
			break
		}
		j.steps = append(j.steps, *next)
		for _, u := range rivals {
			if u.name != next.update {
				done[u.name] = j.overtaken(u, *next)
			}
		}
	}
	for _, name := range sortedKeys(j.updates) {
		n, ok := done[name]
		if !ok {
			n = j.baseless(j.updates[name])
		}
		j.now.Updates = append(j.now.Updates, n)
	}
}

// judgeRivals judges updates that add to what was mirrored last, and returns the one that was mirrored; nil: none.
func (j *pilotJudge) judgeRivals(rivals []*pilotUpdate, last pilotStep, done map[string]UpdateNow) (next *pilotStep) {
	exams := make([]pilotExam, len(rivals))
	for i, u := range rivals {
		exams[i] = j.exam(u.name, u.subject, last.at)
	}
	for i, u := range rivals {
		n := exams[i].walk(Gate{Name: "base", Verdict: GatePass}, exams[i].inFlight(exams))
		done[u.name] = n
		mirrored := n.State == UpdateMirrored || n.State == UpdateAnnounced
		if mirrored && (next == nil || exams[i].mirrored.Before(next.at)) {
			next = &pilotStep{update: u.name, subject: u.subject, at: exams[i].mirrored, known: exams[i].mirrorKnown, gated: u.Kind != desired.ProductionUpdate}
		}
	}
	return next
}

// baseless is an update that adds to something that has not been mirrored.
func (j *pilotJudge) baseless(u *pilotUpdate) UpdateNow {
	e := j.exam(u.name, u.subject, time.Time{})
	base := Gate{Name: "base", Verdict: GatePending, Why: "the packages that it adds to have not been mirrored"}
	if u.subject == "" {
		base.Verdict, base.Why = GateFail, "neither the first release nor an update leads to its base"
		if len(j.steps) > 0 {
			base.Why += ": the last that was mirrored is " + j.steps[len(j.steps)-1].subject
		}
		base.Who = j.coordinator()
	}
	return e.walk(base, e.inFlight(nil))
}

// overtaken is an update that adds to what was the last before another was mirrored.
func (j *pilotJudge) overtaken(u *pilotUpdate, by pilotStep) UpdateNow {
	e := j.exam(u.name, u.subject, time.Time{})
	n := e.walk(Gate{Name: "base", Verdict: GateFail, Who: j.coordinator(),
		Why: fmt.Sprintf("update %s has been mirrored since: its base has to be %s, or what followed that", by.update, by.subject)}, e.inFlight(nil))
	if n.State != UpdateRejected && u.Directory() == j.updates[by.update].Directory() {
		n.State = UpdateSuperseded
	}
	return n
}

// walk goes through the states of an update.
func (e *pilotExam) walk(base, flight Gate) UpdateNow {
	n := UpdateNow{Name: e.update, Kind: e.p.Updates[e.update].Kind, State: UpdateCandidate, Subject: e.subject, Gates: []Gate{}}
	approval := e.approval()
	reached := true
	for _, s := range []struct {
		state string
		gates []Gate
	}{
		{UpdateApproved, []Gate{approval}},
		{UpdateFrozen, append([]Gate{base, flight}, e.freezeGates()...)},
		{UpdateChecked, append(slices.Concat([]Gate{e.testGate()}, e.checks), e.masking())},
		{UpdateNoted, []Gate{e.authorising, e.noting}},
		{UpdateMirrored, []Gate{e.mirroring}},
		{UpdateAnnounced, []Gate{e.announcement()}},
	} {
		holds := true
		for _, g := range s.gates {
			g.State = s.state
			holds = holds && g.Verdict.Holds()
			if !reached && g.Verdict == GatePending {
				g.Verdict = GateWaiting
			}
			if g.Verdict.Holds() {
				g.Who, g.Do = nil, ""
			}
			n.Gates = append(n.Gates, g)
		}
		if reached = reached && holds; reached {
			n.State = s.state
		}
	}
	if approval.Verdict == GateFail {
		n.State = UpdateRejected
	}
	return n
}

// approval holds if the coordinator wants the update. What has been mirrored is not rejected any more: it is halted.
func (e *pilotExam) approval() Gate {
	g := e.gate("approval", e.coordinator(), "approve")
	g.Why = "nobody has approved it"
	var last *pilotRecord
	for _, kind := range []string{desired.RecordApproval, desired.RecordRejection} {
		for _, r := range e.by[recordKey{e.update, kind}] {
			switch {
			case r.void && kind == desired.RecordApproval && last == nil && g.Verdict == GatePending:
				g.Why = r.name + " is not about the update as it is now"
			case r.void || kind == desired.RecordRejection && !e.mirrored.IsZero() && r.at.After(e.mirrored):
			case r.doubt != "":
				if kind == desired.RecordApproval && last == nil {
					g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
				}
			case last == nil || !r.at.Before(last.at):
				last = r
			}
		}
	}
	if last == nil {
		return g
	}
	g.Verdict, g.Why, g.Records = GatePass, "", recordNames(last)
	if last.Kind == desired.RecordRejection {
		g.Verdict, g.Why = GateFail, fmt.Sprintf("%s rejected it: %s", last.By, last.Reason)
	}
	return g
}

// inFlight holds unless another update of its directory was frozen before, and has neither been rejected nor mirrored. What has been mirrored is judged as
// it was then.
func (e *pilotExam) inFlight(rivals []pilotExam) Gate {
	g := Gate{Name: "in-flight", Verdict: GatePass}
	at := e.at
	if !e.mirrored.IsZero() {
		at = e.mirrored
	}
	directory := e.p.Updates[e.update].Directory()
	for i := range rivals {
		r := &rivals[i]
		if r.update == e.update || r.froze == nil || e.p.Updates[r.update].Directory() != directory || !r.wanted(at) {
			continue
		}
		if e.froze == nil || r.froze.at.Before(e.froze.at) || r.froze.at.Equal(e.froze.at) && r.update < e.update {
			g.Verdict, g.Why = GateWaiting, fmt.Sprintf("update %s of %s is on its way: reject it, or wait until it is mirrored", r.update, directory)
		}
	}
	return g
}

// wanted says whether the coordinator had approved an update by a time, and not rejected it since.
func (e *pilotExam) wanted(at time.Time) bool {
	var last *pilotRecord
	for _, kind := range []string{desired.RecordApproval, desired.RecordRejection} {
		for _, r := range e.counting(e.update, kind) {
			if !r.at.After(at) && (last == nil || !r.at.Before(last.at)) {
				last = r
			}
		}
	}
	return last != nil && last.Kind == desired.RecordApproval
}

// testGate holds if it is tested, or somebody has said why it need not be.
func (e *pilotExam) testGate() Gate {
	if e.test {
		return Gate{Name: checkTest, Verdict: GateNotApplicable, Why: "it is tested: its checks say how that went"}
	}
	var who []string
	if roles := e.p.Roles; roles != nil {
		who = slices.DeleteFunc(append([]string{roles.Authoriser}, roles.Testers...), e.approved)
	}
	g := e.gate(checkTest, who, "waive", checkTest)
	g.Why = "its test is skipped, and nobody has waived that"
	for _, r := range e.pilotJudge.waivers(e.update, checkTest) {
		if e.approved(r.By) {
			g.Why, g.Records = fmt.Sprintf("%s: %s has approved it too: four eyes are wanted", r.name, r.By), recordNames(r)
		}
	}
	if len(who) == 0 {
		g.Why, g.Who, g.Do = "its test is skipped, and nobody is there to waive that who has not approved it: have it tested, or name a tester", e.coordinator(), e.do("staff")
	}
	return e.waivable(g, checkTest)
}

// masking holds unless nodes that have the pilot would never be offered a package of the update: they have a higher version of it already.
func (e *pilotExam) masking() Gate {
	g := Gate{Name: "masking", Verdict: GatePass}
	u := e.p.Updates[e.update]
	if u.Kind != desired.ProductionUpdate {
		return Gate{Name: "masking", Verdict: GateNotApplicable, Why: "it is an update of the pilot itself"}
	}
	masked, known := e.f.Masked[e.update]
	switch cover := e.covering(u.Advisory); {
	case !known:
		g.Verdict, g.Why = GateInconclusive, "its packages have not been compared with those of the pilot"
	case len(masked) > 0 && cover != "":
		g.Why = fmt.Sprintf("update %s of the pilot is for %s too", cover, u.Advisory)
	case len(masked) > 0:
		g.Verdict, g.Who = GateBlocked, e.coordinator()
		if e.p.Roles != nil {
			g.Who = []string{e.p.Roles.Developer}
		}
		g.Why = fmt.Sprintf("the pilot has higher versions of %s: its nodes are never offered these", desired.Few(masked))
		g.Do = "add an update of the pilot"
		if u.Advisory != "" {
			g.Do += " for the same advisory, " + u.Advisory
		}
	}
	return g
}

// covering is an update of the pilot itself for the same advisory, which nobody has rejected; empty: there is none.
func (e *pilotExam) covering(advisory string) string {
	if advisory == "" {
		return ""
	}
	for _, name := range sortedKeys(e.p.Updates) {
		u := e.p.Updates[name]
		if u.Kind == desired.UpdateOfPilot && u.Advisory == advisory && len(e.counting(name, desired.RecordRejection)) == 0 {
			return name
		}
	}
	return ""
}

// announcement holds if participants have been told.
func (e *pilotExam) announcement() Gate {
	if at, ok := e.f.Announced[aboutUpdate(e.update, e.subject)]; ok && !at.After(e.at) {
		return Gate{Name: "announcement", Verdict: GatePass}
	}
	return Gate{Name: "announcement", Verdict: GatePending, Why: "participants have not been told of it"}
}

// mirroredStep is which step a subject is; -1: it has not been mirrored.
func (j *pilotJudge) mirroredStep(subject string) int {
	return slices.IndexFunc(j.steps, func(s pilotStep) bool { return s.subject == subject })
}

// stepOf is which step an update is; -1: it has not been mirrored.
func (j *pilotJudge) stepOf(update string) int {
	return slices.IndexFunc(j.steps, func(s pilotStep) bool { return s.update == update })
}
