package reconciler

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollower asks less and less often while the host fails, at once when somebody asks, and one fetch at a time.
func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		down := errors.New("down")
		var fetches, running atomic.Int64
		var failure atomic.Pointer[error]
		failure.Store(&down)
		told := []error{}
		var came atomic.Value // string
		f := newFollower(func(context.Context) (bool, error) {
			if running.Add(1) > 1 {
				t.Error("two fetches at once")
			}
			defer running.Add(-1)
			fetches.Add(1)
			time.Sleep(time.Second)
			if err := *failure.Load(); err != nil {
				return false, err
			}
			return true, nil
		}, 30*time.Second, func(commit string) bool { return commit == came.Load() }, func(err error) { told = append(told, err) })
		wakes := make(chan struct{}, 1)
		ended := make(chan struct{})
		go func() { f.run(ctx, wakes); close(ended) }()
		time.Sleep(time.Hour)
		if n := fetches.Load(); n < 10 || n > 40 {
			t.Errorf("%d fetches in an hour of failure", n)
		}
		var up error
		failure.Store(&up)
		before := fetches.Load()
		results := make(chan error, 20)
		for range 20 {
			go func() { results <- f.now(ctx) }()
		}
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := fetches.Load() - before; n > 3 {
			t.Errorf("%d fetches for twenty who asked at once", n)
		}
		select {
		case <-f.moved:
		default:
			t.Error("nobody is told that the branch moved")
		}
		before = fetches.Load()
		wakes <- struct{}{}
		time.Sleep(2 * time.Second)
		if n := fetches.Load() - before; n != 1 {
			t.Errorf("%d fetches after a wake", n)
		}
		before = fetches.Load()
		time.Sleep(10 * time.Minute)
		if n := fetches.Load() - before; n < 18 || n > 22 {
			t.Errorf("%d fetches in ten minutes of health, want about 20", n)
		}
		f.expect("one")
		before = fetches.Load()
		wakes <- struct{}{}
		time.Sleep(time.Minute)
		if n := fetches.Load() - before; n < 5 || n > 12 {
			t.Errorf("%d fetches in the minute after a commit was told of", n)
		}
		came.Store("one")
		time.Sleep(time.Minute)
		before = fetches.Load()
		time.Sleep(10 * time.Minute)
		if n := fetches.Load() - before; n < 18 || n > 22 {
			t.Errorf("%d fetches in ten minutes after it came, want about 20", n)
		}
		cancel()
		<-ended
		if !errors.Is(told[0], down) || told[len(told)-1] != nil {
			t.Errorf("told %v", told)
		}
	})
}

// TestHintsShareFetches gives ten thousand hints in a minute, and again while the branch moves each time that it is looked at.
func TestHintsShareFetches(t *testing.T) {
	for name, c := range map[string]struct {
		moves       bool
		least, most int64
	}{"nothing moves": {false, 400, 620}, "the branch moves": {true, 8000, 10001}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var fetches atomic.Int64
				f := newFollower(func(context.Context) (bool, error) { fetches.Add(1); return c.moves, nil }, 24*time.Hour, func(string) bool { return true }, func(error) {})
				wakes, ended := make(chan struct{}, 1), make(chan struct{})
				go func() { f.run(ctx, wakes); close(ended) }()
				for range 10_000 {
					select {
					case wakes <- struct{}{}:
					default:
					}
					time.Sleep(6 * time.Millisecond)
				}
				before := fetches.Load()
				if before < c.least || before > c.most {
					t.Errorf("%d fetches", before)
				}
				time.Sleep(time.Second)
				wakes <- struct{}{}
				synctest.Wait()
				if fetches.Load() == before {
					t.Error("a hint after a rest is not heard at once")
				}
				cancel()
				<-ended
			})
		})
	}
}
