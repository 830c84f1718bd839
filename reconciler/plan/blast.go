package plan

import (
	"cmp"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Shared is one thing that changes in one place and touches every FEC that uses it.
type Shared struct {
	Kind    string   `json:"kind"`              // script, software, configuration or client
	Name    string   `json:"name"`              // of a script its file in the repository
	Version string   `json:"version,omitempty"` // of software and configuration: the same one has another content
	FECs    []string `json:"fecs"`              // that it touches, sorted

	Groups map[string]int `json:"groups"` // of the site, with how many of these FECs
}

// Kinds of shared things.
const (
	sharedScript        = "script"
	sharedSoftware      = "software"
	sharedConfiguration = "configuration"
	sharedClient        = "client"
)

// String names it for people.
func (s Shared) String() string {
	if s.Kind == sharedClient {
		return "boot client, for images that fetch it"
	}
	return joined(s.Kind, s.Name, s.Version)
}

// touches says whom it touches: how many, some of them, and of which groups.
func (s Shared) touches() string {
	out := count(len(s.FECs), "FEC") + ": " + desired.Few(s.FECs)
	if len(s.Groups) > 0 {
		out += "; in " + memberships(s.Groups)
	}
	return out
}

// blast finds what is shared, changes, and so touches FECs whose own entries may not have changed at all.
func blast(s desired.Site, t tree.Tree, have observed.Root, fecs []FEC) []Shared {
	b := radius{site: s, touched: map[thing][]string{}}
	for _, f := range fecs {
		if f.What == Changed {
			b.items(sharedSoftware, f.Name, f.Software)
			b.items(sharedConfiguration, f.Name, f.Configuration)
		}
	}
	b.scripts(t, have, fecs)
	if clientChanges(t, have) {
		for _, f := range t.Folders {
			if f.Manifest != nil {
				b.touch(thing{kind: sharedClient, name: tree.Client}, f.Manifest.FEC)
			}
		}
	}
	return b.sorted()
}

type thing struct{ kind, name, version string }

type radius struct {
	site    desired.Site
	touched map[thing][]string // to FECs
}

func (b radius) touch(t thing, fec string) { b.touched[t] = append(b.touched[t], fec) }

// items are the versions that have another content. A configuration item of one FEC is not shared.
func (b radius) items(kind, fec string, items []Item) {
	for _, i := range items {
		if i.What == Rebuilt && (kind == sharedSoftware || b.site.Configuration[i.Name].FEC == "") {
			b.touch(thing{kind, i.Name, i.To}, fec)
		}
	}
}

// scripts are the files whose content changes for everybody who ran them before: not those that a FEC now runs in place of
// another.
func (b radius) scripts(t tree.Tree, have observed.Root, fecs []FEC) {
	what := map[string]string{}
	for _, f := range fecs {
		what[f.Name] = f.What
	}
	users, kept := map[string]int{}, map[string]bool{}
	for _, f := range t.Folders {
		if f.Manifest == nil {
			continue
		}
		name := f.Manifest.FEC
		for _, s := range f.Manifest.Init {
			init := b.site.FECs[name].Init[s.Name]
			file := tree.ScriptFile(b.site, init)
			users[file]++
			if init.Global != "" {
				users[file]++ // shared, however many use it
			}
			switch what[name] {
			case Added:
			case Changed:
				b.script(file, s, name, have.Manifests[name], kept)
			default:
				kept[file] = true
			}
		}
	}
	same := unchangedGlobals(b.site, t, have)
	for t := range b.touched {
		if t.kind == sharedScript && (kept[t.name] || same[t.name] || users[t.name] < 2) {
			delete(b.touched, t)
		}
	}
}

// unchangedGlobals are the files of global scripts that are served as they are wanted, or not at all yet.
func unchangedGlobals(s desired.Site, t tree.Tree, have observed.Root) map[string]bool {
	out := map[string]bool{}
	was := entries(have.Folders[globalFolder])
	for _, f := range t.Folders {
		if f.Path != globalFolder {
			continue
		}
		unchanged := !differs(contents(have.Index), f)
		for name, word := range entries(f.Nodes) {
			before, served := was[name]
			out[s.Settings.Scripts[name].File] = unchanged || before == word || len(was) > 0 && !served
		}
	}
	return out
}

func (b radius) script(file string, s tree.Script, fec string, was tree.Manifest, kept map[string]bool) {
	for _, old := range was.Init {
		if old.Name == s.Name && old.Digest == s.Digest {
			kept[file] = true
		} else if old.Name == s.Name {
			b.touch(thing{kind: sharedScript, name: file}, fec)
		}
	}
}

func (b radius) groups(fecs []string) map[string]int {
	n := map[string]int{}
	for _, f := range fecs {
		for _, g := range b.site.FECs[f].Groups {
			n[g]++
		}
	}
	return n
}

func (b radius) sorted() []Shared {
	out := []Shared{}
	for t, fecs := range b.touched {
		slices.Sort(fecs)
		fecs = slices.Compact(fecs)
		out = append(out, Shared{t.kind, t.name, t.version, fecs, b.groups(fecs)})
	}
	slices.SortFunc(out, func(a, b Shared) int {
		return cmp.Or(cmp.Compare(len(b.FECs), len(a.FECs)), cmp.Compare(a.String(), b.String()))
	})
	return out
}
