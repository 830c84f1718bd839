package observed

import (
	"time"

	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Proposed says of which pull request a tree is a preview.
type Proposed struct {
	Number  int       `json:"number"`
	Head    string    `json:"head"` // commit that is proposed, 40 hex digits
	Expires time.Time `json:"expires"`
}

// Preview is the tree of an open pull request as it is served. Its generation's commit is what a merge would give.
type Preview struct {
	Proposed
	Generation Generation // numbered from 1 for each pull request
	Index      tree.Index
}
