package report

import (
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// PassesOnPage are as many as a page of a timeline has.
const PassesOnPage = 50

// Passes are a page of the timeline of passes, newest first. A pass that says the same as the one before it only counts there.
type Passes struct {
	Outcome string          `json:"outcome,omitempty"` // only those that ended so
	Page    int             `json:"page"`              // from 1
	Of      int             `json:"of"`                // as many there are on all pages
	Passes  []observed.Pass `json:"passes"`
	Trouble string          `json:"trouble,omitempty"` // why something is not known
}

// Pass is one pass.
type Pass struct {
	observed.Pass
	Author  string         `json:"author,omitempty"` // of the wanted commit, when it is at hand
	Subject string         `json:"subject,omitempty"`
	Blocked []plan.Blocked `json:"blocked"` // by holds
	Told    *PassTold      `json:"told"`    // nil: it is not kept, or not yet
}

// PassTold is what a pass had in mind and found. It is kept of passes that are news.
type PassTold struct {
	Commit   string            `json:"commit"` // that was read: another one than the branch named while the site was held
	Holds    []observed.Hold   `json:"holds,omitempty"`
	Problems []Located         `json:"problems,omitempty"` // also warnings
	Repaired []observed.Damage `json:"repaired,omitempty"`
	Plan     *plan.View        `json:"plan"` // nil: there was none
	Built    int               `json:"built,omitempty"`
	Swept    int               `json:"swept,omitempty"` // objects
	Freed    int64             `json:"freed,omitempty"` // bytes
	Left     int               `json:"left,omitempty"`  // how many more problems, holds and repairs there were
}
