package tree

import (
	"cmp"
	"slices"
)

// Keep is a tree in which some FECs are as in another one, or not there if that has none of them: their folders, their
// links and their data. A link of another FEC that would lie where a kept one lies gives way.
func (t Tree) Keep(fecs map[string]bool, from Tree) (Tree, error) {
	of := func(f Folder) bool { return f.Manifest != nil && fecs[f.Manifest.FEC] }
	not := func(f Folder) bool { return !of(f) }
	folders := slices.DeleteFunc(slices.Clone(from.Folders), not)
	t.Folders = append(slices.DeleteFunc(slices.Clone(t.Folders), func(f Folder) bool { return of(f) || IsMonitoring(f.Path) }), folders...)
	slices.SortFunc(t.Folders, func(a, b Folder) int { return cmp.Compare(a.Path, b.Path) })
	t.Folders = append(t.Folders, monitoringFolders(t.settings, t.Folders)...)

	links := slices.DeleteFunc(slices.Clone(from.Links), func(l Link) bool { return !fecs[l.Target] })
	taken := map[string]bool{}
	for _, l := range links {
		taken[l.Path] = true
	}
	t.Links = append(slices.DeleteFunc(slices.Clone(t.Links), func(l Link) bool { return fecs[l.Target] || taken[l.Path] }), links...)

	data := slices.DeleteFunc(slices.Clone(from.Data), func(fec string) bool { return !fecs[fec] })
	t.Data = append(slices.DeleteFunc(slices.Clone(t.Data), func(fec string) bool { return fecs[fec] }), data...)
	slices.SortFunc(t.Folders, func(a, b Folder) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(t.Links, func(a, b Link) int { return cmp.Compare(a.Path, b.Path) })
	slices.Sort(t.Data)
	return t, t.check()
}
