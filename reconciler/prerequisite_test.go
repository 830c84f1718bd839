package reconciler_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// providing is a site that has one prerequisite, and people whose signatures count.
type providing struct{ *piloting }

func newProviding(t *testing.T) *providing {
	t.Helper()
	p := &providing{newPiloting(t)}
	p.change("site.cue", "scripts:", bookworm+"scripts:")
	p.declares(p.declaration())
	return p
}

// bookworm declares the system on which it is provided.
const bookworm = `systems: bookworm: {family: "debian", release: "bookworm"}` + "\n\t"

func (p *providing) declaration() string {
	return `package site

prerequisites: dbus: {
	description: "message bus of services"
	responsible: "` + coordinator + `"
	ecosystem:   "system"
	recommended: "1.14"
	supported: ["1.14"]
	systems: bookworm: distro: {package: "dbus-daemon", candidate: "1.14.10-1", asOf: "` + now.Format(time.DateOnly) + `"}
	verify: [{run: ["dbus-daemon", "--version"]}]
	soak: "1d"
}
`
}

// declares commits the declaration, which its developer signs.
func (p *providing) declares(text string) { p.declaresAs(developer, text) }

// declaresAs commits a declaration that somebody signs; nobody: that is not signed.
func (p *providing) declaresAs(signer, text string) {
	p.t.Helper()
	p.write("dbus.cue", text)
	p.signed(signer, "declare")
}

// says has somebody sign a record of another, or nobody sign it.
func (p *providing) says(signer, by, kind, fields string) (file string) {
	p.t.Helper()
	p.n++
	file = fmt.Sprintf("evidence%d.cue", p.n)
	p.write(file, fmt.Sprintf("package site\n\nprerequisites: dbus: records: \"%s-%d\": {\n\tkind: %q\n\tby: %q\n\tat: %q\n\tsubject: %q\n\t%s\n}\n",
		kind, p.n, kind, by, p.Now().UTC().Format(time.RFC3339), p.judged().Digest, fields))
	p.git("add", "-A")
	p.signs(signer, "commit", "-qm", "say "+kind)
	return file
}

func (p *providing) signs(signer, command string, args ...string) {
	p.t.Helper()
	args = append([]string{command}, args...)
	if signer != "" {
		args = append([]string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(p.keys, signer)}, append(args, "-S")...)
	}
	p.git(args...)
}

// judged is how far the prerequisite is at the head of the branch, as a command finds out by itself.
func (p *providing) judged() plan.Prerequisite {
	p.t.Helper()
	r := *p.Reconciler
	r.Records = nil
	all, err := r.Prerequisites(p.t.Context(), p.prover.Approvers)
	must(p.t, err)
	return all[0]
}

// served is how far it is as the service knows.
func (p *providing) served() plan.Prerequisite {
	p.t.Helper()
	all, err := p.SeePrerequisites(p.t.Context())
	must(p.t, err)
	return all[0]
}

// is checks a gate, both ways.
func (p *providing) is(when, gate string, want plan.GateVerdict, why string) {
	p.t.Helper()
	p.settled()
	for way, now := range map[string]plan.Prerequisite{"a command": p.judged(), "the service": p.served()} {
		for _, g := range now.Gates {
			if g.Name == gate && (g.Verdict != want || !strings.Contains(g.Why, why)) {
				p.t.Errorf("%s, %s: %s is %s: %s, want %s: %s", when, way, gate, g.Verdict, g.Why, want, why)
			}
		}
	}
}

const trialGate = "trial of 1.14 on bookworm"

const goodTrial = `system: "bookworm", version: "1.14", jobs: {install: exit: 0, again: {exit: 0, changed: 0}, verify: exit: 0}`

// TestWhoeverBringsEvidenceBackHasNotWrittenIt: evidence that somebody forged is not by whom it names, although he signs that it is moved, or that its
// removal is taken back.
func TestWhoeverBringsEvidenceBackHasNotWrittenIt(t *testing.T) {
	p := newProviding(t)
	forged := p.says("", tester, "trial", goodTrial)
	p.is("forged", trialGate, plan.GateNeedsApproval, "it is not signed")
	p.git("rm", "-q", forged)
	p.git("commit", "-qm", "remove it, unsigned")
	p.signs(tester, "revert", "--no-edit", "HEAD")
	p.is("brought back", trialGate, plan.GateNeedsApproval, "it is not signed")
	p.git("mv", forged, "moved.cue")
	p.signs(tester, "commit", "-qm", "move it")
	p.is("moved", trialGate, plan.GateNeedsApproval, "it is not signed")
	p.later(time.Minute)
	own := p.says(tester, tester, "trial", goodTrial)
	p.git("mv", own, "own.cue")
	p.git("commit", "-qm", "move another's")
	p.is("written by himself", trialGate, plan.GatePass, "")
}

// TestProofsOfEvidenceAreRemembered: what was known once is so although keys are taken away, and since then.
func TestProofsOfEvidenceAreRemembered(t *testing.T) {
	p := newProviding(t)
	p.says(tester, tester, "trial", goodTrial)
	p.says(tester, tester, "review", `verdict: "pass"`)
	p.says(tester, tester, "rollback", `verdict: "pass"`)
	p.says(tester, tester, "integration", `verdict: "pass"`)
	p.later(48 * time.Hour) // nobody looks meanwhile
	p.settled()
	if got := p.served(); got.State != plan.PrerequisiteAccepted {
		t.Errorf("known since now, it is %s: %+v", got.State, got.Gates)
	}
	if got := p.judged(); got.State != plan.PrerequisiteProduction {
		t.Errorf("a command alone has only the word of the record: %s", got.State)
	}
	others, err := exec.Command("ssh-keygen", "-y", "-f", filepath.Join(p.keys, coordinator)).Output()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(p.keys, "allowed"), append([]byte(coordinator+" "), others...), 0o600))
	p.later(25 * time.Hour)
	p.piloting = p.restarted()
	p.settled()
	if got := p.served(); got.State != plan.PrerequisiteProduction {
		t.Errorf("a day later it is %s: %+v", got.State, got.Gates)
	}
	must(t, p.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		proofs, err := l.RecordProofs(t.Context(), "prerequisites")
		if len(proofs) != 4 {
			t.Errorf("%d proofs are remembered", len(proofs))
		}
		return err
	}))
}

// TestNobodyReviewsWhatHeHasWritten: neither signed, nor by a name that nobody proves, nor once somebody else has moved it.
func TestNobodyReviewsWhatHeHasWritten(t *testing.T) {
	wrote := func(p *providing, who, signer, old, new string) {
		p.write("dbus.cue", strings.Replace(p.declaration(), old, new, 1))
		p.git("add", "-A")
		p.signs(signer, "commit", "-qm", "change it", "--author", "N <"+who+">")
	}
	for _, c := range []struct {
		name  string
		wrote func(p *providing)
		want  plan.GateVerdict
		why   string
	}{
		{"somebody else", func(*providing) {}, plan.GatePass, ""},
		{"he has signed a line", func(p *providing) { wrote(p, "mallory@example.org", tester, "of services", "of all services") }, plan.GateBlocked,
			tester + " wrote it: somebody else must review it"},
		{"nobody has signed a line", func(p *providing) { wrote(p, "mallory@example.org", "", `"1.14.10-1"`, `"1.14.11-1"`) }, plan.GateInconclusive,
			"nobody knows who wrote it: commit "},
		{"a commit names him", func(p *providing) { wrote(p, tester, "", `"1.14.10-1"`, `"1.14.11-1"`) }, plan.GateBlocked, tester + " wrote it, as commit "},
		{"a day is not what he reviews", func(p *providing) {
			wrote(p, tester, tester, now.Format(time.DateOnly), now.AddDate(0, 0, -1).Format(time.DateOnly))
		}, plan.GatePass, ""},
		{"somebody else has moved it", func(p *providing) {
			wrote(p, tester, "", `"1.14.10-1"`, `"1.14.11-1"`)
			p.git("mv", "dbus.cue", "moved.cue")
			p.git("commit", "-qm", "move it")
		}, plan.GateBlocked, tester + " wrote it, as commit "},
		{"somebody else has said otherwise", func(p *providing) {
			wrote(p, tester, "", `"1.14.10-1"`, `"1.14.11-1"`)
			p.declares(p.declaration())
		}, plan.GatePass, ""},
		{"who answers", func(p *providing) { wrote(p, "x@example.org", "", coordinator, tester) }, plan.GateBlocked, tester + " answers for it"},
	} {
		p := newProviding(t)
		c.wrote(p)
		p.says(tester, tester, "review", `verdict: "pass"`)
		p.is(c.name, "review", c.want, c.why)
	}
}

// TestAPrerequisiteGoesOnceItIsRetired, by whoever answers for it, and does not come back without what was proven of it. A pilot of its name is another thing.
func TestAPrerequisiteGoesOnceItIsRetired(t *testing.T) {
	p := newProviding(t)
	refused := func(when, why string) {
		t.Helper()
		served := p.commitServed()
		if _, err := p.Reconcile(t.Context()); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", when, err, why)
		}
		if p.commitServed() != served {
			t.Errorf("%s: it is published", when)
		}
	}
	goes := func() {
		p.git("rm", "-q", "dbus.cue", "evidence*.cue")
		p.write("site.cue", strings.Replace(p.read("site.cue"), bookworm, "", 1))
		p.git("add", "-A")
		p.git("commit", "-qm", "nobody needs it")
	}
	p.says(tester, tester, "trial", goodTrial)
	p.says("", coordinator, "retire", `verdict: "pass", reason: "somebody has forged this one"`)
	p.settled()
	before := p.head()
	goes()
	refused("somebody else says that it is retired", "it is tested, and may go once it is retired")
	p.git("reset", "-q", "--hard", before)
	p.later(time.Minute)
	p.says(coordinator, coordinator, "retire", `verdict: "pass", reason: "no such rack is there any more"`)
	p.settled()
	before = p.head()
	goes()
	p.settled()
	if p.commitServed() != p.head() {
		t.Error("it is retired, and does not go")
	}
	gone := p.head()
	p.git("checkout", before, "--", ".")
	p.git("rm", "-qf", fmt.Sprintf("evidence%d.cue", p.n))
	p.git("commit", "-qm", "once more, without its end")
	p.settled()
	p.is("it comes back", "trial", plan.GateNeedsApproval, "a prerequisite of this name was there before, and this one does not have what was proven of that: retire-3; give this one another name")
	if p.commitServed() != p.head() {
		t.Error("nothing else is published with it")
	}
	p.git("reset", "-q", "--hard", gone)
	p.git("checkout", before, "--", ".")
	p.git("commit", "-qm", "once more, with all that was said of it")
	p.settled()
	if p.commitServed() != p.head() {
		t.Error("it has all that was said of it, and does not come back")
	}
	p.git("reset", "-q", "--hard", gone)
	p.write("pilots.cue", strings.Replace(p.read("pilots.cue"), "try:", "dbus:", 1))
	p.git("commit", "-qam", "a pilot of its name")
	p.settled()
	if p.commitServed() != p.head() {
		t.Error("a pilot of the name of a former prerequisite is refused")
	}
}

func (p *providing) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	must(p.t, err)
	return string(b)
}

// TestEvidenceIsNotProvenByNobody: where nobody can say who wrote what, it says so.
func TestEvidenceIsNotProvenByNobody(t *testing.T) {
	p := newProviding(t)
	p.says(tester, tester, "trial", goodTrial)
	r := *p.Reconciler
	r.Records = nil
	all, err := r.Prerequisites(t.Context(), reconciler.Approvers{})
	must(t, err)
	if g, ok := all[0].Next(); !ok || g.Verdict != plan.GateNeedsApproval || !strings.Contains(g.Why, "no signers and no forge are known") || g.Do != "look again once it can be known who wrote it" {
		t.Errorf("%+v", g)
	}
}
