package observed

import "time"

// Rollout is how far a FEC has come with what is published for it.
type Rollout struct {
	FEC      string
	Wanted   int64  // serial that it is to run
	Was      int64  // serial that it ran before; 0: not known
	Need     string // desired.Restart or desired.Reboot
	Software string // that is restarted, separated by blanks
	Group    string // whose pace it keeps; empty: of no group
	Wave     int64  // of the group, from 1; 0: of none
	State    string // one of those below
	Detail   string
	Boot     string    // id of the run of its kernel when it was asked
	Closed   bool      // counts for no wave any more
	At       time.Time // since when it is in this state
	Opened   time.Time // when its wave was decided; known only while it begins
}

// States of a rollout.
const (
	RolloutNow     = "now"     // an operator wants it restarted, whatever its turn is
	RolloutAsking  = "asking"  // it is being asked to restart: whether it was, only it knows
	RolloutAsked   = "asked"   // it has accepted to
	RolloutRuns    = "running" // it has proved that it runs what is wanted
	RolloutFailed  = "failed"  // it has not
	RolloutSkipped = "skipped" // an operator wants it left alone
)

// Underway says whether it was asked, and has not said yet how that ended.
func (r Rollout) Underway() bool { return r.State == RolloutAsking || r.State == RolloutAsked }

// Evidence is what a FEC has proved to be doing.
type Evidence struct {
	Serial int64
	State  string // a word of the report protocol
	Detail string
	At     time.Time
}

// Pause is why nothing is restarted.
type Pause struct {
	Reason string    `json:"reason"` // empty: nothing is paused
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at,omitzero"`
}
