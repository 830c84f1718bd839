package reconciler

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Fetch brings what a repository's own host has, and says whether the branch has moved. A host that does not answer costs
// its time; passes go on beside it.
type Fetch func(context.Context) (moved bool, err error)

// rest is how long a follower does not listen to hints after a fetch that found nothing: many hints at once, of whatever
// kind, do not make it press its host.
const rest = 100 * time.Millisecond

// follower fetches now and then and when told to, one fetch at a time.
type follower struct {
	fetch Fetch
	every time.Duration
	has   func(commit string) bool // says whether a commit has come
	asked chan chan error
	moved chan struct{} // at most one is waiting
	tell  func(error)

	mu       sync.Mutex
	expected expectation
}

// expectation is a commit that somebody has heard of.
type expectation struct {
	commit string
	until  time.Time
}

// patience is how long a commit that was told of is asked for more often than others.
const patience = time.Hour

// expect has a commit asked for soon and again, until it comes: servers answer webhooks and fetches from different copies, and
// may be away for a moment.
func (f *follower) expect(commit string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected = expectation{commit, time.Now().Add(patience)}
}

// awaits says whether a commit that was told of has not come yet.
func (f *follower) awaits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := &f.expected
	if e.commit != "" && (f.has(e.commit) || time.Now().After(e.until)) {
		*e = expectation{}
	}
	return e.commit != ""
}

func newFollower(fetch Fetch, every time.Duration, has func(commit string) bool, tell func(error)) *follower {
	return &follower{fetch: fetch, every: every, has: has, asked: make(chan chan error), moved: make(chan struct{}, 1), tell: tell}
}

// run fetches until the context ends. While the host fails, it is asked less and less often, yet at once when somebody asks.
func (f *follower) run(ctx context.Context, wakes <-chan struct{}) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = f.every, max(f.every, 5*time.Minute)
	soon := backoff.NewExponentialBackOff()
	soon.InitialInterval, soon.MaxInterval = min(time.Second, f.every), min(time.Minute, f.every)
	next := time.NewTimer(0)
	defer next.Stop()
	hints, rested := wakes, (<-chan time.Time)(nil)
	for {
		var waiting []chan error
		select {
		case <-ctx.Done():
			return
		case <-rested:
			hints, rested = wakes, nil
			continue
		case <-next.C:
		case <-hints:
			soon.Reset()
		case one := <-f.asked:
			waiting = append(waiting, one)
		}
		for more := true; more; {
			select {
			case one := <-f.asked:
				waiting = append(waiting, one)
			default:
				more = false
			}
		}
		moved, err := f.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		f.tell(err)
		hints, rested = nil, time.After(rest)
		if moved {
			hints, rested = wakes, nil
			select {
			case f.moved <- struct{}{}:
			default: // one pass sees all
			}
		}
		for _, one := range waiting {
			one <- err // has room for one
		}
		wait := jittered(f.every)
		if err != nil {
			wait = retry.NextBackOff()
		} else {
			retry.Reset()
		}
		if f.awaits() {
			wait = min(wait, soon.NextBackOff())
		}
		next.Reset(wait)
	}
}

// jittered is up to a tenth more or less, so that many services do not ask one host at once.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// now fetches and waits for the end of it.
func (f *follower) now(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case f.asked <- reply:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
