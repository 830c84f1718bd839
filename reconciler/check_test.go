package reconciler_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// reviewed reviews a commit against the branch, and enters the check.
func (f *follower) reviewed(commit, base string) (report.Report, ledger.Check) {
	f.t.Helper()
	on := *f.Reconciler
	on.Branch, on.Records = commit, reconciler.ReadRecords(f.Root, f.Log)
	rep, err := on.Review(f.t.Context(), base)
	must(f.t, err)
	all := reconciler.ChecksOf(rep)
	if len(all) == 0 {
		f.t.Fatalf("nothing is checked: %+v", rep.Plan.Refused)
	}
	for _, c := range all {
		must(f.t, f.enter(c))
	}
	return rep, all[0]
}

func (f *follower) enter(c ledger.Check) error {
	return f.Records.Use(f.t.Context(), func(l *ledger.Ledger) error { return l.PutCheck(context.Background(), c, f.Now()) })
}

// unchecked says whether what is published is marked so.
func (f *follower) unchecked() bool {
	f.t.Helper()
	g, _ := observeRoot(f.t, f.Root).Published()
	return g.Givens.Unchecked
}

// proposed makes a commit beside the branch, which stays.
func (f *follower) proposed(name, old, new string) (commit, base string) {
	f.t.Helper()
	base = f.head()
	f.git("switch", "-q", "-c", "proposal")
	f.change(name, old, new)
	commit = f.head()
	f.git("switch", "-q", "-")
	return commit, base
}

// merge moves the branch to the proposal.
func (f *follower) merge() {
	f.git("merge", "-q", "--ff-only", "proposal")
	f.git("branch", "-q", "-D", "proposal")
}

// TestACheckSeesTheTreeThatIsPublished compares what a review says of a proposal with what its merge publishes, also under
// holds.
func TestACheckSeesTheTreeThatIsPublished(t *testing.T) {
	f := newFollower(t)
	f.Checks = reconciler.Checks{Made: true, Require: true}
	f.pass() // the first commit needs no check: there is nobody yet who could make one
	if !f.unchecked() {
		t.Error("the first commit is not marked as unchecked")
	}
	for _, c := range []struct {
		name, old, new string
		place          func() (lift string)
	}{
		{"without holds", "echo global", "echo other", func() string { return "" }},
		{"with a FEC held", "echo other", "echo third", func() string { f.hold("fecs.kgp2cu02", time.Hour); return "" }},
		{"with the site held, until the merge", "echo third", "echo fourth", func() string { return f.hold("site", time.Hour).ID }},
	} {
		lift := c.place()
		f.pass()
		commit, base := f.proposed("scripts/env", c.old, c.new)
		rep, check := f.reviewed(commit, base)
		if rep.Plan.Publish == nil || rep.Plan.Commit != commit {
			t.Errorf("%s: the plan is of commit %s and publishes %v", c.name, rep.Plan.Commit, rep.Plan.Publish)
		}
		if lift != "" {
			f.lift(lift)
		}
		f.merge()
		f.pass()
		g, _ := observeRoot(t, f.Root).Published()
		if g.Commit != commit || g.Tree.String() != check.Tree || g.Givens.Unchecked {
			t.Errorf("%s: published %s, tree %s, unchecked %v; want %s, %s", c.name, g.Commit, g.Tree, g.Givens.Unchecked, commit, check.Tree)
		}
	}
}

// TestWhatNoCheckHasSeen is published with a mark, or refused.
func TestWhatNoCheckHasSeen(t *testing.T) {
	f := newFollower(t)
	f.Checks.Made = true
	f.pass()
	f.change("more.cue", "", "package site\n")
	f.pass()
	if f.commitServed() != f.head() || !f.unchecked() {
		t.Errorf("published %s, unchecked %v", f.commitServed(), f.unchecked())
	}
	f.Checks.Require = true
	served := f.commitServed()
	f.change("still-more.cue", "", "package site\n")
	_, err := f.Reconcile(t.Context())
	if unchecked := (*reconciler.Unchecked)(nil); !errors.As(err, &unchecked) || unchecked.Commit != f.head() || f.commitServed() != served {
		t.Errorf("%v, published %s", err, f.commitServed())
	}
	f.Checks.Named = func(commit string) bool { return commit == f.head() }
	f.pass()
	if f.commitServed() != f.head() || !f.unchecked() {
		t.Errorf("after an operator named it: published %s, unchecked %v", f.commitServed(), f.unchecked())
	}
	// The mark is of the commit: publishing it anew, for whatever reason, keeps it.
	f.Checks.Named = nil
	f.Keys = append(f.Keys, signingKey(7))
	f.pass()
	if !f.unchecked() {
		t.Error("the mark is lost when other keys sign")
	}
}

// TestARollbackNeedsNoCheck publishes again what no check has seen with this version of Pomona.
func TestARollbackNeedsNoCheck(t *testing.T) {
	f := newFollower(t)
	f.Checks.Made = true
	f.pass()
	good := f.commitServed()
	f.change("scripts/env", "echo global", "echo bad")
	f.pass()
	f.Checks.Require = true
	_, err := f.rollback(good)
	must(t, err)
	f.pass()
	if f.commitServed() != good || !f.unchecked() {
		t.Errorf("published %s, unchecked %v; want %s", f.commitServed(), f.unchecked(), good)
	}
}

// TestADamagedGenerationIsRepairedWithoutACheck: what was published stays served and repaired.
func TestADamagedGenerationIsRepairedWithoutACheck(t *testing.T) {
	f := newFollower(t)
	f.Checks.Made = true
	f.pass()
	served := f.commitServed()
	f.Checks.Require = true
	for _, moved := range []bool{false, true} {
		must(t, os.WriteFile(filepath.Join(f.Root, "current", tree.GenerationFile), []byte("{"), 0o644))
		if moved {
			f.change("scripts/env", "echo global", "echo unchecked")
			_, _ = f.Reconcile(t.Context()) // it refuses the commit
		} else {
			f.pass()
		}
		whole(t, f.Root)
		if f.commitServed() != served {
			t.Errorf("branch moved %v: published %q, want %s", moved, f.commitServed(), served)
		}
	}
}

// TestTheSameInputsWithAnotherTreeAreRefused alarms rather than serving what nobody has looked at.
func TestTheSameInputsWithAnotherTreeAreRefused(t *testing.T) {
	f := newFollower(t)
	f.Checks.Made = true
	f.pass()
	served := f.commitServed()
	commit, base := f.proposed("more.cue", "", "package site\n")
	_, check := f.reviewed(commit, base)
	right := check.Tree
	check.Tree = strings.Repeat("ab", 32)
	must(t, f.enter(check))
	f.merge()
	_, err := f.Reconcile(t.Context())
	if wrong := (*reconciler.Contradicted)(nil); !errors.As(err, &wrong) || wrong.Now != right || f.commitServed() != served {
		t.Errorf("%v, published %s", err, f.commitServed())
	}
	whole(t, f.Root)
	check.Tree = right
	must(t, f.enter(check))
	f.pass()
	if f.commitServed() != commit || f.unchecked() {
		t.Errorf("published %s, unchecked %v", f.commitServed(), f.unchecked())
	}
}

// TestAReviewIsJudgedByTheBase refuses a proposal that allows itself what it does.
func TestAReviewIsJudgedByTheBase(t *testing.T) {
	f := newFollower(t)
	f.pass()
	f.git("switch", "-q", "-c", "proposal")
	f.change("site.cue", "scripts:", "retention: maxRemoval: \"100%\"\n\tscripts:")
	f.change("fecs/fecs.cue", "kgp2cu02:", "another:")
	f.change("fecs/fecs.cue", "kgp2cu03:", "other:")
	on := *f.Reconciler
	on.Branch = f.head()
	rep, err := on.Review(t.Context(), "HEAD~3")
	must(t, err)
	if len(rep.Plan.Refused) == 0 || rep.Plan.Publish != nil {
		t.Errorf("not refused: %+v", rep.Plan.Totals)
	}
}

// TestAReviewNeedsThePolicyOfTheBase: one that cannot be read is no leave to bring one's own. A base that is no valid site has
// none.
func TestAReviewNeedsThePolicyOfTheBase(t *testing.T) {
	f := newFollower(t)
	f.pass()
	on := *f.Reconciler
	on.Branch = f.head()
	if _, err := on.Review(t.Context(), strings.Repeat("ab", 20)); err == nil {
		t.Error("planned by its own policy: that of the base could not be read")
	}
	f.change("more.cue", "", "package site\nsite: name: 7\n")
	broken := f.head()
	f.change("more.cue", "site: name: 7\n", "")
	on.Branch = f.head()
	if _, err := on.Review(t.Context(), broken); err != nil {
		t.Errorf("a proposal may not mend its base: %v", err)
	}
}
