package desired

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// pilots checks every pilot, by itself and among the others. What ended is history: what it once named may be gone.
func (c *checker) pilots() {
	among := pilotsAmong{offers: map[[2]string]*pilotChecker{}, marks: map[string]string{}}
	for _, name := range sortedKeys(c.site.Pilots) {
		k := &pilotChecker{checker: c, name: name, Pilot: c.site.Pilots[name]}
		k.inOrder, k.ended = k.RecordsInOrder(), k.Ended()
		k.declaration()
		k.people()
		k.rollout()
		switch k.Scope {
		case PilotOfFECs:
			k.offer(&among)
		case PilotOfSites:
			k.participants()
			k.branches()
			k.updates()
			k.marked(&among)
		}
		k.thaw()
		k.evidence()
	}
}

type pilotChecker struct {
	*checker
	name string
	Pilot
	inOrder []string // names of records
	ended   bool
	trees   map[string]Snapshot // after each update

	waivedTests map[waiverOf]bool
}

// pilotsAmong is what no two pilots may have.
type pilotsAmong struct {
	offers map[[2]string]*pilotChecker // by software and FEC
	marks  map[string]string           // in the information system, to the pilot
	groups map[string][]string         // to FECs
}

// at is the path of a value of the pilot.
func (k *pilotChecker) at(parts ...any) string {
	return CUEPath(append([]any{"pilots", k.name}, parts...)...)
}

// pilotOf is a scope as people say it.
var pilotOf = map[string]string{PilotOfFECs: "a pilot of FECs", PilotOfSites: "a pilot of a grid service"}

// declaration checks that a pilot says what its scope needs, and nothing that only the other one has.
func (k *pilotChecker) declaration() {
	ofFECs, ofSites := map[string]bool{"software": k.Software != "", "version": k.Version != ""},
		map[string]bool{"service": k.Service != "", "branches": len(k.Branches) > 0, "sites": len(k.Sites) > 0, "infosys": k.InfoSys != nil, "updates": len(k.Updates) > 0}
	switch k.Scope {
	case PilotOfFECs:
		k.scoped(ofFECs, ofSites, "software", "version")
	case PilotOfSites:
		k.scoped(ofSites, ofFECs, "service")
	}
	switch ends := k.at("expires"); {
	case Expired(k.Expires, k.now) && !k.ended:
		k.warning(ends, fmt.Sprintf("this pilot ended with %s", k.Expires), "conclude it and remove it, or give a later day")
	case k.Expires > k.now.UTC().AddDate(2, 0, 0).Format(time.DateOnly):
		k.problem(ends, fmt.Sprintf("the pilot ends on %s, more than two years ahead", k.Expires), "give a day within two years, and renew it then")
	}
	if len(k.Success) == 0 {
		k.problem(k.at("success"), "nothing says when this pilot has succeeded", "add a criterion: what is measured, and what it must be")
	}
	if k.Ticket == "" && k.begun() {
		k.problem(k.at("scope"), "work on this pilot has begun, and it has no ticket", "give the address of its request in ticket")
	}
}

// begun says whether anything is recorded but that a request is agreed to.
func (k *pilotChecker) begun() bool {
	return k.Roles != nil || slices.ContainsFunc(k.inOrder, func(name string) bool { return k.Records[name].Kind != RecordAgreement })
}

func (k *pilotChecker) scoped(own, other map[string]bool, needs ...string) {
	for _, field := range needs {
		if !own[field] {
			k.problem(k.at(), fmt.Sprintf("%s needs %s", pilotOf[k.Scope], field), "add it")
		}
	}
	for _, field := range sortedKeys(other) {
		if other[field] {
			k.problem(k.at(field), fmt.Sprintf("%s has no %s", pilotOf[k.Scope], field), "remove it, or correct scope")
		}
	}
}

// people checks that nobody judges what is their own.
func (k *pilotChecker) people() {
	r := k.Roles
	if r == nil {
		if i := slices.IndexFunc(k.inOrder, func(name string) bool { return recordRules[k.Records[name].Kind].roles }); i >= 0 {
			k.problem(k.at("records", k.inOrder[i]), fmt.Sprintf("this is a record of kind %s, and nobody has a role in this pilot", k.Records[k.inOrder[i]].Kind),
				"add roles: who coordinates, develops, authorises and tests it")
		}
		return
	}
	if SamePerson(r.Authoriser, r.Developer) {
		k.problem(k.at("roles", "authoriser"), fmt.Sprintf("%s develops this pilot, and cannot authorise it", r.Authoriser), "name somebody else")
	}
	seen := map[string]bool{}
	for i, t := range r.Testers {
		at := func() string { return k.at("roles", "testers", i) }
		switch {
		case SamePerson(t, r.Developer):
			k.problem(at(), fmt.Sprintf("%s develops this pilot, and cannot test it", t), "name somebody else")
		case SamePerson(t, r.Authoriser):
			k.problem(at(), fmt.Sprintf("%s authorises this pilot, and cannot test it", t), "name somebody else")
		case seen[t]:
			k.problem(at(), fmt.Sprintf("%s comes twice", t), "remove one of them")
		}
		seen[t] = true
	}
	if len(r.Testers) == 0 && k.TheUrgency() == NormalUrgency {
		k.problem(k.at("roles"), "nobody tests this pilot", `name testers, or let it do without: urgency: "fast"`)
	}
}

// rollout checks that waves can come to an end.
func (k *pilotChecker) rollout() {
	if k.Rollout == nil {
		if k.Scope == PilotOfFECs && k.begun() {
			k.problem(k.at("scope"), "work on this pilot has begun, and no FEC is offered it", "say in rollout.waves which ones get it, one wave after the other")
		}
		return
	}
	for i, w := range k.Rollout.Waves {
		if w.Success != "" && w.Percent() == 0 {
			k.problem(k.at("rollout", "waves", i, "success"), "nothing would be enough", "give at least 1%")
		}
		if k.Scope != PilotOfSites {
			continue
		}
		for field, has := range map[string]bool{"fecs": len(w.FECs) > 0, "groups": len(w.Groups) > 0} {
			if has {
				k.problem(k.at("rollout", "waves", i, field), fmt.Sprintf("%s has no %s", pilotOf[k.Scope], field), "remove it: each of sites says its wave")
			}
		}
	}
}

// minimum checks that enough take part for the pilot to be deployed.
func (k *pilotChecker) minimum(what string, n int) {
	if k.Rollout != nil && n > 0 && k.Rollout.Minimum > n && !k.ended {
		k.problem(k.at("rollout", "minimum"), fmt.Sprintf("%d %s must run it, and %d can", k.Rollout.Minimum, what, n), "lower it, or name more")
	}
}

// thaw warns that what was frozen has been changed since.
func (k *pilotChecker) thaw() {
	if k.ended {
		return
	}
	frozen := map[string]string{} // by update, the last record
	for _, name := range k.inOrder {
		if r := k.Records[name]; r.Kind == RecordFreeze {
			frozen[r.Update] = name
		}
	}
	for _, update := range sortedKeys(frozen) {
		if now, at := k.subject(update); now != "" && now != k.Records[frozen[update]].Subject {
			k.warning(at, fmt.Sprintf("this is not what record %q froze: what was recorded of that does not count any more", frozen[update]),
				"put it back as it was, or freeze it again")
		}
	}
}

// subject is the digest of what records of an update, or of the first release, are about, and where it is declared; empty when nobody knows.
func (k *pilotChecker) subject(update string) (subject, at string) {
	switch tree, ok := k.trees[update]; {
	case ok:
		return tree.Subject(), k.at("updates", update)
	case update != "":
		return "", ""
	case k.Scope == PilotOfSites:
		return k.Snapshot().Subject(), k.at("branches")
	}
	subject, _ = ReleaseSubject(k.site, k.files, k.Software, k.Version)
	return subject, k.at("version")
}

// listed names a few of many, as a subject of a sentence.
func listed(what string, names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("%s %q", what, names[0])
	}
	return what + "s " + strings.ReplaceAll(Few(names), `"`, "")
}
