package report

import (
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Proposal is what the merge of a pull request would do, or why that is not known.
type Proposal struct {
	Number   int              `json:"number,omitempty"` // 0: none, but a commit of a merge queue
	Title    string           `json:"title,omitempty"`
	Author   string           `json:"author,omitempty"`  // login
	Address  string           `json:"address,omitempty"` // of its page at the forge
	Head     string           `json:"head"`              // commit that is proposed
	Base     string           `json:"base"`              // commit that it would be merged into
	Commit   string           `json:"commit,omitempty"`  // of the merge result
	State    string           `json:"state"`             // of its check: pending, success or failure
	Says     string           `json:"says"`              // its check, in one line
	Planned  time.Time        `json:"planned"`
	Pomona   string           `json:"pomona"`
	Closed   bool             `json:"closed"`
	Holds    []observed.Hold  `json:"holds,omitempty"`    // in force
	Problems []Located        `json:"problems,omitempty"` // also warnings
	Left     int              `json:"left,omitempty"`     // how many more problems there are
	Plan     *plan.View       `json:"plan"`               // nil: there is none
	Preview  *ProposedPreview `json:"preview"`            // nil: none is made
}

// ProposedPreview is where the tree of a merge result is served, or why it is not.
type ProposedPreview struct {
	Number  int       `json:"number"`
	URL     string    `json:"url,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	None    string    `json:"none,omitempty"` // why there is none
}

// Proposals are the pull requests of which something is known, the last that was planned first.
type Proposals struct {
	Forge     bool       `json:"forge"`     // pull requests are looked at
	Proposals []Proposal `json:"proposals"` // without plans and problems
}
