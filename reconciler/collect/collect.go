// Package collect brings persistent data from FECs, beside passes: what a FEC writes outlives its reboot. It needs ssh and tar
// on the FEC, and nothing else.
//
// What came is read whole and written anew before it counts, so that no FEC decides what is served. A snapshot that is empty, cut
// or much smaller than the last one replaces nothing. What the site wants of a FEC is what is published for it.
package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Options say what is collected, and how.
type Options struct {
	Root    string
	Keys    []tree.SecretKey                          // sign what FECs restore
	SSH     *remote.SSH                               // reaches FECs
	Folder  string                                    // on FECs, below which paths of persistent data lie: the boot client's current slot
	AtOnce  int                                       // FECs that are asked at once
	Largest int64                                     // bytes of a snapshot, unpacked
	Room    int64                                     // bytes of all snapshots
	Least   int                                       // percentage of the last snapshot's files and bytes that the next one must have
	Site    func(context.Context) (*Published, error) // what is published; the same pointer as long as that is the same
	Tell    func(failing []Status)                    // what fails for long, whenever that changes; nil tells nobody
	Done    func(Outcome)                             // counts; may be nil
	Log     *slog.Logger
	Now     func() time.Time
	Hook    durable.Hook // stands before every change of the root; nil applies them
}

// Published is what concerns collecting in what is published.
type Published struct {
	Site string
	FECs map[string]FEC // with persistent data
}

// FEC is one that has persistent data.
type FEC struct {
	Host remote.Host
	Data map[string]desired.Persistence
}

// Outcome is how collecting went once.
type Outcome string

// Outcomes. Nothing: the FEC has not written any yet.
const (
	Collected Outcome = "collected"
	Unchanged Outcome = "unchanged"
	Nothing   Outcome = "nothing"
	Failed    Outcome = "failed"
)

// Outcomes are all of them.
var Outcomes = []Outcome{Collected, Unchanged, Nothing, Failed}

// Status is how collecting one FEC's data of one name goes.
type Status struct {
	FEC, Name string
	Outcome   Outcome   // of the last time; empty: there was none yet
	Tried     time.Time // the last time
	Next      time.Time
	Err       error     // of the last time
	Since     time.Time // when it began to fail
}

// job is what is to be done for one FEC.
type job struct {
	settle bool // what lies there may lie wrong
	busy   bool
	data   map[string]*Status
}

// Collector collects. Its methods may be called from several goroutines, once it runs.
type Collector struct {
	Options
	wakes chan struct{} // holds one
	slots chan struct{} // has room for each FEC that is asked at once
	ready chan struct{} // closed when the shelf is open

	shelf *shelf // once ready is closed

	refreshing sync.Mutex // before mu

	mu   sync.Mutex
	site *Published
	jobs map[string]*job
}

// longest is how long one snapshot may take, however slowly it comes.
const longest = time.Hour

// New is a Collector that does not run yet.
func New(o Options) *Collector {
	return &Collector{Options: o, wakes: make(chan struct{}, 1), slots: make(chan struct{}, o.AtOnce), ready: make(chan struct{}), jobs: map[string]*job{}}
}

// Run collects until the context ends. Only one process may do so with a root.
func (c *Collector) Run(ctx context.Context) error {
	shelf, err := openShelf(c.Root, c.Room, c.Hook)
	if err != nil {
		return fmt.Errorf("collect persistent data: %w", err)
	}
	c.shelf = shelf
	close(c.ready)
	defer shelf.dir.Close() // every write reports its own error
	var work sync.WaitGroup
	defer work.Wait()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	var trouble string
	for {
		err := c.refresh(ctx)
		if said := fmt.Sprint(err); err != nil && said != trouble && ctx.Err() == nil {
			c.Log.Warn("persistent data is collected as of an earlier commit: what is published cannot be read", "err", err)
			trouble = said
		} else if err == nil {
			trouble = ""
		}
		for fec, do := range c.due() {
			work.Go(func() {
				do(ctx)
				c.release(fec)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			c.tell()
		case <-c.wakes:
		}
	}
}

func (c *Collector) wake() {
	select {
	case c.wakes <- struct{}{}:
	default:
	}
}

// refresh takes over what is published.
func (c *Collector) refresh(ctx context.Context) error {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	next, err := c.Site(ctx)
	if err != nil || next == nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next == c.site {
		return nil
	}
	fecs, err := FECs(c.shelf.dir.Root())
	if err != nil {
		return err
	}
	for _, fec := range append(fecs, slices.Collect(maps.Keys(next.FECs))...) {
		var before FEC
		if c.site != nil && c.site.Site == next.Site {
			before = c.site.FECs[fec]
		}
		if c.site != nil && reflect.DeepEqual(before, next.FECs[fec]) {
			continue
		}
		if c.jobs[fec] == nil {
			c.jobs[fec] = &job{data: map[string]*Status{}}
		}
		c.jobs[fec].settle = true
		c.plan(fec, next.FECs[fec])
	}
	c.site = next
	return nil
}

// plan says when a FEC's data is collected next: soon, if it never was. FECs that are new together are asked one after another.
func (c *Collector) plan(fec string, f FEC) {
	data := map[string]*Status{}
	for name, p := range f.Data {
		if old := c.jobs[fec].data[name]; old != nil {
			if data[name] = old; old.Err != nil {
				old.Next = c.Now() // what was in its way may have been changed
			}
			old.Next = minTime(old.Next, c.Now().Add(jitter(p.Every())))
			continue
		}
		data[name] = &Status{FEC: fec, Name: name, Next: c.first(fec, name, p)}
	}
	c.jobs[fec].data = data
}

func (c *Collector) first(fec, name string, p desired.Persistence) time.Time {
	now := c.Now()
	soon := now.Add(time.Duration(rand.Int64N(int64(min(p.Every()/10, time.Minute)) + 1)))
	have, err := c.shelf.of(fec)
	if err != nil {
		return soon
	}
	if before, ok := last(have, name, p.Schema); ok {
		if due := before.Seen.Add(jitter(p.Every())); due.After(soon) && due.Before(now.Add(2*p.Every())) {
			return due
		}
	}
	return soon
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// jitter is about a duration, a tenth more or less.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d/5)+1))
}

// ahead is how many FECs are busy for each that is asked: the others wait for the disk.
const ahead = 16

// due marks FECs for which there is something to do as busy, not too many, and says what that is.
func (c *Collector) due() map[string]func(context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	free, now := ahead*c.AtOnce, c.Now()
	for _, j := range c.jobs {
		if j.busy {
			free--
		}
	}
	out := map[string]func(context.Context){}
	for fec, j := range c.jobs {
		if free <= 0 {
			break
		}
		if names := j.dueAt(now); !j.busy && (j.settle || len(names) > 0) {
			j.busy = true
			free--
			out[fec] = func(ctx context.Context) { c.visit(ctx, fec, names) }
		}
	}
	return out
}

func (j *job) dueAt(now time.Time) (names []string) {
	for name, s := range j.data {
		if !s.Next.After(now) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// hold makes a FEC busy for somebody who waits; false when the context ends before.
func (c *Collector) hold(ctx context.Context, fec string) bool {
	for {
		c.mu.Lock()
		j := c.jobs[fec]
		if j == nil || !j.busy {
			if j != nil {
				j.busy = true
			}
			c.mu.Unlock()
			return true
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Collector) release(fec string) {
	c.mu.Lock()
	if j := c.jobs[fec]; j != nil {
		j.busy = false
		if f := c.site.FECs[fec]; !j.settle && len(f.Data) == 0 {
			delete(c.jobs, fec)
		}
	}
	c.mu.Unlock()
	c.wake()
}

// now is what is published of a FEC.
func (c *Collector) now(fec string) (string, FEC) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.site == nil {
		return "", FEC{}
	}
	return c.site.Site, c.site.FECs[fec]
}

// visit does for one FEC what is due.
func (c *Collector) visit(ctx context.Context, fec string, names []string) {
	c.settle(fec)
	_, f := c.now(fec)
	for _, name := range names {
		if p, ok := f.Data[name]; ok && ctx.Err() == nil {
			_, _ = c.once(ctx, fec, name, p, false) // its status says how it went
		}
	}
}

// settle puts a FEC's snapshots in order, if they may not be.
func (c *Collector) settle(fec string) {
	c.mu.Lock()
	j := c.jobs[fec]
	needed := j != nil && j.settle
	if needed {
		j.settle = false
	}
	c.mu.Unlock()
	if !needed {
		return
	}
	site, f := c.now(fec)
	if err := c.shelf.settle(site, fec, f.Data, c.Keys); err != nil {
		c.Log.Error("persistent data not put in order", "fec", fec, "err", err)
		time.AfterFunc(10*time.Second, func() { c.unsettle(fec) })
	}
}

// unsettle has a FEC be put in order again.
func (c *Collector) unsettle(fec string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[fec]; j != nil {
		j.settle = true
	}
}

// once collects one FEC's data of one name, and notes how that went. The FEC is held.
func (c *Collector) once(ctx context.Context, fec, name string, p desired.Persistence, shrunken bool) (Outcome, error) {
	limited, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("it took longer than %s", longest))
	defer cancel()
	outcome, err := c.collect(limited, fec, name, p, shrunken)
	if ctx.Err() != nil {
		return outcome, ctx.Err() // the service ends
	}
	if c.Done != nil {
		c.Done(outcome)
	}
	c.note(fec, name, p, outcome, err)
	return outcome, err
}

// note remembers how it went, and says when it is tried again: after a failure soon, then later and later.
func (c *Collector) note(fec, name string, p desired.Persistence, outcome Outcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.jobs[fec]
	if j == nil || j.data[name] == nil {
		return // the site wants it no more
	}
	s, now := j.data[name], c.Now()
	if failing := s.Err != nil; (err != nil) != failing || err != nil && err.Error() != s.Err.Error() {
		if err != nil {
			c.Log.Warn("persistent data not collected", "fec", fec, "data", name, "err", err)
		} else {
			c.Log.Info("persistent data is collected again", "fec", fec, "data", name)
		}
	}
	switch {
	case err == nil:
		s.Since = time.Time{}
	case s.Since.IsZero():
		s.Since = now
	}
	wait := p.Every()
	if err != nil {
		wait = min(wait, max(now.Sub(s.Since), 10*time.Second))
	}
	s.Outcome, s.Tried, s.Err, s.Next = outcome, now, err, now.Add(jitter(wait))
}

// tell says what fails for long.
func (c *Collector) tell() {
	if c.Tell == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var failing []Status
	for fec, j := range c.jobs {
		for name, s := range j.data {
			if s.Err != nil && (isOdd(s.Err) || c.Now().Sub(s.Since) >= c.site.FECs[fec].Data[name].Every()) {
				failing = append(failing, *s)
			}
		}
	}
	slices.SortFunc(failing, compareStatus)
	c.Tell(failing)
}

// isOdd says that somebody should look at once: the host or what it sends is not what it should be.
func isOdd(err error) bool {
	var key *remote.HostKeyError
	var refused *Refused
	return errors.As(err, &key) || errors.As(err, &refused)
}

func compareStatus(a, b Status) int {
	if a.FEC != b.FEC {
		return strings.Compare(a.FEC, b.FEC)
	}
	return strings.Compare(a.Name, b.Name)
}

// Statuses are how collecting goes, by FEC and name.
func (c *Collector) Statuses() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Status
	for _, j := range c.jobs {
		for _, s := range j.data {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, compareStatus)
	return out
}

// Collect collects one FEC's data of one name now. With shrunken, a snapshot that is empty or much smaller than the last one
// replaces it all the same.
func (c *Collector) Collect(ctx context.Context, fec, name string, shrunken bool) (Outcome, error) {
	if err := c.take(ctx, fec); err != nil {
		return Failed, err
	}
	defer c.release(fec)
	_, f := c.now(fec)
	p, ok := f.Data[name]
	if !ok {
		return Failed, fmt.Errorf("nothing published says that %s has persistent data %q", fec, name)
	}
	c.settle(fec)
	return c.once(ctx, fec, name, p, shrunken)
}

// Restore has a FEC restore a snapshot from its next slot on, until the zero digest has it restore the newest one again.
func (c *Collector) Restore(ctx context.Context, fec, name string, object artifact.Digest) error {
	if err := c.take(ctx, fec); err != nil {
		return err
	}
	defer c.release(fec)
	site, f := c.now(fec)
	if _, ok := f.Data[name]; !ok {
		return fmt.Errorf("nothing published says that %s has persistent data %q", fec, name)
	}
	have, err := c.shelf.of(fec)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(h Snapshot) bool { return h.Name == name && h.Object == object && !h.Archived })
	if !object.IsZero() && i < 0 {
		return fmt.Errorf("%s has no snapshot %s of %s", fec, object, name)
	}
	if i >= 0 && !whole(c.shelf.dir.Root(), have[i]) {
		return fmt.Errorf("snapshot %s of %s is damaged: choose another", object, name)
	}
	if err := c.shelf.pins.set(c.shelf.dir, fec, name, object); err != nil {
		return err
	}
	return c.shelf.settle(site, fec, f.Data, c.Keys)
}

// take waits until the shelf is open and nobody else is busy with a FEC, and looks at what is published now.
func (c *Collector) take(ctx context.Context, fec string) error {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if !c.hold(ctx, fec) {
		return ctx.Err()
	}
	return nil
}
