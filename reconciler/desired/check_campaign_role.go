package desired

import (
	"fmt"
	"slices"
	"strings"
)

// people checks that those whom a campaign names have the role for it, and that somebody may approve it if that is needed.
func (k campaignChecker) people() {
	policy, role := k.site.Settings.Campaigns, k.TheRole()
	needs := k.NeedsApproval != nil && *k.NeedsApproval || slices.Contains(policy.Approval, role)
	if k.NeedsApproval != nil && !*k.NeedsApproval && slices.Contains(policy.Approval, role) {
		k.problem(k.at("needsApproval"), "campaigns of role "+role+" have to be approved: "+CUEPath("site", "campaigns", "approval")+" says so", "remove it")
	}
	k.person(k.Requester, "request", requests(role), "requester")
	if k.Assignee != "" {
		k.person(k.Assignee, "see to", assigned(role), "assignee")
	}
	if may := approves(role, false); needs && policy.People != nil && !k.somebody(may) {
		k.problem(k.at("requester"), "nobody but its requester may approve it", "name somebody else in "+placesOf(may))
	}
}

// person checks that somebody has one of the roles of those who may do something with the campaign.
func (k campaignChecker) person(who, do string, may []string, at string) {
	if !k.site.Settings.Campaigns.has(who, may...) {
		k.problem(k.at(at), fmt.Sprintf("%s may not %s a campaign of role %s", who, do, k.TheRole()), "name them in "+placesOf(may)+", or give it another role")
	}
}

// somebody says whether there is anybody with one of some roles besides the requester.
func (k campaignChecker) somebody(roles []string) bool {
	return slices.ContainsFunc(roles, func(role string) bool {
		return slices.ContainsFunc(k.site.Settings.Campaigns.People[role], func(who string) bool { return !SamePerson(who, k.Requester) })
	})
}

// placesOf are where a site names those who have some roles.
func placesOf(roles []string) string {
	var places []string
	for _, role := range roles {
		places = append(places, CUEPath("site", "campaigns", "people", role))
	}
	return strings.Join(places, " or ")
}
