package load

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// maxKilled is how many units may exceed the limits before the rest of a commit is given up: it bounds how long a hostile
// commit takes.
const maxKilled = 16

// job is some units for one child.
type job struct {
	units    []*unit
	deadline time.Duration // for loading; units have the whole deadline
}

// pool shares jobs among children.
type pool struct {
	loader *Loader
	commit *commit
	paths  map[*unit][]string // wanted positions; nil: values are wanted
	stated bool               // of where values are stated

	mu        sync.Mutex
	changed   *sync.Cond
	queue     []job
	active    int
	broken    bool
	killed    []*unit
	positions map[*unit][]wire.Position
}

// evaluate sets the fragments of units.
func (l *Loader) evaluate(ctx context.Context, c *commit, units []*unit) error {
	p := &pool{loader: l, commit: c}
	err := p.run(ctx, units)
	for _, u := range p.killed {
		if slices.ContainsFunc(p.killed, func(v *unit) bool { return u != v && u.within(v) }) {
			u.fragment.problems = nil // v's tell it; both were under evaluation at once
		}
	}
	return err
}

// positions are where paths of units come from, or where their values are stated; nowhere for a unit that has no value.
func (l *Loader) positions(ctx context.Context, c *commit, paths map[*unit][]string, stated bool) (map[*unit][]wire.Position, error) {
	p := &pool{loader: l, commit: c, paths: paths, stated: stated, positions: map[*unit][]wire.Position{}}
	units := slices.SortedFunc(maps.Keys(paths), func(a, b *unit) int { return len(a.dir) - len(b.dir) })
	return p.positions, p.run(ctx, units)
}

func (p *pool) run(ctx context.Context, units []*unit) error {
	if len(units) == 0 {
		return nil
	}
	o := p.loader.options
	p.changed = sync.NewCond(&p.mu)
	for _, part := range batches(units, o.Batch) {
		p.queue = append(p.queue, job{units: part, deadline: o.Deadline})
	}
	g, ctx := errgroup.WithContext(ctx)
	for range min(o.Children, len(p.queue)) {
		g.Go(func() error {
			runtime.LockOSThread() // see start
			defer runtime.UnlockOSThread()
			return p.work(ctx)
		})
	}
	return g.Wait()
}

// work gives jobs to a child of its own until none is left.
func (p *pool) work(ctx context.Context) (err error) {
	var c *child
	defer func() {
		if c != nil {
			c.kill()
		}
		if err != nil {
			p.abort()
		}
	}()
	for {
		j, ok := p.take()
		if !ok {
			return nil
		}
		if c != nil && c.batches >= lifetime {
			c.kill()
			c = nil
		}
		if c == nil {
			if c, err = start(ctx, p.loader.options); err != nil {
				return err
			}
		}
		started, alive, err := p.exchange(ctx, c, j)
		if err != nil {
			return err
		}
		if !alive {
			d := c.kill()
			if c = nil; ctx.Err() != nil {
				return ctx.Err()
			}
			p.bury(j, started, d)
		}
		p.done()
	}
}

// batchSize is how many bytes of files of their own units may have that share a context: it bounds a child's memory.
const batchSize = 128 << 10

// batches parts units into those that share a context, at most so many each.
func batches(units []*unit, most int) (parts [][]*unit) {
	var size int64
	first := 0
	for i, u := range units {
		own := u.size()
		if n := i - first; n > 0 && (n >= most || size+own > batchSize) {
			parts, first, size = append(parts, units[first:i]), i, 0
		}
		size += own
	}
	return append(parts, units[first:])
}

// take waits for a job, since another child's death may still make some.
func (p *pool) take() (job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.queue) > 0 && !p.broken {
			j := p.queue[0]
			p.queue = p.queue[1:]
			if j.units = p.hopeful(j.units); len(j.units) > 0 {
				p.active++
				return j, true
			}
		}
		if p.active == 0 || p.broken {
			return job{}, false
		}
		p.changed.Wait()
	}
}

// done ends a job.
func (p *pool) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.changed.Broadcast()
}

// abort ends the others' waiting after a failure of this machine.
func (p *pool) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = true
	p.changed.Broadcast()
}

// hopeful leaves out the units that see all files of one whose evaluation was ended, since theirs would end alike, and
// every unit once too many have been.
func (p *pool) hopeful(units []*unit) (left []*unit) {
	for _, u := range units {
		switch {
		case slices.ContainsFunc(p.killed, u.within):
			u.fragment = &fragment{failed: true, killed: true}
		case len(p.killed) >= maxKilled:
			u.fragment = &fragment{failed: true, killed: true, problems: u.problem(
				fmt.Sprintf("not evaluated, since %d other folders take too much", maxKilled), "look at those first")}
		default:
			left = append(left, u)
		}
	}
	return left
}

// bury decides what happens to the units of a job whose child has died. The one under evaluation is to blame when it took
// too long, or when it had the child to itself; else it is tried alone. A death while loading concerns no unit in
// particular, so that halves are tried, more briefly.
func (p *pool) bury(j job, started *unit, d death) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.loader.options
	left := slices.DeleteFunc(slices.Clone(j.units), func(u *unit) bool { return u == started || p.answered(u) })
	switch {
	case started != nil && (d.slow || len(j.units) == 1):
		p.blame(started, d)
	case started != nil:
		p.queue = append(p.queue, job{units: []*unit{started}, deadline: o.Deadline})
	case len(left) == 1:
		p.blame(left[0], d)
		return
	default:
		half := (len(left) + 1) / 2
		p.queue = append(p.queue, job{left[:half], o.Deadline / 3}, job{left[half:], o.Deadline / 3})
		return
	}
	if len(left) > 0 {
		p.queue = append(p.queue, job{units: left, deadline: o.Deadline})
	}
}

func (p *pool) blame(u *unit, d death) {
	text := d.text
	if d.slow {
		text = fmt.Sprintf("evaluation takes more than %v", p.loader.options.Deadline)
	}
	p.killed = append(p.killed, u)
	if p.paths != nil {
		p.positions[u] = nil
		return
	}
	u.fragment = &fragment{failed: true, killed: true,
		problems: u.problem(text, "write the files of this folder more simply, or split it; one of them never ends or grows without bound")}
}

func (p *pool) answered(u *unit) bool {
	if p.paths != nil {
		_, ok := p.positions[u]
		return ok
	}
	return u.fragment != nil
}
