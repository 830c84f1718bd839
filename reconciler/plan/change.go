package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Change is one folder or link of the tree that will differ.
type Change struct {
	Path string   `json:"path"`
	What string   `json:"what"` // added, changed or removed
	Why  []string `json:"why,omitempty"`
}

// ChangedFECs are the published FECs whose content will differ: whoever makes a plan asks for their manifests first.
func ChangedFECs(t tree.Tree, have observed.Root) (names []string) {
	content := contents(have.Index)
	for _, f := range t.Folders {
		if was, ok := content[f.Path]; ok && f.Manifest != nil && was != f.Content().String() {
			names = append(names, f.Manifest.FEC)
		}
	}
	return names
}

// contents maps each published path to a word that changes with what lies there.
func contents(x tree.Index) map[string]string {
	out := map[string]string{}
	for _, f := range x.FECs {
		out["fecs/"+f.Name] = f.Content.String()
	}
	for _, f := range x.Folders {
		out[f.Path] = f.Folder.String()
	}
	for _, l := range x.Links {
		out[l.Path] = "-> " + l.Target
	}
	return out
}

func changes(t tree.Tree, have observed.Root) (out []Change) {
	was := contents(have.Index)
	note := func(path, now string, why func() []string) {
		old, ok := was[path]
		delete(was, path)
		switch {
		case !ok:
			out = append(out, Change{Path: path, What: "added"})
		case old != now:
			out = append(out, Change{Path: path, What: "changed", Why: why()})
		}
	}
	for _, f := range t.Folders {
		note(f.Path, f.Content().String(), func() []string {
			if f.Manifest == nil {
				return nil
			}
			return manifestChanges(have.Manifests[f.Manifest.FEC], *f.Manifest)
		})
	}
	for _, l := range t.Links {
		note(l.Path, "-> "+l.Target, func() []string { return []string{"points to " + l.Target} })
	}
	for path := range was {
		out = append(out, Change{Path: path, What: "removed"})
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// manifestChanges says what a FEC will boot that it does not boot now.
func manifestChanges(was, now tree.Manifest) []string {
	why := slices.Concat(itemChanges("", was.Software, now.Software), itemChanges("configuration ", was.Configuration, now.Configuration),
		scriptChanges(was.Init, now.Init))
	for _, w := range [][3]string{{"host", was.Host, now.Host}, {"platform", was.Platform, now.Platform}, {"channel", was.Channel, now.Channel}} {
		if w[1] != w[2] {
			why = append(why, fmt.Sprintf("%s %s → %s", w[0], w[1], w[2]))
		}
	}
	if was.Data != now.Data {
		why = append(why, "persistent data "+onOff(now.Data))
	}
	if len(why) == 0 {
		why = append(why, "files beside the manifest")
	}
	return why
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func itemChanges(kind string, was, now []tree.Item) (why []string) {
	old := map[string]tree.Item{}
	for _, i := range was {
		old[i.Name] = i
	}
	for _, i := range now {
		o, ok := old[i.Name]
		delete(old, i.Name)
		switch {
		case !ok:
			why = append(why, kind+i.Name+" + "+i.Version)
		case o.Version != i.Version:
			why = append(why, fmt.Sprintf("%s%s %s → %s", kind, i.Name, o.Version, i.Version))
		case o.Digest != i.Digest:
			why = append(why, fmt.Sprintf("%s%s %s rebuilt", kind, i.Name, i.Version))
		case o.Start != i.Start:
			why = append(why, fmt.Sprintf("%s%s %s started at boot: %s", kind, i.Name, i.Version, onOff(i.Start)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		why = append(why, kind+name+" − "+old[name].Version)
	}
	return why
}

func scriptChanges(was, now []tree.Script) (why []string) {
	old := map[string]tree.Script{}
	for _, s := range was {
		old[s.Name] = s
	}
	for _, s := range now {
		o, ok := old[s.Name]
		delete(old, s.Name)
		if !ok {
			why = append(why, "script + "+s.Name)
		} else if o != s {
			why = append(why, "script "+s.Name+" changed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		why = append(why, "script − "+name)
	}
	return why
}

func number(n int64) string { return fmt.Sprint(n) }

func short(commit string) string { return commit[:min(len(commit), 12)] }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, strings.TrimSuffix(noun, "s")+"s")
}
