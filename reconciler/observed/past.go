package observed

import "github.com/pomona-gitops/pomona/reconciler/tree"

// Past is one generation with what it holds.
type Past struct {
	Generation
	Index tree.Index
}
