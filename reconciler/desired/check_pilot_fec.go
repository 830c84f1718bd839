package desired

import (
	"fmt"
	"maps"
	"slices"
)

// offer checks a pilot of FECs: the release that it offers, and to whom.
func (k *pilotChecker) offer(among *pilotsAmong) {
	release, ok := Release{}, false
	if k.Software != "" && k.Version != "" {
		release, ok = k.release(k.Software, k.Version, func() string { return k.at("software") }, func() string { return k.at("version") })
	}
	if ok && release.IsDev(k.Version) {
		k.problem(k.at("version"), fmt.Sprintf("%s %s is a development release, and could not be promoted", k.Software, k.Version), "offer a production version")
	}
	if k.ended || k.Rollout == nil {
		return
	}
	if among.groups == nil {
		among.groups = k.site.fecsByGroup()
	}
	k.waves(among.groups)
	n := 0
	for i, members := range k.site.pilotMembers(k.Pilot, among.groups) {
		n += len(members)
		if ok {
			k.fit(i, members)
		}
		if !Expired(k.Expires, k.now) {
			k.alone(i, members, among)
		}
	}
	k.minimum("FECs", n)
}

func (s Site) fecsByGroup() map[string][]string {
	groups := map[string][]string{}
	for _, name := range sortedKeys(s.FECs) {
		for _, g := range s.FECs[name].Groups {
			groups[g] = append(groups[g], name)
		}
	}
	return groups
}

// waves checks whom each wave names: nobody whom an earlier one has.
func (k *pilotChecker) waves(groups map[string][]string) {
	in, by := map[string]int{}, map[string]int{} // FECs and groups to their waves
	_, known := k.site.Software[k.Software]
	for i, w := range k.Rollout.Waves {
		at := func(field string, j int) string { return k.at("rollout", "waves", i, field, j) }
		members(k.checker, "FEC", w.FECs, k.site.FECs, "fecs", "pilots", k.name, "rollout", "waves", i, "fecs")
		members(k.checker, "group", w.Groups, k.site.Settings.Groups, "site.groups", "pilots", k.name, "rollout", "waves", i, "groups")
		if len(w.FECs)+len(w.Groups) == 0 {
			k.problem(k.at("rollout", "waves", i), fmt.Sprintf("nobody is in wave %d", i+1), "name FECs or groups")
		}
		for j, name := range w.FECs {
			f, ok := k.site.FECs[name]
			switch _, runs := f.Software[k.Software]; {
			case in[name] > 0 && in[name] <= i:
				k.problem(at("fecs", j), fmt.Sprintf("FEC %q is in wave %d already", name, in[name]), "remove one of them")
			case ok && !runs && known && in[name] == 0:
				k.problem(at("fecs", j), fmt.Sprintf("FEC %q does not run %s", name, k.Software), "pin a version of it for that FEC first, or remove it here")
			}
			if in[name] == 0 {
				in[name] = i + 1
			}
		}
		for j, g := range w.Groups {
			if by[g] > 0 {
				if by[g] <= i {
					k.problem(at("groups", j), fmt.Sprintf("group %q is in wave %d already", g, by[g]), "remove one of them")
				}
				continue
			}
			by[g] = i + 1
			runs := false
			for _, name := range groups[g] {
				if _, ok := k.site.FECs[name].Software[k.Software]; ok {
					runs = true
					if in[name] == 0 {
						in[name] = i + 1
					}
				}
			}
			if _, ok := k.site.Settings.Groups[g]; ok && !runs && known {
				k.warning(at("groups", j), fmt.Sprintf("no FEC of group %q runs %s", g, k.Software), "remove it, or name another one")
			}
		}
	}
}

// fit checks that the members of a wave can run the release, and warns that some run it anyway.
func (k *pilotChecker) fit(wave int, members []string) {
	var have []string
	wrong := map[[2]string][]string{} // text and advice to FECs
	for _, name := range members {
		if k.site.FECs[name].Software[k.Software].Version == k.Version {
			have = append(have, name)
			continue
		}
		for _, p := range k.wrongWith(name) {
			of := [2]string{p.Text, p.Advice}
			wrong[of] = append(wrong[of], name)
		}
	}
	at := k.at("rollout", "waves", wave)
	for of, names := range wrong {
		k.problem(at, fmt.Sprintf("%s cannot run %s %s: %s", listed("FEC", slices.Compact(names)), k.Software, k.Version, of[0]), of[1])
	}
	if len(have) > 0 {
		k.warning(at, fmt.Sprintf("%s %s is already pinned by %s", k.Software, k.Version, listed("FEC", have)), "remove them here, or pin what they go back to")
	}
}

// wrongWith is what is wrong with a FEC that has the pilot's version, and is not without it.
func (k *pilotChecker) wrongWith(name string) Problems {
	f := k.site.FECs[name]
	known := map[Problem]bool{}
	for _, p := range k.parts(name, f) {
		known[p] = true
	}
	pin := f.Software[k.Software]
	f.Software = maps.Clone(f.Software)
	f.Software[k.Software] = Pin{Version: k.Version, Start: pin.Start}
	return slices.DeleteFunc(k.parts(name, f), func(p Problem) bool { return known[p] })
}

// parts are the problems of what a FEC unpacks.
func (k *pilotChecker) parts(name string, f FEC) Problems {
	c := checker{site: k.site, files: k.files, now: k.now, versions: k.checker.versions, constraints: k.checker.constraints}
	parts := c.uses(name, f, nil)
	c.archives(name, f, parts)
	c.places(name, f, parts)
	c.init(name, f)
	return c.found.Blocking().Sorted()
}

// alone checks that no other pilot offers the same software to a FEC while both may be in deployment.
func (k *pilotChecker) alone(wave int, members []string, among *pilotsAmong) {
	also := map[*pilotChecker][]string{}
	var others []*pilotChecker
	for _, name := range members {
		key := [2]string{k.Software, name}
		other := among.offers[key]
		if other != nil {
			if also[other] == nil {
				others = append(others, other)
			}
			also[other] = append(also[other], name)
		}
		if other == nil || k.deployable() && !other.deployable() {
			among.offers[key] = k
		}
	}
	for _, other := range others {
		say, text := k.warning, "%s gets %s by pilot %q too, once that is deployed"
		if k.deployable() && other.deployable() {
			say, text = k.problem, "%s gets %s by pilot %q too"
		}
		say(k.at("rollout", "waves", wave), fmt.Sprintf(text, listed("FEC", also[other]), k.Software, other.name), "let one pilot end before the other begins there")
	}
}

// deployable says whether records have brought a pilot of FECs as far as its first wave.
func (p Pilot) deployable() bool {
	authorised, noted := false, false
	for _, r := range p.Records {
		authorised = authorised || r.Kind == RecordAuthorisation && r.Decision == "ok"
		noted = noted || r.Kind == RecordNotes
	}
	return authorised && noted
}
