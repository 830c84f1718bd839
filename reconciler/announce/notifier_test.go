package announce_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// inbox is a channel's far end: it notes what it takes, and refuses as it is told.
type inbox struct {
	mu      sync.Mutex
	refuse  error
	attempt int
	got     []announce.Event
}

func (b *inbox) Send(_ context.Context, e announce.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempt++
	if b.refuse == nil {
		b.got = append(b.got, e)
	}
	return b.refuse
}

func (b *inbox) answer(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = err
}

func (b *inbox) attempts() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.attempt
}

// took are the titles that arrived since the last call, in order.
func (b *inbox) took() (titles []string) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.got {
		titles = append(titles, e.Title)
	}
	b.got = nil
	return titles
}

func failure(title string) announce.Event {
	return announce.Event{Site: "linac", Severity: announce.Error, Kind: announce.PassFailed, Title: title, At: time.Now()}
}

func recovery() announce.Event {
	return announce.Event{Site: "linac", Kind: announce.PassFailed, Recovered: true, Title: "again", At: time.Now()}
}

// notifier runs until the bubble's end or stop.
func notifier(t *testing.T, o announce.Options) (n *announce.Notifier, stop func()) {
	t.Helper()
	n = announce.NewNotifier(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return n, stop
}

func one(b *inbox) announce.Options {
	return announce.Options{Channels: []announce.Channel{{Name: "inbox", Sender: b}}}
}

func want(t *testing.T, what string, have []string, titles ...string) {
	t.Helper()
	if !slices.Equal(have, titles) {
		t.Errorf("%s: got %q, want %q", what, have, titles)
	}
}

func TestAFailureIsToldOnceAndThenItsRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{}
		n, stop := notifier(t, one(b))
		defer stop()
		n.Send(recovery())
		want(t, "recovery of nothing", b.took())
		for range 3 {
			n.Send(failure("disk full"))
		}
		want(t, "a failure", b.took(), "disk full")
		time.Sleep(10 * time.Minute)
		n.Send(failure("disk full"))
		want(t, "the same failure, still there", b.took())
		time.Sleep(4 * time.Hour)
		n.Send(failure("disk full"))
		want(t, "a reminder", b.took(), "disk full")
		n.Send(failure("no route"))
		want(t, "another failure", b.took(), "no route")
		n.Send(recovery())
		n.Send(recovery())
		want(t, "its recovery", b.took(), "again")
	})
}

func TestWhatFlapsIsToldEveryFiveMinutesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{}
		n, stop := notifier(t, one(b))
		defer stop()
		for range 60 { // for ten minutes
			n.Send(failure("disk full"))
			n.Send(recovery())
			time.Sleep(10 * time.Second)
		}
		want(t, "flapping", b.took(), "disk full", "again", "disk full", "again")
	})
}

func TestASmallDifferenceIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{}
		n, stop := notifier(t, one(b))
		defer stop()
		for i := range 3 {
			e := failure("a pass failed")
			e.Text = fmt.Sprintf("write .pomona/staging/file-%026d: %d bytes left", i, i)
			n.Send(e)
		}
		want(t, "one failure", b.took(), "a pass failed")
		other := failure("a pass failed")
		other.Text = "read key: permission denied"
		n.Send(other)
		want(t, "another cause", b.took(), "a pass failed")
	})
}

func TestARouteChoosesWhoIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, errorsOnly, repairs, other := &inbox{}, &inbox{}, &inbox{}, &inbox{}
		n, stop := notifier(t, announce.Options{Channels: []announce.Channel{
			{Name: "all", Sender: all},
			{Name: "errors", Sender: errorsOnly, Route: announce.Route{Severity: announce.Error}},
			{Name: "repairs", Sender: repairs, Route: announce.Route{Kinds: []announce.Kind{announce.DamageRepaired}}},
			{Name: "other", Sender: other, Route: announce.Route{Sites: []string{"ring"}}},
		}})
		defer stop()
		n.Send(failure("failed"))
		n.Send(announce.Event{Site: "linac", Kind: announce.DamageRepaired, Severity: announce.Warning, Title: "repaired"})
		n.Send(recovery())
		want(t, "all", all.took(), "failed", "repaired", "again")
		want(t, "errors", errorsOnly.took(), "failed", "again") // who heard of the failure hears of its end
		want(t, "repairs", repairs.took(), "repaired")
		want(t, "other site", other.took())
	})
}

func TestSendWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n, stop := notifier(t, announce.Options{Channels: []announce.Channel{{Name: "hangs", Sender: senderFunc(func(context.Context, announce.Event) error {
			<-release
			return nil
		})}}, Queue: 10})
		start := time.Now()
		for i := range 100 {
			n.Send(failure(fmt.Sprintf("failure %c%c", 'a'+i/10, 'a'+i%10)))
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %s", waited)
		}
		if have := n.Waiting(); have != 10 {
			t.Errorf("%d notifications wait, want 10: the queue is bounded", have)
		}
		close(release)
		stop()
	})
}

type senderFunc func(context.Context, announce.Event) error

func (f senderFunc) Send(ctx context.Context, e announce.Event) error { return f(ctx, e) }

func TestDeliveryIsTriedAgainUntilItSucceedsOrIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{refuse: errors.New("connection refused")}
		counts := map[string]int{}
		var mu sync.Mutex
		o := one(b)
		o.Count = func(_, result string) {
			mu.Lock()
			defer mu.Unlock()
			counts[result]++
		}
		n, stop := notifier(t, o)
		defer stop()
		n.Send(failure("first"))
		n.Send(failure("second"))
		time.Sleep(time.Hour)
		if n := b.attempts(); n < 5 || n > 40 {
			t.Errorf("%d attempts in an hour, want a few", n)
		}
		b.answer(nil)
		time.Sleep(20 * time.Minute)
		want(t, "after an hour, in order", b.took(), "first", "second")

		b.answer(&announce.Rejected{Why: "404"})
		n.Send(failure("third"))
		synctest.Wait()
		if have := n.Waiting(); have != 0 {
			t.Errorf("%d rejected notifications wait", have)
		}
		b.answer(errors.New("connection refused"))
		n.Send(failure("fourth"))
		time.Sleep(25 * time.Hour)
		if have := n.Waiting(); have != 0 {
			t.Errorf("%d notifications wait after a day", have)
		}
		if counts["sent"] != 2 || counts["rejected"] != 1 || counts["dropped"] != 1 || counts["retried"] < 5 {
			t.Errorf("counted %v", counts)
		}
	})
}

func TestTheOtherSideSaysWhenToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &inbox{refuse: &announce.Later{After: 30 * time.Minute, Why: "429"}}
		n, stop := notifier(t, one(b))
		defer stop()
		n.Send(failure("first"))
		time.Sleep(29 * time.Minute)
		if n := b.attempts(); n != 1 {
			t.Errorf("%d attempts within the time that was named", n)
		}
	})
}

// TestNothingIsForgottenWhenTheProcessEnds delivers what an earlier process could not, and remembers what people know.
func TestNothingIsForgottenWhenTheProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outbox := announce.File{Root: newRoot(t)}
		b := &inbox{}
		o := one(b)
		o.Outbox = outbox
		n, stop := notifier(t, o)
		n.Send(failure("known"))
		want(t, "before", b.took(), "known")
		b.answer(errors.New("connection refused"))
		n.Send(failure("unknown"))
		synctest.Wait()
		stop()

		b.answer(nil)
		n, stop = notifier(t, o)
		defer stop()
		want(t, "after", b.took(), "unknown")
		time.Sleep(time.Hour)
		n.Send(failure("unknown"))
		want(t, "still failing", b.took())
		n.Send(recovery())
		want(t, "recovered", b.took(), "again")
	})
}

// TestWhatIsSentLastIsSavedToo ends before anything could be done.
func TestWhatIsSentLastIsSavedToo(t *testing.T) {
	for range 20 { // the end and the wish to save are there at once
		o := one(&inbox{refuse: errors.New("connection refused")})
		o.Outbox = announce.File{Root: newRoot(t)}
		n := announce.NewNotifier(o)
		n.Send(failure("last"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if k, err := o.Outbox.Load(); err != nil || len(k.Waiting) != 1 {
			t.Fatalf("saved %v: %v", k, err)
		}
	}
}

func TestADamagedOutboxStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := newRoot(t)
		if err := os.WriteFile(filepath.Join(root, durable.Private, "outbox.json"), []byte(`{"waiting":[{`), 0o600); err != nil {
			t.Fatal(err)
		}
		b := &inbox{}
		o := one(b)
		o.Outbox = announce.File{Root: root}
		n, stop := notifier(t, o)
		defer stop()
		n.Send(failure("first"))
		want(t, "after damage", b.took(), "first")
	})
}

func TestAnOutboxHoldsWhatWasSaved(t *testing.T) {
	box := announce.File{Root: newRoot(t)}
	if k, err := box.Load(); err != nil || len(k.Waiting) > 0 {
		t.Errorf("an outbox that is not there holds %v: %v", k, err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for range 2 {
		if err := box.Save(announce.Kept{Waiting: []announce.Waiting{{Channel: "mail", Event: announce.Event{Title: "x"}, Since: at}}}); err != nil {
			t.Fatal(err)
		}
	}
	k, err := box.Load()
	if err != nil || len(k.Waiting) != 1 || k.Waiting[0].Event.Title != "x" || !k.Waiting[0].Since.Equal(at) {
		t.Errorf("got %v: %v", k, err)
	}
	names, err := os.ReadDir(filepath.Join(box.Root, durable.Private))
	if err != nil || len(names) != 2 { // and staging
		t.Errorf("left %v: %v", names, err)
	}
	info, err := os.Stat(filepath.Join(box.Root, durable.Private, "outbox.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
}

func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	dir, err := durable.Open(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Prepare(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestEventsHoldNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var secrets announce.Secrets
		secrets.Add("correct-horse")
		b := &inbox{}
		o := one(b)
		o.Secrets = &secrets
		n, stop := notifier(t, o)
		defer stop()
		n.Send(failure("clone https://ann:correct-horse@git.example.org/ failed: correct-horse"))
		want(t, "masked", b.took(), "clone https://[redacted]@git.example.org/ failed: [redacted]")
	})
}
