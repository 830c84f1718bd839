package desired

import "slices"

// Trees are the packages after each update whose base there is: the first release, or what another update makes.
func (p Pilot) Trees() map[string]Snapshot {
	on := map[string][]string{} // base to the updates that add to it
	for _, name := range sortedKeys(p.Updates) {
		on[p.Updates[name].Base] = append(on[p.Updates[name].Base], name)
	}
	trees := make(map[string]Snapshot, len(p.Updates))
	for bases := []Snapshot{p.Snapshot()}; len(bases) > 0; bases = bases[1:] {
		subject := bases[0].Subject()
		for _, name := range on[subject] {
			trees[name] = bases[0].With(p.Updates[name])
			bases = append(bases, trees[name])
		}
		delete(on, subject)
	}
	return trees
}

// UpdatesInOrder are the names of a pilot's updates, each after the one whose tree it adds to; and the others: rejected, or with a base to which
// nothing leads. Of two that add to one tree, what is mirrored comes first, then what others add to.
func (p Pilot) UpdatesInOrder() (ordered, loose []string) {
	trees, after, built := p.Trees(), map[string]string{}, map[string]bool{}
	on := map[string][]string{}
	for _, name := range sortedKeys(p.Updates) {
		u := p.Updates[name]
		if tree, ok := trees[name]; ok {
			after[name] = tree.Subject()
		}
		built[u.Base] = true
		on[u.Base] = append(on[u.Base], name)
	}
	mirrored, rejected := p.settled(after)
	rank := func(name string) int {
		switch {
		case mirrored[name]:
			return 0
		case built[after[name]]:
			return 1
		}
		return 2
	}
	in := map[string]bool{}
	for at := p.Snapshot().Subject(); ; at = after[ordered[len(ordered)-1]] {
		next := slices.DeleteFunc(slices.Clone(on[at]), func(name string) bool { return in[name] || rejected[name] })
		if len(next) == 0 {
			break
		}
		best := slices.MinFunc(next, func(a, b string) int { return rank(a) - rank(b) })
		in[best], ordered = true, append(ordered, best)
	}
	loose = slices.DeleteFunc(sortedKeys(p.Updates), func(name string) bool { return in[name] })
	return ordered, loose
}

// settled says which updates records call mirrored, as they are now, and which ones others call rejected.
func (p Pilot) settled(after map[string]string) (mirrored, rejected map[string]bool) {
	mirrored, rejected = map[string]bool{}, map[string]bool{}
	for _, r := range p.Records {
		switch {
		case r.Kind == RecordMirror && r.Subject != "" && r.Subject == after[r.Update]:
			mirrored[r.Update] = true
		case r.Kind == RecordRejection:
			rejected[r.Update] = true
		}
	}
	for name := range mirrored {
		delete(rejected, name)
	}
	return mirrored, rejected
}
