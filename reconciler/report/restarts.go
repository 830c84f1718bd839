package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Restarts is how far running FECs have come with what is published for them.
type Restarts struct {
	Pause observed.Pause  `json:"pause,omitzero"`
	FECs  []plan.Standing `json:"fecs"` // by name
	// Groups are in their order; without a service that restarts FECs, nobody knows of any
	Groups []plan.GroupStanding `json:"groups,omitempty"`
}

// RestartStates are the states of FECs' standings.
var RestartStates = []string{plan.StandsCurrent, plan.StandsUnderway, plan.StandsWaiting, plan.StandsHeld, plan.StandsFailed, plan.StandsSkipped, plan.StandsUnknown}

// Counts are how many FECs are in each state.
func (r Restarts) Counts() map[string]int {
	counts := map[string]int{}
	for _, f := range r.FECs {
		counts[f.State]++
	}
	return counts
}

// summary is how many FECs are in which state, after a comma each.
func (r Restarts) summary() (said string) {
	counts := r.Counts()
	for _, state := range RestartStates {
		if n := counts[state]; n > 0 {
			said += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return said
}

// Text writes for people how many FECs stand how, and each that does not run what is published.
func (r Restarts) Text(w io.Writer) error {
	var b bytes.Buffer
	if r.Pause.Reason != "" {
		fmt.Fprintf(&b, "paused since %s by %s: %s\n  pomona restart resume goes on, pomona restart abort leaves what waits as it is\n",
			observed.Minute(r.Pause.At), cmp.Or(r.Pause.By, "Pomona"), observed.Printable(r.Pause.Reason))
	}
	fmt.Fprintf(&b, "%d FECs%s\n", len(r.FECs), cmp.Or(r.summary(), ": nothing is known of any yet"))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range r.FECs {
		if f.State == plan.StandsCurrent && f.Why == "" {
			continue
		}
		where := cmp.Or(f.Group, "-")
		if f.Wave > 0 && f.State != plan.StandsWaiting {
			where += fmt.Sprintf(" wave %d", f.Wave)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", f.FEC, f.State, cmp.Or(f.Need, "-"), where, observed.Printable(f.Why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
