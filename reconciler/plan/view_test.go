package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestAViewIsSmall has a plan of all that a large site can change at once.
func TestAViewIsSmall(t *testing.T) {
	p := plan.Plan{Site: "ring"}
	for i := range 20_000 {
		p.FECs = append(p.FECs, plan.FEC{Name: fmt.Sprintf("fec%05d", i), Host: fmt.Sprintf("host%05d", i), Groups: []string{"ring"}, What: plan.Changed, Needs: desired.Restart, Restart: []string{"bpm"},
			Bytes: 1000, Software: []plan.Item{{Name: "bpm", What: plan.Changed, From: "1.0.0", To: fmt.Sprintf("1.%d.0", i%300)}}})
		p.Builds = append(p.Builds, plan.Build{What: fmt.Sprint(i), Why: "new", Size: 1})
	}
	names := make([]string, len(p.FECs))
	for i, f := range p.FECs {
		names[i] = f.Name
	}
	p.Shared = []plan.Shared{{Kind: "script", Name: "start", FECs: names}}
	p.Refused = desired.Problems{{Text: strings.Repeat("x", 10)}}
	v := p.View()
	named := 0
	for _, g := range v.FECs {
		if named += len(g.FECs); g.Count != 67 && g.Count != 66 {
			t.Errorf("%d FECs change alike", g.Count)
		}
	}
	if named != 1000 || len(v.FECs) != 200 || v.Left["fecs"] != 100 || len(v.Builds) != 200 || v.Left["builds"] != 19_800 || v.Shared[0].Count != 20_000 || len(v.Shared[0].FECs) > 100 {
		t.Errorf("%d FECs in %d lines, %d builds, left %v", named, len(v.FECs), len(v.Builds), v.Left)
	}
	b, err := json.Marshal(v)
	var back plan.View
	if err != nil || len(b) > 200_000 || json.Unmarshal(b, &back) != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if d := cmp.Diff(v, back, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("it is another when it is read again:\n%s", d)
	}
	if v.FECs[0].Why[0] != "bpm 1.0.0 → 1.0.0" || v.FECs[0].Needs != "restart bpm" || v.FECs[0].Download != "each downloads 1.00 kB, 67.0 kB in all" || v.FECs[0].Groups != "ring 67" {
		t.Errorf("%+v", v.FECs[0])
	}
}
