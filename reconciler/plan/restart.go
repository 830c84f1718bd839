package plan

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Effort is what a running FEC needs before what is published for it takes effect.
type Effort struct {
	What     string   // desired.Nothing, desired.Restart or desired.Reboot
	Software []string // that changes, or whose configuration or script does, and is restarted; sorted
	Why      []string // one line each, sorted
	Previous bool     // the site wants the release before where this one does not run: onFail
}

// RestartOf is what a FEC needs that runs one manifest to run another. Nil for what is not known any more.
func RestartOf(s desired.Site, was *tree.Manifest, now tree.Manifest) Effort {
	n := effects{site: s, now: now, restart: map[string]bool{}, why: map[string]bool{}, what: desired.Nothing}
	if was == nil {
		n.reboot("nobody knows what it runs")
	} else {
		n.machine(*was)
		n.software(*was)
		n.configuration(*was)
		n.scripts(*was)
	}
	out := Effort{What: n.what, Why: slices.Sorted(maps.Keys(n.why)), Previous: n.previous(was)}
	if n.what == desired.Restart {
		out.Software = slices.Sorted(maps.Keys(n.restart))
	}
	return out
}

type effects struct {
	site    desired.Site
	now     tree.Manifest
	what    string
	restart map[string]bool
	why     map[string]bool
}

func (n *effects) reboot(why string) {
	n.what = desired.Reboot
	n.why[why] = true
}

// of notes that something about a software changes.
func (n *effects) of(software, why string) {
	s, known := n.site.Software[software]
	switch {
	case !known || s.Needs() == desired.Reboot:
		n.reboot(why)
	case s.Needs() == desired.Restart:
		n.restart[software], n.why[why] = true, true
		if n.what == desired.Nothing {
			n.what = desired.Restart
		}
	}
}

func (n *effects) machine(was tree.Manifest) {
	if was.Host != n.now.Host || was.Platform != n.now.Platform {
		n.reboot("its host or platform changed")
	}
}

func (n *effects) software(was tree.Manifest) {
	for name, versions := range both(was.Software, n.now.Software) {
		n.of(name, "software "+name+" "+versions)
	}
}

// configuration concerns the software that it is for.
func (n *effects) configuration(was tree.Manifest) {
	for name, versions := range both(was.Configuration, n.now.Configuration) {
		why, found := "configuration "+name+" "+versions, false
		for _, item := range n.now.Software {
			for _, version := range n.site.Configuration[name].Versions {
				if _, fits := version.For[item.Name]; fits {
					n.of(item.Name, why)
					found = true
					break
				}
			}
		}
		if !found {
			n.reboot(why)
		}
	}
}

// scripts concern the software that they start; one that starts none runs at boot only.
func (n *effects) scripts(was tree.Manifest) {
	before, after := map[string]tree.Script{}, map[string]tree.Script{}
	for _, s := range was.Init {
		before[s.Name] = s
	}
	for _, s := range n.now.Init {
		after[s.Name] = s
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for name := range all {
		if before[name] == after[name] {
			continue
		}
		for _, s := range []tree.Script{before[name], after[name]} {
			why := "init script " + name + " changed"
			switch {
			case s.Name == "":
			case s.Starts == "":
				n.reboot(why)
			default:
				n.of(s.Starts, why)
			}
		}
	}
}

// previous says whether some software that changes wants the release before where it does not run.
func (n *effects) previous(was *tree.Manifest) bool {
	if was == nil {
		return false
	}
	for name := range both(was.Software, n.now.Software) {
		if n.site.Software[name].OnFail == desired.OnFailPrevious {
			return true
		}
	}
	return false
}

// both are the items that differ, to how: their versions, or that they were built anew.
func both(was, now []tree.Item) map[string]string {
	before, out := map[string]tree.Item{}, map[string]string{}
	for _, i := range was {
		before[i.Name] = i
		out[i.Name] = i.Version + " removed"
	}
	for _, i := range now {
		old, had := before[i.Name]
		switch {
		case !had:
			out[i.Name] = i.Version + " added"
		case old == i:
			delete(out, i.Name)
		case old.Version != i.Version:
			out[i.Name] = old.Version + " → " + i.Version
		default:
			out[i.Name] = i.Version + " changed"
		}
	}
	return out
}
