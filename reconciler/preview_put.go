package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/render"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// put builds, signs and serves a preview.
func (w *previewWriter) put(ctx context.Context, merge *Reconciler, of observed.Proposed) (observed.Preview, error) {
	now := w.Now()
	of.Expires = plan.PreviewExpiry(w.proposed(), of.Number, of.Head, w.Life, now)
	if w.Most == 0 {
		return observed.Preview{}, &NoPreview{"none are served"}
	}
	if !now.Before(of.Expires) {
		return observed.Preview{}, errors.Join(&NoPreview{"it has expired: nothing was pushed for " + w.Life.String()}, w.remove(ctx, of.Number))
	}
	others := append(w.unweighed([]int{of.Number}), plan.Weighed{Proposed: of})
	if slices.Contains(plan.Crowded(others, nil, w.Most, 0), of.Number) {
		w.record(ctx, ledger.Preview{Number: of.Number, Head: of.Head, Expires: of.Expires})
		return observed.Preview{}, errors.Join(w.noRoom(), w.remove(ctx, of.Number))
	}
	want, err := merge.want(ctx, merge.Branch)
	if err != nil {
		return observed.Preview{}, err
	}
	if last := w.last(of.Number); last != nil && w.serves(*last, want, merge.Version, of) {
		return *last, nil
	}
	put, err := w.render(ctx, merge, want, of)
	if errors.Is(err, errSwept) {
		err = w.whileNoPass(ctx, func() error {
			put, err = w.render(ctx, merge, want, of)
			return err
		})
	}
	return put, err
}

// proposed is what is known of heads: those that are served, and those that were.
func (w *previewWriter) proposed() (all []observed.Proposed) {
	for _, p := range w.have {
		all = append(all, p.Proposed)
	}
	for _, row := range w.rows {
		all = append(all, observed.Proposed{Number: row.Number, Head: row.Head, Expires: row.Expires})
	}
	return all
}

// serves says whether a preview is just what is wanted.
func (w *previewWriter) serves(last observed.Preview, want wanted, version string, of observed.Proposed) bool {
	g := last.Generation
	return g.Commit == want.commit.ID && g.Pomona == version && last.Proposed == of &&
		slices.Equal(g.Keys, []string{w.Key.ID.String()}) && slices.Equal(g.Givens.Expired, want.expired) &&
		reflect.DeepEqual(g.Givens.Pilots, want.pilots)
}

// clearing is how long a writer that is to end waits to remove what it has written. What is left goes with a sweep.
const clearing = time.Minute

// render writes a preview and serves it. Whatever it wrote for one that it does not serve goes again.
func (w *previewWriter) render(ctx context.Context, merge *Reconciler, want wanted, of observed.Proposed) (put observed.Preview, err error) {
	root, err := observe.Root(w.dir.Root())
	if err != nil {
		return put, err
	}
	if err := sameSite(want.site, root); err != nil {
		return put, err
	}
	sink := &noted{Store: w.objects, fresh: map[artifact.Digest]int64{}}
	parts, err := merge.build(ctx, want, observed.Root{Known: root.Known}, sink, w.begin)
	w.fresh = sink.fresh
	if err == nil {
		put, err = w.seal(ctx, merge, want, parts, of)
	}
	if err != nil { // what could not be served must not fill the disk: that would keep passes from publishing
		var done context.CancelFunc
		ctx, done = context.WithTimeout(context.WithoutCancel(ctx), clearing)
		defer done()
	}
	return put, errors.Join(err, w.collect(ctx))
}

// seal signs and stages a preview that is built, and gives it its place.
func (w *previewWriter) seal(ctx context.Context, merge *Reconciler, want wanted, parts parts, of observed.Proposed) (put observed.Preview, err error) {
	t, err := want.layOut(parts)
	if err != nil {
		return put, err
	}
	t = t.InChannel(tree.PreviewChannel(of.Number))
	last := w.last(of.Number)
	gone := map[artifact.Digest]bool{}
	if last != nil {
		for _, f := range last.Index.FECs {
			gone[f.Folder] = !w.objects.Has(f.Folder)
		}
	}
	pub := plan.Preview(plan.Want{
		Commit: want.commit.ID, GitTree: want.commit.Tree, Pomona: merge.Version, Tree: t, Keys: []string{w.Key.ID.String()},
		Givens: observed.Givens{Holds: []observed.Hold{}, Held: []observed.Held{}, Expired: want.expired, Pilots: want.pilots},
	}, last, gone, of, w.Now())
	sealed, err := publish.Seal(t, &pub, []tree.SecretKey{w.Key}, nil) // sites install no package from a preview
	if err != nil {
		return put, err
	}
	if err := w.begin(); err != nil {
		return put, err
	}
	for _, f := range sealed.Folders {
		if !w.objects.Has(f.Object) {
			w.fresh[f.Object] = 0
		}
	}
	staged, err := render.Tree(ctx, w.dir, sealed)
	if err != nil {
		return put, err
	}
	put = observed.Preview{Proposed: of, Generation: pub.Generation}
	if put.Index, err = tree.ParseIndex(sealed.Index); err == nil {
		err = w.place(ctx, staged, put, parts)
	}
	return put, errors.Join(err, w.dir.Remove(staged)) // there lies what it took the place of, if it did
}

// noted is a store that knows what was put into it that it did not have.
type noted struct {
	*store.Store
	mu    sync.Mutex
	fresh map[artifact.Digest]int64
}

// Put stores what write produces.
func (n *noted) Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	d, size, err := n.Store.Put(ctx, write)
	if err == nil {
		n.mu.Lock()
		n.fresh[d] = size
		n.mu.Unlock()
	}
	return d, size, err
}

// place makes room for a staged preview and serves it.
func (w *previewWriter) place(ctx context.Context, staged string, put observed.Preview, parts parts) error {
	objects, err := observe.Weigh(w.dir.Root(), put.Index)
	if errors.Is(err, fs.ErrNotExist) {
		return errSwept
	}
	if err != nil {
		return err
	}
	_ = w.readPublished() // most of it before passes have to wait, if none prunes just now
	all := append(w.weighed(put.Number), plan.Weighed{Proposed: put.Proposed, Objects: objects})
	err = w.whileNoPass(ctx, func() error {
		if err := w.readPublished(); err != nil {
			return err
		}
		for d := range objects {
			if !w.objects.Has(d) {
				return errSwept
			}
		}
		if w.dir.Exists(durable.Unfinished) { // what a pass that died has written may not be on the disk
			if err := w.dir.SyncFileSystem(); err != nil {
				return err
			}
		}
		return w.exchange(ctx, staged, put, parts, all)
	})
	if err != nil {
		return err
	}
	bytes := int64(0)
	for d, size := range objects {
		if !w.published[d] {
			bytes += size
		}
	}
	w.record(ctx, ledger.Preview{Number: put.Number, Head: put.Head, Tree: put.Generation.Tree.String(), Bytes: bytes, Expires: put.Expires})
	w.Log.Info("serving preview", "pull request", put.Number, "head", put.Head, "commit", put.Generation.Commit, "fecs", len(put.Index.FECs), "bytes", bytes)
	return nil
}

// exchange is what passes wait for: those previews go that have no room, and a staged one takes its place.
func (w *previewWriter) exchange(ctx context.Context, staged string, put observed.Preview, parts parts, all []plan.Weighed) error {
	crowded := plan.Crowded(all, w.published, w.Most, w.MaxSize)
	for _, n := range crowded {
		if err := w.take(ctx, n); err != nil {
			return err
		}
	}
	if slices.Contains(crowded, put.Number) {
		w.record(ctx, ledger.Preview{Number: put.Number, Head: put.Head, Expires: put.Expires})
		return w.noRoom()
	}
	known, err := store.ReadKnown(w.dir.Root().FS())
	if err == nil && !contains(known, parts.known) {
		maps.Copy(known, parts.known)
		err = store.WriteKnown(w.dir, known)
	}
	if err != nil {
		return err
	}
	if last := w.last(put.Number); last != nil {
		w.doubt(last.Index)
	} else if err := w.sweepLater(put.Number); err != nil {
		return err
	}
	return publish.Preview(w.dir, staged, put.Number)
}

func (w *previewWriter) noRoom() error {
	return &NoPreview{fmt.Sprintf("there is room for %d previews and %d MiB, and newer ones have it", w.Most, w.MaxSize>>20)}
}

func contains(known, more store.Known) bool {
	for key, a := range more {
		if known[key] != a {
			return false
		}
	}
	return true
}
