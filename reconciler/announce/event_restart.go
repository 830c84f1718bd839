package announce

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Kinds of events about restarts.
const (
	RestartsPaused Kind = "restarts-paused" // no FEC gets what is published until somebody decides
	FECFailed      Kind = "fec-failed"      // one does not run after it was restarted
)

// OfRestarts is the event that restarts are paused or, without a reason, go on.
func OfRestarts(site, reason string, now time.Time) Event {
	if reason == "" {
		return Event{Site: site, Kind: RestartsPaused, Recovered: true, Title: "restarts of FECs go on", At: now}
	}
	return Event{Site: site, Severity: Error, Kind: RestartsPaused, Title: "restarts of FECs are paused", At: now,
		Text: reason + "\npomona restart shows what waits; pomona restart resume goes on"}
}

// OfFailure is the event that a FEC does not run what it was restarted for. Held is the hold that has it return to the release before;
// empty for none.
func OfFailure(site string, r observed.Rollout, held string, now time.Time) Event {
	e := Event{Site: site, Severity: Warning, Kind: FECFailed, Title: fmt.Sprintf("FEC %s does not run serial %d", r.FEC, r.Wanted), Text: r.Detail, At: now}
	if held != "" {
		e.Text += "\nit gets the release before, and is held there by " + held + " until a newer commit"
	}
	return e
}
