package report

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// PilotPin is what a pilot puts on a FEC, or is to put there.
type PilotPin struct {
	Software string    `json:"software"`
	Version  string    `json:"version"`
	Pilot    string    `json:"pilot"`
	Wave     int       `json:"wave"`
	State    string    `json:"state,omitempty"` // of the pilot; empty: not known here
	Own      string    `json:"own"`             // version that the FEC gets without it
	Given    bool      `json:"given"`           // the FEC gets it now
	Since    time.Time `json:"since,omitzero"`  // it gets it
	Until    string    `json:"until,omitempty"` // last day; empty: promoted, it stays
}

// String says it for people.
func (p PilotPin) String() string {
	what, by := p.Software+" "+p.Version, fmt.Sprintf("pilot %s, wave %d", p.Pilot, p.Wave)
	if !p.Given {
		s := fmt.Sprintf("%s, is to put %s in the place of %s", by, what, p.Own)
		switch p.State {
		case "":
			return s + ": give --root to see whether it does"
		case plan.PilotHalted:
			return fmt.Sprintf("%s, is halted: %s gets %s in the place of %s until it goes on", by, p.Software, p.Own, p.Version)
		}
		return s + ", and does not yet: it is " + p.State
	}
	s := what + " by " + by
	if !p.Since.IsZero() {
		s += ", since " + observed.Minute(p.Since)
	}
	if p.Until == "" {
		s += ", promoted: until the pilot's file goes or the site pins something newer"
	} else {
		s += ", until its last day " + p.Until + " unless it is promoted"
	}
	return s + "; without it " + p.Own
}
