package plan_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// TestCompareSaysWhatBecomesOfCampaigns: whoever reads a proposal sees what it does to batch work.
func TestCompareSaysWhatBecomesOfCampaigns(t *testing.T) {
	of := func(change func(*desired.Campaign)) desired.Site {
		s := desired.Site{Campaigns: map[string]desired.Campaign{}}
		if change != nil {
			c := chain()
			change(&c)
			s.Campaigns["orbit"] = c
		}
		return s
	}
	as := func(*desired.Campaign) {}
	awaits := func(c *desired.Campaign) { c.NeedsApproval = new(true) }
	for name, c := range map[string]struct {
		was, now func(*desired.Campaign)
		want     string
	}{
		"nothing":  {as, as, ""},
		"added":    {nil, as, "  campaign orbit: added: state draft, 2 stages\n"},
		"removed":  {as, nil, "  campaign orbit: removed: what is planned of it is done, nothing is added\n"},
		"state":    {as, func(c *desired.Campaign) { c.State = desired.Active }, "  campaign orbit: changed: state draft → active\n"},
		"same":     {as, func(c *desired.Campaign) { c.State = desired.Draft }, ""},
		"run":      {as, func(c *desired.Campaign) { c.Run = "2" }, "  campaign orbit: changed: orbit/1 → orbit/2 begins anew\n"},
		"assignee": {as, func(c *desired.Campaign) { c.Assignee = "bob" }, "  campaign orbit: changed: assignee\n"},
		"renamed": {as, func(c *desired.Campaign) {
			c.Stages["again"] = c.Stages["track"]
			delete(c.Stages, "track")
		}, "  campaign orbit: changed: stage again added, stage track removed: what it has under way is cancelled\n"},
		"approval": {awaits, func(c *desired.Campaign) {
			awaits(c)
			s := c.Stages["track"]
			s.Description = "x"
			s.Params = desired.Params{"x": "1"}
			c.Stages["track"] = s
		}, "  campaign orbit: changed: stage track changed (description, params), it has to be approved as it is now\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan.Compare(plan.Want{Site: of(c.now)}, plan.Want{Site: of(c.was)})
			var text, markdown strings.Builder
			if err := p.Text(&text); err != nil {
				t.Fatal(err)
			}
			if err := p.Markdown(&markdown, 10_000); err != nil {
				t.Fatal(err)
			}
			_, said, _ := strings.Cut(text.String(), "\n")
			if said != c.want || p.Empty() != (c.want == "") || strings.Contains(markdown.String(), "<code>orbit</code>") != (c.want != "") || strings.Contains(text.String(), "1 campaign changed") != (c.want != "") {
				t.Errorf("%s\n%s", text.String(), markdown.String())
			}
		})
	}
}
