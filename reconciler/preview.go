package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/render"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Previews are the trees of open pull requests that a root serves below previews/, each until it is dropped, expires or
// makes room for newer ones. A FEC of the site refuses them: they are for another channel and signed by another key. They are
// built beside passes, which wait only for the last step. It is safe for concurrent use; one process at a time writes them.
type Previews struct {
	Root    string
	Key     tree.SecretKey // signs previews, and nothing else
	Most    int            // at once; with 0 none are made, and those that are there go
	MaxSize int64          // bytes that all of them take beside what is published
	Life    time.Duration  // from when a head was first seen
	Records *Records       // of the root; nil: nothing is recorded
	Log     *slog.Logger
	Now     func() time.Time
	Hook    durable.Hook // stands before every change of the root; nil applies them

	mu sync.Mutex
}

// NoPreview says why a pull request is given no preview. Trying again does not help until something changes.
type NoPreview struct{ Reason string }

// Error is the reason.
func (e *NoPreview) Error() string { return "no preview: " + e.Reason }

// errSwept says that a pass has removed what a preview was about to name.
var errSwept = errors.New("objects of the preview were removed meanwhile")

// Put serves what a merge would publish as the preview of a pull request, in place of an earlier one. The merge's Repo and
// Branch name the result of merging head; its Loader, Verdicts, Payloads, Version and Log are used, not its Keys. Nothing
// happens if that is served already. Its error is *NoPreview, desired.Problems, or as of a pass.
func (p *Previews) Put(ctx context.Context, merge *Reconciler, number int, head string) (put observed.Preview, err error) {
	err = p.alone(ctx, func(w *previewWriter) error {
		put, err = w.put(ctx, merge, observed.Proposed{Number: number, Head: head})
		return err
	})
	if err != nil {
		err = fmt.Errorf("preview %d: %w", number, err)
	}
	return put, err
}

// Drop removes the preview of a pull request that is closed, and what only it needed. It is no error if there is none.
func (p *Previews) Drop(ctx context.Context, number int) error {
	return p.alone(ctx, func(w *previewWriter) error {
		err := w.remove(ctx, number)
		p.Records.Try(ctx, func(l *ledger.Ledger) error { return l.DeletePreview(ctx, number) })
		return err
	})
}

// Expire removes previews that have expired, or that are too many. It is called now and then, and when a service starts. Lost
// are the pull requests whose preview has gone although it should be there: it was damaged, and has to be put again.
func (p *Previews) Expire(ctx context.Context) (lost []int, err error) {
	err = p.alone(ctx, func(w *previewWriter) (err error) {
		lost, err = w.expire(ctx)
		return err
	})
	return lost, err
}

// Keep drops the previews of other pull requests than the open ones, and is Expire besides.
func (p *Previews) Keep(ctx context.Context, open []int) (lost []int, err error) {
	err = p.alone(ctx, func(w *previewWriter) (err error) {
		if err := w.close(ctx, open); err != nil {
			return err
		}
		lost, err = w.expire(ctx)
		return err
	})
	return lost, err
}

// List are the previews that are served, by number.
func (p *Previews) List() ([]observed.Preview, error) {
	root, err := os.OpenRoot(p.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close() // only read
	all, _, err := observe.Previews(root)
	return all, err
}

// previewWriter is the one that writes the previews of a root.
type previewWriter struct {
	*Previews
	dir        *durable.Dir
	objects    *store.Store
	have       []observed.Preview
	unreadable []int
	rows       []ledger.Preview // what the ledger says
	published  map[artifact.Digest]bool
	seen       map[int64]bool            // generations whose objects are in published
	fresh      map[artifact.Digest]int64 // objects that perhaps nothing needs, with their sizes
	passesWait bool
}

// alone does something as the one writer of previews.
func (p *Previews) alone(ctx context.Context, do func(*previewWriter) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := MakeRoot(p.Root); err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.OpenPreviews(p.Root, p.Hook)
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer dir.Close() // every write reports its own error
	if err := dir.Prepare(); err != nil {
		return fmt.Errorf("prepare root: %w", err)
	}
	unlock, err := dir.PreviewLock()
	if err != nil {
		return fmt.Errorf("lock previews: %w", err)
	}
	defer unlock()
	w := &previewWriter{Previews: p, dir: dir, objects: store.New(dir), published: map[artifact.Digest]bool{}, seen: map[int64]bool{}}
	if err := w.recover(ctx); err != nil {
		return fmt.Errorf("recover previews: %w", err)
	}
	if w.have, w.unreadable, err = observe.Previews(dir.Root()); err != nil {
		return err
	}
	p.Records.Try(ctx, func(l *ledger.Ledger) (err error) {
		w.rows, err = l.Previews(ctx)
		return err
	})
	w.recordMissing(ctx)
	return do(w)
}

// recordMissing tells a new ledger of the previews that are there.
func (w *previewWriter) recordMissing(ctx context.Context) {
	for _, have := range w.have {
		if !slices.ContainsFunc(w.rows, func(row ledger.Preview) bool { return row.Number == have.Number }) {
			w.record(ctx, ledger.Preview{Number: have.Number, Head: have.Head, Tree: have.Generation.Tree.String(), Expires: have.Expires})
		}
	}
}

// recover removes what a writer that died has left. What it put among the objects goes with the next sweep.
func (w *previewWriter) recover(ctx context.Context) error {
	if _, err := w.dir.Recover(); err != nil {
		return err
	}
	if !w.dir.Exists(durable.PreviewUnfinished) {
		return nil
	}
	return w.whileNoPass(ctx, func() error {
		if err := prune.Later(w.dir, w.Now()); err != nil {
			return err
		}
		return w.dir.Remove(durable.PreviewUnfinished)
	})
}

// begin marks the root before the first object is written for a preview.
func (w *previewWriter) begin() error {
	if w.dir.Exists(durable.PreviewUnfinished) {
		return nil
	}
	if err := w.dir.Write(durable.PreviewUnfinished, nil, 0o600); err != nil {
		return fmt.Errorf("mark preview: %w", err)
	}
	return w.dir.Sync(durable.Private)
}

// whileNoPass does something short that no pass may see half done, also within something else of the kind.
func (w *previewWriter) whileNoPass(ctx context.Context, do func() error) error {
	if w.passesWait {
		return do()
	}
	for {
		unlock, err := lock(w.dir, w.Root)
		if err == nil {
			defer unlock()
			w.passesWait = true
			defer func() { w.passesWait = false }()
			return do()
		}
		if !errors.Is(err, durable.ErrLocked) {
			return fmt.Errorf("lock root: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond): // another process makes a pass
		}
	}
}

func (w *previewWriter) last(number int) *observed.Preview {
	for i := range w.have {
		if w.have[i].Number == number {
			return &w.have[i]
		}
	}
	return nil
}

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
		slices.Equal(g.Keys, []string{w.Key.ID.String()}) && slices.Equal(g.Givens.Expired, want.expired)
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
		Givens: observed.Givens{Holds: []observed.Hold{}, Held: []observed.Held{}, Expired: want.expired},
	}, last, gone, of, w.Now())
	sealed := publish.Seal(t, &pub, []tree.SecretKey{w.Key})
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

// readPublished learns what is published that it does not know yet. As long as a generation cannot be read, nobody knows what
// it needs: that is an error.
func (w *previewWriter) readPublished() error {
	have, err := observe.Root(w.dir.Root())
	if err != nil {
		return err
	}
	if _, err := w.dir.Names(tree.GenerationsFolder); err != nil {
		return fmt.Errorf("observe generations: %w", err)
	}
	for n, why := range have.Damaged {
		return fmt.Errorf("generation %d is damaged: %s", n, why)
	}
	var numbers []int64
	for _, g := range have.Generations {
		if !w.seen[g.Number] {
			numbers = append(numbers, g.Number)
		}
	}
	if err := observe.ReachPublished(w.dir.Root(), numbers, have.Pins, w.published); err != nil {
		w.published, w.seen = map[artifact.Digest]bool{}, map[int64]bool{} // what is marked may lead to more that is not
		return err
	}
	for _, n := range numbers {
		w.seen[n] = true
	}
	return nil
}

// weighed are the previews that are there, but one.
func (w *previewWriter) weighed(but int) (all []plan.Weighed) {
	for _, have := range w.have {
		if have.Number != but {
			objects, _ := observe.Weigh(w.dir.Root(), have.Index) // a damaged one weighs nothing, and the next scrub takes it away
			all = append(all, plan.Weighed{Proposed: have.Proposed, Objects: objects})
		}
	}
	return all
}

// unweighed are likewise all but some.
func (w *previewWriter) unweighed(but []int) (all []plan.Weighed) {
	for _, have := range w.have {
		if !slices.Contains(but, have.Number) {
			all = append(all, plan.Weighed{Proposed: have.Proposed})
		}
	}
	return all
}

// close drops the previews of other pull requests than the open ones, and forgets that there were any.
func (w *previewWriter) close(ctx context.Context, open []int) error {
	var closed []int
	for _, have := range w.have {
		closed = append(closed, have.Number)
	}
	for _, row := range w.rows {
		closed = append(closed, row.Number)
	}
	closed = slices.DeleteFunc(closed, func(n int) bool { return slices.Contains(open, n) })
	if err := w.remove(ctx, closed...); err != nil {
		return err
	}
	for _, n := range closed {
		w.Records.Try(ctx, func(l *ledger.Ledger) error { return l.DeletePreview(ctx, n) })
	}
	w.rows = slices.DeleteFunc(w.rows, func(row ledger.Preview) bool { return slices.Contains(closed, row.Number) })
	return nil
}

// expire removes what has had its time, or is too much.
func (w *previewWriter) expire(ctx context.Context) (lost []int, err error) {
	gone := slices.Clone(w.unreadable)
	for _, have := range w.have {
		if !w.Now().Before(have.Expires) {
			gone = append(gone, have.Number)
		}
	}
	gone = append(gone, plan.Crowded(w.unweighed(gone), nil, w.Most, 0)...)
	lost = w.lost()
	return lost, w.remove(ctx, gone...)
}

// lost are pull requests whose preview should be there and is not.
func (w *previewWriter) lost() (numbers []int) {
	for _, row := range w.rows {
		there := w.last(row.Number) != nil // also if it is to go
		if row.Tree != "" && !there && w.Now().Before(row.Expires) && w.Most > 0 {
			numbers = append(numbers, row.Number)
		}
	}
	return numbers
}

// remove takes previews away, and what only they needed.
func (w *previewWriter) remove(ctx context.Context, numbers ...int) error {
	numbers = slices.DeleteFunc(slices.Clone(numbers), func(n int) bool { return !w.dir.Exists(tree.PreviewPath(n)) })
	if len(numbers) == 0 {
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	err := w.whileNoPass(ctx, func() error {
		for _, n := range numbers {
			if err := w.take(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, w.collect(ctx))
}

// take takes one preview away. Its head is remembered: it gets no other life.
func (w *previewWriter) take(ctx context.Context, number int) error {
	if last := w.last(number); last != nil {
		w.doubt(last.Index)
		w.record(ctx, ledger.Preview{Number: number, Head: last.Head, Expires: last.Expires})
		w.have = slices.DeleteFunc(w.have, func(have observed.Preview) bool { return have.Number == number })
	} else if err := w.sweepLater(number); err != nil {
		return err
	}
	if !w.dir.Exists(tree.PreviewPath(number)) {
		return nil
	}
	w.Log.Info("removing preview", "pull request", number)
	return prune.Preview(w.dir, number)
}

// sweepLater has a pass look for what a preview led to that nobody can read any more.
func (w *previewWriter) sweepLater(number int) error {
	if !slices.Contains(w.unreadable, number) {
		return nil
	}
	return prune.Later(w.dir, w.Now())
}

func (w *previewWriter) record(ctx context.Context, row ledger.Preview) {
	w.Records.Try(ctx, func(l *ledger.Ledger) error { return l.PutPreview(ctx, row) })
}

// doubt remembers what a preview led to: perhaps nothing needs it any more.
func (w *previewWriter) doubt(x tree.Index) {
	objects, _ := observe.Weigh(w.dir.Root(), x) // what of a damaged one is left goes with a sweep
	if w.fresh == nil {
		w.fresh = map[artifact.Digest]int64{}
	}
	maps.Copy(w.fresh, objects)
}

// together is how many objects are removed while a pass waits.
const together = 512

// collect removes what is in doubt and nothing needs. What it cannot remove goes with a sweep.
func (w *previewWriter) collect(ctx context.Context) error {
	needed := map[artifact.Digest]bool{}
	if err := observe.ReachPreviews(w.dir.Root(), needed); err != nil {
		return err
	}
	err := w.readPublished()
	if err != nil { // a pass may prune just now
		err = w.whileNoPass(ctx, w.readPublished)
	}
	if err != nil {
		w.Log.Warn("what previews have left is not removed yet", "because", err)
		return nil
	}
	var gone []artifact.Digest
	for d := range w.fresh {
		if !needed[d] && !w.published[d] {
			gone = append(gone, d)
		}
	}
	for some := range slices.Chunk(gone, together) {
		var withdrawn []string
		err := w.whileNoPass(ctx, func() (err error) {
			withdrawn, err = w.withdraw(some)
			return err
		})
		for _, temp := range withdrawn {
			err = errors.Join(err, w.dir.Remove(temp))
		}
		if err != nil {
			return err
		}
	}
	w.fresh = nil
	return w.dir.Remove(durable.PreviewUnfinished)
}

// withdraw takes objects out of their places, unless something that was published meanwhile needs them.
func (w *previewWriter) withdraw(objects []artifact.Digest) (temps []string, err error) {
	if err := w.readPublished(); err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(slices.Clone(objects), func(d artifact.Digest) bool { return w.published[d] })
	lost := map[artifact.Digest]bool{}
	for _, d := range objects {
		lost[d] = true
	}
	known, err := store.ReadKnown(w.dir.Root().FS())
	if err != nil {
		return nil, err
	}
	if left := known.Without(lost); len(left) < len(known) {
		if err := store.WriteKnown(w.dir, left); err != nil {
			return nil, err
		}
	}
	return w.objects.Withdraw(objects...)
}
