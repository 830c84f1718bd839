package main

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestADemoLeavesACampaignAloneThatIsNoDraft as an earlier demo, or whoever uses its site, has made it.
func TestADemoLeavesACampaignAloneThatIsNoDraft(t *testing.T) {
	for name, campaigns := range map[string]map[string]desired.Campaign{
		"active": {demoCampaign: {State: desired.Active}}, "closed": {demoCampaign: {State: desired.Closed}}, "gone": nil,
	} {
		var out strings.Builder
		d := demo{out: &out, site: desired.Site{Campaigns: campaigns}}
		if err := d.carryOut(t.Context(), nil, nil); err != nil || out.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
}
