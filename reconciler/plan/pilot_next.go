package plan

import (
	"strconv"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// deadlines are how long a pilot may stay in a state before it is overdue, unless it says otherwise.
var deadlines = map[string]time.Duration{
	PilotRequested: 7 * day,
	PilotStaffed:   14 * day,
	PilotFrozen:    7 * day,
	PilotChecked:   5 * day,
	PilotMirrored:  7 * day,
	PilotCalled:    30 * day,
	PilotDeployed:  14 * day,
	PilotPublished: 60 * day,
	PilotHalted:    7 * day,
}

const day = 24 * time.Hour

// overdue says for how long a pilot has been longer in its state than it should be, if anybody knows since when it is.
func (j *pilotJudge) overdue() {
	since, ok := j.f.Since[j.now.State]
	if !ok || since.After(j.at) || j.terms.unagreed != "" && len(j.terms.chain) > 0 { // it was further
		return
	}
	j.now.Since = since
	if limit, ok := deadline(j.p, j.now.State); ok {
		j.now.Due = since.Add(limit)
		j.now.Overdue = max(j.at.Sub(j.now.Due), 0)
	}
}

// deadline is how long a pilot may stay in a state; false: for good.
func deadline(p desired.Pilot, state string) (time.Duration, bool) {
	limit, ok := deadlines[state]
	if d, err := desired.ParseDuration(p.Deadlines[state]); err == nil {
		limit = d
	}
	return limit, ok
}

// PilotTells is when the clock alone may give people something to be told of a pilot; zero: not soon.
func PilotTells(p desired.Pilot, now PilotNow, at time.Time) time.Time {
	next := PilotTurn(p, now, at)
	if due := now.Due.Add(time.Second); !now.Due.IsZero() && due.After(at) && (next.IsZero() || due.Before(next)) {
		return due
	}
	return next
}

// requestGates are those of a request.
func (j *pilotJudge) requestGates() []Gate {
	return []Gate{
		j.declared("ticket", j.p.Ticket != "", "no ticket is named"),
		j.declared("criteria", len(j.p.Success) > 0, "nothing says when it has succeeded"),
		j.declared("expiry", validDay(j.p.Expires), "nothing says until when it runs"),
	}
}

func validDay(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// declared is a gate that holds by what is declared.
func (j *pilotJudge) declared(name string, holds bool, otherwise string) Gate {
	if holds {
		return Gate{Name: name, Verdict: GatePass}
	}
	return Gate{Name: name, Verdict: GatePending, Why: otherwise, Who: []string{j.p.Owner}, Do: "declare it at pilots." + strconv.Quote(j.name)}
}

// staffed is a gate that holds by what is declared once somebody is appointed: by the owner, then by the coordinator.
func (j *pilotJudge) staffed(name string, holds bool, otherwise string) Gate {
	g := j.declared(name, holds, otherwise)
	if !holds {
		g.Who, g.Do = j.coordinator(), j.do("staff")
	}
	return g
}

// staffGates are those that lead to staffed.
func (j *pilotJudge) staffGates() []Gate {
	p, roles := j.p, j.p.Roles
	gates := []Gate{
		j.terms.gate,
		j.staffed("roles", roles != nil && roles.Coordinator != "" && roles.Developer != "" && roles.Authoriser != "", "nobody is appointed"),
		j.staffed("testers", roles != nil && len(roles.Testers) > 0, "nobody is to test it"),
		j.staffed("tracker", p.Tracker != "", "no tracker is named"),
		j.staffed("impact", p.Impact != nil, "nothing says what it affects and needs"),
		j.staffed("rollout", p.Rollout != nil && len(p.Rollout.Waves) > 0, "nothing says who gets it after whom"),
	}
	if j.fast() && !gates[2].Verdict.Holds() {
		gates[2] = Gate{Name: "testers", Verdict: GateNotApplicable, Why: "the pilot is fast: its coordinator may test it"}
	}
	if j.ofSites() {
		g := j.declared("branches", len(p.Branches) > 0, "there are no packages")
		switch {
		case g.Verdict.Holds():
		case roles == nil: // whoever brings them has to be appointed first
			g.Verdict, g.Who, g.Do = GateWaiting, nil, ""
		default:
			g.Who, g.Do = []string{roles.Developer, roles.Coordinator}, j.do("add-packages")
		}
		return append(gates, g)
	}
	g := j.declared("release", p.Software != "" && p.Version != "" && j.f.Subject != "", "the site has no such release")
	return append(gates, g)
}
