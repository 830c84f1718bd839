package reconciler_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

const retires = `verdict: "pass", reason: "no such rack is there any more"`

// names has the declaration name somebody as answering for it, in a commit that somebody signs; nobody: that is not signed.
func (p *providing) names(signer, who string) {
	p.t.Helper()
	p.declaresAs(signer, strings.Replace(p.declaration(), `responsible: "`+coordinator, `responsible: "`+who, 1))
}

// forgetKey takes somebody's key away.
func (p *providing) forgetKey(who string) {
	p.t.Helper()
	file := filepath.Join(p.keys, "allowed")
	b, err := os.ReadFile(file)
	must(p.t, err)
	var left strings.Builder
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, who) {
			left.WriteString(line)
		}
	}
	must(p.t, os.WriteFile(file, []byte(left.String()), 0o600))
}

// TestWhoAnswersIsHandedOver: whoever merges a commit does not become who answers for a prerequisite by naming himself there.
func TestWhoAnswersIsHandedOver(t *testing.T) {
	for i, c := range []struct {
		name string
		do   func(p *providing)
		want string // who answers; nobody knows that who has seen only a history that has more than one
		why  string // of the gate; empty: there is none
	}{
		{"nobody else is named", func(*providing) {}, coordinator, ""},
		{"he names himself", func(p *providing) { p.names(outsider, outsider) }, coordinator,
			"names " + outsider + ", and " + coordinator + ", who answered for it before, has neither signed that nor approved it: "},
		{"nobody signs that", func(p *providing) { p.names("", outsider) }, coordinator, "it is not signed"},
		{"who answers signs that", func(p *providing) { p.names(coordinator, outsider) }, outsider, ""},
		{"somebody moves it then", func(p *providing) {
			p.names(coordinator, outsider)
			p.git("mv", "dbus.cue", "moved.cue")
			p.git("commit", "-qm", "move it")
		}, outsider, ""},
		{"by way of somebody else", func(p *providing) { p.names(coordinator, owner); p.names(owner, outsider) }, outsider, ""},
		{"by way of somebody who names himself", func(p *providing) { p.names(outsider, owner); p.names(owner, outsider) }, coordinator, "names " + outsider},
		{"it is set back", func(p *providing) { p.names("", outsider); p.names("", coordinator) }, coordinator, ""},
		{"it goes, and comes back with all its records", func(p *providing) {
			p.git("rm", "-q", "dbus.cue", "evidence1.cue")
			p.git("commit", "-qm", "remove it")
			p.git("checkout", "HEAD~1", "--", "evidence1.cue")
			p.names("", outsider)
		}, coordinator, "names " + outsider},
		{"a branch declares it as if it were new", func(p *providing) {
			p.git("checkout", "-qb", "side", "main~3") // before it was there
			p.names(outsider, outsider)
			p.git("merge", "-q", "-X", "ours", "--no-edit", "main")
			p.git("checkout", "-q", "main")
			p.git("merge", "-q", "--ff-only", "side")
		}, coordinator, "names " + outsider},
	} {
		for _, first := range []bool{true, false} { // does a service know who answered before
			if !first && i < 6 {
				continue
			}
			p := newProviding(t)
			p.says(tester, tester, "trial", goodTrial)
			if first {
				p.settled()
			}
			p.later(time.Minute)
			c.do(p)
			p.settled()
			for way, now := range map[string]plan.Prerequisite{"a command": p.judged(), "the service": p.served()} {
				g, _ := now.Next()
				last := now.Gates[len(now.Gates)-1]
				want := c.want
				if strings.HasPrefix(c.name, "a branch") && (way == "a command" || !first) {
					want = ""
				}
				if now.Responsible != want || (last.Name == "who answers for it") != (c.why != "") || !strings.Contains(last.Why, c.why) {
					t.Errorf("%s, known before: %t, %s: %s answers, next %+v, last %+v", c.name, first, way, now.Responsible, g, last)
				}
			}
			p.later(time.Minute)
			p.says(outsider, outsider, "retire", retires)
			p.settled()
			if got := p.served().State; (got == plan.PrerequisiteRetired) != (c.want == outsider) {
				t.Errorf("%s, known before: %t: he retires it, and it is %s", c.name, first, got)
			}
		}
	}
}

// TestWhoAnswersIsRemembered: keys are taken away, what was handed over once is not handed over again by the same commit, and operators take commits.
func TestWhoAnswersIsRemembered(t *testing.T) {
	p := newProviding(t)
	answers := func(when, want string) {
		t.Helper()
		p.settled()
		if got := p.served().Responsible; got != want {
			t.Errorf("%s: %s answers, want %s", when, got, want)
		}
		p.later(time.Minute)
	}
	answers("as declared", coordinator)
	p.names(coordinator, outsider)
	handed := p.head()
	answers("handed over", outsider)
	p.names(outsider, coordinator)
	answers("handed back", coordinator)
	p.git("checkout", "-qb", "side", handed)
	p.git("merge", "-q", "-s", "ours", "--no-edit", "main")
	p.git("checkout", "-q", "main")
	p.git("merge", "-q", "--ff-only", "side")
	answers("the same commit once more", coordinator)
	p.names(coordinator, owner)
	answers("handed over to a third", owner)
	p.forgetKey(coordinator)
	p.piloting = p.restarted()
	answers("whose key is gone", owner)
	p.names("", tester)
	answers("unsigned", owner)
	p.Checks.Named = func(commit string) bool { return commit == p.head() }
	answers("an operator took it", tester)
	p.Checks.Named = nil
	p.piloting = p.restarted()
	answers("and it is remembered", tester)
}

// TestWhoReviewedStaysWithoutKeys: whoever signed a line is known to have, also once his key is gone.
func TestWhoReviewedStaysWithoutKeys(t *testing.T) {
	p := newProviding(t)
	p.says(tester, tester, "review", `verdict: "pass"`)
	p.is("all keys are there", "review", plan.GatePass, "")
	p.forgetKey(developer)
	p.piloting = p.restarted()
	p.settled()
	for _, g := range p.served().Gates {
		if g.Name == "review" && g.Verdict != plan.GatePass {
			t.Errorf("%+v", g)
		}
	}
}

// approvedBy is a forge where each commit came in a pull request that somebody has approved.
type approvedBy struct {
	forge.Forge
	people map[string][]string
}

func (f approvedBy) Approvers(_ context.Context, commit string) (int, []string, error) {
	return 7, f.people[commit], nil
}

// TestAForgeKnowsWhoStandsForACommit: whoever approved what brought it has seen it, and has handed over what it hands over.
func TestAForgeKnowsWhoStandsForACommit(t *testing.T) {
	p := newProviding(t)
	p.settled()
	p.declaresAs("", strings.Replace(p.declaration(), "1.14.10-1", "1.14.11-1", 1))
	wrote, approved := p.head(), map[string][]string{}
	p.prover.Approvers.Forge = approvedBy{people: approved}
	p.says(tester, tester, "review", `verdict: "pass"`)
	p.is("nobody has approved it", "review", plan.GateInconclusive, "nobody knows who wrote it")
	approved[wrote] = []string{tester}
	p.later(time.Minute)
	p.is("who reviews has approved it himself", "review", plan.GateInconclusive, "nobody knows who wrote it")
	approved[wrote] = []string{tester, owner}
	p.later(time.Minute)
	p.is("somebody else has approved it", "review", plan.GatePass, "")
	p.names("", outsider)
	approved[p.head()] = []string{tester}
	p.settled()
	if got := p.served().Responsible; got != coordinator {
		t.Errorf("%s answers", got)
	}
	approved[p.head()] = []string{coordinator}
	p.later(time.Minute)
	p.settled()
	if got := p.served().Responsible; got != outsider {
		t.Errorf("handed over in a pull request, %s answers", got)
	}
}
