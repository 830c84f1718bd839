package desired

import (
	"fmt"
	"strings"
	"time"
)

// hold checks that there is what a hold holds, and that it ends within a year.
func (c *checker) hold(name string, h Hold) {
	at := CUEPath("holds", name)
	switch what, scoped := SplitScope(h.Scope); what {
	case FECScope:
		if _, ok := c.site.FECs[scoped]; !ok {
			unknown(c, at+".scope", "FEC", scoped, c.site.FECs, "fecs")
		}
	case GroupScope:
		if _, ok := c.site.Settings.Groups[scoped]; !ok {
			unknown(c, at+".scope", "group", scoped, c.site.Settings.Groups, "site.groups")
		}
	case CampaignScope:
		c.heldCampaign(at+".scope", scoped)
	}
	switch {
	case h.From > h.Until:
		c.problem(at+".until", fmt.Sprintf("the hold ends on %s, before it begins on %s", h.Until, h.From), "give a later day")
	case Expired(h.Until, c.now):
		c.warning(at+".until", fmt.Sprintf("this hold ended with %s", h.Until), "remove it, or give a later day")
	case h.Until > c.now.UTC().AddDate(1, 0, 0).Format(time.DateOnly):
		c.problem(at+".until", fmt.Sprintf("the hold ends on %s, more than a year ahead", h.Until), "give a day within a year, and renew it then")
	}
}

// heldCampaign checks that there is the campaign, and the stage of it, that a hold holds. Without a name it is all of them.
func (c *checker) heldCampaign(at, scoped string) {
	name, stage, ofStage := strings.Cut(scoped, "/")
	g, ok := c.site.Campaigns[name]
	switch _, has := g.Stages[stage]; {
	case scoped == "":
	case !ok:
		unknown(c, at, "campaign", name, c.site.Campaigns, "campaigns")
	case ofStage && !has:
		unknown(c, at, "stage", stage, g.Stages, CUEPath("campaigns", name, "stages"))
	}
}
