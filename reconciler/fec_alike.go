package reconciler

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// trait is something that FECs have in common.
type trait struct {
	kind, name, version string // software without a version: whichever
	build               string // of software, by platform
}

// alikeFECs are the FECs of a site by what they have in common, each list by name.
type alikeFECs struct {
	all  []string
	with map[trait][]string
}

// alikeOf are those of what is published; they are worked out once for each generation.
func (p *PublishedSite) alikeOf(s servedSite) *alikeFECs {
	if p == nil {
		return alikeOf(s.site)
	}
	link := tree.GenerationPath(s.generation.Number)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link != link { // something else is published meanwhile
		return alikeOf(s.site)
	}
	if p.alike == nil {
		p.alike = alikeOf(s.site)
	}
	return p.alike
}

func alikeOf(site desired.Site) *alikeFECs {
	a := &alikeFECs{all: slices.Sorted(maps.Keys(site.FECs)), with: map[trait][]string{}}
	for _, fec := range a.all {
		f := site.FECs[fec]
		for _, group := range f.Groups {
			a.add(trait{kind: "group", name: group}, fec)
		}
		for name, pin := range f.Software {
			a.add(trait{kind: "software", name: name}, fec)
			if _, build, ok := site.Software[name].Versions[pin.Version].For(f.Platform); ok {
				a.add(trait{"software", name, pin.Version, build}, fec)
			}
		}
		for name, version := range f.Configuration {
			a.add(trait{kind: "configuration", name: name}, fec)
			a.add(trait{kind: "configuration", name: name, version: version}, fec)
		}
		for _, script := range f.Init {
			a.add(trait{kind: "script", name: tree.ScriptFile(site, script)}, fec)
		}
	}
	return a
}

// add notes a FEC once.
func (a *alikeFECs) add(t trait, fec string) {
	if of := a.with[t]; len(of) == 0 || of[len(of)-1] != fec {
		a.with[t] = append(of, fec)
	}
}

// see are the FECs that objects, by section and name, decide about.
func (a *alikeFECs) see(objects map[string]map[string]bool) []string {
	if len(objects["site"]) > 0 {
		return a.all
	}
	fecs := maps.Clone(objects[desired.FECScope])
	if fecs == nil {
		fecs = map[string]bool{}
	}
	for _, kind := range []string{"software", "configuration"} {
		for name := range objects[kind] {
			for _, fec := range a.with[trait{kind: kind, name: name}] {
				fecs[fec] = true
			}
		}
	}
	maps.DeleteFunc(fecs, func(fec string, _ bool) bool { _, there := slices.BinarySearch(a.all, fec); return !there })
	return slices.Sorted(maps.Keys(fecs))
}
