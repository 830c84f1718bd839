package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

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
