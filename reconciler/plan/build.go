package plan

import (
	"cmp"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Need is one part that a tree needs, and what it is made from.
type Need struct {
	Part    tree.Part
	Payload desired.Payload   // of software and configuration
	Scripts map[string]string // of scripts: name to file
}

// Build is a part that is not there yet.
type Build struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Size int64  `json:"size"` // bytes, compressed

	Digest artifact.Digest `json:"-"`
}

// Needs are all parts of a site's tree, sorted.
func Needs(s desired.Site, releases map[string][]string) []Need {
	out := append(PayloadNeeds(s, releases), scriptNeeds(s)...)
	slices.SortFunc(out, func(a, b Need) int { return compareParts(a.Part, b.Part) })
	return out
}

// PayloadNeeds are those parts that software and configuration are made into, in no order.
func PayloadNeeds(s desired.Site, releases map[string][]string) (out []Need) {
	add := func(parts map[tree.Part]desired.Payload) {
		for p, payload := range parts {
			out = append(out, Need{Part: p, Payload: payload})
		}
	}
	for name, versions := range releases {
		for _, v := range versions {
			add(tree.SoftwareParts(s, name, v))
		}
	}
	for name, item := range s.Configuration {
		for v := range item.Versions {
			if item.FEC == "" || s.FECs[item.FEC].Configuration[name] == v { // no tree holds other versions of a FEC's own
				add(tree.ConfigurationParts(s, name, v))
			}
		}
	}
	return out
}

// scriptNeeds are each script once, plain, and one archive for each FEC that has any.
func scriptNeeds(s desired.Site) (out []Need) {
	files := map[string]bool{}
	for _, g := range s.Settings.Scripts {
		files[g.File] = true
	}
	for name, fec := range s.FECs {
		scripts := map[string]string{}
		for script, i := range fec.Init {
			file := tree.ScriptFile(s, i)
			files[file] = true
			scripts[script] = file
		}
		if len(scripts) > 0 {
			out = append(out, Need{Part: tree.Part{Kind: tree.ScriptsPart, Name: name}, Scripts: scripts})
		}
	}
	for file := range files {
		out = append(out, Need{Part: tree.Part{Kind: tree.ScriptPart, Name: file}})
	}
	return out
}

func compareParts(a, b tree.Part) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
		cmp.Compare(a.Payload, b.Payload), cmp.Compare(a.Format, b.Format))
}
