package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Pilots is how far the pilots of a site are.
type Pilots struct {
	Site    string    `json:"site,omitempty"`
	Trouble string    `json:"trouble,omitempty"` // why this may not be how they are now
	At      time.Time `json:"at"`
	Pilots  []Pilot   `json:"pilots"` // by name
}

// Pilot is how far a pilot is, and what is known of it.
type Pilot struct {
	plan.PilotNow
	Description string                    `json:"description"`
	ID          string                    `json:"id"` // that its resources are marked by
	Owner       string                    `json:"owner"`
	Roles       *desired.PilotRoles       `json:"roles,omitempty"`
	Urgency     string                    `json:"urgency"`
	Ticket      string                    `json:"ticket,omitempty"`
	Tracker     string                    `json:"tracker,omitempty"`
	Expires     string                    `json:"expires"`
	Offers      string                    `json:"offers"` // a service, or a software and its version
	Impact      *desired.PilotImpact      `json:"impact,omitempty"`
	Audience    []string                  `json:"audience,omitempty"`
	Criteria    []PilotCriterion          `json:"criteria"`
	Next        []PilotNext               `json:"next"`       // what must be done to bring it further
	Records     []PilotRecord             `json:"records"`    // the oldest first
	Broadcasts  []observed.PilotBroadcast `json:"broadcasts"` // the oldest first
}

// PilotCriterion is something to be measured, and what the last record that counts says of it.
type PilotCriterion struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Met         string `json:"met,omitempty"` // yes, no or inconclusive; empty: nobody has said
	Record      string `json:"record,omitempty"`
}

// PilotNext is something that somebody must do.
type PilotNext struct {
	For string   `json:"for"` // the state that it leads to, or the update
	Who []string `json:"who"`
	Do  string   `json:"do"`
	Why string   `json:"why,omitempty"`
}

// PilotRecord is a record, and how it is known who wrote it.
type PilotRecord struct {
	Record string `json:"record"`
	desired.PilotRecord
	Proof *observed.Proof `json:"proof,omitempty"`
	Doubt string          `json:"doubt,omitempty"`
	Void  bool            `json:"void,omitempty"` // it is about something else than what is frozen
}

// OfPilot is what people see of a pilot. Facts are what it was judged by.
func OfPilot(now plan.PilotNow, p desired.Pilot, f plan.PilotFacts, told []observed.PilotBroadcast) Pilot {
	out := Pilot{PilotNow: now, Description: p.Description, ID: p.IDOf(now.Name), Owner: p.Owner, Roles: p.Roles, Urgency: cmp.Or(p.Urgency, "normal"), Ticket: p.Ticket,
		Tracker: p.Tracker, Expires: p.Expires, Offers: strings.TrimSpace(p.Software + " " + p.Version), Impact: p.Impact, Audience: p.Audience,
		Next: nextOf(now, p, f.Proofs), Records: []PilotRecord{}, Broadcasts: []observed.PilotBroadcast{}}
	if p.Scope == desired.PilotOfSites {
		out.Offers = p.Service
	}
	for _, name := range p.RecordsInOrder() {
		r := PilotRecord{Record: name, PilotRecord: p.Records[name], Doubt: cmp.Or(now.Doubts[name], f.Doubts[name]), Void: slices.Contains(now.Void, name)}
		if r.Doubt == "" && slices.Contains(now.Doubted, name) {
			r.Doubt = "nobody knows that the right person wrote it"
		}
		if proof, ok := f.Proofs[name]; ok {
			r.Proof = &proof
		}
		out.Records = append(out.Records, r)
	}
	for _, b := range told {
		if b.Pilot == now.Name {
			out.Broadcasts = append(out.Broadcasts, b)
		}
	}
	out.Criteria = out.criteria(p)
	return out
}

// criteria are those of a pilot, each with what its gate was judged by: what does not count is no answer.
func (p Pilot) criteria(of desired.Pilot) []PilotCriterion {
	out := []PilotCriterion{}
	for name, c := range of.Success {
		next := PilotCriterion{Name: name, Description: c.Description}
		for _, g := range p.Gates {
			if g.State != plan.PilotClosed || g.Name != "criterion "+name || g.Verdict == plan.GateNeedsApproval {
				continue
			}
			for _, record := range g.Records {
				if r := p.record(record); r.Kind == desired.RecordCriterion && p.counts(r) {
					next.Met, next.Record = r.Met, record
				}
			}
		}
		out = append(out, next)
	}
	slices.SortFunc(out, func(a, b PilotCriterion) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Ignored are the records that do not count, the oldest first.
func (p Pilot) Ignored() (ignored []PilotRecord) {
	for _, r := range p.Records {
		if !p.counts(r) {
			ignored = append(ignored, r)
		}
	}
	return ignored
}

// Ignored is why a record does not count; empty: it does.
func (r PilotRecord) Ignored() string {
	if r.Void {
		return strings.TrimSuffix("it is about something else than what is there; "+r.Doubt, "; ")
	}
	return r.Doubt
}

// nextOf is what must be done. The same thing is said once, with all that it is for.
func nextOf(now plan.PilotNow, p desired.Pilot, proofs map[string]observed.Proof) []PilotNext {
	next := []PilotNext{}
	for _, t := range now.Todo(p) {
		n := PilotNext{For: t.For, Who: t.Who, Do: t.Do, Why: t.Why}
		unproven := slices.DeleteFunc(slices.Clone(t.Records), func(r string) bool { _, proven := proofs[r]; return proven })
		if t.Verdict == plan.GateNeedsApproval && len(unproven) > 0 {
			n.Do = strings.TrimPrefix(fmt.Sprintf("%s; or, if you did write %s, approve its pull request", t.Do, strings.Join(unproven, ", ")), "; or, ")
		}
		if slices.ContainsFunc(next, func(o PilotNext) bool { return o.Do == n.Do && o.Why == n.Why && slices.Equal(o.Who, n.Who) }) {
			continue
		}
		i := slices.IndexFunc(next, func(o PilotNext) bool { return o.For == n.For && o.Do == n.Do && slices.Equal(o.Who, n.Who) })
		switch {
		case i < 0:
			next = append(next, n)
		case !strings.Contains(next[i].Why, n.Why):
			next[i].Why = strings.TrimPrefix(next[i].Why+"; "+n.Why, "; ")
		}
	}
	return next
}

// Waits is what it waits for that nobody need do: time, FECs, the information system.
func (p Pilot) Waits() (lines []string) {
	to := p.further()
	if p.Ended() || p.State == plan.PilotHalted {
		return nil
	}
	for _, g := range p.Gates {
		if g.State != to || g.Verdict.Holds() || g.Verdict == plan.GateWaiting || len(g.Who) > 0 || g.Do != "" {
			continue
		}
		line := g.Name + ": " + cmp.Or(g.Why, string(g.Verdict))
		if p.Scope == desired.PilotOfFECs && g.Verdict == plan.GatePending && strings.HasPrefix(g.Name, "wave-") {
			line += "; a FEC gets it at its next start"
		}
		if silent := p.silent(); g.Name == "call-closed" && len(silent) > 0 {
			line += fmt.Sprintf("; nothing is heard of %s: pomona pilot %s join SITE --answer interested (or declined)", desired.Few(silent), p.Name)
		}
		lines = append(lines, line)
	}
	for _, w := range p.Waves {
		gate := fmt.Sprintf("wave-%d", w.Wave)
		said := slices.ContainsFunc(p.Gates, func(g plan.Gate) bool { return g.Name == gate && !g.Verdict.Holds() }) ||
			slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, strings.TrimPrefix(w.Why, "it has to run ")) })
		if w.Open && !w.Verdict.Holds() && !said {
			lines = append(lines, fmt.Sprintf("wave %d: %s", w.Wave, w.Why))
		}
	}
	return lines
}

// silent are the sites that have not answered.
func (p Pilot) silent() (names []string) {
	for _, s := range p.Sites {
		if s.Answer == "no-answer" {
			names = append(names, s.Site)
		}
	}
	return names
}

// Ended says that nobody need do anything about it any more.
func (p Pilot) Ended() bool {
	return plan.PilotIsOver(p.State)
}

// Needs says that somebody must look at it: it has stopped, or is late.
func (p Pilot) Needs() (why string) {
	switch {
	case p.State == plan.PilotHalted:
		return strings.TrimSuffix("halted: "+p.Why, ": ")
	case p.Place.Withheld != "":
		return "withheld: " + p.Place.Withheld
	case p.Overdue > 0 && !p.Ended():
		return "overdue for " + days(p.Overdue)
	}
	return ""
}

// Find is the pilot of a name, or of the id that its resources are marked by.
func (p Pilots) Find(name string) (Pilot, bool) {
	for _, by := range []func(Pilot) string{func(x Pilot) string { return x.Name }, func(x Pilot) string { return x.ID }} {
		if i := slices.IndexFunc(p.Pilots, func(x Pilot) bool { return by(x) == name }); i >= 0 {
			return p.Pilots[i], true
		}
	}
	return Pilot{}, false
}

// PilotsNow is how the pilots of a site are, in short.
type PilotsNow struct {
	States map[string]int `json:"states"`
	Look   []Look         `json:"look"` // what somebody must look at
}

// LookPilot is a pilot that somebody must look at.
const LookPilot LookKind = "pilot"

// Now is how pilots are, in short; nil if there are none.
func (p Pilots) Now() *PilotsNow {
	if len(p.Pilots) == 0 && p.Trouble == "" {
		return nil
	}
	now := &PilotsNow{States: map[string]int{}, Look: []Look{}}
	if p.Trouble != "" {
		now.Look = append(now.Look, Look{LookPilot, "", p.Trouble})
	}
	for _, each := range p.Pilots {
		now.States[each.State]++
		if why := each.Needs(); why != "" {
			if len(each.Next) > 0 {
				why += "; " + each.Next[0].text()
			}
			now.Look = append(now.Look, Look{LookPilot, each.Name, why})
		}
	}
	return now
}

// PilotStates are all states, in the order in which they are shown.
var PilotStates = []string{plan.PilotRequested, plan.PilotStaffed, plan.PilotFrozen, plan.PilotChecked, plan.PilotMirrored, plan.PilotCalled, plan.PilotDeployed,
	plan.PilotPublished, plan.PilotHalted, plan.PilotExpired, plan.PilotDenied, plan.PilotClosed}

func (n PilotsNow) lines() []string {
	lines := []string{cmp.Or(tally(n.States, PilotStates), "none")}
	for i, l := range n.Look {
		if i == mostLooks {
			return append(lines, fmt.Sprintf("and %d more: pomona pilot", len(n.Look)-i))
		}
		lines = append(lines, observed.Printable(strings.TrimPrefix(l.About+": "+l.Why, ": ")))
	}
	return lines
}

// days is a time for people: in days, or less than two in hours.
func days(d time.Duration) string {
	switch hours := int(d.Hours()); {
	case hours >= 48:
		return fmt.Sprintf("%d days", hours/24)
	case hours == 1:
		return "1 hour"
	case hours > 1:
		return fmt.Sprintf("%d hours", hours)
	}
	return "less than an hour"
}
