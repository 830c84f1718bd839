package reconciler

import (
	"context"
	"os"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// recordPublished enters what the current generation publishes, unless that is known. Whatever could not be entered by the
// pass that published it, or was lost with a ledger, is entered here by a later one: also what the generations before it
// published, as far as they are there.
func (r *Reconciler) recordPublished(ctx context.Context, root *os.Root) {
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		if g, err := observe.Current(root); err != nil || g.Number == r.Records.entered {
			return nil // a generation that is damaged is published anew
		}
		now, err := observe.Now(root)
		if err != nil {
			return nil
		}
		p := publishing{ctx: ctx, root: root, ledger: l}
		if p.serials, err = l.Serials(ctx); err != nil {
			return err
		}
		if r.Records.entered == 0 && !p.has(now) {
			if err := p.before(now); err != nil {
				return err
			}
		}
		if err := p.enter(now, p.changed(now), p.gone(now)); err != nil {
			return err
		}
		if p.has(now) {
			r.Records.entered = now.Number
		}
		return nil
	})
}

// publishing enters what generations publish.
type publishing struct {
	ctx     context.Context
	root    *os.Root
	ledger  *ledger.Ledger
	serials map[string]int64 // as they are entered, by FEC
}

// has says whether the ledger has all that a generation publishes to FECs.
func (p *publishing) has(g observed.Past) bool {
	return len(p.changed(g)) == 0 && len(p.gone(g)) == 0
}

// changed are the FECs to which a generation publishes something else.
func (p *publishing) changed(g observed.Past) (fecs []string) {
	for _, f := range g.Index.FECs {
		if p.serials[f.Name] != f.Serial {
			fecs = append(fecs, f.Name)
		}
	}
	return fecs
}

// gone are the FECs that a generation has no more.
func (p *publishing) gone(g observed.Past) (fecs []string) {
	there := map[string]bool{}
	for _, f := range g.Index.FECs {
		there[f.Name] = true
	}
	for fec := range p.serials {
		if !there[fec] {
			fecs = append(fecs, fec)
		}
	}
	return fecs
}

// before enters the generations before one, the oldest first. Of a FEC only what is newer than its last counts.
func (p *publishing) before(now observed.Past) error {
	past, _, err := observe.Past(p.root)
	if err != nil {
		return nil // a damaged one: then they stay unknown
	}
	for _, g := range slices.Backward(past) {
		if g.Number >= now.Number {
			continue
		}
		var newer []string
		for _, f := range g.Index.FECs {
			if p.serials[f.Name] < f.Serial {
				newer = append(newer, f.Name)
			}
		}
		if err := p.enter(g, newer, nil); err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many FECs are entered in one transaction.
const atOnce = 1000

// enter enters what a generation publishes: FECs of it, and those that are gone.
func (p *publishing) enter(g observed.Past, fecs, gone []string) error {
	for some := range slices.Chunk(fecs, atOnce) {
		var published []ledger.PublishedFEC
		for _, fec := range some {
			if f, err := observe.PublishedFEC(p.root, g.Generation, fec); err == nil { // else it is damaged, and published anew
				published = append(published, f)
			}
		}
		if err := p.ledger.Publish(p.ctx, published, nil); err != nil {
			return err
		}
		for _, f := range published {
			p.serials[f.FEC] = f.Serial
		}
	}
	if len(gone) > 0 {
		if err := p.ledger.Publish(p.ctx, nil, gone); err != nil {
			return err
		}
	}
	for _, fec := range gone {
		delete(p.serials, fec)
	}
	releases, err := observe.PublishedReleases(p.root, g)
	if err != nil {
		return nil // likewise
	}
	return p.ledger.PublishReleases(p.ctx, releases)
}
