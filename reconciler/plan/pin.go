package plan

import (
	"maps"

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
	for _, x := range indexes {
		for _, f := range x.FECs {
			if serial, ok := have.Reported[f.Name]; ok && serial == f.Serial && wanted[f.Name] {
				pins[f.Name] = observed.Pin{Serial: serial, Folder: f.Folder}
			}
		}
	}
	return pins
}
