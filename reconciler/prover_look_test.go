package reconciler_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// loses takes an object of the repository away that nobody has packed.
func (p *piloting) loses(rev string) {
	p.t.Helper()
	id := p.git("rev-parse", rev)
	must(p.t, os.Remove(filepath.Join(p.dir, ".git/objects", id[:2], id[2:])))
}

// TestNobodyIsAskedAgainWithoutCause: history that only who asks again would read is gone.
func TestNobodyIsAskedAgainWithoutCause(t *testing.T) {
	p := deployed(t)
	p.records("", tester, "feedback", `text: "works well here"`)
	p.pass()
	must(t, p.prover.Step(t.Context()))
	p.loses("HEAD~1^{tree}")
	p.later(2 * time.Minute)
	must(t, p.prover.Step(t.Context()))
	must(t, os.WriteFile(filepath.Join(p.keys, "allowed"), nil, 0o600))
	if err := p.prover.Step(t.Context()); err == nil {
		t.Error("nobody asks again although other signers count")
	}
}

// TestAHaltIsEnteredBeforeAnythingElseIsLookedAt: a pass is made by it then.
func TestAHaltIsEnteredBeforeAnythingElseIsLookedAt(t *testing.T) {
	p := deployed(t)
	p.records(developer, developer, "feedback", `text: "works well here"`)
	p.records(tester, tester, "halt", `reason: "positions jump by a millimetre"`)
	p.pass()
	p.kicked = func() {
		p.kicked = nil
		p.pass()
		p.gets("before anything else is looked at", "1.0.0", "1.0.0")
		if now, err := p.Pilots(t.Context()); err != nil || len(now) != 1 || !slices.Contains(now[0].Doubted, "feedback-5") {
			t.Errorf("all is known: %v", err)
		}
	}
	must(t, p.prover.Step(t.Context()))
	if p.kicks == 0 {
		t.Error("no pass is asked for")
	}
}
