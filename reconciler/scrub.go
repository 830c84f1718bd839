package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/time/rate"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/render"
	"github.com/pomona-gitops/pomona/reconciler/repair"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Depth says how closely a pass looks at what is published already.
type Depth struct {
	names         bool // every name and mode, and every small rendered file
	first, number byte // the shelves whose archives are read: those of digests that begin with so many bytes from first on
	all           bool // every archive is read
}

// Depths. A pass of a running service trusts what it has written; a single one looks at every name.
var (
	Trusting = Depth{}
	Names    = Depth{names: true}
	Digests  = Depth{names: true, all: true} // and reads every archive
)

// Shelves is Names, and reads the archives of a number of the 256 shelves: what is left to read does not keep a commit
// waiting for long.
func Shelves(first, number byte) Depth { return Depth{names: true, first: first, number: number} }

func (d Depth) reads(archive artifact.Digest) bool { return d.all || archive[0]-d.first < d.number }

// digestRate is how many bytes of archives a second a running service reads to check them, beside serving FECs.
const digestRate = 64 << 20

// rounds is how often a root is looked at anew after its modes were put right: each may open one more level of folders.
const rounds = 8

func (r *Reconciler) scrub(depth Depth) observe.Scrub {
	s := observe.Scrub{Reads: depth.reads, Rate: rate.NewLimiter(digestRate, 1<<20)}
	for _, k := range r.signers() {
		s.Keys = append(s.Keys, k.Public())
	}
	return s
}

// mend puts the root right before a pass changes it: what an interrupted pass left, and what somebody damaged. What it
// cannot restore in place comes back as damaged, for the plan to replace.
func (r *Reconciler) mend(ctx context.Context, dir *durable.Dir, objects *store.Store, depth Depth) (observed.Root, []observed.Damage, error) {
	have, err := observe.Root(dir.Root())
	if err != nil {
		return have, nil, err
	}
	if have.Interrupted {
		// A folder that a dead pass left may not have reached the disk.
		if err := dir.SyncFileSystem(); err != nil {
			return have, nil, fmt.Errorf("sync what an interrupted pass left: %w", err)
		}
		depth.names = true
	}
	if !depth.names {
		return have, nil, nil
	}
	defer r.stage("repair")()
	m := mender{Reconciler: r, dir: dir, objects: objects, have: have}
	err = m.mend(ctx, depth)
	if err == nil && len(m.found) > 0 && !have.Interrupted {
		err = dir.Remove(durable.Unfinished)
	}
	return m.have, m.found, err
}

type mender struct {
	*Reconciler
	dir     *durable.Dir
	objects *store.Store
	have    observed.Root
	found   []observed.Damage
	stuck   []string // paths that cannot be taken away
}

func (m *mender) mend(ctx context.Context, depth Depth) error {
	for range rounds {
		damage, err := observe.Damage(ctx, m.dir.Root(), m.have, m.scrub(depth))
		damage = slices.DeleteFunc(damage, func(d observed.Damage) bool { return d.Kind == observed.Foreign && slices.Contains(m.stuck, d.Path) })
		if err != nil || len(damage) == 0 {
			return err
		}
		if err := m.unfinished(m.dir)(); err != nil {
			return err
		}
		fix := plan.RepairOf(damage)
		m.note(fix)
		if !fix.Again() {
			return m.restore(ctx, fix)
		}
		stuck, err := repair.Names(m.dir, fix)
		if err != nil {
			return err
		}
		m.leave(stuck)
		if m.have, err = observe.Root(m.dir.Root()); err != nil {
			return err
		}
	}
	return fmt.Errorf("repair root: still damaged after %d rounds: somebody else changes it", rounds)
}

// note remembers what was found. What follows from it is noted when there is nothing else left, else it would come twice.
func (m *mender) note(fix plan.Repair) {
	for _, d := range fix.Damage {
		first := d.Kind == observed.WrongMode || d.Kind == observed.Foreign || d.Kind == observed.Edited
		if first == fix.Again() {
			m.found = append(m.found, d)
			m.Log.Info("found damage", "path", d.Path, "what", d.What)
		}
	}
}

// leave notes what cannot be taken away. What is in nobody's way must not end every pass; an object would be found again.
func (m *mender) leave(stuck []string) {
	m.stuck = append(m.stuck, stuck...)
	for i, d := range m.found {
		if slices.Contains(stuck, d.Path) {
			m.found[i].What += ", and this user may not take it away"
			m.Log.Warn("cannot take away", "path", d.Path)
		}
	}
}

// restore makes again what is gone. A generation that cannot be restored is marked.
func (m *mender) restore(ctx context.Context, fix plan.Repair) (err error) {
	if err := m.link(fix); err != nil {
		return err
	}
	if m.have, err = observe.Root(m.dir.Root()); err != nil {
		return err
	}
	for n, why := range fix.Withdraw {
		m.damaged(n, why)
	}
	if fix.Distrust[m.have.Current] {
		m.have.Index = tree.Index{}
	}
	for _, n := range fix.Restore {
		err := m.restoreObjects(ctx, n)
		var unavailable *remote.Unavailable
		switch {
		case observe.IsFault(err):
			return err
		case errors.As(err, &unavailable):
			m.Log.Warn("objects not restored yet", "generation", n, "err", err)
		case err != nil:
			m.damaged(n, "misses objects, and cannot be restored: "+err.Error())
		}
	}
	for _, n := range fix.Previews {
		if observe.PreviewMisses(m.dir.Root(), n) {
			if err := prune.Preview(m.dir, n); err != nil {
				return err
			}
		}
	}
	m.have.Gone = map[artifact.Digest]bool{}
	for _, f := range m.have.Index.FECs {
		m.have.Gone[f.Folder] = !m.objects.Has(f.Folder)
	}
	for _, f := range m.have.Index.Folders {
		if !f.Content.IsZero() {
			m.have.Gone[f.Folder] = !m.objects.Has(f.Folder)
		}
	}
	return nil
}

func (m *mender) damaged(n int64, why string) {
	if m.have.Damaged == nil {
		m.have.Damaged = map[int64]string{}
	}
	m.have.Damaged[n] = why
	m.Log.Warn("generation is damaged", "generation", n, "why", why)
}

// link makes current and by-commit lead to their generations.
func (m *mender) link(fix plan.Repair) error {
	if fix.Current > 0 {
		if err := m.dir.Relink(tree.GenerationPath(fix.Current), tree.CurrentLink); err != nil {
			return fmt.Errorf("repair %s: %w", tree.CurrentLink, err)
		}
	}
	for _, g := range m.have.Generations {
		if slices.Contains(fix.Link, g.Number) {
			if err := publish.Commit(m.dir, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// restoreObjects builds and renders a generation again from its commit, with the serials, expiries and givens that it was
// published with: the same bytes, and so the same objects. Nothing is written if they would differ.
func (m *mender) restoreObjects(ctx context.Context, n int64) error {
	i := slices.IndexFunc(m.have.Generations, func(g observed.Generation) bool { return g.Number == n })
	g := m.have.Generations[i]
	x, err := observe.Index(m.dir.Root(), n)
	if err != nil {
		return err
	}
	w, err := m.read(ctx, g.Commit)
	if err != nil {
		return err
	}
	w.expired = g.Givens.Expired
	if err := m.keep(ctx, &w, g.Givens.Held, nil); err != nil {
		return err
	}
	parts, err := m.build(ctx, w, m.have, m.objects, func() error { return nil })
	if err != nil {
		return err
	}
	t, err := w.layOut(parts)
	if err != nil {
		return err
	}
	sealed, err := publish.Seal(t, &plan.Publish{Generation: g, Seals: plan.SealsOf(x), Kept: plan.KeptOf(x, m.objects.Has)}, m.signers(), m.pilotSigner(m.objects))
	if err != nil {
		return err
	}
	if !bytes.Equal(sealed.Index, x.Marshal()) {
		return errors.New("with this version of Pomona and these keys its commit renders otherwise")
	}
	return render.Objects(ctx, m.dir, sealed)
}
