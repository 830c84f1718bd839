package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Change is one folder or link of the tree that will differ.
type Change struct {
	Path string   `json:"path"`
	What string   `json:"what"` // added, changed or removed
	Why  []string `json:"why,omitempty"`
}

// What happens to a FEC, a folder, a link, or something of a FEC.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
	Rebuilt = "rebuilt" // another archive of the same version, or another install path
	Started = "started" // from now on at boot
	Held    = "held"    // from now on not at boot
)

// ChangedFECs are the published FECs whose content will differ: whoever makes a plan asks for their manifests first.
func ChangedFECs(t tree.Tree, have observed.Root) (names []string) {
	was := contents(have.Index)
	for _, f := range t.Folders {
		if f.Manifest != nil && differs(was, f) {
			names = append(names, f.Manifest.FEC)
		}
	}
	return names
}

// ChangedFolders are the other published folders whose content will differ, by path, and what they hold now in the object
// store: whoever makes a plan asks for their nodes first.
func ChangedFolders(t tree.Tree, have observed.Root) (folders []tree.IndexedFolder) {
	was := contents(have.Index)
	changed := map[string]bool{}
	for _, f := range t.Folders {
		changed[f.Path] = f.Manifest == nil && differs(was, f)
	}
	for _, f := range have.Index.Folders {
		if changed[f.Path] {
			folders = append(folders, f)
		}
	}
	return folders
}

func differs(was map[string]string, f tree.Folder) bool {
	old, ok := was[f.Path]
	return ok && old != f.Content().String()
}

// contents maps each published path to a word that changes with what lies there.
func contents(x tree.Index) map[string]string {
	out := map[string]string{}
	for _, f := range x.FECs {
		out["fecs/"+f.Name] = f.Content.String()
	}
	for _, f := range x.Folders {
		out[f.Path] = f.Holds().String()
	}
	for _, l := range x.Links {
		out[l.Path] = "-> " + l.Target
	}
	return out
}

// changes are the folders and links that will differ and are no FEC's, by path.
func changes(t tree.Tree, have observed.Root) []Change {
	was := contents(have.Index)
	for _, f := range have.Index.FECs {
		delete(was, "fecs/"+f.Name)
	}
	out := []Change{}
	note := func(path, now string, why func() []string) {
		old, ok := was[path]
		delete(was, path)
		switch {
		case !ok:
			out = append(out, Change{Path: path, What: Added})
		case old != now:
			out = append(out, Change{Path: path, What: Changed, Why: why()})
		}
	}
	for _, f := range t.Folders {
		if f.Manifest == nil {
			note(f.Path, f.Content().String(), func() []string { return folderChanges(f.Path, have.Folders[f.Path], f.Nodes) })
		}
	}
	for _, l := range t.Links {
		note(l.Path, "-> "+l.Target, func() []string { return []string{"points to " + l.Target} })
	}
	for path := range was {
		out = append(out, Change{Path: path, What: Removed})
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// folderChanges says which versions of a software or configuration, or which global scripts, will be served otherwise.
// Nothing is said about a folder that could not be read.
func folderChanges(path string, was, now []tree.Node) (why []string) {
	if was == nil {
		return nil
	}
	old, words := entries(was), entries(now)
	for name, word := range words {
		before, ok := old[name]
		delete(old, name)
		if !ok {
			why = append(why, "+ "+name)
		} else if before != word {
			why = append(why, name+" changed")
		}
	}
	for name := range old {
		why = append(why, "− "+name)
	}
	slices.Sort(why)
	return why
}

// entries maps the names at the top of a folder to a word that changes with what lies there.
func entries(nodes []tree.Node) map[string]string {
	out := map[string]string{}
	for _, n := range nodes {
		name, _, _ := strings.Cut(n.Path, "/")
		out[name] += fmt.Sprintf("%s %s %s %s\n", n.Path, n.Object, n.Target, n.Data)
	}
	return out
}

// globalFolder holds the scripts that FECs reuse, and the boot client.
const globalFolder = "fecs/" + desired.GlobalScripts

// clientChanges says whether the boot client itself will differ: FECs whose image fetches it get another one.
func clientChanges(t tree.Tree, have observed.Root) bool {
	for _, f := range t.Folders {
		if was := have.Folders[globalFolder]; f.Path == globalFolder && was != nil {
			return entries(was)[tree.Client] != entries(f.Nodes)[tree.Client]
		}
	}
	return false
}

func number(n int64) string { return fmt.Sprint(n) }

func short(commit string) string { return commit[:min(len(commit), 12)] }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, strings.TrimSuffix(noun, "s")+"s")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
