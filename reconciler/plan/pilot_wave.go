package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// waveCourse is how a wave goes.
type waveCourse struct {
	desired.PilotWave
	members []waveMember
	doubts  []*pilotRecord // of sites that may take part, and may run it: nobody knows
	known   bool           // who belongs to it
	need    int            // of its members
	soak    time.Duration  // that they must run it
	opens   []time.Time    // by step: since when it gets that; zero: not yet
}

// waveMember is a site or a FEC.
type waveMember struct {
	name, who string
	since     []time.Time // by step: since when it has run that
	failed    int         // the step that it could not run, from 1; 0: none
}

// Key is what a wave that is open is remembered by.
func (w PilotWave) Key() string { return strconv.Itoa(w.Wave) + " " + w.Subject }

// level is the last step that a wave gets; -1: none.
func (w *waveCourse) level() int {
	for k := len(w.opens) - 1; k >= 0; k-- {
		if !w.opens[k].IsZero() {
			return k
		}
	}
	return -1
}

// running are the members that run a step.
func (w *waveCourse) running(step int) (names []string) {
	for _, m := range w.members {
		if m.runs(step) {
			names = append(names, m.name)
		}
	}
	return names
}

func (m waveMember) runs(step int) bool {
	return step >= 0 && step < len(m.since) && !m.since[step].IsZero()
}

// began is since when members have run a step, the first to begin first. What they ran before they were to does not count.
func (w *waveCourse) began(step int) (since []time.Time) {
	for _, m := range w.members {
		if !m.runs(step) {
			continue
		}
		at := m.since[step]
		if w.opens[step].After(at) {
			at = w.opens[step]
		}
		since = append(since, at)
	}
	slices.SortFunc(since, time.Time.Compare)
	return since
}

// failed are the members that could not run a step, or one before.
func (w *waveCourse) failed(step int) (names []string) {
	for _, m := range w.members {
		if m.failed > 0 && m.failed <= step+1 {
			names = append(names, m.name)
		}
	}
	return names
}

// soaked is when enough of its members will have run a step for long enough; zero: too few run it.
func (w *waveCourse) soaked(step int, soak time.Duration) time.Time {
	since := w.began(step)
	switch {
	case w.opens[step].IsZero() || !w.known || len(w.failed(step)) > w.MaxFailures || len(since) < w.need:
		return time.Time{}
	case w.need == 0:
		return w.opens[step] // nobody takes part
	}
	return since[w.need-1].Add(soak)
}

// judgeWaves works out which wave gets what. A wave gets a step of the pilot itself once the one before has run it; an update of production as soon as it
// has what that adds to. What has been seen open stays open.
func (j *pilotJudge) judgeWaves() {
	if j.p.Rollout == nil {
		return
	}
	start := j.start()
	j.courses = make([]waveCourse, len(j.p.Rollout.Waves))
	for i, w := range j.p.Rollout.Waves {
		j.courses[i] = j.course(i, w)
	}
	for i := range j.courses {
		if i == 0 {
			for k, s := range j.steps {
				if at := later(start, s.known); !at.After(j.at) {
					j.courses[0].opens[k] = at
				}
			}
		} else {
			j.open(i)
		}
		if !j.ofSites() {
			j.failedFECs(&j.courses[i])
		}
	}
}

// start is when the first wave opens; zero: not yet.
func (j *pilotJudge) start() time.Time {
	if !j.reached || len(j.steps) == 0 {
		return time.Time{}
	}
	at := j.steps[0].known
	if j.ofSites() {
		at = later(at, j.closedAt())
	}
	if at.After(j.at) {
		return time.Time{}
	}
	return at
}

// open opens a wave to what the one before has run for long enough.
func (j *pilotJudge) open(i int) {
	w, before := &j.courses[i], &j.courses[i-1]
	seen := -1
	for k, s := range j.steps {
		if at, ok := j.f.Opened[PilotWave{Wave: i + 1, Subject: s.subject}.Key()]; ok && !at.After(j.at) {
			seen = k
		}
	}
	for k, s := range j.steps {
		if before.opens[k].IsZero() {
			break
		}
		at := later(before.opens[k], s.known)
		switch {
		case k <= seen:
			if was, ok := j.f.Opened[PilotWave{Wave: i + 1, Subject: s.subject}.Key()]; ok {
				at = was
			}
		case isBad(k, j.bad) || isBad(k, j.gone):
			continue // it gets what has come instead
		case s.gated:
			at = before.soaked(k, j.soak(before, k))
			if at.IsZero() || at.After(j.at) || len(j.blocked) > 0 {
				return
			}
		case w.opens[k-1].IsZero():
			continue
		}
		w.opens[k] = at
		for l := k - 1; l >= 0 && w.opens[l].IsZero(); l-- {
			w.opens[l] = at // what it passed over is in it
		}
	}
}

// badSteps are steps that a later one has been made for: what was wrong with them is right from that on.
type badSteps struct{ from, until int }

func isBad(step int, bad []badSteps) bool {
	return slices.ContainsFunc(bad, func(b badSteps) bool { return b.from <= step && step < b.until })
}

// soak is how long a wave must run a step: not at all while that is waived.
func (j *pilotJudge) soak(w *waveCourse, step int) time.Duration {
	if j.soakWaiver(step) != nil {
		return 0
	}
	return w.soak
}

// soakWaiver is the last waiver in force of the soak of a step; nil: none.
func (j *pilotJudge) soakWaiver(step int) (w *pilotRecord) {
	for _, r := range j.waivers(j.steps[step].update, checkSoak) {
		if inForce(r, j.at) {
			w = r
		}
	}
	return w
}

// course is a wave with its members.
func (j *pilotJudge) course(i int, w desired.PilotWave) waveCourse {
	c := waveCourse{PilotWave: w, opens: make([]time.Time, len(j.steps)), known: true}
	if w.Soak != "" {
		c.soak, _ = desired.ParseDuration(w.Soak)
	}
	if j.ofSites() {
		for _, l := range j.lives {
			if j.waveOf(l.Wave) != i {
				continue
			}
			for _, r := range []*pilotRecord{l.joins, l.runs} {
				if r != nil {
					c.doubts = append(c.doubts, r)
				}
			}
			if l.takesPart() {
				c.members = append(c.members, waveMember{name: l.Site, who: l.Contact, since: l.since, failed: l.failed})
			}
		}
	} else if c.known = i < len(j.f.Members) && j.f.Members[i] != nil; c.known {
		for _, fec := range j.f.Members[i] {
			c.members = append(c.members, waveMember{name: fec})
		}
		c.runningFECs(j)
	}
	if c.need = needed(w.Success, len(c.members)); !j.ofSites() {
		c.need = max(c.need, 1) // a group without FECs has run nothing
	}
	return c
}

// runningFECs notes which FECs have proven that they run the pilot's version.
func (w *waveCourse) runningFECs(j *pilotJudge) {
	for i, m := range w.members {
		f, ok := j.fec(m.name)
		if ok && len(j.steps) > 0 && f.State == "running" && f.Version == j.p.Version && !f.Since.IsZero() && !f.Since.After(j.at) {
			w.members[i].since = []time.Time{f.Since}
		}
	}
}

// failedFECs notes which FECs have failed since the wave was opened to them, or since it went on; and halts the pilot if they are too many.
func (j *pilotJudge) failedFECs(w *waveCourse) {
	if w.level() < 0 {
		return
	}
	var last time.Time // whenever somebody looks: whoever lets it go on after that knew of it
	for i, m := range w.members {
		f, ok := j.fec(m.name)
		if !ok || !f.Failed() || f.Since.After(j.at) {
			continue
		}
		if f.Since.IsZero() || !f.Since.Before(w.opens[0]) && !f.Since.Before(j.trouble.resumed) {
			w.members[i].failed = 1
			if f.Since.IsZero() {
				last = j.at
			} else if f.Since.After(last) {
				last = f.Since
			}
		}
	}
	if names := w.failed(0); len(names) > w.MaxFailures {
		j.now.Trip = fmt.Sprintf("%s failed with it: %s may", desired.Few(names), counted(w.MaxFailures, "FEC", "FECs"))
		if last.After(j.now.TripAt) {
			j.now.TripAt = last
		}
		j.trouble.begin(0, last, j.now.Trip, "")
	}
}

// fec is what a FEC has proven.
func (c *pilotCase) fec(name string) (observed.PilotFEC, bool) {
	if c.fecs == nil {
		c.fecs = make(map[string]observed.PilotFEC, len(c.f.FECs))
		for _, f := range c.f.FECs {
			c.fecs[f.FEC] = f
		}
	}
	f, ok := c.fecs[name]
	return f, ok
}

// needed is how many of some members a share is, at least one.
func needed(share string, members int) int {
	percent, err := strconv.Atoi(strings.TrimSuffix(share, "%"))
	if err != nil || percent <= 0 || percent > 100 {
		percent = 100
	}
	return (members*percent + 99) / 100
}

// deployGates are those that lead to deployed.
func (j *pilotJudge) deployGates() []Gate {
	j.judgeWaves()
	gates := []Gate{j.closingGate()}
	runs := 0
	for i := range j.courses {
		w := &j.courses[i]
		if w.level() >= 0 {
			runs += len(w.running(0))
		}
		gates = append(gates, j.waveGate(i, 0))
		j.now.Waves = append(j.now.Waves, j.waveNow(i))
	}
	return append(gates, j.minimumGate(runs), j.blockerGate())
}

// closingGate holds once sites have had the time to answer.
func (j *pilotJudge) closingGate() Gate {
	g := Gate{Name: "call-closed", Verdict: GatePass}
	closes := j.closedAt()
	switch {
	case !j.ofSites():
		return Gate{Name: "call-closed", Verdict: GateNotApplicable, Why: "FECs are not asked"}
	case closes.IsZero():
		g.Verdict, g.Why = GatePending, "sites have not been asked"
	case closes.After(j.at):
		g.Verdict, g.Why = GatePending, "sites may answer until "+observed.Minute(closes)
		if g.Who = j.silent(); len(g.Who) > 0 {
			g.Do = j.do("join SITE --answer interested")
		}
	case j.calledLate():
		g.Why = "nobody knew of it before it closed"
	}
	return g
}

// silent are those who speak for sites that have not answered.
func (j *pilotJudge) silent() (who []string) {
	for _, l := range j.lives {
		if l.Answer == "no-answer" && l.joins == nil {
			who = append(who, l.Contact)
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// waveGate holds if enough of a wave run a step.
func (j *pilotJudge) waveGate(i, step int) Gate {
	w := &j.courses[i]
	g := Gate{Name: fmt.Sprintf("wave-%d", i+1), Verdict: GatePass}
	names, failed := w.running(step), w.failed(step)
	switch {
	case !w.known:
		g.Verdict, g.Why = GateInconclusive, "nobody knows who belongs to it"
	case step < 0 || step >= len(w.opens) || w.opens[step].IsZero():
		g.Verdict, g.Why = GateWaiting, j.whyShut(i)
	case len(failed) > w.MaxFailures:
		g.Verdict, g.Why = GateFail, fmt.Sprintf("it failed at %s: %d may", desired.Few(failed), w.MaxFailures)
	case len(w.doubts) > 0 && len(names) < w.need:
		g.Verdict, g.Why, g.Who = GateNeedsApproval, w.doubts[0].doubt, j.coordinator()
		g.Records = recordNames(w.doubts...)
	case len(w.members) == 0 && j.ofSites():
		g.Verdict, g.Why = GateNotApplicable, "no site in it takes part"
		if len(w.doubts) > 0 {
			g.Why += ": " + w.doubts[0].doubt
		}
	case len(w.members) == 0:
		g.Verdict, g.Why, g.Who = GatePending, "no FEC belongs to it", j.coordinator()
	case len(names) < w.need:
		g.Verdict, g.Why = GatePending, fmt.Sprintf("%d of %d run it, %d must", len(names), len(w.members), w.need)
		if unproven := w.unproven(j.f.Reported); len(unproven) > 0 {
			g.Why += fmt.Sprintf("; %s reported, not proven: give it a token", desired.Few(unproven))
			g.Who, g.Do = j.coordinator(), "have each be given a token: pomona keygen --token"
		}
		if who := w.behind(step); j.ofSites() && len(who) > 0 {
			g.Who, g.Do = who, j.do("deploy SITE installed")
		}
		if missing := j.missing(w); len(missing) > 0 {
			g.Why += "; " + desired.FewOf(missing, 5)
			if g.Do == "" {
				g.Who, g.Do = j.coordinator(), "have them start it, which each does at its next start"
			}
		}
	}
	return g
}

// whyShut says why a wave does not get it yet.
func (j *pilotJudge) whyShut(i int) string {
	switch {
	case i == 0:
		return "what comes before it does not hold"
	case len(j.blocked) > 0:
		return fmt.Sprintf("wave %d has to run it first, and blockers are open", i)
	}
	return fmt.Sprintf("wave %d has to run it first", i)
}

// missing says of FECs that do not run it why; of those that have said so without a proof, that is said already.
func (j *pilotJudge) missing(w *waveCourse) (whys []string) {
	for _, m := range w.members {
		if j.ofSites() || m.runs(0) || slices.Contains(j.f.Reported, m.name) {
			continue
		}
		why := ""
		switch f, ok := j.fec(m.name); {
		case !ok:
			why = m.name + " has proven nothing"
		case f.State != "running":
			why = m.name + " is " + f.State
		case f.Version != j.p.Version:
			why = strings.TrimSpace(m.name + " runs " + f.Version)
		default:
			continue
		}
		if slices.Contains(j.f.Left, m.name) {
			why += ", which was given it and has been taken out of the wave: put it back, or have fewer be enough"
		}
		whys = append(whys, why)
	}
	return whys
}

// unproven are members that are among those who have only said what they run.
func (w *waveCourse) unproven(reported []string) (names []string) {
	for _, m := range w.members {
		if !m.runs(0) && slices.Contains(reported, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// behind are those who speak for members that do not run a step.
func (w *waveCourse) behind(step int) (who []string) {
	for _, m := range w.members {
		if m.who != "" && !m.runs(step) {
			who = append(who, m.who)
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// waveNow is how far a wave is with what it gets.
func (j *pilotJudge) waveNow(i int) PilotWave {
	w := &j.courses[i]
	out := PilotWave{Wave: i + 1, Members: []string{}, Running: []string{}, Failed: append([]string{}, w.failed(w.level())...)}
	for _, m := range w.members {
		out.Members = append(out.Members, m.name)
	}
	level := w.level()
	if level >= 0 {
		out.Open, out.Subject = true, j.steps[level].subject
	}
	step := j.gatedUpTo(level)
	names := w.running(step)
	out.Running = append(out.Running, names...)
	g := j.waveGate(i, max(step, 0))
	out.Verdict, out.Why = g.Verdict, g.Why
	if g.Verdict != GatePass {
		return out
	}
	if ends := w.soaked(step, j.soak(w, step)); ends.After(j.at) {
		out.Verdict, out.Why, out.SoakEnds = GatePending, "it has to run until "+observed.Minute(ends), ends
	}
	return out
}

// gatedUpTo is the last step, up to one, that waves have to run one after the other.
func (j *pilotJudge) gatedUpTo(step int) int {
	for step >= 0 && !j.steps[step].gated {
		step--
	}
	return step
}

// minimumGate holds if enough run it altogether.
func (j *pilotJudge) minimumGate(runs int) Gate {
	g := Gate{Name: "minimum", Verdict: GatePass}
	least := 1
	if j.p.Rollout != nil {
		least = max(least, j.p.Rollout.Minimum)
	}
	if runs < least {
		g.Verdict, g.Why = GatePending, fmt.Sprintf("%d run it, %d must", runs, least)
	}
	return g
}
