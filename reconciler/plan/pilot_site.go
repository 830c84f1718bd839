package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// siteLife is how a site takes part, and since when it has run what.
type siteLife struct {
	SiteNow
	since  []time.Time // by step: since when it has run that, or what came after; zero: it does not
	failed int         // the step that it could not run, from 1; 0: none
	// What it has said last of whether it takes part and of what it runs, if nobody knows that for certain.
	joins, runs *pilotRecord
}

// judgeSites follows what sites said, and what was halted and resumed meanwhile, from the oldest record on.
func (j *pilotJudge) judgeSites() {
	at, n := make(map[string]int, len(j.sites)), len(j.steps)
	j.lives, j.now.Sites = make([]siteLife, 0, len(j.sites)), make([]SiteNow, 0, len(j.sites))
	since := make([]time.Time, n*len(j.sites))
	for i, site := range j.sites {
		at[site] = i
		s := j.p.Sites[site]
		j.lives = append(j.lives, siteLife{since: since[i*n : (i+1)*n : (i+1)*n],
			SiteNow: SiteNow{Site: site, Wave: max(s.Wave, 1), Contact: s.Contact, Answer: "no-answer", State: "none"}})
	}
	j.ran = make([]time.Time, len(j.steps))
	called := j.calledAt()
	failed := map[string]bool{}
	for _, r := range j.made {
		i, known := at[r.Site]
		if known {
			j.lives[i].doubts(r)
		}
		if r.void || r.doubt != "" {
			continue
		}
		switch {
		case r.Kind == desired.RecordHalt:
			j.halt(r)
		case r.Kind == desired.RecordResume && j.resume(r):
			clear(failed)
			for i := range j.lives {
				j.lives[i].failed = 0 // whoever let it go on knew of that
			}
		case !known:
		case r.Kind == desired.RecordJoin && !called.IsZero() && !r.at.Before(called):
			j.lives[i].Answer = r.Answer
		case r.Kind == desired.RecordResources:
			j.lives[i].Resources = r.Resources
		case r.Kind == desired.RecordDeployment:
			if step := j.deploy(&j.lives[i], r); step >= 0 {
				j.countFailed(failed, &j.lives[i], step, r)
			}
		}
	}
	probes := map[string]observed.PilotProbe{}
	for _, p := range j.f.Probes {
		probes[p.Site] = p
	}
	for i := range j.lives {
		l := &j.lives[i]
		l.Published, _ = j.publishedBy(l.SiteNow, probes)
		j.now.Sites = append(j.now.Sites, l.SiteNow)
	}
}

// doubts notes what nobody knows for certain of what a site says.
func (l *siteLife) doubts(r *pilotRecord) {
	said := r
	if r.void || r.doubt == "" {
		said = nil
	}
	switch r.Kind {
	case desired.RecordJoin:
		l.joins = said
	case desired.RecordDeployment:
		l.runs = said
	}
}

// deploy notes what a site says that it has done, and returns the step that it says that of; -1: nothing that counts.
func (j *pilotJudge) deploy(l *siteLife, r *pilotRecord) int {
	step := j.mirroredStep(r.Subject)
	if step < 0 && r.Subject == "" && r.State != "installed" {
		step = len(j.steps) - 1 // it is about what there was
		for step >= 0 && r.at.Before(j.steps[step].at) {
			step--
		}
	}
	if step < 0 || r.at.Before(j.steps[step].at) {
		return -1
	}
	l.State, l.Subject, l.From = r.State, j.steps[step].subject, r.at
	l.failed = 0
	from := step // it no longer runs what it could not install, nor what came after
	switch r.State {
	case "installed":
		for k := range l.since[:step+1] {
			if l.since[k].IsZero() || r.known.Before(l.since[k]) {
				l.since[k] = r.known
			}
			if j.ran[k].IsZero() || r.at.Before(j.ran[k]) {
				j.ran[k] = r.at
			}
		}
		from = step + 1
	case "withdrawn":
		from = 0
	case "failed":
		l.failed = step + 1
	}
	clear(l.since[from:])
	return step
}

// countFailed halts a pilot once more of a wave have failed than may.
func (j *pilotJudge) countFailed(failed map[string]bool, l *siteLife, step int, r *pilotRecord) {
	if l.State != "failed" {
		delete(failed, l.Site)
		return
	}
	failed[l.Site] = true
	wave := j.waveOf(l.Wave)
	if wave < 0 {
		return
	}
	var who []string
	for site := range failed {
		if j.waveOf(max(j.p.Sites[site].Wave, 1)) == wave {
			who = append(who, site)
		}
	}
	if slices.Sort(who); len(who) > j.p.Rollout.Waves[wave].MaxFailures {
		j.trouble.begin(step, r.at, fmt.Sprintf("wave %d has failed at %s", wave+1, desired.Few(who)), r.name)
	}
}

// waveOf is the index of a wave by its number; the last for what is beyond. -1: there are none.
func (c *pilotCase) waveOf(number int) int {
	if c.p.Rollout == nil {
		return -1
	}
	return min(number, len(c.p.Rollout.Waves)) - 1
}

// takesPart says whether a site has joined, and has not withdrawn.
func (l siteLife) takesPart() bool { return l.Answer == "interested" && l.State != "withdrawn" }

// publishedBy says whether a site's resources are found in the information system, by a probe since it installed them. Those that have said the same before
// the time that is judged said so then, however late they were asked once more.
func (j *pilotJudge) publishedBy(s SiteNow, probes map[string]observed.PilotProbe) (GateVerdict, string) {
	probe, ok := probes[s.Site]
	switch {
	case j.p.InfoSys == nil || j.p.InfoSys.Server == "" || s.State != "installed":
		return GateNotApplicable, ""
	case !ok || probeSince(probe).After(j.at) || probe.At.Before(s.From):
		return GatePending, s.Site + " has not been looked for"
	case !probe.Seen:
		return GatePending, strings.TrimSuffix(s.Site+" is not found: "+probe.Why, ": ")
	case !probe.Right:
		return GateFail, strings.TrimSuffix(s.Site+" is found, but not as it should be: "+probe.Why, ": ")
	}
	return GatePass, ""
}

// probeSince is since when a probe has found what it does.
func probeSince(p observed.PilotProbe) time.Time {
	if p.Since.IsZero() {
		return p.At
	}
	return p.Since
}

// publishGates are those that lead to published.
func (j *pilotJudge) publishGates() []Gate {
	g := Gate{Name: "published", Verdict: GatePass}
	switch {
	case !j.ofSites():
		return []Gate{{Name: "published", Verdict: GateNotApplicable, Why: "it is for FECs, which publish nothing"}}
	case j.p.InfoSys == nil:
		return []Gate{{Name: "published", Verdict: GateNotApplicable, Why: "it is not in the information system"}}
	case j.p.InfoSys.Server == "":
		return []Gate{{Name: "published", Verdict: GateNotApplicable, Why: "no server is named that says what is published"}}
	}
	probes := map[string]observed.PilotProbe{}
	for _, p := range j.f.Probes {
		probes[p.Site] = p
	}
	installed := 0
	var whys []string
	for _, l := range j.lives {
		if l.State != "installed" {
			continue
		}
		installed++
		v, why := j.publishedBy(l.SiteNow, probes)
		if v.Holds() {
			continue
		}
		whys, g.Who = append(whys, why), append(g.Who, l.Contact)
		if g.Verdict != GateFail {
			g.Verdict = v
		}
	}
	g.Why = desired.Few(whys)
	if installed == 0 {
		g.Verdict, g.Why = GatePending, "no site has installed it"
	}
	return []Gate{g}
}

// callGates are those that lead to called.
func (j *pilotJudge) callGates() []Gate {
	if !j.ofSites() {
		return []Gate{{Name: "call", Verdict: GateNotApplicable, Why: "FECs are not asked"}}
	}
	g := j.first.gate("call", j.coordinator(), "call")
	if calls := j.calls(&g); len(calls) > 0 {
		last := calls[len(calls)-1]
		if g.Records = recordNames(last); last.Closes == "" {
			g.Why = last.name + " does not say until when sites may answer"
			return []Gate{g}
		}
		g.Verdict = GatePass
	}
	return []Gate{g}
}

// calls are the calls for participation that count, since there was something to take part in.
func (j *pilotJudge) calls(g *Gate) (out []*pilotRecord) {
	g.Why = "sites have not been asked whether they take part"
	for _, r := range j.by[recordKey{"", desired.RecordCall}] {
		switch {
		case r.void:
		case r.doubt != "":
			if len(out) == 0 {
				g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
			}
		case j.first.mirrored.IsZero() || r.at.Before(j.first.mirrored):
			if len(out) == 0 && g.Verdict == GatePending {
				g.Why = r.name + " was written before what it is about"
			}
		default:
			out = append(out, r)
			g.Verdict, g.Why, g.Records = GatePending, "", nil
		}
	}
	return out
}

// calledAt is when sites were first asked; zero: they were not.
func (j *pilotJudge) calledAt() time.Time {
	var g Gate
	if calls := j.calls(&g); len(calls) > 0 {
		return calls[0].at
	}
	return time.Time{}
}

// closedAt is when the call closes, with the end of its day, and no earlier than it became known; zero: nobody knows.
func (j *pilotJudge) closedAt() time.Time {
	var g Gate
	calls := j.calls(&g)
	if len(calls) == 0 {
		return time.Time{}
	}
	return later(calls[len(calls)-1].closes(), calls[len(calls)-1].known)
}

// closes is when a call closes, with the end of its day, whenever it is known; zero: nobody knows.
func (r *pilotRecord) closes() time.Time {
	day, err := time.Parse(time.DateOnly, r.Closes)
	if err != nil {
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

// calledLate says whether the last call was dated back so far that it had closed before anybody knew of it.
func (j *pilotJudge) calledLate() bool {
	var g Gate
	calls := j.calls(&g)
	return len(calls) > 0 && calls[len(calls)-1].known.After(calls[len(calls)-1].closes())
}
