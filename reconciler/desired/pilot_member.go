package desired

import "slices"

// PilotMembers are the FECs of each wave of a pilot, sorted: those that it names, and those of its groups that run its software. One that is
// in several waves is in the first of them.
func (s Site) PilotMembers(p Pilot) [][]string {
	wanted := map[string][]string{}
	for _, w := range p.TheWaves() {
		for _, g := range w.Groups {
			wanted[g] = nil
		}
	}
	if len(wanted) > 0 {
		for _, name := range sortedKeys(s.FECs) {
			for _, g := range s.FECs[name].Groups {
				if _, ok := wanted[g]; ok {
					wanted[g] = append(wanted[g], name)
				}
			}
		}
	}
	return s.pilotMembers(p, wanted)
}

// pilotMembers is likewise, of FECs by group.
func (s Site) pilotMembers(p Pilot, of map[string][]string) [][]string {
	if p.Rollout == nil {
		return [][]string{}
	}
	members := make([][]string, len(p.Rollout.Waves))
	in, seen := map[string]bool{}, map[string]bool{}
	for i, w := range p.Rollout.Waves {
		members[i] = []string{}
		add := func(name string) {
			if _, runs := s.FECs[name].Software[p.Software]; runs && !in[name] {
				in[name], members[i] = true, append(members[i], name)
			}
		}
		for _, name := range w.FECs {
			add(name)
		}
		for _, g := range w.Groups {
			if seen[g] {
				continue
			}
			seen[g] = true
			for _, name := range of[g] {
				add(name)
			}
		}
		slices.Sort(members[i])
	}
	return members
}
