package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Compare is what the branch changes in another revision of the same repository, with the givens of today on both sides. It
// needs no root and writes nothing.
func (r *Reconciler) Compare(ctx context.Context, base string) (report.Report, error) {
	was, err := r.read(ctx, base)
	if problems := (desired.Problems)(nil); errors.As(err, &problems) {
		return report.Report{}, fmt.Errorf("base %s is not valid:\n%w", base, err)
	}
	if err != nil {
		return report.Report{}, fmt.Errorf("base %s: %w", base, err)
	}
	want, err := r.read(ctx, r.Branch)
	rep := report.Report{Commit: want.commit.ID, Warnings: want.warnings}
	if err != nil {
		return rep, err
	}
	if follows, err := r.Repo.Reaches(want.commit.ID, was.commit.ID); err == nil && follows {
		if err := r.rewritten(ctx, was.site, was.commit.ID, want); err != nil {
			return rep, err
		}
	}
	was.expired, want.expired = plan.Expired(was.site, r.Now()), plan.Expired(want.site, r.Now())
	pilots, by := r.comparePilots(ctx, &was, &want)
	before, after, err := r.measure(ctx, was, want)
	if err != nil {
		return rep, err
	}
	if after.Messages, err = r.Repo.Messages(want.commit.ID, was.commit.ID); err != nil {
		return rep, err
	}
	rep.Built = len(after.Builds)
	rep.Plan = plan.Compare(after.Want, before.Want)
	rep.Plan.Pilots, rep.Plan.PilotsFrom = pilots, by
	return rep, nil
}

// measure lays out the trees of two commits. Only what one of them has alone is built, and what FECs will download, for its
// size; for anything else its build key stands.
func (r *Reconciler) measure(ctx context.Context, was, want wanted) (before, after laidOut, err error) {
	known, err := standIns(was, want)
	if err != nil {
		return before, after, err
	}
	if before, after, err = r.layOutBoth(ctx, was, want, known); err != nil {
		return before, after, err
	}
	unmeasured := plan.Unmeasured(after.Want, before.Want)
	if len(unmeasured) == 0 {
		return before, after, nil
	}
	maps.Copy(known, before.known)
	maps.Copy(known, after.known)
	measured, err := r.layOut(ctx, want, known.Without(unmeasured))
	if err != nil {
		return before, after, err
	}
	for key := range unmeasured {
		a := known[key]
		a.Size = measured.known[key].Size
		known[key] = a
	}
	builds := after.Builds
	before, after, err = r.layOutBoth(ctx, was, want, known)
	after.Builds = builds
	return before, after, err
}

func (r *Reconciler) layOutBoth(ctx context.Context, was, want wanted, known store.Known) (before, after laidOut, err error) {
	if before, err = r.layOut(ctx, was, known); err != nil {
		return before, after, fmt.Errorf("base commit %s: %w", was.commit.ID, err)
	}
	after, err = r.layOut(ctx, want, known)
	return before, after, err
}

// standIns are artifacts that both commits have, by key. Equal keys give equal bytes, so that the key does for a digest.
func standIns(was, want wanted) (store.Known, error) {
	inBase := map[artifact.Digest]bool{}
	for _, need := range plan.Needs(was.site, was.releases) {
		rc, err := newRecipe(was, need)
		if err != nil {
			return nil, err
		}
		inBase[rc.key] = true
	}
	known := store.Known{}
	for _, need := range plan.Needs(want.site, want.releases) {
		rc, err := newRecipe(want, need)
		if err != nil {
			return nil, err
		}
		if inBase[rc.key] {
			known[rc.key] = artifact.Artifact{Digest: rc.key, Format: need.Part.Format}
		}
	}
	return known, nil
}

// laidOut is a commit's tree, and what its parts were made from.
type laidOut struct {
	plan.Want
	known store.Known
}

// layOut lays out a commit's tree. What is not known is built, only to measure it.
func (r *Reconciler) layOut(ctx context.Context, w wanted, known store.Known) (laidOut, error) {
	parts, err := r.build(ctx, w, observed.Root{Known: known}, store.Measure{}, func() error { return nil })
	if err != nil {
		return laidOut{}, err
	}
	t, err := w.layOut(parts)
	return laidOut{plan.Want{Commit: w.commit.ID, Tree: t, Site: w.site, Builds: parts.built}, parts.known}, err
}

// swept is what the sweep of a plan will remove, as far as that can be known before it: beside what the generations reach
// that stay, what the new one will reach.
func (r *Reconciler) swept(have observed.Root, p plan.Plan) (plan.Swept, error) {
	dir, err := durable.Open(r.Root, nil)
	if err != nil {
		return plan.Swept{}, err
	}
	defer dir.Close() // only read
	all, err := observe.Objects(dir.Root(), store.New(dir))
	if err != nil {
		return plan.Swept{}, err
	}
	reachable, err := observe.Reachable(dir.Root(), staying(have, p), r.pins(dir.Root(), have, p.Tree))
	if err != nil {
		return plan.Swept{}, err
	}
	markTree(p, reachable)
	var s plan.Swept
	gone, _ := plan.Sweep(all, reachable, p.Prune.Grace, r.Now())
	for _, o := range gone {
		s.Objects++
		s.Bytes += o.Size
	}
	return s, nil
}

// absent are the builds whose artifact a root does not hold. Whoever may not read what it remembers tells by that.
func absent(root *os.Root, builds []plan.Build) []plan.Build {
	return slices.DeleteFunc(builds, func(b plan.Build) bool {
		_, err := root.Lstat(store.Path(b.Digest))
		return err == nil
	})
}

// staying are the generations that are there and will be kept.
func staying(have observed.Root, p plan.Plan) []int64 {
	there := map[int64]bool{}
	for _, g := range have.Generations {
		there[g.Number] = true
	}
	return slices.DeleteFunc(p.Prune.Kept(), func(n int64) bool { return !there[n] })
}

func markTree(p plan.Plan, reachable map[artifact.Digest]bool) {
	if p.Publish == nil {
		return
	}
	for _, f := range p.Tree.Folders {
		for _, n := range f.Nodes {
			reachable[n.Object] = true
		}
		if f.Manifest == nil {
			reachable[f.Content()] = true
			continue
		}
		reachable[p.Publish.Seals[f.Manifest.FEC].Folder] = true
		for _, o := range f.Manifest.Objects() {
			reachable[o.Digest] = true
		}
	}
}

// pins are the releases that FECs said that they run.
func (r *Reconciler) pins(root *os.Root, have observed.Root, t tree.Tree) map[string]observed.Pin {
	var indexes []tree.Index
	for _, g := range have.Generations {
		if x, err := observe.Index(root, g.Number); err == nil { // a damaged one pins nothing
			indexes = append(indexes, x)
		}
	}
	return plan.Pins(have, indexes, t)
}
