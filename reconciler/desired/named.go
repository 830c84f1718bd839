package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Named says who names which version of a software: software to version to the CUE paths of FECs, pilots and campaigns,
// sorted, for instance fecs.kgp2cu02. Names that the site does not declare are in it too.
func (s Site) Named() map[string]map[string][]string {
	named := map[string]map[string][]string{}
	add := func(software, version, who string) {
		if named[software] == nil {
			named[software] = map[string][]string{}
		}
		named[software][version] = append(named[software][version], who)
	}
	for _, name := range sortedKeys(s.Campaigns) {
		for software, version := range s.Campaigns[name].Software {
			add(software, version, CUEPath("campaigns", name))
		}
	}
	for _, name := range sortedKeys(s.FECs) {
		who := CUEPath("fecs", name)
		for software, pin := range s.FECs[name].Software {
			add(software, pin.Version, who)
			if own := pin.Piloted.Own; own != "" { // it goes back to that
				add(software, own, who)
			}
		}
	}
	for _, name := range sortedKeys(s.Pilots) {
		p := s.Pilots[name]
		if p.Software != "" {
			add(p.Software, p.Version, CUEPath("pilots", name))
		}
	}
	for _, versions := range named {
		for _, who := range versions {
			slices.Sort(who) // nearly sorted: quotes alone move a name
		}
	}
	return named
}

// Few lists the first names of many.
func Few(names []string) string { return FewOf(names, 3) }

// FewOf is likewise at most so many of them.
func FewOf(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// sortedKeys is slices.Sorted(maps.Keys(m)) with one allocation: Check asks for the keys of many small maps.
func sortedKeys[V any](m map[string]V) []string {
	keys := slices.AppendSeq(make([]string, 0, len(m)), maps.Keys(m))
	slices.Sort(keys)
	return keys
}
