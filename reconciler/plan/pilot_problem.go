package plan

import (
	"fmt"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// openProblem is a problem, and whether it stops waves if it is a blocker.
type openProblem struct {
	ProblemNow
	counts bool
}

// judgeProblems follows problems from their first record to the last. One that nobody has proven is shown, and does not stop anything unless somebody
// who speaks for a site says that it blocks: it is better to wait for nothing than to go on with that.
func (j *pilotJudge) judgeProblems() {
	n := 0
	for key, records := range j.by {
		if key.kind == desired.RecordProblem {
			n += len(records)
		}
	}
	if n == 0 {
		return
	}
	all, byName := make([]openProblem, 0, n), make(map[string]int, n)
	for _, r := range j.made {
		if r.Kind != desired.RecordProblem || r.void {
			continue
		}
		counts := r.doubt == "" || r.Severity == "blocker" && r.Status == "open" && j.speaksForASite(r)
		i, known := byName[r.Problem]
		if !known {
			i = len(all)
			byName[r.Problem], all = i, append(all, openProblem{ProblemNow: ProblemNow{Problem: r.Problem, By: r.By, Opened: r.at}})
		}
		p := &all[i]
		switch {
		case !known:
		case p.counts && (!counts || p.open(j) && !r.opens() && !j.mayResolve(p, r)):
			continue
		}
		p.counts = counts
		p.Site, p.Category, p.Severity, p.Status, p.Text, p.FoundIn, p.FixedIn = r.Site, r.Category, r.Severity, r.Status, r.Text, r.Subject, r.FixedIn
	}
	j.now.Problems = slices.Grow(j.now.Problems, len(all))
	for i := range all {
		p := &all[i]
		j.now.Problems = append(j.now.Problems, p.ProblemNow)
		if p.counts && p.open(j) {
			j.blocked = append(j.blocked, p.ProblemNow)
		}
		if p.counts && p.Severity == "blocker" && p.Status == "fixed" && p.FixedIn != "" {
			if fixed := j.stepOf(p.FixedIn); fixed > 0 {
				j.gone = append(j.gone, badSteps{max(j.mirroredStep(p.FoundIn), 0), fixed})
			}
		}
	}
}

// opens says whether a record is of a blocker that is there.
func (r *pilotRecord) opens() bool { return r.Severity == "blocker" && r.Status == "open" }

// open says whether a problem is a blocker that is there: one that an update fixes is, until that has been mirrored.
func (p *openProblem) open(j *pilotJudge) bool {
	if p.Severity != "blocker" {
		return false
	}
	_, update := j.p.Updates[p.FixedIn]
	return p.Status == "open" || p.Status == "fixed" && update && j.stepOf(p.FixedIn) < 0
}

// mayResolve says whether whoever wrote a record may say that a blocker is none: who found it, who speaks for its site, or the coordinator.
func (j *pilotJudge) mayResolve(p *openProblem, r *pilotRecord) bool {
	people := append([]string{p.By, j.p.Sites[p.Site].Contact}, j.coordinator()...)
	return slices.ContainsFunc(people, func(who string) bool { return who != "" && desired.SamePerson(who, r.By) })
}

// speaksForASite says whether a record names a contact of the site that it is about.
func (j *pilotJudge) speaksForASite(r *pilotRecord) bool {
	contact := j.p.Sites[r.Site].Contact
	return contact != "" && desired.SamePerson(contact, r.By)
}

// solve are the ways to say that a problem is none any more; the first can be called as it stands.
func (j *pilotJudge) solve(problem string) string {
	ordered, _ := j.p.UpdatesInOrder()
	for _, name := range slices.Backward(ordered) {
		if j.p.Updates[name].Kind == desired.UpdateOfPilot {
			return j.do("problem", problem, "--status fixed --fixed-in", name) + ", or --status workaround or wontfix"
		}
	}
	fixed := "--fixed-in UPDATE"
	if !j.ofSites() {
		fixed = "--fixed-in VERSION"
	}
	return j.do("problem", problem, "--status workaround") + ", or wontfix, or fixed with " + fixed
}

// blockerGate holds if no blocker is open.
func (j *pilotJudge) blockerGate() Gate {
	g := Gate{Name: "blockers", Verdict: GatePass}
	var names []string
	for _, p := range j.blocked {
		names = append(names, p.Problem)
	}
	if len(names) > 0 {
		g.Verdict = GateBlocked
		g.Why = fmt.Sprintf("open: %s; once that is no blocker any more, whoever had it or the coordinator says so: %s", desired.Few(names), j.solve(names[0]))
		if g.Who = j.coordinator(); j.p.Roles != nil {
			g.Who = []string{j.p.Roles.Developer}
		}
	}
	return g
}
