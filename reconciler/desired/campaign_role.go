package desired

import (
	"slices"
	"strings"
)

// has says whether somebody has one of some roles.
func (p CampaignPolicy) has(person string, roles ...string) bool {
	return p.People == nil || slices.ContainsFunc(roles, func(role string) bool {
		return slices.ContainsFunc(p.People[role], func(who string) bool { return SamePerson(who, person) })
	})
}

// requests are the roles of those who may request a campaign of a role.
func requests(role string) []string {
	switch role {
	case Shifter:
		return []string{Production, Shifter}
	case Analysis:
		return []string{Production, Analysis}
	}
	return []string{Production}
}

// assigned are the roles of those who may see to a campaign of a role.
func assigned(role string) []string {
	if role == Analysis {
		return []string{Production, Shifter, Analysis}
	}
	return []string{Production, Shifter}
}

// approves are the roles of those who may approve a campaign of a role, or what a stage of it asks.
func approves(role string, stage bool) []string {
	if role == Analysis || stage {
		return []string{Production, Shifter}
	}
	return []string{Production}
}

// MayApprove says whether somebody may approve a campaign or, in it, what a stage asks. Its requester never does.
func (p CampaignPolicy) MayApprove(person string, c Campaign, stage bool) bool {
	return !SamePerson(person, c.Requester) && p.has(person, approves(c.TheRole(), stage)...)
}

// MayOrder says whether somebody may give orders about a campaign: test, retry, cancel or accept.
func (p CampaignPolicy) MayOrder(person string, c Campaign) bool {
	own := SamePerson(person, c.Requester) || c.Assignee != "" && SamePerson(person, c.Assignee)
	return p.has(person, Production, Shifter) || c.TheRole() == Analysis && own && p.has(person, Analysis)
}

// SamePerson says whether two names are of one person; an e-mail's person has its local part as login.
func SamePerson(a, b string) bool {
	short := func(s string) string {
		if i := strings.IndexByte(s, '<'); i >= 0 { // NAME <ADDRESS>, as OpenPGP has it
			s = strings.TrimSuffix(s[i+1:], ">")
		}
		return strings.ToLower(strings.TrimSpace(s))
	}
	a, b = short(a), short(b)
	local := func(s string) string { head, _, _ := strings.Cut(s, "@"); return head }
	return a == b || strings.Contains(a, "@") != strings.Contains(b, "@") && local(a) == local(b)
}
