package reconciler

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestAllSlicesAreLookedAtThatAreToBeCancelled(t *testing.T) {
	of := func(state string) int {
		return tended{spec: desired.Campaign{State: state, Stages: map[string]desired.Stage{"a": {}}}}.lookedAt()
	}
	if active, closed := of(desired.Active), of(desired.Closed); active >= 100_000 || closed < 100_000_000 {
		t.Errorf("of an active campaign %d are looked at, of a closed one %d", active, closed)
	}
}
