package plan

import (
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Pins are the releases that FECs said last that they run, and that are kept for them although no generation may hold them
// any more: one for each FEC of the tree. A report counts only if that serial was published to that FEC; indexes are those
// of the generations that are still there.
func Pins(have observed.Root, indexes []tree.Index, t tree.Tree) map[string]observed.Pin {
	wanted := map[string]bool{}
	for _, f := range t.Folders {
		if f.Manifest != nil {
			wanted[f.Manifest.FEC] = true
		}
	}
	pins := maps.Clone(have.Pins)
	maps.DeleteFunc(pins, func(fec string, _ observed.Pin) bool { return !wanted[fec] })
	if pins == nil {
		pins = map[string]observed.Pin{}
	}
	newest := map[string]int{} // among the reports of a FEC: whoever lies about a serial hides none that was published
	for _, x := range indexes {
		for _, f := range x.FECs {
			i := slices.Index(have.Reported[f.Name], f.Serial) + 1
			if wanted[f.Name] && i > newest[f.Name] {
				newest[f.Name], pins[f.Name] = i, observed.Pin{Serial: f.Serial, Folder: f.Folder}
			}
		}
	}
	return pins
}
