package reconciler

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Loop runs passes for as long as a service lives: when the branch moves, when somebody asks, and now and then to find
// damage and what time has changed. One pass runs at a time; whatever asks for one meanwhile shares the next.
type Loop struct {
	*Reconciler
	Poll    time.Duration             // how often the branch is looked at, or fetched; this is what counts
	Hints   <-chan struct{}           // something in the repository may have changed: look at once
	Scrub   time.Duration             // how often every name below the root is looked at; default 10 minutes
	Digests time.Duration             // in how long every archive is read, a share at each scrub; default a day
	Turns   time.Duration             // how often holds are judged again; default 10 seconds
	Name    func(commit string) error // tells the mirror which commit an operator names; nil: there is no mirror
	kicks   chan request
	wakes   chan struct{}          // at most one is waiting
	follow  *follower              // nil when the repository is this machine's own
	waiting atomic.Int64           // kicks that have no answer yet
	named   atomic.Pointer[string] // commit that an operator named last
	ended   chan struct{}
	seen    string    // commit for which look made a pass; empty when there was none
	tried   string    // commit that the branch named at the last pass
	held    judgement // of the last pass
	current string    // what the root's link held after it
	shelf   byte      // whose archives the next scrub reads first
	err     error     // of the last pass
	last    report.Report
	told    string // the last failure that was logged

	toldFetch trouble // of the follower, which alone uses it
	retry     *backoff.ExponentialBackOff
	retryAt   time.Time
	times     times
}

// request asks for a pass, after something was done that must not happen while one runs.
type request struct {
	first func(context.Context) error // nil: nothing
	reply chan Done
}

// Done is the end of a pass: its report, or why there is none.
type Done struct {
	Report    report.Report
	Err       error
	Unchanged bool // no pass was needed: the last one stands
}

// ErrEnded says that the service ends and makes no more passes.
var ErrEnded = errors.New("the service ends")

// NewLoop is a loop that has not begun. Kick may be called at once.
func NewLoop(r *Reconciler, poll time.Duration, hints <-chan struct{}) *Loop {
	l := &Loop{
		Reconciler: r, Poll: poll, Hints: hints, Scrub: 10 * time.Minute, Digests: 24 * time.Hour, Turns: 10 * time.Second,
		kicks: make(chan request), wakes: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	r.Checks.Named = l.isNamed
	if r.Layout == nil {
		r.Layout = &tree.Layout{}
	}
	if r.Served == nil {
		r.Served = &PublishedSite{}
	}
	l.shelf = byte(rand.N(256)) // a service that never lives for a day reads all of them too
	l.retry = backoff.NewExponentialBackOff()
	l.retry.InitialInterval, l.retry.MaxInterval = time.Second, 5*time.Minute
	return l
}

// Run runs passes until the context ends. A pass that fails is tried again, later and later; one that found problems in the
// site, when the site or the time has changed.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.ended)
	moved := l.wakes
	if l.follow != nil {
		ctx, cancel := context.WithCancel(ctx)
		var following sync.WaitGroup
		following.Go(func() { l.follow.run(ctx, l.wakes) })
		defer following.Wait()
		defer cancel()
		moved = l.follow.moved
		l.firstFetch(ctx)
	}
	poll, scrub, turns := time.NewTicker(l.Poll), time.NewTicker(l.Scrub), time.NewTicker(l.Turns)
	defer poll.Stop()
	defer scrub.Stop()
	defer turns.Stop()
	l.pass(ctx, Names)
	for {
		l.Pulse.Rest()
		l.times.set(func(t *Times) { t.Poll, t.Scrub = cmp.Or(t.Poll, l.after(l.Poll)), cmp.Or(t.Scrub, l.after(l.Scrub)) })
		select {
		case <-ctx.Done():
			return nil
		case <-scrub.C:
			l.scrubSome(ctx)
			l.times.set(func(t *Times) { t.Scrub = l.after(l.Scrub) })
		case <-poll.C:
			l.times.set(func(t *Times) { t.Poll = l.after(l.Poll) })
			l.look(ctx)
		case <-turns.C:
			l.turn(ctx)
		case <-l.turning():
			l.turn(ctx)
		case <-l.Hints:
			l.look(ctx)
		case <-moved:
			l.look(ctx)
		case <-l.again():
			l.pass(ctx, Trusting)
		case first := <-l.kicks:
			l.answer(ctx, first)
		}
	}
}

// firstFetch waits for the first commit of another host, but no longer than damage may stay.
func (l *Loop) firstFetch(ctx context.Context) {
	if _, err := l.Repo.Resolve(l.Branch); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.Scrub)
	defer cancel()
	_ = l.follow.now(ctx) // it is told of where it is done
}

// scrubSome makes a pass that looks at every name, and reads its share of the archives.
func (l *Loop) scrubSome(ctx context.Context) {
	share := byte(min(255, 1+256*l.Scrub/l.Digests))
	done := l.pass(ctx, Shelves(l.shelf, share))
	var problems desired.Problems
	if done.Err == nil || errors.As(done.Err, &problems) {
		l.shelf += share
	}
}

// again fires when a failed pass is to be tried again; never, if waiting does not help.
func (l *Loop) again() <-chan time.Time {
	if !l.retries() {
		return nil
	}
	return time.After(time.Until(l.retryAt))
}

// retries says whether the last pass failed and will be tried again, however often somebody looks meanwhile.
func (l *Loop) retries() bool {
	var problems desired.Problems
	return l.err != nil && !errors.As(l.err, &problems)
}

func (l *Loop) after(d time.Duration) time.Time { return l.Now().Add(d).UTC().Truncate(time.Second) }

// turn makes a pass if other holds are in force than at the last one.
func (l *Loop) turn(ctx context.Context) {
	changed, next := l.turned(ctx, l.held)
	if changed {
		l.pass(ctx, Trusting)
		return
	}
	l.held.turn = next
}

// turning fires when the clock alone changes which holds are in force. A clock that jumps is seen at the next of Turns.
func (l *Loop) turning() <-chan time.Time {
	if l.held.turn.IsZero() {
		return nil
	}
	return time.After(max(l.held.turn.Sub(l.Now()), 0) + time.Millisecond)
}

// look makes a pass if the branch has moved.
func (l *Loop) look(ctx context.Context) {
	c, err := l.head()
	if err == nil && c.ID == l.tried || l.retries() && c.ID == l.seen {
		return
	}
	l.seen = c.ID
	l.pass(ctx, Trusting)
}

// head is the commit that the branch names now.
func (l *Loop) head() (repo.Commit, error) {
	l.Pulse.Beat()
	start := time.Now()
	c, err := l.Repo.Resolve(l.Branch)
	elapsed, moved := time.Since(start), err == nil && c.ID != l.tried
	for _, o := range l.Observers {
		o.Looked(c.ID, elapsed, moved, err)
	}
	if l.follow == nil {
		l.observeFetch(elapsed, moved, err)
	}
	return c, err
}

// answer makes one pass for everybody who asks for one now, after what they want done first. Whoever wanted something done
// that could not be done gets no pass.
func (l *Loop) answer(ctx context.Context, first request) {
	waiting := []request{first}
	for {
		select {
		case next := <-l.kicks:
			waiting = append(waiting, next)
			continue
		default:
		}
		break
	}
	var due []chan Done
	changed := false
	for _, w := range waiting {
		if w.first != nil {
			if err := w.first(ctx); err != nil {
				w.reply <- Done{Err: err} // has room for one
				continue
			}
			changed = true
		}
		due = append(due, w.reply)
	}
	if len(due) == 0 {
		return
	}
	var done Done
	if changed {
		done = l.pass(ctx, Trusting)
	} else {
		done = l.unlessNothingToDo(ctx)
	}
	for _, reply := range due {
		reply <- done // has room for one
	}
}

// unlessNothingToDo makes a pass, but not if the last one is known to stand: same commit, and nobody else has published.
func (l *Loop) unlessNothingToDo(ctx context.Context) Done {
	c, err := l.head()
	if err == nil && l.err == nil && c.ID == l.tried && l.link() == l.current && !l.unfinishedByOther() {
		if changed, _ := l.turned(ctx, l.held); !changed {
			return Done{Report: l.last, Unchanged: true}
		}
	}
	return l.pass(ctx, Trusting)
}

func (l *Loop) link() string {
	target, _ := os.Readlink(filepath.Join(l.Root, tree.CurrentLink)) // no link is another link
	return target
}

func (l *Loop) unfinishedByOther() bool {
	_, err := os.Lstat(filepath.Join(l.Root, durable.Unfinished))
	return err == nil
}

// pass runs one pass and remembers how it went.
func (l *Loop) pass(ctx context.Context, depth Depth) Done {
	l.times.set(func(t *Times) { t.Running = l.after(0) })
	rep, j, err := l.onePass(ctx, depth)
	l.times.set(func(t *Times) { t.Running, t.Turn = time.Time{}, j.turn })
	if ctx.Err() != nil {
		return Done{Report: rep, Err: ctx.Err()}
	}
	if rep.Wanted != l.tried || err == nil {
		l.retry.Reset()
	}
	l.tried, l.err, l.current = rep.Wanted, err, l.link()
	if j.holds.Newer != nil { // else the pass ended before it judged
		l.held = j
	}
	l.last = report.Report{Commit: rep.Commit, Wanted: rep.Wanted, Holds: rep.Holds, Plan: plan.Plan{Commit: rep.Commit, Site: rep.Plan.Site, Blocked: rep.Plan.Blocked}}
	l.retryAt = time.Now().Add(l.retry.NextBackOff())
	l.tell(rep, err)
	done := Done{Report: rep, Err: err}
	for _, o := range l.Observers {
		o.Passed(done)
	}
	return done
}

// Wake asks for a look at the branch without waiting for it. Whatever asks while one is due shares it.
func (l *Loop) Wake() {
	select {
	case l.wakes <- struct{}{}:
	default:
	}
}

// Expect is Wake for a commit that the branch was said to have: it is looked for again soon until it comes. No commit is Wake.
func (l *Loop) Expect(commit string) {
	if l.follow != nil && commit != "" {
		l.follow.expect(commit)
	}
	l.Wake()
}

// came says whether a commit is in the repository, accepted or not.
func (l *Loop) came(commit string) bool {
	_, err := l.Repo.Resolve(commit)
	return err == nil
}

// Follow has fetch bring the branch from another host, every Poll and whenever somebody asks. It is called before Run.
func (l *Loop) Follow(fetch Fetch) {
	watched := func(ctx context.Context) (bool, error) {
		start := time.Now()
		moved, err := fetch(ctx)
		if ctx.Err() == nil {
			l.observeFetch(time.Since(start), moved, err)
		}
		return moved, err
	}
	l.follow = newFollower(watched, l.Poll, l.came, l.tellFetch)
}

func (l *Loop) observeFetch(elapsed time.Duration, moved bool, err error) {
	for _, o := range l.Observers {
		o.Fetched(elapsed, moved, err)
	}
}

// tellFetch logs that fetching fails, and that it works again, once.
func (l *Loop) tellFetch(err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	l.times.set(func(t *Times) {
		if t.FetchError = now; err == nil {
			t.Unfetched = time.Time{}
		} else if t.Unfetched.IsZero() {
			t.Unfetched = l.after(0)
		}
	})
	switch news := l.toldFetch.news(err); {
	case news && err != nil:
		l.Log.Error("branch not fetched; what is published stays", "err", err)
	case news:
		l.Log.Info("branch fetched again")
	}
}

// fetched waits until the branch has been fetched, if it is another host's.
func (l *Loop) fetched(ctx context.Context) error {
	if l.follow == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := l.follow.now(ctx)
	select {
	case <-l.ended:
		return ErrEnded
	default:
		return err
	}
}

// tell logs a failure once, not each time that it comes back.
func (l *Loop) tell(rep report.Report, err error) {
	if err == nil {
		if l.told != "" {
			l.Log.Info("pass done again", "commit", rep.Commit)
		}
		l.told = ""
		return
	}
	if l.told == rep.Commit+err.Error() {
		return
	}
	l.told = rep.Commit + err.Error()
	var problems desired.Problems
	if !errors.As(err, &problems) {
		l.Log.Error("pass not done", "commit", rep.Commit, "err", err)
		return
	}
	for _, p := range problems {
		l.Log.Error("found problem in site", "commit", rep.Commit, "problem", p.String())
	}
}

// Kick asks for a pass and waits for its end. What it reports has seen everything that was committed before.
func (l *Loop) Kick(ctx context.Context) Done {
	if err := l.fetched(ctx); err != nil {
		return Done{Err: err}
	}
	return l.Do(ctx, nil)
}

// Do does something while no pass runs, then makes a pass and waits for its end. If it cannot be done, its error comes back.
func (l *Loop) Do(ctx context.Context, first func(context.Context) error) Done {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	reply := make(chan Done, 1)
	select {
	case l.kicks <- request{first, reply}:
	case <-l.ended:
		return Done{Err: ErrEnded}
	case <-ctx.Done():
		return Done{Err: ctx.Err()}
	}
	select {
	case done := <-reply:
		return done
	case <-l.ended:
		return Done{Err: ErrEnded}
	case <-ctx.Done():
		return Done{Err: ctx.Err()}
	}
}

// Waiting is how many kicks have no answer yet.
func (l *Loop) Waiting() int { return int(l.waiting.Load()) }

// Times are when a loop does what next, and since when it cannot.
type Times struct {
	Running time.Time // since when a pass runs; zero: none does
	Poll    time.Time
	Scrub   time.Time
	Turn    time.Time // when the clock changes which holds are in force; zero: not soon

	Unfetched  time.Time // since when another host's repository cannot be fetched; zero: it can
	FetchError string
}

// times are read while passes run.
type times struct {
	mu  sync.Mutex
	now Times
}

func (t *times) set(change func(*Times)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.now)
}

// Times are when the loop does what next.
func (l *Loop) Times() Times {
	l.times.mu.Lock()
	defer l.times.mu.Unlock()
	return l.times.now
}
