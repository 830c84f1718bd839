package reconciler

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PublishedSite remembers the site that was read or published last, until something else is published: whoever works beside passes asks
// for it all the time, and a pass waits for the loader while it is read. It is safe for concurrent use.
type PublishedSite struct {
	reading    sync.Mutex // held while it is read
	mu         sync.Mutex
	link       string // to the generation
	site       desired.Site
	generation observed.Generation
}

// PublishedSite is the site as it is published now, held FECs as they stay, and the generation that says so; of a root that has
// published nothing, the generation has no number. It may be asked for while passes run, and reads the repository. What it
// returns is others' too: nobody may change it.
func (r *Reconciler) PublishedSite(ctx context.Context) (desired.Site, observed.Generation, error) {
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return desired.Site{}, observed.Generation{}, err
	}
	defer root.Close() // only read
	p := r.Served
	if p == nil {
		p = &PublishedSite{}
	}
	if site, g, ok := p.known(root); ok {
		return site, g, nil
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	if site, g, ok := p.known(root); ok { // somebody else has read it meanwhile
		return site, g, nil
	}
	site, g, err := r.readPublished(ctx, root)
	if err == nil && g.Commit != "" {
		p.remember(site, g)
	}
	return site, g, err
}

// known is what is remembered, if that is what is published.
func (p *PublishedSite) known(root *os.Root) (desired.Site, observed.Generation, bool) {
	link, err := root.Readlink(tree.CurrentLink)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.site, p.generation, err == nil && link == p.link
}

func (p *PublishedSite) remember(site desired.Site, g observed.Generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link, p.site, p.generation = tree.GenerationPath(g.Number), site, g
}

func (r *Reconciler) readPublished(ctx context.Context, root *os.Root) (desired.Site, observed.Generation, error) {
	g, err := observe.Current(root)
	if err != nil || g.Commit == "" {
		return desired.Site{}, observed.Generation{}, err
	}
	w, err := r.load(ctx, g.Commit)
	if err == nil {
		w.place(g.Givens.Pilots)
		err = r.keep(ctx, &w, g.Givens.Held, nil)
	}
	if err != nil {
		return desired.Site{}, g, fmt.Errorf("read commit %.12s, which is published: %w", g.Commit, err)
	}
	return w.theServed(), g, nil
}
