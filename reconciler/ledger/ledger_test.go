package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestMain lets the test binary be a writer that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("LEDGER_WRITE_UNTIL_KILLED"); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// open opens the ledger at path: a file, or where the tests run against PostgreSQL, a schema.
func open(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := openAt(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func openAt(ctx context.Context, path string) (*ledger.Ledger, error) {
	if p, ok := onPostgres(path); ok {
		return p.Open(ctx)
	}
	return ledger.Open(ctx, path)
}

func lookAt(ctx context.Context, path string) (*ledger.Ledger, error) {
	if p, ok := onPostgres(path); ok {
		return p.Look(ctx)
	}
	return ledger.Look(ctx, path)
}

func hold(scope string) ledger.Hold {
	return ledger.Hold{Scope: scope, Kind: "stay", Source: "operator", Reason: "beam", By: "ann", Commit: "c", Bad: "b", Since: now, Until: now.Add(time.Hour)}
}

func TestHoldsArePlacedAndEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ? name#%41.db")
	l := open(t, path)
	if !l.Fresh {
		t.Error("a new ledger is not fresh")
	}
	var want []ledger.Hold
	for _, scope := range []string{"site", "fecs.a", "groups.b"} {
		h, err := l.Place(t.Context(), hold(scope))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, h)
	}
	if err := l.End(t.Context(), "h-2", "bob", "done", now); err != nil {
		t.Fatal(err)
	}
	if err := l.End(t.Context(), "h-2", "bob", "done", now); !errors.Is(err, ledger.ErrNoHold) {
		t.Errorf("ended twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil && !againstPostgres() {
		t.Errorf("the ledger lies elsewhere: %v", err)
	}
	again := open(t, path)
	if again.Fresh {
		t.Error("an old ledger is fresh")
	}
	got, err := again.Holds(t.Context())
	if d := cmp.Diff([]ledger.Hold{want[0], want[2]}, got); d != "" || err != nil {
		t.Errorf("holds (-want +got), %v:\n%s", err, d)
	}
	for at, want := range map[time.Time]int{now.Add(-time.Second): 0, now: 2, now.Add(59 * time.Minute): 2, now.Add(time.Hour): 0} {
		if got, err := again.HoldsAt(t.Context(), at); len(got) != want || err != nil {
			t.Errorf("at %s: %+v, %v", at, got, err)
		}
	}
	if h, err := again.Place(t.Context(), hold("site")); h.ID != "h-4" || err != nil {
		t.Errorf("the next hold is %s, %v: an id comes twice", h.ID, err)
	}
}

func TestAHoldEnteredAgainKeepsItsIDAndLaterOnesGetOthers(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	h := hold("site")
	h.ID = "h-7"
	for range 2 {
		if got, err := l.Place(t.Context(), h); got != h || err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if h, err := l.Place(t.Context(), hold("fecs.a")); h.ID != "h-8" || err != nil {
		t.Errorf("the next hold is %s, %v", h.ID, err)
	}
}

func TestOverridesReplaceOneAnother(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	o := ledger.Override{Hold: "freeze.night", Reason: "r", By: "ann", Since: now, Until: now.Add(time.Minute)}
	for range 2 {
		if err := l.Override(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.Until = now.Add(time.Hour)
	}
	got, err := l.Overrides(t.Context())
	if d := cmp.Diff([]ledger.Override{o}, got); d != "" || err != nil {
		t.Errorf("overrides (-want +got), %v:\n%s", err, d)
	}
	if err := l.LiftOverride(t.Context(), o.Hold); err != nil {
		t.Error(err)
	}
	if err := l.LiftOverride(t.Context(), o.Hold); !errors.Is(err, ledger.ErrNoHold) {
		t.Errorf("lifted twice: %v", err)
	}
}

func TestSinceLastsAsLongAsTheHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l := open(t, path)
	since := func(at time.Time, ids ...string) map[string]time.Time {
		t.Helper()
		out, err := l.See(t.Context(), ids, at)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	since(now, "a")
	l.Close()
	l = open(t, path)
	if d := cmp.Diff(map[string]time.Time{"a": now, "b": now.Add(time.Hour)}, since(now.Add(time.Hour), "a", "b")); d != "" {
		t.Errorf("since (-want +got):\n%s", d)
	}
	since(now.Add(2 * time.Hour))
	if got := since(now.Add(3*time.Hour), "a")["a"]; got != now.Add(3*time.Hour) {
		t.Errorf("after a break, since %v", got)
	}
}

func TestPassesNewestFirst(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	p := ledger.Pass{Started: now, Ended: now.Add(time.Second), Wanted: "w", Published: "p", Generation: 3, Tree: "t", Outcome: "failed", Reason: "r", Blocked: []byte("[]")}
	q := p
	q.Generation, q.Ended = 4, now.Add(time.Hour)
	for _, p := range []ledger.Pass{p, q} {
		if _, err := l.AddPass(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Passes(t.Context(), 2)
	if d := cmp.Diff([]ledger.Pass{q, p}, got); d != "" || err != nil {
		t.Errorf("passes (-want +got), %v:\n%s", err, d)
	}
	if got, _ := l.Passes(t.Context(), 1); len(got) != 1 {
		t.Errorf("%d passes, want 1", len(got))
	}
	for at, want := range map[time.Time]int64{now: 0, now.Add(time.Minute): 3, now.Add(time.Hour): 4} {
		if got, known, err := l.PassAt(t.Context(), at); got.Generation != want || known != (want > 0) || err != nil {
			t.Errorf("at %s: %+v, %v, %v", at, got, known, err)
		}
	}
}

func TestDeliveriesAreRememberedOnceAndForgottenByAgeAndNumber(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	deliver := func(ds ...ledger.Delivery) {
		t.Helper()
		if err := l.Deliver(t.Context(), ds); err != nil {
			t.Fatal(err)
		}
	}
	have := func(want ...ledger.Delivery) {
		t.Helper()
		got, err := l.Deliveries(t.Context())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	later := now.Add(time.Minute)
	deliver(ledger.Delivery{Source: "a", ID: "1", At: now}, ledger.Delivery{Source: "b", ID: "1", At: now})
	deliver(ledger.Delivery{Source: "a", ID: "1", At: later}, ledger.Delivery{Source: "a", ID: "2", At: later})
	have(ledger.Delivery{Source: "a", ID: "1", At: now}, ledger.Delivery{Source: "b", ID: "1", At: now}, ledger.Delivery{Source: "a", ID: "2", At: later})
	if err := l.ForgetDeliveries(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	have(ledger.Delivery{Source: "a", ID: "2", At: later})
	var many []ledger.Delivery
	for i := range 1<<16 + 10 {
		many = append(many, ledger.Delivery{Source: "c", ID: strconv.Itoa(i), At: later.Add(time.Duration(i+1) * time.Millisecond)})
	}
	deliver(many...)
	if err := l.ForgetDeliveries(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	have(many[9:]...)
}

func TestChecksAcceptedCommitsAndPreviewsReplaceTheirEarlierOnes(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	for _, tree := range []string{"one", "two"} {
		err := errors.Join(l.PutCheck(t.Context(), ledger.Check{GitTree: "g", Pomona: "v", Givens: "h", Tree: tree}, now),
			l.Accept(t.Context(), "main", tree, now),
			l.PutPreview(t.Context(), ledger.Preview{Number: 7, Head: "h", Tree: tree, Bytes: 5, Expires: now}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if tree, err := l.Checked(t.Context(), "g", "v", "h"); tree != "two" || err != nil {
		t.Errorf("check %q, %v", tree, err)
	}
	if tree, err := l.Checked(t.Context(), "g", "other", "h"); tree != "" || err != nil {
		t.Errorf("a check of another version: %q, %v", tree, err)
	}
	if c, err := l.Accepted(t.Context(), "main"); c != "two" || err != nil {
		t.Errorf("accepted %q, %v", c, err)
	}
	if c, err := l.Accepted(t.Context(), "other"); c != "" || err != nil {
		t.Errorf("accepted on another branch %q, %v", c, err)
	}
	got, err := l.Previews(t.Context())
	if d := cmp.Diff([]ledger.Preview{{Number: 7, Head: "h", Tree: "two", Bytes: 5, Expires: now}}, got); d != "" || err != nil {
		t.Errorf("previews (-want +got), %v:\n%s", err, d)
	}
	if err := l.DeletePreview(t.Context(), 7); err != nil {
		t.Error(err)
	}
	if got, _ := l.Previews(t.Context()); len(got) > 0 {
		t.Errorf("deleted preview is there: %v", got)
	}
}

func TestNotificationsAreQueuedOnceAndRetried(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	n := ledger.Notification{Target: "slack", Hash: "h", Body: []byte("{}")}
	queue := func(at time.Time, want bool) {
		t.Helper()
		if queued, err := l.Notify(t.Context(), n, at, at.Add(-5*time.Minute)); queued != want || err != nil {
			t.Errorf("at %v: queued %v, %v; want %v", at, queued, err, want)
		}
	}
	due := func(at time.Time, want ...ledger.Notification) {
		t.Helper()
		got, err := l.Due(t.Context(), at)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("due (-want +got), %v:\n%s", err, d)
		}
	}
	queue(now, true)
	queue(now.Add(time.Hour), false) // not delivered yet
	n.Due = now
	due(now, n)
	if err := l.Retry(t.Context(), n, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	due(now)
	n.Tries, n.Due = 1, now.Add(time.Minute)
	due(now.Add(time.Minute), n)
	if err := l.Delivered(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	due(now.Add(time.Hour))
	queue(now.Add(4*time.Minute), false)
	queue(now.Add(6*time.Minute), true)
}

// TestADamagedFileIsSetAside damages a ledger in each way that a disk or a person may.
func TestADamagedFileIsSetAside(t *testing.T) {
	damages := map[string]func(t *testing.T, path string){
		"no database":   func(t *testing.T, path string) { rewrite(t, path, []byte(strings.Repeat("garbage ", 4096))) },
		"header":        func(t *testing.T, path string) { overwrite(t, path, 0, bytes.Repeat([]byte{0xff}, 64)) },
		"pages":         func(t *testing.T, path string) { overwrite(t, path, 100, bytes.Repeat([]byte{0xa5}, 20_000)) },
		"truncated":     func(t *testing.T, path string) { truncate(t, path, 5000) },
		"table is gone": func(t *testing.T, path string) { run(t, path, "DROP TABLE holds") },
	}
	if againstPostgres() { // it has no file
		damages = map[string]func(t *testing.T, path string){"table is gone": damages["table is gone"]}
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "l.db")
			l := open(t, path)
			if _, err := l.Place(t.Context(), hold("site")); err != nil {
				t.Fatal(err)
			}
			l.Close()
			damage(t, path)
			l = open(t, path)
			if !l.Fresh || l.Aside == "" || l.Why == "" {
				t.Fatalf("fresh %v, aside %q because %q", l.Fresh, l.Aside, l.Why)
			}
			if _, err := os.Stat(l.Aside); err != nil && !againstPostgres() {
				t.Errorf("the damaged file is lost: %v", err)
			}
			if _, err := l.Place(t.Context(), hold("site")); err != nil {
				t.Errorf("the new ledger does not work: %v", err)
			}
		})
	}
}

func TestAnEmptyFileIsFresh(t *testing.T) {
	if againstPostgres() {
		return // it has no file
	}
	path := filepath.Join(t.TempDir(), "l.db")
	rewrite(t, path, nil)
	if l := open(t, path); !l.Fresh {
		t.Error("an empty file counts as a ledger")
	}
}

func TestALedgerOfANewerPomonaIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	open(t, path).Close()
	run(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, "+yes()+")")
	if _, err := openAt(t.Context(), path); err == nil || !strings.Contains(err.Error(), "newer Pomona") {
		t.Errorf("got %v", err)
	}
}

// TestRestartsInALedgerOfAnOlderPomona cannot be read, which is said plainly; what it has can be.
func TestRestartsInALedgerOfAnOlderPomona(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	open(t, path).Close()
	read := func() error {
		l, err := lookAt(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := l.Holds(t.Context()); err != nil {
			t.Error(err)
		}
		_, err = l.PastWaves(t.Context())
		return err
	}
	run(t, path, "DROP TABLE past_restarts")
	if err := read(); err == nil || strings.Contains(err.Error(), "older Pomona") {
		t.Errorf("a ledger that lacks a table: %v", err)
	}
	run(t, path, "DELETE FROM goose_db_version WHERE version_id >= 33")
	if err := read(); err == nil || !strings.Contains(err.Error(), "read past restarts: an older Pomona wrote the ledger (version 31, this one knows ") {
		t.Errorf("a ledger of an older Pomona: %v", err)
	}
}

func TestLookReadsBesideAWriterAndLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	if _, err := lookAt(t.Context(), path); !errors.Is(err, ledger.ErrNone) {
		t.Errorf("without a file: %v", err)
	}
	l := open(t, path)
	if _, err := l.Place(t.Context(), hold("site")); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		r, err := lookAt(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := r.Holds(t.Context()); len(got) != 1 || err != nil {
			t.Errorf("reads %v, %v", got, err)
		}
		if _, err := r.Place(t.Context(), hold("site")); err == nil {
			t.Error("a reader writes")
		}
	}
	look()
	l.Close()
	look()
	if names, err := filepath.Glob(path + "*"); len(names) != 1 && !againstPostgres() || err != nil {
		t.Errorf("left %v, %v", names, err)
	}
}

// TestWhatWasPlacedSurvivesAKill kills a writer at some moment, many times: whatever it has reported as placed is there.
func TestWhatWasPlacedSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	for i := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LEDGER_WRITE_UNTIL_KILLED="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var told bytes.Buffer
		for told.Len() < 20+i {
			b := make([]byte, 64)
			n, err := out.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			told.Write(b[:n])
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = told.ReadFrom(out) // what it had told before it died
		_ = cmd.Wait()            // it was killed
		l := open(t, path)
		holds, err := l.Holds(t.Context())
		if err != nil || l.Aside != "" {
			t.Fatalf("%v, set aside %q because %q", err, l.Aside, l.Why)
		}
		there := map[string]bool{}
		for _, h := range holds {
			there[h.ID] = true
		}
		for line := range strings.Lines(told.String()) {
			if id, whole := strings.CutSuffix(line, "\n"); whole && !there[id] {
				t.Errorf("%s was placed and is lost", id)
			}
		}
		l.Close()
	}
}

func writeUntilKilled(path string) {
	l, err := openAt(context.Background(), path)
	for err == nil {
		var h ledger.Hold
		h, err = l.Place(context.Background(), hold("site"))
		os.Stdout.WriteString(h.ID + "\n")
	}
	os.Stderr.WriteString(err.Error())
	os.Exit(1)
}
