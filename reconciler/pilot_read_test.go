package reconciler

import (
	"log/slog"
	"reflect"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestNoCommitIsReadForTermsThatAreNotAgreed: there is no repository to read it from.
func TestNoCommitIsReadForTermsThatAreNotAgreed(t *testing.T) {
	then := desired.Site{Pilots: map[string]desired.Pilot{"try": {Scope: desired.PilotOfFECs, Software: "bpm", Version: "2", Rollout: &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"a"}}}}}},
		FECs: map[string]desired.FEC{"a": {Software: map[string]desired.Pin{"bpm": {Version: "1"}}}}}
	published := observed.Generation{Commit: "before"}
	published.Givens.Pilots = []tree.PilotPlace{{Name: "cream", Waves: []string{"s"}, Snapshots: []string{"s"}}, {Name: "try", Waves: []string{"r"}}}
	r := &Reconciler{Log: slog.New(slog.DiscardHandler), Served: &PublishedSite{link: "generations/1", is: servedSite{commit: wanted{stated: then}, generation: published}}}
	for name, c := range map[string]struct {
		scope string
		kept  []tree.PilotPin
	}{
		"cream": {desired.PilotOfSites, nil},
		"try":   {desired.PilotOfFECs, []tree.PilotPin{{FEC: "a", Wave: 1, Software: "bpm", Version: "2"}}},
	} {
		now := r.unagreed(t.Context(), wanted{}, plan.PilotNow{Name: name, Scope: c.scope, Unagreed: "why", Place: tree.PilotPlace{Name: name}}, published)
		if !reflect.DeepEqual(now.Place.Kept, c.kept) || len(now.Place.Waves) != 1 {
			t.Errorf("%s: %+v", name, now.Place)
		}
	}
}
