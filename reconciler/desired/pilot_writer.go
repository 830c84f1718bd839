package desired

import "slices"

// Writers are those whose record of a pilot counts, and what they are called together; no name: anybody who is known. Installed are the sites that
// have installed it by then.
func (p *Pilot) Writers(r *PilotRecord, installed map[string]bool) (people []string, as string) {
	var roles PilotRoles
	if p.Roles != nil {
		roles = *p.Roles
	}
	switch r.Kind {
	case RecordProblem, RecordFeedback:
		return nil, ""
	case RecordAgreement:
		return nil, "" // that hangs on the agreements before it, and not on the terms that it is about
	case RecordReport:
		if len(roles.Testers) == 0 && p.TheUrgency() == FastUrgency {
			return []string{roles.Coordinator}, "its coordinator, who tests what is fast and has no testers"
		}
		return roles.Testers, "a tester"
	case RecordAuthorisation:
		return []string{roles.Authoriser}, "its authoriser"
	case RecordMirror:
		return []string{roles.Authoriser, roles.Coordinator}, "its authoriser or coordinator"
	case RecordNotes:
		return []string{roles.Coordinator, roles.Developer}, "its developer or coordinator"
	case RecordCriterion:
		return []string{roles.Coordinator, p.Owner}, "its coordinator or owner"
	case RecordJoin, RecordDeployment, RecordResources:
		return []string{p.Sites[r.Site].Contact, roles.Coordinator}, "the site's contact, nor its coordinator"
	case RecordWaiver:
		if r.Check == TestOfUpdate {
			return append([]string{roles.Authoriser}, roles.Testers...), "its authoriser or a tester"
		}
	case RecordHalt:
		people = slices.Concat([]string{roles.Coordinator, roles.Developer, roles.Authoriser}, roles.Testers)
		for _, site := range sortedKeys(installed) {
			people = append(people, p.Sites[site].Contact)
		}
		return people, "one who has a role in it, nor speaks for a site that has installed it"
	case RecordClosure:
		if r.Outcome == "withdrawn" {
			return []string{roles.Coordinator, p.Owner}, "its coordinator or owner"
		}
	}
	return []string{roles.Coordinator}, "its coordinator"
}
