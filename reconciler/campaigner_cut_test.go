package reconciler

import (
	"slices"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Many slices are followed one after another, by what was read once.
func TestWhatWasCutBeforeIsNotCutAgain(t *testing.T) {
	h := stageHas{map[string]bool{}, map[string]bool{"a": true}}
	c := plan.StageCut{Name: "s", Stage: desired.Stage{Needs: map[string]desired.Need{"p": {}}, Split: &desired.Split{Type: desired.FilesSplit, N: 2}}, Final: true,
		Parent: &observed.Slice{Stage: "p", ID: "x"}, Inputs: []observed.Input{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	if got := h.cutMore(c).Slices; len(got) != 1 || !slices.Equal(got[0].Inputs, []string{"b", "c"}) {
		t.Fatalf("%+v", got)
	}
	c.Parent = &observed.Slice{Stage: "p", ID: "y"}
	c.Inputs = append(c.Inputs, observed.Input{Name: "d"})
	if got := h.cut(c).Slices; len(got) != 1 || !slices.Equal(got[0].Inputs, []string{"d"}) {
		t.Errorf("%+v", got)
	}
}
