package plan

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Condition is how a FEC is, by what it says.
type Condition string

// Conditions of a FEC, the worst first.
const (
	Fails  Condition = "failed"  // its last boot did not succeed, or does not end
	Stale  Condition = "stale"   // it runs something else than what is published for it
	Silent Condition = "silent"  // it has said nothing
	Boots  Condition = "booting" // it is on its way
	Runs   Condition = "running" // what is published for it
)

// Conditions are all of them, the worst first.
var Conditions = []Condition{Fails, Stale, Silent, Boots, Runs}

// patience is how long a boot may go on before it counts as failed: a slow line needs its time.
const patience = time.Hour

// ConditionOf judges a FEC to which a serial is published, by the report that counts, and says why it does not run that.
func ConditionOf(published int64, said *observed.FECReport, now time.Time) (c Condition, why string) {
	if said == nil {
		return Silent, "it has reported nothing"
	}
	since := observed.Minute(said.At)
	switch said.State {
	case "running":
		switch {
		case said.Serial != published:
			return Stale, fmt.Sprintf("it runs serial %d, as of %s", said.Serial, since)
		case said.Dev != "":
			return Stale, fmt.Sprintf("pomona dev has put %s there", said.Dev)
		}
		return Runs, ""
	case "fetching", "installed":
		if now.Sub(said.At) > patience {
			return Fails, fmt.Sprintf("its boot of serial %d has not ended: %s at %s", said.Serial, said.State, since)
		}
		return Boots, fmt.Sprintf("it boots serial %d: %s at %s", said.Serial, said.State, since)
	}
	why = fmt.Sprintf("%s with serial %d at %s", said.State, said.Serial, since)
	if said.Detail != "" {
		why += ": " + said.Detail
	}
	return Fails, why
}
