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
	waves := p.TheWaves()
	members := make([][]string, len(waves))
	in, seen := map[string]bool{}, map[string]bool{}
	for i, w := range waves {
		add := func(name string) {
			if f, ok := s.FECs[name]; ok && !in[name] && f.Software[p.Software].Version != "" {
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
