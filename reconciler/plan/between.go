package plan

import (
	"cmp"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Between are the FECs, and the other folders and links, in which two generations differ, by path. New signatures,
// serials and expiries of the same content are no change.
func Between(was, now tree.Index) (fecs, others []Change) {
	fecs, others = []Change{}, []Change{}
	isFEC := map[string]bool{}
	for _, f := range slices.Concat(was.FECs, now.FECs) {
		isFEC["fecs/"+f.Name] = true
	}
	for _, c := range between(contents(was), contents(now)) {
		if isFEC[c.Path] {
			fecs = append(fecs, c)
		} else {
			others = append(others, c)
		}
	}
	return fecs, others
}

func between(old, now map[string]string) (out []Change) {
	for path, word := range now {
		before, ok := old[path]
		delete(old, path)
		switch {
		case !ok:
			out = append(out, Change{Path: path, What: "added"})
		case before != word:
			out = append(out, Change{Path: path, What: "changed"})
		}
	}
	for path := range old {
		out = append(out, Change{Path: path, What: "removed"})
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Path, b.Path) })
	return out
}
