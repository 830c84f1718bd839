package plan

import (
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Effort is what it takes to have a running FEC run what is published for it.
type Effort struct {
	What     string   // desired.Nothing, desired.Restart or desired.Reboot
	Software []string // to restart, if that is enough; sorted
	Why      []string // what changes, in a few words each
	Previous bool     // the site wants the release before where this one does not run: onFail
}

// RestartOf is what a FEC needs that runs one manifest to run another, as a plan has said before the merge. Nil stands for a
// manifest that is not known any more.
func RestartOf(s desired.Site, was *tree.Manifest, now tree.Manifest) Effort {
	if was == nil {
		return Effort{What: desired.Reboot, Why: []string{"nobody knows what it runs"}}
	}
	f := changed(s, *was, now)
	return Effort{What: f.Needs, Software: f.Restart, Why: f.Why(), Previous: slices.ContainsFunc(f.Software, func(i Item) bool {
		return s.Software[i.Name].OnFail == desired.OnFailPrevious
	})}
}
