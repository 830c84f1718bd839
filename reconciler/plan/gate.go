package plan

// GateVerdict is what a gate says: a closed set.
type GateVerdict string

// Verdicts. Those that let something through are GatePass, GateWaived and GateNotApplicable.
const (
	GatePass          GateVerdict = "pass"
	GateWaived        GateVerdict = "pass_waived"
	GateNotApplicable GateVerdict = "not_applicable"
	GatePending       GateVerdict = "pending"           // somebody's evidence is still to come
	GateWaiting       GateVerdict = "waiting_for_other" // a gate before this one does not hold
	GateNeedsApproval GateVerdict = "needs_approval"    // it is there, and nobody knows that the right person wrote it
	GateInconclusive  GateVerdict = "inconclusive"
	GateBlocked       GateVerdict = "blocked"
	GateFail          GateVerdict = "fail"
)

// Holds says whether a gate lets something through.
func (v GateVerdict) Holds() bool { return v == GatePass || v == GateWaived || v == GateNotApplicable }

// Gate is one thing that must hold before a pilot or a prerequisite gets into a state.
type Gate struct {
	State   string      `json:"state"` // that it leads to
	Name    string      `json:"name"`
	Verdict GateVerdict `json:"verdict"`
	Why     string      `json:"why,omitempty"`
	Who     []string    `json:"who,omitempty"`     // must do something
	Do      string      `json:"do,omitempty"`      // what: a command, where one does it
	Records []string    `json:"records,omitempty"` // that it was judged by
}
