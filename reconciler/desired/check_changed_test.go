package desired_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestProvenFECsAreNotChecked has three FECs with the same fault, one of which is proven sound, and one without it. What
// FECs do to each other is found all the same.
func TestProvenFECsAreNotChecked(t *testing.T) {
	s := desired.Site{
		Settings: desired.Settings{Platforms: map[string]desired.Platform{"ppc": {}}},
		FECs: map[string]desired.FEC{
			"a": {Host: "h1", Platform: "pcp"}, "b": {Host: "h2", Platform: "pcp"},
			"c": {Host: "h2", Platform: "pcp"}, "d": {Host: "h4", Platform: "ppc"},
		},
	}
	found, sound := desired.CheckChanged(s, nil, time.Now(), func(fec string) bool { return fec == "c" })
	for path, want := range map[string]bool{"fecs.a.platform": true, "fecs.b.platform": true, "fecs.c.platform": false, "fecs.c.host": true} {
		if strings.Contains(found.Error(), path+":") != want {
			t.Errorf("%s: found is not %v in\n%v", path, want, found)
		}
	}
	if !slices.Equal(sound, []string{"d"}) {
		t.Errorf("sound are %v", sound)
	}
	if all := desired.Check(s, nil, time.Now()); len(all) != len(found)+1 {
		t.Errorf("Check finds\n%v", all)
	}
}
