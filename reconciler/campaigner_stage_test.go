package reconciler

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

func TestASliceLeadsToTheNewEpochOfAStage(t *testing.T) {
	c := desired.Campaign{Stages: map[string]desired.Stage{"gen": {}, "reco": {Epoch: 2, Needs: map[string]desired.Need{"gen": {}}}}}
	s := &Campaigner{Reconciler: &Reconciler{Now: time.Now}}
	edges := s.edgesOf(c, observed.Slice{Stage: "gen", Epoch: 1, ID: "a", State: observed.SliceComplete})
	if len(edges) != 1 {
		t.Fatalf("%+v", edges)
	}
	if stage, leads := leadsTo(c, edges[0], []string{"reco"}); stage != "reco" || !leads {
		t.Errorf("%s, %v", stage, leads)
	}
	if _, leads := leadsTo(c, edges[0], []string{"gen"}); leads {
		t.Error("it leads to another")
	}
}
