package reconciler_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// TestLooksDoNotHastenAFailingPass looks very often while each pass fails before it knows its commit.
func TestLooksDoNotHastenAFailingPass(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	must(t, os.WriteFile(filepath.Join(root, durable.Unfinished), nil, 0o600)) // else nothing is written before the commit is known
	r, passes := s.reconciler(root), 0
	r.Hook = func(durable.Op, func() error) error {
		passes++
		return errors.New("the disk is full")
	}
	hints := make(chan struct{})
	loop := reconciler.NewLoop(r, time.Hour, hints)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error)
	go func() { ended <- loop.Run(ctx) }()
	for range 200 {
		hints <- struct{}{}
	}
	stop()
	must(t, <-ended)
	if passes == 0 || passes > 20 {
		t.Errorf("%d passes for 200 looks at one commit", passes)
	}
}

// fetchObserver notes how fetches went.
type fetchObserver struct {
	mu   sync.Mutex
	errs []error
}

func (*fetchObserver) Stage(string, time.Duration)               {}
func (*fetchObserver) Looked(string, time.Duration, bool, error) {}
func (*fetchObserver) Passed(reconciler.Done)                    {}

func (o *fetchObserver) Fetched(_ time.Duration, _ bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, err)
}

// TestObserversAreToldOfTheHostNotOfItsMirror has a host down whose mirror can be read: whoever watches must see the host.
func TestObserversAreToldOfTheHostNotOfItsMirror(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	down := errors.New("the host is down")
	for name, c := range map[string]struct {
		follow func(*reconciler.Loop)
		want   error
	}{
		"another host's": {func(l *reconciler.Loop) { l.Follow(func(context.Context) (bool, error) { return false, down }) }, down},
		"this machine's": {func(*reconciler.Loop) {}, nil},
	} {
		r, seen := s.reconciler(root), &fetchObserver{}
		r.Observers = append(r.Observers, seen)
		loop := reconciler.NewLoop(r, time.Hour, nil)
		c.follow(loop)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- loop.Run(ctx) }()
		if done := loop.Kick(ctx); !errors.Is(done.Err, c.want) {
			t.Errorf("%s: %v", name, done.Err)
		}
		must(t, loop.Do(ctx, nil).Err) // looks at the branch
		if told := loop.Times(); told.Unfetched.IsZero() != (c.want == nil) || c.want != nil && told.FetchError != c.want.Error() {
			t.Errorf("%s: its status says that it cannot be fetched since %s: %q", name, told.Unfetched, told.FetchError)
		}
		stop()
		must(t, <-ended)
		if len(seen.errs) == 0 {
			t.Errorf("%s: nobody was told of a fetch", name)
		}
		for _, err := range seen.errs {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: told %v, want %v", name, err, c.want)
			}
		}
	}
}
