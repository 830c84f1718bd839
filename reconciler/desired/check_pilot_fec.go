package desired

import "fmt"

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
		k.fit(i, members, release, ok)
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
func (k *pilotChecker) fit(wave int, members []string, release Release, known bool) {
	lack, have := map[string][]string{}, []string(nil)
	for _, name := range members {
		f := k.site.FECs[name]
		_, platform := k.site.Settings.Platforms[f.Platform]
		if _, _, ok := release.For(f.Platform); known && platform && !ok {
			lack[f.Platform] = append(lack[f.Platform], name)
		}
		if f.Software[k.Software].Version == k.Version {
			have = append(have, name)
		}
	}
	at := k.at("rollout", "waves", wave)
	for _, platform := range sortedKeys(lack) {
		k.problem(at, fmt.Sprintf("%s %s has no payload for platform %q of %s", k.Software, k.Version, platform, listed("FEC", lack[platform])),
			fmt.Sprintf("add one in %s, or remove them", CUEPath("software", k.Software, "versions", k.Version, "payload")))
	}
	if len(have) > 0 {
		k.warning(at, fmt.Sprintf("%s %s is what its own pin has for %s", k.Software, k.Version, listed("FEC", have)), "remove them, or pin what they go back to")
	}
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
