package report

import (
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PilotFilter says which pilots are shown; what is empty restricts nothing.
type PilotFilter struct {
	State string // one of PilotStates, or PilotLook
	Owner string
	Text  string // in its name, description or in what it offers
}

// PilotLook are pilots that somebody must look at: halted, withheld or overdue ones.
const PilotLook = "look"

// Only is fewer pilots.
func (p Pilots) Only(f PilotFilter) Pilots {
	p.Pilots = slices.DeleteFunc(append([]Pilot{}, p.Pilots...), func(x Pilot) bool {
		return f.State != "" && f.State != x.State && (f.State != PilotLook || x.Needs() == "") || f.Owner != "" && f.Owner != x.Owner ||
			!strings.Contains(x.Name+"\n"+x.Description+"\n"+x.Offers, f.Text)
	})
	return p
}

// In are those in a state.
func (p Pilots) In(state string) []Pilot { return p.Only(PilotFilter{State: state}).Pilots }

// Owners are those of all pilots, in order.
func (p Pilots) Owners() (names []string) {
	for _, x := range p.Pilots {
		names = append(names, x.Owner)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Left is how long it may go on, in days: 0 on its last. It is not known of one whose last day is malformed, and does not matter of one that has ended.
func (p Pilot) Left(at time.Time) (days int, known bool) {
	last, err := time.Parse(time.DateOnly, p.Expires)
	if err != nil || p.Ended() {
		return 0, false
	}
	return int(last.Sub(at.UTC().Truncate(24*time.Hour)).Hours() / 24), true
}

// Release is what a pilot offers to FECs; empty: it is of sites.
func (p Pilot) Release() (software, version string) {
	if p.Scope == desired.PilotOfFECs {
		software, version, _ = strings.Cut(p.Offers, " ")
	}
	return software, version
}

// Waivers are its records that waive a check, the oldest first.
func (p Pilot) Waivers() (waivers []PilotRecord) {
	for _, r := range p.Records {
		if r.Kind == desired.RecordWaiver {
			waivers = append(waivers, r)
		}
	}
	return waivers
}
