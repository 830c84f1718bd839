package reconciler_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// looping is a service without its servers, on a clock that a test moves.
type looping struct {
	*follower
	*reconciler.Loop
	ahead atomic.Int64 // nanoseconds, of the real clock
}

// loop starts a loop that nothing but holds wakes up.
func loop(t *testing.T, f *follower, turns time.Duration) *looping {
	t.Helper()
	l := &looping{follower: f}
	f.Now = func() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }
	l.Loop = reconciler.NewLoop(f.Reconciler, 24*time.Hour, nil)
	l.Turns = turns
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
	})
	return l
}

func (l *looping) eventually(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	l.t.Fatalf("not after five minutes: %s\n%s", what, l.log)
}

func (l *looping) publishes(commit string) {
	l.t.Helper()
	l.eventually("commit "+commit+" is published", func() bool {
		g, _ := observeRoot(l.t, l.Loop.Root).Published()
		return g.Commit == commit
	})
}

// kicked has a pass made, and checks which commit is published after it.
func (l *looping) kicked(want string) {
	l.t.Helper()
	if done := l.Kick(l.t.Context()); done.Err != nil {
		l.t.Fatal(done.Err)
	}
	if got := l.commitServed(); got != want {
		l.t.Fatalf("%s is published, want %s", got, want)
	}
}

func TestTheEndOfAHoldMakesAPass(t *testing.T) {
	f := newFollower(t)
	first := f.head()
	l := loop(t, f, time.Hour) // only the end itself wakes it up
	l.publishes(first)
	done := l.Do(t.Context(), func(ctx context.Context) error {
		_, err := f.Place(ctx, observed.Hold{Scope: "site", Reason: "r", By: "ann", Until: time.Now().Add(8 * time.Second)}) // a pass has to end before
		return err
	})
	must(t, done.Err)
	f.change("scripts/env", "echo global", "echo other")
	l.publishes(f.head())
}

func TestTheLoopSeesAJumpOfTheClock(t *testing.T) {
	f := newFollower(t)
	first := f.head()
	year, month, day := time.Now().UTC().Date()
	tomorrow := time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	f.Freezes = []plan.Freeze{{Name: "now", Scope: desired.SiteScope, Reason: "users", Once: true, Begin: tomorrow.AddDate(0, 0, -3), End: tomorrow.AddDate(0, 0, 30)}}
	l := loop(t, f, 10*time.Millisecond)
	l.ahead.Store(int64(-10 * 24 * time.Hour)) // before the freeze
	l.publishes(first)
	l.ahead.Store(0)
	f.change("scripts/env", "echo global", "echo other")
	l.kicked(first)
	l.ahead.Store(int64(40 * 24 * time.Hour))
	l.publishes(f.head())
	second := f.head()
	l.ahead.Store(0) // the freeze is in force again, and what is published stays
	f.change("scripts/env", "echo other", "echo third")
	l.kicked(second)
}

func TestTheLoopFollowsTheMachine(t *testing.T) {
	f := newFollower(t)
	first := f.head()
	state := filepath.Join(t.TempDir(), "beam")
	say := func(word string) {
		must(t, os.WriteFile(state+".new", []byte(word+"\n"), 0o600), os.Rename(state+".new", state))
	}
	say("off")
	f.Machines = []observe.MachineSource{{Name: "beam", Scope: desired.SiteScope, Reason: "beam is on", File: state}}
	l := loop(t, f, 10*time.Millisecond)
	l.publishes(first)
	for _, word := range []string{"ON", "trip?", ""} {
		say(word)
		before := l.commitServed()
		f.change("scripts/env", "echo", "echo more;echo")
		l.kicked(before)
		say("off")
		l.publishes(f.head())
	}
	must(t, os.Remove(state)) // nobody knows: then it stays
	before := l.commitServed()
	f.change("scripts/env", "echo", "echo more;echo")
	l.kicked(before)
	must(t, f.Override(t.Context(), observed.Override{Hold: "machine.beam", Reason: "it is off", By: "ann", Until: time.Now().Add(time.Hour)}))
	l.publishes(f.head())
}

func TestWhatCannotBeDoneMakesNoPass(t *testing.T) {
	f := newFollower(t)
	l := loop(t, f, time.Hour)
	l.publishes(f.head())
	before := f.commitServed()
	f.change("scripts/env", "echo global", "echo other")
	done := l.Do(t.Context(), func(ctx context.Context) error { return f.Lift(ctx, "h-7", "ann") })
	if done.Err == nil || f.commitServed() != before {
		t.Errorf("%v; %s is published", done.Err, f.commitServed())
	}
	if times := l.Times(); times.Poll.IsZero() || times.Scrub.IsZero() || !times.Running.IsZero() {
		t.Errorf("times %+v", times)
	}
}

// TestTheClockAndFECsBringPilotsFurther: nobody asks for a pass but the loop itself.
func TestTheClockAndFECsBringPilotsFurther(t *testing.T) {
	p := newPiloting(t)
	start := time.Until(now)
	l := &looping{follower: p.follower}
	l.ahead.Store(int64(start))
	p.Now = func() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }
	p.mirrored()
	l.Loop = reconciler.NewLoop(p.Reconciler, 24*time.Hour, nil)
	l.Turns = 100 * time.Millisecond
	p.prover.Kick = func(ctx context.Context) { l.Kick(ctx) }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- l.Run(ctx) }()
	go func() { ended <- p.prover.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
		must(t, <-ended)
	})
	version := func(fec, want string) {
		t.Helper()
		l.eventually(fec+" gets "+want, func() bool {
			_, err := os.Lstat(filepath.Join(p.follower.Root, "current/fecs", fec, "software", "bpm-"+want+".tar.gz"))
			return err == nil
		})
	}
	version("kgp2cu01", "1.1.0")
	p.says("kgp2cu01", "running")
	l.ahead.Store(int64(start + 26*time.Hour))
	version("kgp2cu03", "1.1.0")
	l.ahead.Store(int64(start + 42*24*time.Hour))
	version("kgp2cu01", "1.0.0")
	version("kgp2cu03", "1.0.0")
}
