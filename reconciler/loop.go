package reconciler

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Loop runs passes for as long as a service lives: when the branch moves, when somebody asks, and now and then to find
// damage and what time has changed. One pass runs at a time; whatever asks for one meanwhile shares the next.
type Loop struct {
	*Reconciler
	Poll    time.Duration   // how often the branch is looked at; this is what counts
	Hints   <-chan struct{} // something in the repository may have changed: look at once
	Scrub   time.Duration   // how often every name below the root is looked at; default 10 minutes
	Digests time.Duration   // in how long every archive is read, a share at each scrub; default a day
	kicks   chan chan Done
	ended   chan struct{}
	seen    string // commit for which look made a pass; empty when there was none
	tried   string // commit of the last pass
	current string // what the root's link held after it
	shelf   byte   // whose archives the next scrub reads first
	err     error  // of the last pass
	told    string // the last failure that was logged
	retry   *backoff.ExponentialBackOff
	retryAt time.Time
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
	l := &Loop{Reconciler: r, Poll: poll, Hints: hints, Scrub: 10 * time.Minute, Digests: 24 * time.Hour, kicks: make(chan chan Done), ended: make(chan struct{})}
	l.shelf = byte(rand.N(256)) // a service that never lives for a day reads all of them too
	l.retry = backoff.NewExponentialBackOff()
	l.retry.InitialInterval, l.retry.MaxInterval = time.Second, 5*time.Minute
	return l
}

// Run runs passes until the context ends. A pass that fails is tried again, later and later; one that found problems in the
// site, when the site or the time has changed.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.ended)
	poll, scrub := time.NewTicker(l.Poll), time.NewTicker(l.Scrub)
	defer poll.Stop()
	defer scrub.Stop()
	l.pass(ctx, Names)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-scrub.C:
			l.scrubSome(ctx)
		case <-poll.C:
			l.look(ctx)
		case <-l.Hints:
			l.look(ctx)
		case <-l.again():
			l.pass(ctx, Trusting)
		case first := <-l.kicks:
			l.answer(ctx, first)
		}
	}
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

// look makes a pass if the branch has moved.
func (l *Loop) look(ctx context.Context) {
	c, err := l.Repo.Resolve(l.Branch)
	if err == nil && c.ID == l.tried || l.retries() && c.ID == l.seen {
		return
	}
	l.seen = c.ID
	l.pass(ctx, Trusting)
}

// answer makes one pass for everybody who asks for one now.
func (l *Loop) answer(ctx context.Context, first chan Done) {
	waiting := []chan Done{first}
	for {
		select {
		case next := <-l.kicks:
			waiting = append(waiting, next)
			continue
		default:
		}
		break
	}
	done := l.unlessNothingToDo(ctx)
	for _, w := range waiting {
		w <- done // has room for one
	}
}

// unlessNothingToDo makes a pass, but not if the last one is known to stand: same commit, and nobody else has published.
func (l *Loop) unlessNothingToDo(ctx context.Context) Done {
	c, err := l.Repo.Resolve(l.Branch)
	if err == nil && l.err == nil && c.ID == l.tried && l.link() == l.current && !l.unfinishedByOther() {
		return Done{Report: report.Report{Commit: c.ID}, Unchanged: true}
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
	rep, err := l.Pass(ctx, depth)
	if ctx.Err() != nil {
		return Done{Report: rep, Err: ctx.Err()}
	}
	if rep.Commit != l.tried || err == nil {
		l.retry.Reset()
	}
	l.tried, l.err, l.current = rep.Commit, err, l.link()
	l.retryAt = time.Now().Add(l.retry.NextBackOff())
	l.tell(rep, err)
	return Done{Report: rep, Err: err}
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
	reply := make(chan Done, 1)
	select {
	case l.kicks <- reply:
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
