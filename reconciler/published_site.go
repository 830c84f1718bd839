package reconciler

import (
	"context"
	"fmt"
	"os"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// PublishedSite is the site as it is published now, held FECs as they stay, and the generation that says so; of a root that has
// published nothing, the generation has no number. It may be asked for while passes run, and reads the repository.
func (r *Reconciler) PublishedSite(ctx context.Context) (desired.Site, observed.Generation, error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return desired.Site{}, observed.Generation{}, err
	}
	defer root.Close() // only read
	g, err := observe.Current(root)
	if err != nil || g.Commit == "" {
		return desired.Site{}, observed.Generation{}, err
	}
	w, err := r.load(ctx, g.Commit)
	if err == nil {
		err = r.keep(ctx, &w, g.Givens.Held, nil)
	}
	if err != nil {
		return desired.Site{}, g, fmt.Errorf("read commit %.12s, which is published: %w", g.Commit, err)
	}
	return w.theServed(), g, nil
}
