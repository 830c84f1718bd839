package reconciler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// swaps has a prerequisite foo, which somebody signs, and then a commit that somebody else signs, or nobody: it makes the one the other by their names alone.
func (p *providing) swaps(signer, old, new, swapper string) {
	p.t.Helper()
	foo := strings.ReplaceAll(strings.Replace(p.declaration(), "prerequisites: dbus", "prerequisites: foo", 1), old, new)
	p.write("foo.cue", foo)
	p.signed(signer, "foo")
	p.settled()
	p.later(time.Minute)
	p.write("foo.cue", strings.Replace(foo, "prerequisites: foo", "prerequisites: dbus", 1))
	p.write("dbus.cue", strings.Replace(p.declaration(), "prerequisites: dbus", "prerequisites: foo", 1))
	p.signed(swapper, "tidy up")
}

// TestALineHandsOverWhatItWasSignedFor: whoever signed that somebody answers for one prerequisite has not handed another over.
func TestALineHandsOverWhatItWasSignedFor(t *testing.T) {
	for swapper, want := range map[string]string{outsider: coordinator, "": coordinator, coordinator: outsider} {
		p := newProviding(t)
		p.settled()
		p.later(time.Minute)
		p.swaps(coordinator, `responsible: "`+coordinator, `responsible: "`+outsider, swapper)
		p.settled()
		if got := p.served().Responsible; got != want {
			t.Errorf("%q swaps: %s answers, want %s", swapper, got, want)
		}
	}
}

// TestWhoeverPutsLinesToAnotherUseHasWrittenThat: he may not review it, although others have signed each line.
func TestWhoeverPutsLinesToAnotherUseHasWrittenThat(t *testing.T) {
	p := newProviding(t)
	p.settled()
	p.swaps(developer, `"dbus-daemon", "--version"`, `"curl", "other"`, outsider)
	p.says(outsider, outsider, "review", `verdict: "pass"`)
	p.is("he reviews it himself", "review", plan.GateBlocked, outsider+" wrote it: somebody else must review it")
}

// TestHistoryOfOneKeepsNoOther: one prerequisite that has been moved more often than anybody reads is looked at once, and gives way; another is handed over meanwhile.
func TestHistoryOfOneKeepsNoOther(t *testing.T) {
	was := reconciler.MaxSayings(8)
	t.Cleanup(func() { reconciler.MaxSayings(was) })
	p := newProviding(t)
	p.settled()
	p.write("a0.cue", strings.ReplaceAll(strings.Replace(p.declaration(), "prerequisites: dbus", "prerequisites: aaa", 1), coordinator, outsider))
	p.signed("", "aaa")
	p.settled()
	p.write("a0.cue", strings.ReplaceAll(p.read("a0.cue"), outsider, tester))
	p.signed("", "hand it over, unsigned")
	for i := range 12 {
		p.git("mv", fmt.Sprintf("a%d.cue", i), fmt.Sprintf("a%d.cue", i+1))
		p.git("commit", "-qm", "move")
	}
	p.names(coordinator, owner)
	asked, moves := 0, true
	find := func() int {
		asked = 0
		found, err := p.prover.Find(t.Context(), func() bool { asked++; return moves && asked > 4 })
		must(t, err)
		return found
	}
	if found := find(); found != 0 || asked > 6 {
		t.Errorf("it has moved on: %d are found, asked %d times", found, asked)
	}
	moves = false
	if found := find(); found != 1 {
		t.Errorf("dbus is handed over: %d are found, asked %d times", found, asked)
	}
	p.pass()
	if all, err := p.SeePrerequisites(t.Context()); err != nil || all[1].Responsible != owner || all[0].Responsible != outsider {
		t.Errorf("%v: %+v", err, all)
	}
	p.later(2 * time.Minute)
	if find(); asked < 8 {
		t.Errorf("aaa is not looked at: asked %d times", asked)
	}
	p.git("commit", "-q", "--allow-empty", "-m", "another head")
	p.later(2 * time.Minute)
	if find(); asked > 4 {
		t.Errorf("it is looked at once more: asked %d times", asked)
	}
}

// TestHistoryThatIsLostKeepsNoOther: of one prerequisite nobody knows who answers; the other is judged.
func TestHistoryThatIsLostKeepsNoOther(t *testing.T) {
	p := newProviding(t)
	p.settled()
	p.later(time.Minute)
	p.names(coordinator, owner)
	p.settled()
	p.later(time.Minute)
	p.write("zed.cue", strings.Replace(p.declaration(), "prerequisites: dbus", "prerequisites: zed", 1))
	p.signed(developer, "zed")
	p.settled()
	p.later(time.Minute)
	p.names("", tester)
	p.git("commit", "-q", "--allow-empty", "-m", "an end of what is there")
	p.pass()
	p.loses("HEAD~1")
	must(t, p.prover.Step(t.Context()))
	all, err := p.SeePrerequisites(t.Context())
	if err != nil || len(all) != 2 || all[1].Responsible != coordinator || all[0].Responsible != "" {
		t.Errorf("%v: %+v", err, all)
	}
}

// TestANameIsFreeOnceNothingOfItWasProven: whoever declared something by a name long ago does not answer for what others declare by it, unless anything was proven of that.
func TestANameIsFreeOnceNothingOfItWasProven(t *testing.T) {
	for _, known := range []bool{true, false} {
		for _, proven := range []bool{false, true} {
			p := newProviding(t)
			if known {
				p.settled()
			}
			p.later(time.Minute)
			if proven {
				p.says(coordinator, coordinator, "retire", retires)
				p.settled()
			}
			p.git("rm", "-q", "dbus.cue", "evidence*.cue", "--ignore-unmatch")
			p.write("site.cue", strings.Replace(p.read("site.cue"), bookworm, "", 1))
			p.git("commit", "-qam", "nobody needs it")
			if known || proven {
				p.settled()
			}
			p.later(time.Minute)
			p.write("site.cue", strings.Replace(p.read("site.cue"), "scripts:", bookworm+"scripts:", 1))
			p.names(developer, owner)
			p.settled()
			want := owner
			if proven {
				want = coordinator
			}
			if got := p.served().Responsible; got != want {
				t.Errorf("known before: %t, proven: %t: %s answers, want %s", known, proven, got, want)
			}
			if got := p.judged().Responsible; !proven && got != owner {
				t.Errorf("known before: %t: a command says that %s answers", known, got)
			}
		}
	}
}

// TestALostLedgerHandsNothingBack to whoever's key was taken away: nobody answers then, until an operator says who.
func TestALostLedgerHandsNothingBack(t *testing.T) {
	p := newProviding(t)
	p.settled()
	p.later(time.Minute)
	p.names(coordinator, owner)
	p.settled()
	p.forgetKey(coordinator)
	p.piloting = p.restarted()
	answers := func(when, want string) {
		t.Helper()
		p.settled()
		if got := p.served().Responsible; got != want {
			t.Errorf("%s: %q answers, want %q", when, got, want)
		}
		p.later(time.Minute)
	}
	answers("his key is gone", owner)
	p.piloting = p.lost()
	answers("the ledger is lost", "")
	p.Checks.Named = func(commit string) bool { return commit == p.head() }
	answers("an operator took it", owner)
}
