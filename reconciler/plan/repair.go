package plan

import (
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Repair says what to do about the damage of a root.
type Repair struct {
	Damage   []observed.Damage      `json:"damage"`
	Modes    map[string]fs.FileMode `json:"-"` // modes to set, by path
	Remove   []string               `json:"-"` // what does not belong there, and objects that are not what they should be
	Restore  []int64                `json:"-"` // generations that miss objects, newest first
	Previews []int                  `json:"-"` // that go unless what they miss is restored with generations
	Current  int64                  `json:"-"` // generation to which current must lead again; 0: it leads somewhere
	Link     []int64                `json:"-"` // generations to which by-commit must lead
	Withdraw map[int64]string       `json:"-"` // generations that cannot be mended in place, and why
	Distrust map[int64]bool         `json:"-"` // those of them whose index says something else
}

// RepairOf decides what to do about damage. What is published stays published; nothing inside a generation is rewritten: an
// altered one is withdrawn, and if it was the current one, published anew.
func RepairOf(damage []observed.Damage) Repair {
	r := Repair{Damage: damage, Modes: map[string]fs.FileMode{}, Withdraw: map[int64]string{}, Distrust: map[int64]bool{}}
	for _, d := range damage {
		switch d.Kind {
		case observed.WrongMode:
			r.Modes[d.Path] = d.Mode
		case observed.Foreign, observed.Edited:
			r.Remove = append(r.Remove, d.Path)
		case observed.Gone:
			if d.Preview > 0 {
				r.Previews = append(r.Previews, d.Preview)
				continue
			}
			r.Restore = append(r.Restore, d.Generation)
		case observed.Altered:
			if r.Withdraw[d.Generation] == "" {
				r.Withdraw[d.Generation] = d.Path + " " + d.What
			}
			r.Distrust[d.Generation] = r.Distrust[d.Generation] || path.Base(d.Path) == tree.IndexFile
		case observed.Unlinked:
			if d.Path == tree.CurrentLink {
				r.Current = d.Generation
			} else {
				r.Link = append(r.Link, d.Generation)
			}
		}
	}
	altered := func(n int64) bool { return r.Withdraw[n] != "" }
	r.Restore = slices.DeleteFunc(r.Restore, altered)
	r.Link = slices.DeleteFunc(r.Link, altered) // nobody knows its commit
	slices.Sort(r.Restore)
	slices.Reverse(r.Restore)
	return r
}

// Paths are the paths whose modes change, folders before what is in them.
func (r Repair) Paths() []string { return slices.Sorted(maps.Keys(r.Modes)) }

// Empty says whether nothing is damaged.
func (r Repair) Empty() bool { return len(r.Damage) == 0 }

// Again says whether another look is needed once this is done: what could not be looked into before, or was removed.
func (r Repair) Again() bool { return len(r.Modes)+len(r.Remove) > 0 }
