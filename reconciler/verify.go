package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Find looks for what serves a commit: observe.ServedByRoot or observe.ServedByURL.
type Find func(ctx context.Context, commit string) (*observe.Served, error)

// Verify renders the commit that Branch names once more, with the givens that its generation states, and names every
// path of what is served that differs. It needs no Root, takes nothing from what is served, and writes nothing. Without
// keys it checks no signature.
func (r *Reconciler) Verify(ctx context.Context, find Find, keys []tree.PublicKey) (report.Verification, error) {
	commit, err := r.Repo.Resolve(r.Branch)
	if err != nil {
		return report.Verification{}, err
	}
	v := report.Verification{Commit: commit.ID, Notes: []string{}, Differences: observed.Differences{}}
	served, err := find(ctx, commit.ID)
	var none observe.NotServed
	if errors.As(err, &none) {
		v.Differences = append(v.Differences, observed.Difference{Path: tree.CommitsFolder + "/" + commit.ID, What: "missing", Got: none.Error()})
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("find commit %s: %w", commit.ID, err)
	}
	expected, err := r.again(ctx, commit.ID, served.Generation)
	if err != nil {
		return v, fmt.Errorf("render commit %s: %w", commit.ID, err)
	}
	expected.Keys = keys
	if v.Differences, err = served.Compare(ctx, expected); err != nil {
		return v, err
	}
	v.Generation, v.Tree, v.Same = served.Index.Generation, expected.Tree.Digest(), len(v.Differences) == 0
	v.Folders, v.Objects = len(expected.Tree.Folders), len(expected.Sizes)
	v.Notes = append(append(v.Notes, served.Notes...), r.caveats(served.Generation, v.Same, keys)...)
	return v, nil
}

// again renders a commit as the pass did that published g: with its givens, judged at its time.
func (r *Reconciler) again(ctx context.Context, commit string, g observed.Generation) (observe.Expected, error) {
	then := *r
	then.Branch = commit
	if !g.Published.IsZero() {
		then.Now = func() time.Time { return g.Published }
	}
	w, err := then.read(ctx, then.Branch)
	if err != nil {
		return observe.Expected{}, err
	}
	w.place(g.Givens.Pilots)
	w.expired = g.Givens.Expired
	if err := then.keep(ctx, &w, g.Givens.Held, nil); err != nil {
		return observe.Expected{}, err
	}
	p, err := then.build(ctx, w, observed.Root{}, store.Measure{}, func() error { return nil })
	if err != nil {
		return observe.Expected{}, err
	}
	t, err := w.layOut(p)
	if err != nil {
		return observe.Expected{}, err
	}
	sizes := map[artifact.Digest]int64{}
	for _, a := range p.known {
		maps.Copy(sizes, a.Sizes())
	}
	return observe.Expected{Commit: w.commit.ID, GitTree: w.commit.Tree, Tree: t, Sizes: sizes}, nil
}

// caveats are what a reader of the result should know besides.
func (r *Reconciler) caveats(g observed.Generation, same bool, keys []tree.PublicKey) (notes []string) {
	if len(keys) == 0 {
		notes = append(notes, "signatures were not checked: give --public-key")
	}
	if !same && g.Pomona != "" && g.Pomona != r.Version {
		notes = append(notes, fmt.Sprintf("Pomona %s rendered it and this is %s: perhaps the versions differ, not the commit", g.Pomona, r.Version))
	}
	return notes
}
