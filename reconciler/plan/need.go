package plan

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// needs is what a running FEC needs before its changes take effect: the most that any of them does. With a restart, it
// says of what.
func needs(s desired.Site, f FEC, was, now tree.Manifest) (string, []string) {
	n := need{site: s, restart: map[string]bool{}}
	for _, i := range f.Software {
		n.software(i.Name)
	}
	for _, i := range f.Configuration {
		n.configuration(i, now)
	}
	for _, i := range f.Scripts {
		n.script(i, was, now)
	}
	was.Data, was.Persistence = now.Data, now.Persistence // it is fetched at each boot, and collected without one
	n.reboot = n.reboot || len(others(was, now)) > 0
	switch {
	case n.reboot:
		return desired.Reboot, []string{}
	case len(n.restart) > 0:
		return desired.Restart, slices.Sorted(maps.Keys(n.restart))
	}
	return desired.Nothing, []string{}
}

type need struct {
	site    desired.Site
	reboot  bool
	restart map[string]bool
}

// software asks what a product says of itself. One that the site does not declare any more says nothing: a reboot ends it.
func (n *need) software(name string) {
	switch n.site.Software[name].Needs() {
	case desired.Reboot:
		n.reboot = true
	case desired.Restart:
		n.restart[name] = true
	}
}

// configuration needs what the software needs that it is for, as far as the FEC runs it.
func (n *need) configuration(i Item, now tree.Manifest) {
	version := i.To
	if version == "" {
		version = i.From
	}
	read := false
	fits := n.site.Configuration[i.Name].Versions[version].For
	for _, sw := range now.Software {
		if _, ok := fits[sw.Name]; ok {
			read = true
			n.software(sw.Name)
		}
	}
	n.reboot = n.reboot || !read
}

// script runs again when the software is restarted that it starts. Any other runs at boot only.
func (n *need) script(i Item, was, now tree.Manifest) {
	starts := ""
	for _, s := range slices.Concat(was.Init, now.Init) {
		if s.Name == i.Name {
			starts = s.Starts
		}
	}
	if starts == "" || n.site.Software[starts].Needs() == desired.Reboot {
		n.reboot = true
		return
	}
	n.restart[starts] = true
}
