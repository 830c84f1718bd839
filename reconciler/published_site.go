package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PublishedSite remembers the site that was read or published last, until something else is published: whoever works beside passes asks
// for it all the time, and a pass waits for the loader while it is read. It is safe for concurrent use.
type PublishedSite struct {
	reading sync.Mutex // held while it is read
	mu      sync.Mutex
	link    string // to the generation
	is      servedSite
	looking sync.Mutex                    // held while one of these is read
	seen    [2]seenCommit                 // what was looked at last of what commits state, the newest first: held FECs stay as one says, others are as another one
	why     map[string]report.Explanation // of what is published, by FEC
	alike   *alikeFECs                    // of what is published; nil: nobody has asked yet
	indexes observe.Indexes

	counts   recalled[map[string]map[string]int] // of FECs by software and version
	versions recalled[map[string]string]         // of one software, by FEC
}

// recalled is the last answer about serials of FECs: what was published with a serial never changes.
type recalled[T any] struct {
	mu      sync.Mutex
	about   string
	serials map[string]int64 // by FEC
	answer  T
}

// of is what was answered if the same is asked again; else somebody is asked.
func (r *recalled[T]) of(about string, serials map[string]int64, ask func() (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.serials != nil && r.about == about && maps.Equal(r.serials, serials) {
		return r.answer, nil
	}
	answer, err := ask()
	if err == nil {
		r.about, r.serials, r.answer = about, serials, answer
	}
	return answer, err
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
	p, err := r.publishedBy(ctx, root)
	return p.site, p.generation, err
}

// servedSite is what a generation publishes.
type servedSite struct {
	site       desired.Site
	commit     wanted // that says so
	generation observed.Generation
}

// errNoRepository says that a root alone does not tell what is asked.
var errNoRepository = errors.New("the site's repository is needed: give its folder")

// publishedBy is the site as it is published now, with the commit that says it.
func (r *Reconciler) publishedBy(ctx context.Context, root *os.Root) (servedSite, error) {
	p := r.Served
	if p == nil {
		p = &PublishedSite{}
	}
	if s, ok := p.known(root); ok {
		return s, nil
	}
	p.reading.Lock()
	defer p.reading.Unlock()
	if s, ok := p.known(root); ok { // somebody else has read it meanwhile
		return s, nil
	}
	s, err := r.readPublished(ctx, root)
	if err == nil && s.generation.Commit != "" {
		p.remember(s)
	}
	return s, err
}

// known is what is remembered, if that is what is published.
func (p *PublishedSite) known(root *os.Root) (servedSite, bool) {
	link, err := root.Readlink(tree.CurrentLink)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.is, err == nil && link == p.link
}

func (p *PublishedSite) remember(s servedSite) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link, p.is, p.why, p.alike = tree.GenerationPath(s.generation.Number), s, nil, nil
}

// root is what is there. Nobody may change its index.
func (p *PublishedSite) root(root *os.Root) (observed.Root, error) {
	if p == nil {
		return observe.Root(root)
	}
	return p.indexes.Root(root)
}

// seenCommit is what a commit states, or the problems that it has.
type seenCommit struct {
	id  string
	is  wanted
	bad desired.Problems
}

// seen is what a commit states, for those who look: it is remembered until they look at others, and read once however many ask. Nobody may change it.
func (r *Reconciler) seen(ctx context.Context, rev string) (wanted, error) {
	c, err := r.Repo.Resolve(rev)
	if err != nil || r.Served == nil {
		return r.load(ctx, rev)
	}
	p := r.Served
	p.looking.Lock()
	defer p.looking.Unlock()
	for _, s := range p.seen {
		if s.id == c.ID && s.bad != nil {
			return s.is, s.bad
		}
		if s.id == c.ID {
			return s.is, nil
		}
	}
	w, err := r.load(ctx, c.ID)
	var bad desired.Problems
	if err == nil || errors.As(err, &bad) {
		p.seen = [2]seenCommit{{c.ID, w, bad}, p.seen[0]}
	}
	return w, err
}

func (r *Reconciler) readPublished(ctx context.Context, root *os.Root) (servedSite, error) {
	g, err := observe.Current(root)
	if err != nil || g.Commit == "" {
		return servedSite{}, err
	}
	if r.Repo == nil || r.Loader == nil {
		return servedSite{generation: g}, errNoRepository
	}
	w, err := r.load(ctx, g.Commit)
	if err == nil {
		w.place(g.Givens.Pilots)
		err = r.keep(ctx, &w, g.Givens.Held, nil)
	}
	if err != nil {
		return servedSite{generation: g}, fmt.Errorf("read commit %.12s, which is published: %w", g.Commit, err)
	}
	return servedSite{w.theServed(), w, g}, nil
}
