package reconciler_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// kill lets the restarter run until it dies at a point.
func (f *floor) kill(point string) {
	f.t.Helper()
	f.s.DiesAt(func(at, _ string) bool {
		*f.dead = *f.dead || at == point
		return !*f.dead
	})
	f.steps("dead", func() bool { return false })
}

// TestAServiceThatWasAwayFailsNobody was away for longer than a FEC may take, and has heard nothing meanwhile.
func TestAServiceThatWasAwayFailsNobody(t *testing.T) {
	f := newFloor(t, `pace: {wave: "1", within: "1m"}`, 2, "a")
	f.publish("software/bpm.cue", "software: bpm: onUpdate: \"restart\"", "software: bpm: {onUpdate: \"restart\", onFail: \"previous\"}")
	f.steps("all known", f.all(plan.StandsCurrent))
	shell := f.s.Shell.(*remote.SSH)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.kill("asked")
	f.r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	f.start(shell)
	f.steps("all run", f.all(plan.StandsCurrent))
	if f.paused != "" || len(f.failed) > 0 {
		t.Errorf("paused %q, failed %v", f.paused, f.failed)
	}
}

// TestWhatWasNotAskedHeedsHolds died after it had noted whom it asks, before it did.
func TestWhatWasNotAskedHeedsHolds(t *testing.T) {
	f := newFloor(t, `pace: wave: "100%"`, 2, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	shell := f.s.Shell.(*remote.SSH)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.kill("asking")
	hold, err := f.r.Place(t.Context(), observed.Hold{Scope: "site", Reason: "beam", By: "ann", Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	f.start(shell)
	f.steps("all are held", f.all(plan.StandsHeld))
	for name, n := range f.starts() {
		if n != 1 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
	if err := f.r.Lift(t.Context(), hold.ID, "ann"); err != nil {
		t.Fatal(err)
	}
	f.steps("all run", f.all(plan.StandsCurrent))
	for name, n := range f.starts() {
		if n != 2 {
			t.Errorf("%s was started %d times", name, n)
		}
	}
}

// TestAFECThatBootsIsLeftToIt has lost its power when its turn comes.
func TestAFECThatBootsIsLeftToIt(t *testing.T) {
	f := newFloor(t, `pace: wave: "100%"`, 1, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	fec := f.crowd.FEC("a00")
	fec.Answer(func(command string, _ io.Reader, stdout, _ io.Writer) (int, bool) {
		if command != "pomona-fec status" {
			return 0, false
		}
		_, _ = io.WriteString(stdout, "pomona-fec 1\nfec a00\nboot x-y\nend\n")
		return 0, true
	})
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("it is held", f.all(plan.StandsHeld))
	if n := f.starts()["a00"]; n != 1 || !strings.Contains(f.text(), "boot") {
		t.Errorf("started %d times\n%s", n, f.text())
	}
}

// TestAFECRunsAnotherReleaseThanItProvedLast has booted by itself, and proved nothing since.
func TestAFECRunsAnotherReleaseThanItProvedLast(t *testing.T) {
	f := newFloor(t, `pace: wave: "100%"`, 1, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	f.order("pause")
	f.publish("fecs/fecs.cue", `init: "50-bpm"`, `init: "60-new": file: "scripts/bpm"
		init: "50-bpm"`) // needs a reboot
	f.crowd.FEC("a00").Boot(t.Context())
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.order("resume")
	f.steps("it runs", f.all(plan.StandsCurrent))
	if s := f.crowd.FEC("a00").Status(); s.Boots != 2 || s.Starts != 3 {
		t.Errorf("a restart would have done: %+v", s)
	}
}

// TestAbortBeforeAnythingIsKnown must not end a pause.
func TestAbortBeforeAnythingIsKnown(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 1, "a")
	if _, err := f.s.Carry(t.Context(), reconciler.RestartOrder{Do: "abort", By: "ann"}); err == nil {
		t.Error("it aborts nothing, and says that it did")
	}
}

// TestAServiceThatDiesOverAFailure has recorded it: what the site wants then has been done before.
func TestAServiceThatDiesOverAFailure(t *testing.T) {
	f := newFloor(t, `pace: {wave: "1", within: "1m"}`, 1, "a")
	f.publish("software/bpm.cue", "software: bpm: onUpdate: \"restart\"", "software: bpm: {onUpdate: \"restart\", onFail: \"previous\"}")
	f.steps("all known", f.all(plan.StandsCurrent))
	shell := f.s.Shell.(*remote.SSH)
	fec := f.crowd.FEC("a00")
	fec.Answer(func(command string, _ io.Reader, stdout, _ io.Writer) (int, bool) {
		if !strings.HasPrefix(command, "pomona-fec restart") {
			return 0, false
		}
		_, _ = io.WriteString(stdout, "accepted\n") // and nothing comes of it
		return 0, true
	})
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("it restarts", f.all(plan.StandsUnderway))
	f.r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	f.kill("failed")
	f.start(shell)
	f.r.Now = time.Now // its crowd has no other
	f.pass()
	if g := observeRoot(t, f.root).Generations; len(g[len(g)-1].Givens.Held) != 1 {
		t.Error("it does not get the release before")
	}
}

// TestAnOperatorsPauseHoldsWhatReturns to the release before, and one of Pomona does not.
func TestAnOperatorsPauseHoldsWhatReturns(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 2, "a")
	f.publish("software/bpm.cue", "software: bpm: onUpdate: \"restart\"", "software: bpm: {onUpdate: \"restart\", onFail: \"previous\"}")
	f.steps("all known", f.all(plan.StandsCurrent))
	fec := f.crowd.FEC("a00")
	fec.Break(true)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("it failed", func() bool { return len(f.failed) > 0 })
	f.order("pause")
	fec.Break(false)
	for range 5 {
		f.steps("it waits", func() bool { return true })
	}
	if n := f.starts()["a00"]; n != 2 {
		t.Errorf("started %d times in a pause", n)
	}
	f.order("resume")
	f.steps("it returns", func() bool { return f.starts()["a00"] == 3 })
}

// deaf is FECs that do not answer, each for half a minute.
type deaf struct {
	mu    sync.Mutex
	now   time.Time
	asked map[string]int
	then  func() // is called when one was asked
}

func (d *deaf) Run(_ context.Context, h remote.Host, _ string, _ io.Reader, _ io.Writer) error {
	d.mu.Lock()
	d.now = d.now.Add(30 * time.Second)
	d.asked[h.Name]++
	d.mu.Unlock()
	if d.then != nil {
		d.then()
	}
	return errors.New("no answer")
}

func (d *deaf) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// TestFECsThatDoNotAnswerDelayNoDecision for long, and each is asked all the same.
func TestFECsThatDoNotAnswerDelayNoDecision(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 6, "a")
	d := &deaf{now: time.Now(), asked: map[string]int{}}
	f.s.Shell, f.s.AtOnce, f.r.Now = d, 1, d.clock
	for range 8 {
		before := d.clock()
		if err := f.s.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := d.clock().Sub(before); took > time.Minute {
			t.Fatalf("a decision took %s", took)
		}
	}
	if len(d.asked) != 6 {
		t.Errorf("asked were %v", d.asked)
	}
}

// TestAHoldStopsAWave that has begun: those of it that were not asked yet.
func TestAHoldStopsAWave(t *testing.T) {
	f := newFloor(t, `pace: wave: "100%"`, 6, "a")
	f.steps("all known", f.all(plan.StandsCurrent))
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	d := &deaf{now: time.Now(), asked: map[string]int{}}
	d.then = sync.OnceFunc(func() {
		if _, err := f.r.Place(t.Context(), observed.Hold{Scope: "site", Reason: "beam", By: "ann", Until: d.clock().Add(time.Hour)}); err != nil {
			t.Error(err)
		}
	})
	f.s.Shell, f.s.AtOnce, f.r.Now = d, 1, d.clock
	if err := f.s.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.asked) > 2 {
		t.Errorf("after a hold was placed: %v", d.asked)
	}
}

// TestAFECReturnsToWhatItRan and not to another release that did not run either.
func TestAFECReturnsToWhatItRan(t *testing.T) {
	f := newFloor(t, `pace: wave: "1"`, 1, "a")
	f.publish("software/bpm.cue", "software: bpm: onUpdate: \"restart\"", "software: bpm: {onUpdate: \"restart\", onFail: \"previous\"}")
	f.steps("all known", f.all(plan.StandsCurrent))
	good := f.head()
	f.crowd.FEC("a00").Break(true)
	f.publish("fecs/fecs.cue", `"1.0.0"`, `"1.1.0"`)
	f.steps("it failed", func() bool { return f.failed["a00"] != "" })
	f.order("pause")
	first := f.failed["a00"]
	f.publish("fecs/fecs.cue", `init: "50-bpm"`, `init: "60-new": file: "scripts/bpm"
		init: "50-bpm"`) // another attempt
	f.order("resume")
	f.steps("it failed again", func() bool { return f.failed["a00"] != first })
	g := observeRoot(t, f.root).Generations
	if held := g[len(g)-1].Givens.Held; len(held) != 1 || !f.sameFEC(held[0].Commit, good) {
		t.Errorf("held are %+v, want one at a commit like %s", held, good)
	}
}

// sameFEC says whether the FECs of two commits are the same.
func (f *floor) sameFEC(a, b string) bool {
	f.t.Helper()
	var texts []string
	for _, commit := range []string{a, b} {
		out, err := exec.CommandContext(f.t.Context(), "git", "-C", f.site.dir, "show", commit+":fecs/fecs.cue").Output()
		if err != nil {
			f.t.Fatal(err)
		}
		texts = append(texts, string(out))
	}
	return texts[0] == texts[1]
}
