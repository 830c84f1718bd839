package reconciler_test

import (
	"strings"
	"testing"
	"time"

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
