package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// head is the commit that the site's branch names.
func (w world) head() string {
	w.t.Helper()
	return git(w.t, w.site, "rev-parse", "HEAD")
}

// touch makes a commit that changes what is published, and is another one each time.
func (w world) touch() string {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.site, w.script()), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintf(f, "# %d\n", time.Now().UnixNano())
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.commit("touch")
	return w.head()
}

// script is a script of the site that every FEC may have.
func (w world) script() string {
	w.t.Helper()
	for line := range strings.Lines(git(w.t, w.site, "ls-files", "scripts")) {
		return strings.TrimSpace(line)
	}
	w.t.Fatal("the site has no script")
	return ""
}

func (w world) hold(args ...string) string {
	w.t.Helper()
	return must(w.t, append(args, "--root", w.root)...)
}

// status is pomona status as programs read it.
func (w world) status() (s struct {
	Wanted               string
	Published, Attempted *struct {
		Commit     string
		Generation int64
		Outcome    string
	}
	Holds, Overrides []struct{ ID, Hold, Scope, Reason, By string }
	Blocked          []struct {
		Scope, What string
		Holds       []struct{ ID, Since string }
	}
	Passes  []struct{ Outcome string }
	Service *struct{ NextPoll, NextScrub, NextTurn time.Time }
}) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.hold("status", "-o", "json")), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w world) serves(commit string) {
	w.t.Helper()
	if got := w.published(); got != commit {
		w.t.Fatalf("%s is published, want %s\n%s", got, commit, w.hold("status"))
	}
}

func (w world) sameAsCommit() {
	w.t.Helper()
	must(w.t, "verify", w.site, "--root", w.root, "--rev", w.published(), "--public-key", filepath.Join(w.dir, "key.pub"))
}

func TestOperatorsOfARunningServiceSuspendResumeAndRollBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, _ := w.serve("--poll", never)
	first := w.head()
	eventually(t, "the service says when it looks next", func() bool {
		s := w.status()
		return s.Service != nil && !s.Service.NextScrub.IsZero() && !s.Service.NextPoll.IsZero() && s.Published != nil && s.Published.Commit == first
	})
	w.hold("suspend", "--reason", "shift change", "--for", "1h", "--by", "ann")
	second := w.touch()
	w.kick()
	w.serves(first)
	s := w.status()
	if s.Wanted != second || s.Attempted.Commit != second || s.Published.Commit != first || len(s.Blocked) != 1 || s.Blocked[0].Holds[0].ID != "h-1" ||
		s.Blocked[0].Holds[0].Since == "" || s.Service.NextTurn.IsZero() {
		t.Errorf("status %+v", s)
	}
	if got := get("http://" + address + "/-/readyz"); got != 200 {
		t.Errorf("a suspended service answers %d", got)
	}
	w.sameAsCommit()
	w.hold("resume")
	w.serves(second)
	third := w.touch()
	w.kick()
	w.serves(third)
	if out := w.hold("rollback", first, "--reason", "it trips", "--for", "1d"); !strings.Contains(out, "rolled back from commit "+third[:12]+" to "+first[:12]) {
		t.Errorf("rollback says %q", out)
	}
	w.serves(first)
	w.sameAsCommit()
	w.kick()
	w.serves(first)
	fourth := w.touch()
	w.kick()
	w.serves(fourth)
	if s := w.status(); len(s.Holds) != 0 || len(s.Blocked) != 0 {
		t.Errorf("after a newer commit: %+v", s)
	}
	// What cannot be done changes nothing and says so.
	if _, errs, code := pomona(t, "resume", "--root", w.root); code != 2 || !strings.Contains(errs, "nobody suspended site") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestAHeldFECOfARunningServiceStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve("--poll", never)
	manifest := func(fec string) string {
		b, err := os.ReadFile(filepath.Join(w.root, "current/fecs", fec, "boot.manifest"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	held, free := manifest("lin1mg01"), manifest("lin2mg01")
	w.hold("hold", "place", "fecs.lin1mg01", "--reason", "measuring", "--for", "2h", "--by", "ann")
	w.edit("fecs/linac/linac.cue", `"1": "1.4.0", "2": "1.5.0"`, `"1": "1.5.0", "2": "1.4.0"`)
	w.kick()
	w.serves(w.head())
	if manifest("lin1mg01") != held || manifest("lin2mg01") == free {
		t.Errorf("held FEC has another manifest: %v; the other one has: %v", manifest("lin1mg01") != held, manifest("lin2mg01") != free)
	}
	w.sameAsCommit()
	if s := w.status(); len(s.Blocked) != 1 || s.Blocked[0].Scope != "fecs.lin1mg01" || s.Blocked[0].What != "magnet-psc 1.4.0 → 1.5.0" {
		t.Errorf("blocked %+v", s.Blocked)
	}
	w.hold("hold", "lift", "h-1")
	if manifest("lin1mg01") == held {
		t.Error("a FEC stays although its hold was lifted")
	}
	w.sameAsCommit()
}

func TestTheMachineFreezesARunningService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	state := filepath.Join(w.dir, "beam")
	say := func(word string) {
		if err := os.WriteFile(state, []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("off")
	w.serve("--poll", never, "--machine-state", state)
	first := w.head()
	say("on")
	second := w.touch()
	w.kick()
	w.serves(first)
	if out := w.hold("hold"); !strings.Contains(out, "machine.state  site   stay  machine  -   20") || !strings.Contains(out, "the machine runs (it says on)") {
		t.Errorf("holds:\n%s", out)
	}
	say("off")
	w.follows("the commit is published when the machine has stopped")
	w.serves(second)
	say("on")
	third := w.touch()
	w.kick()
	w.serves(second)
	w.hold("hold", "override", "machine.state", "--reason", "needed now", "--for", "1h", "--by", "ann")
	w.serves(third)
	if s := w.status(); len(s.Overrides) != 1 || s.Overrides[0].Reason != "needed now" {
		t.Errorf("overrides %+v", s.Overrides)
	}
}

func TestTheCalendarFreezesARunningService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	first := w.head()
	second := w.touch()
	w.serve("--poll", never, "--freeze", "Mon-Sun 00:00-24:00 Europe/Berlin")
	w.kick()
	w.serves(first)
	w.hold("hold", "override", "freeze.1", "--reason", "a test", "--for", "20s", "--by", "ann") // a pass has to end within it
	w.serves(second)
	eventually(t, "the override has ended", func() bool { return len(w.status().Holds) == 1 })
	w.touch()
	w.kick()
	w.serves(second)
}

// TestAHoldThatWasReportedOutlivesAKill kills the service while an operator suspends, again and again.
func TestAHoldThatWasReportedOutlivesAKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	for i := range 6 {
		p := w.start("--poll", never)
		eventually(t, "the service answers", func() bool {
			_, _, code := pomona(t, "status", "--root", w.root)
			return code == 0 && w.status().Service != nil
		})
		var out bytes.Buffer
		suspend := exec.Command(binary, "suspend", "--root", w.root, "--reason", "r", "--for", "1h", "--by", "ann")
		suspend.Stdout = &out
		if err := suspend.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i*7) * time.Millisecond)
		_ = p.end(syscall.SIGKILL) // it is killed
		placed := suspend.Wait() == nil && strings.Contains(out.String(), "placed hold")
		before := w.published()
		commit := w.touch()
		w.reconcile()
		held := len(w.status().Holds) > 0
		if placed && !held {
			t.Fatal("a hold was reported as placed, and is gone after a kill")
		}
		if want := map[bool]string{true: before, false: commit}[held]; w.published() != want {
			t.Fatalf("held %v, and %s is published, want %s", held, w.published(), want)
		}
		if held {
			w.hold("resume")
			w.reconcile()
		}
		w.serves(commit)
	}
}

// TestADamagedLedgerTakesNothingDown damages the ledger while the site is suspended.
func TestADamagedLedgerTakesNothingDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("--poll", never)
	w.follows("the first commit is published")
	first := w.head()
	eventually(t, "the service answers", func() bool { _, _, code := pomona(t, "kick", "--root", w.root); return code == 0 })
	w.hold("suspend", "--reason", "shift change", "--for", "1h", "--by", "ann")
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	ledger := filepath.Join(w.root, ".pomona/ledger.db")
	for _, part := range []string{"-wal", "-shm"} { // else what they hold heals it
		if err := os.Remove(ledger + part); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(ledger, bytes.Repeat([]byte("damaged "), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	second := w.touch()
	_, log := w.serve("--poll", never)
	w.kick()
	w.serves(first)
	if !strings.Contains(log(), "ledger was damaged; it is set aside, and a new one made from the tree") {
		t.Errorf("nothing is said:\n%s", log())
	}
	if aside, err := filepath.Glob(ledger + ".damaged-*"); len(aside) == 0 || err != nil {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	if s := w.status(); len(s.Holds) != 1 || s.Holds[0].Reason != "shift change" || len(s.Passes) < 2 {
		t.Errorf("status %+v", s)
	}
	w.hold("resume")
	w.serves(second)
}
