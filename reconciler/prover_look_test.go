package reconciler_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestWhatNobodyKnowsToHaveEndedStays: an unsigned closure ends nothing while the ledger is new either, nor once the prover has looked.
func TestWhatNobodyKnowsToHaveEndedStays(t *testing.T) {
	p := deployed(t)
	p.later(time.Minute)
	p.records("", coordinator, "closure", `outcome: "withdrawn", reason: "nobody has the time to look at it"`)
	p.pass()
	must(t, p.Records.Close())
	files, err := filepath.Glob(filepath.Join(p.Root, ".pomona", "ledger*"))
	must(t, err)
	for _, f := range files {
		must(t, os.Remove(f))
	}
	p = p.restarted()
	p.pass()
	p.goes()
	stays := func(when string) {
		t.Helper()
		if _, err := p.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), "pilots.try is gone") || p.commitServed() == p.head() {
			t.Errorf("%s: %v", when, err)
		}
	}
	stays("nothing is proven yet")
	must(t, p.prover.Step(t.Context()))
	stays("nobody wrote the closure")
	p.believe(false)
	if _, err := p.Reconcile(t.Context()); err != nil || p.commitServed() != p.head() {
		t.Errorf("nobody could say who wrote it: %v", err)
	}
}
