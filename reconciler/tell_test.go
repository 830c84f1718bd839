package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// listening is a forge that notes what it takes, and refuses as it is told.
type listening struct {
	forge.Forge
	mu     sync.Mutex
	heard  []string
	tries  int
	refuse func(commit string) error
}

func (l *listening) hear(commit, said string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if l.refuse != nil {
		if err := l.refuse(commit); err != nil {
			return err
		}
	}
	l.heard = append(l.heard, commit+" "+said)
	return nil
}

func (l *listening) Status(_ context.Context, commit string, s forge.Status) error {
	return l.hear(commit, fmt.Sprintf("%s %s: %s", s.Context, s.State, s.Text))
}

func (l *listening) Deployment(_ context.Context, d forge.Deployment) error {
	return l.hear(d.Commit, fmt.Sprintf("deployed %s", d.State))
}

func (l *listening) tried() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries
}

// told waits until nothing happens any more, and gives what the forge heard since the last call.
func (l *listening) told() (heard []string) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	heard, l.heard = l.heard, nil
	return heard
}

func (l *listening) answer(refuse func(string) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

// telling runs a Teller of a root until it is stopped.
func telling(t *testing.T, root string, f forge.Forge) (teller *Teller, stop func()) {
	t.Helper()
	teller = NewTeller(TellerOptions{
		Site: "acc", Environment: "fecs", Root: root, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Mask: func(s string) string { return strings.ReplaceAll(s, "secret", "(masked)") },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { teller.Keep(ctx) })
	both.Go(func() { teller.Run(ctx, f) })
	return teller, func() { cancel(); both.Wait() }
}

func published(commit string) Done {
	return Done{Report: report.Report{Commit: commit, Wanted: commit}}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got", diff)
	}
}

func emptyRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir, err := durable.Open(root, nil)
	if err == nil {
		err = errors.Join(dir.Prepare(), dir.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestATellerSaysTheNewestWordOnce(t *testing.T) {
	root := emptyRoot(t)
	synctest.Test(t, func(t *testing.T) {
		f := &listening{}
		teller, stop := telling(t, root, f)
		teller.Looked("a", 0, true, nil)
		want(t, f.told(), "a pomona/acc pending: seen, and not published yet")
		teller.Passed(Done{Report: report.Report{Wanted: "a"}, Err: errors.New("write /srv/pomona: disk full")}) // is not for others
		want(t, f.told(), "a pomona/acc error: not published yet, and tried again: the log of the service says why")
		teller.Passed(Done{Report: report.Report{Wanted: "a"}, Err: &remote.Unavailable{Host: "secret.example.org", Err: errors.New("no route")}})
		want(t, f.told(), "a pomona/acc error: not published yet, and tried again: (masked).example.org is unavailable: no route; another try may succeed")
		teller.Passed(Done{Report: report.Report{Wanted: "a"}, Err: &Unchecked{Commit: "a"}})
		want(t, f.told(), "a pomona/acc failure: not published: no check of a pull request has seen its tree")
		for range 3 {
			teller.Looked("a", 0, true, nil)
			teller.Passed(published("a"))
		}
		want(t, f.told(), "a pomona/acc success: published", "a deployed success")

		// While the forge is away, newer words take the place of older ones; what was never finished is superseded.
		f.answer(func(string) error { return errors.New("away") })
		teller.Looked("b", 0, true, nil)
		want(t, f.told())
		for _, c := range []string{"c", "d"} {
			teller.Looked(c, 0, true, nil)
			teller.Passed(published(c))
		}
		want(t, f.told())
		if n := teller.Waiting(); n != 4 {
			t.Errorf("%d words wait, want 3 statuses and a deployment", n)
		}
		stop()
		teller, stop = telling(t, root, f)
		defer stop()
		f.answer(nil)
		time.Sleep(time.Minute)
		want(t, f.told(), "b pomona/acc success: superseded by c, which is published", "c pomona/acc success: published",
			"d pomona/acc success: published", "d deployed success")
		teller.Passed(published("d"))
		want(t, f.told())

		// Rolled back: the earlier commit is deployed once more.
		teller.Passed(Done{Report: report.Report{Wanted: "d", Commit: "c"}})
		want(t, f.told(), "d pomona/acc pending: held by ", "c deployed success")
		bad := desired.Problems{{Text: "wrong"}, {Text: "and wrong"}}
		teller.Passed(Done{Report: report.Report{Wanted: "e", Commit: "e"}, Err: bad})
		want(t, f.told(), "e pomona/acc failure: not published: 2 problems, first wrong")
	})
}

func TestATellerWaitsForALimitAndGivesUpAfterADay(t *testing.T) {
	root := emptyRoot(t)
	synctest.Test(t, func(t *testing.T) {
		f := &listening{}
		teller, stop := telling(t, root, f)
		defer stop()
		until := time.Now().Add(30 * time.Minute)
		f.answer(func(string) error { return fmt.Errorf("set status: %w", &forge.Limited{Host: "h", Until: until}) })
		teller.Passed(published("a"))
		time.Sleep(29 * time.Minute)
		want(t, f.told())
		if f.tries != 1 {
			t.Errorf("a forge that wants nothing for half an hour was asked %d times", f.tries)
		}
		f.answer(nil)
		time.Sleep(2 * time.Minute)
		want(t, f.told(), "a pomona/acc success: published", "a deployed success")

		// One that is never taken keeps nothing else waiting, and not for ever.
		f.answer(func(commit string) error {
			if commit == "b" {
				return errors.New("no such commit")
			}
			return nil
		})
		teller.Passed(Done{Report: report.Report{Wanted: "b"}, Err: desired.Problems{{Text: "wrong"}}})
		teller.Passed(published("c"))
		want(t, f.told(), "c pomona/acc success: published", "c deployed success")
		before := f.tried()
		time.Sleep(25 * time.Hour)
		want(t, f.told())
		if tries := f.tried() - before; teller.Waiting() != 0 || tries < 10 || tries > 200 {
			t.Errorf("%d words wait after %d tries", teller.Waiting(), tries)
		}
	})
}
