package reconciler_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// told is a forge that tells what it is asked and told, and does not take what it is told first.
type told struct {
	forge.Forge // nothing else is asked
	pulls       []forge.Pull
	said        chan string
	deaf        int    // so many times
	body        string // of the last comment
}

func (f *told) Open(context.Context) ([]forge.Pull, error) {
	f.said <- "open"
	return f.pulls, nil
}

func (f *told) Comment(_ context.Context, _ int, body string) error {
	f.body = body
	return nil
}

func (f *told) Check(_ context.Context, _ string, c forge.Check) error {
	f.said <- string(c.State) + ": " + c.Title
	return nil
}

func (f *told) Status(context.Context, string, forge.Status) error {
	f.said <- "status"
	if f.deaf--; f.deaf >= 0 {
		return errors.New("away")
	}
	return nil
}

// reviewing runs a reviewer of the follower's site until the test ends.
func (f *follower) reviewing(hub *told) *reconciler.Reviewer {
	f.t.Helper()
	return f.reviewingBy(hub, remote.New(remote.Options{}))
}

func (f *follower) reviewingBy(hub *told, client *remote.Client) *reconciler.Reviewer {
	f.t.Helper()
	hub.said = make(chan string, 100)
	p, err := repo.OpenProposals(f.t.TempDir(), repo.MirrorOptions{URL: f.dir, Client: client}, 1<<30)
	must(f.t, err)
	by := *f.Reconciler
	v := reconciler.NewReviewer(&reconciler.Reviewer{By: &by, Site: "test", Forge: hub, Proposals: p, Enter: f.Records, Poll: time.Hour})
	ctx, cancel := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) }) // it never fails
	f.t.Cleanup(func() {
		cancel()
		running.Wait()
		must(f.t, p.Close())
	})
	return v
}

func TestThatAForkIsNotPlannedIsSaidUntilTheForgeHearsIt(t *testing.T) {
	f := newFollower(t)
	f.pass()
	hub := &told{deaf: 2, pulls: []forge.Pull{{Number: 1, Head: f.head(), Fork: true}}}
	v := f.reviewing(hub)
	var said []string
	for len(said) < 7 {
		said = append(said, <-hub.said)
		v.Wake()
	}
	if want := []string{"open", "status", "open", "status", "open", "status", "open"}; !slices.Equal(said, want) {
		t.Errorf("the forge was asked and told %v", said)
	}
}

// TestAPullRequestThatNamesTheSiteAnewFails rather than waiting for what no other try brings.
func TestAPullRequestThatNamesTheSiteAnewFails(t *testing.T) {
	f := newFollower(t)
	f.pass()
	commit, _ := f.proposed("site.cue", `name: "test"`, `name: "other"`)
	hub := &told{pulls: []forge.Pull{{Number: 1, Head: commit}}}
	v := f.reviewing(hub)
	var said []string
	for len(said) < 5 {
		said = append(said, <-hub.said)
		v.Wake()
	}
	if !strings.Contains(said[2], `failure: the root serves site "test"`) || said[3] != "open" || said[4] != "open" {
		t.Errorf("the forge was asked and told %q", said)
	}
	if !strings.Contains(hub.body, "is site") {
		t.Errorf("the comment does not say why: %s", hub.body)
	}
}

// TestWarningsLeaveThePlanItsRoom has a proposal bring a warning that is longer than any comment.
func TestWarningsLeaveThePlanItsRoom(t *testing.T) {
	f := newFollower(t)
	f.pass()
	before := f.head()
	f.change("fecs/fecs.cue", "kgp2cu02:", "another:")
	f.change(".gitattributes", "", "/payload/** filter="+strings.Repeat("_", 100_000)+"\n")
	commit := f.head()
	f.git("branch", "proposal")
	f.git("reset", "-q", "--hard", before)
	hub := &told{pulls: []forge.Pull{{Number: 1, Head: commit}}}
	f.reviewing(hub)
	for said := ""; !strings.HasPrefix(said, "success") && !strings.HasPrefix(said, "failure"); {
		said = <-hub.said
	}
	if !strings.Contains(hub.body, "Warning: .gitattributes") || !strings.Contains(hub.body, "**removed** <code>kgp2cu02</code>") || len(hub.body) > 65536 {
		t.Errorf("a comment of %d bytes: %.1000s", len(hub.body), hub.body)
	}
}

// TestAFreezeThatBeginsIsReviewedAnew: the merge publishes another tree then, and must not be taken for one that nobody has seen.
func TestAFreezeThatBeginsIsReviewedAnew(t *testing.T) {
	f := newFollower(t)
	var ahead atomic.Int64
	f.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	f.Freezes = []plan.Freeze{{Name: "beam", Scope: "groups.ring", Reason: "users", From: 13 * time.Hour, To: 14 * time.Hour}}
	f.pass()
	commit, _ := f.proposed("scripts/env", "echo global", "echo other")
	hub := &told{pulls: []forge.Pull{{Number: 1, Head: commit}}}
	v := f.reviewing(hub)
	for !strings.HasPrefix(<-hub.said, "success") {
	}
	ahead.Store(int64(90 * time.Minute))
	for range 2 { // when it begins anew, a round has ended that began later
		v.Wake()
		for <-hub.said != "open" {
		}
	}
	f.Checks = reconciler.Checks{Made: true, Require: true}
	f.merge()
	f.pass()
	if f.commitServed() != commit || f.unchecked() || len(observeRoot(t, f.Root).Generations) != 2 {
		t.Errorf("published %s, unchecked %v", f.commitServed(), f.unchecked())
	}
}

// TestAReviewThatPanicsEndsNothing has a mistake in what reviews use.
func TestAReviewThatPanicsEndsNothing(t *testing.T) {
	f := newFollower(t)
	f.pass()
	commit, _ := f.proposed("scripts/env", "echo global", "echo other")
	hub := &told{pulls: []forge.Pull{{Number: 1, Head: commit}}}
	v := f.reviewingBy(hub, nil)
	for opened := 0; opened < 2; v.Wake() {
		if <-hub.said == "open" {
			opened++
		}
	}
	if !strings.Contains(hub.body, "not planned yet") || strings.Contains(hub.body, "goroutine") {
		t.Errorf("the comment says %s", hub.body)
	}
}

// TestWhatAReviewFindsCanBeLookedAt: problems in their lines, by number and by commit; and once it is closed, by another service.
func TestWhatAReviewFindsCanBeLookedAt(t *testing.T) {
	f := newFollower(t)
	f.pass()
	commit, base := f.proposed("fecs/fecs.cue", `version: "1.1.0"`, `version: "9.9.9"`)
	hub := &told{pulls: []forge.Pull{{Number: 1, Head: commit, Title: "newer"}}}
	v := f.reviewing(hub)
	for !strings.HasPrefix(<-hub.said, "failure") {
	}
	p, err := v.ShownOf(t.Context(), "1")
	if err != nil || p.Head != commit || p.Base != base || p.State != "failure" || p.Title != "newer" || p.Plan != nil || p.Closed || len(p.Problems) == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if i := slices.IndexFunc(p.Problems[0].Source, func(l report.SourceLine) bool { return l.Here }); i < 0 || !strings.Contains(p.Problems[0].Source[i].Text, "9.9.9") {
		t.Errorf("lines of the problem: %+v", p.Problems[0])
	}
	for which, want := range map[string]bool{commit: true, commit[:12]: true, commit[:11]: false, "2": false, "0": false, "": false} {
		if _, err := v.ShownOf(t.Context(), which); (err == nil) != want || !want && !errors.Is(err, reconciler.ErrNoProposal) {
			t.Errorf("plan %q: %v", which, err)
		}
	}
	if all, err := v.Shown(t.Context()); err != nil || len(all.Proposals) != 1 || all.Proposals[0].Number != 1 || all.Proposals[0].Closed || all.Proposals[0].Problems != nil {
		t.Errorf("%+v, %v", all, err)
	}

	again := &told{}
	v = f.reviewing(again)
	for opened := 0; opened < 2; v.Wake() { // the first round is over when the second begins
		if <-again.said == "open" {
			opened++
		}
	}
	if p, err := v.ShownOf(t.Context(), "1"); err != nil || !p.Closed || len(p.Problems) == 0 {
		t.Errorf("%+v, %v", p, err)
	}
}
