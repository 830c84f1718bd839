package reconciler_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// told is a forge that tells what it is asked and told, and does not take what it is told first.
type told struct {
	forge.Forge // nothing else is asked
	pulls       []forge.Pull
	said        chan string
	deaf        int // so many times
}

func (f *told) Open(context.Context) ([]forge.Pull, error) {
	f.said <- "open"
	return f.pulls, nil
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
	hub.said = make(chan string, 100)
	p, err := repo.OpenProposals(f.t.TempDir(), repo.MirrorOptions{URL: f.dir}, 1<<30)
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
