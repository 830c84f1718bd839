package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const formType = "application/x-www-form-urlencoded"

// report sends a report and returns the status of the answer.
func report(t *testing.T, address, form string) int {
	t.Helper()
	r, err := http.Post("http://"+address+"/-/report", formType, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// prove is what docs/boot.md says of a token.
func prove(token, form string, at time.Time) string {
	form = fmt.Sprintf("%s&at=%d", form, at.Unix())
	inner := sha256.Sum256([]byte(token[:64] + form))
	outer := sha256.Sum256([]byte(token[64:] + hex.EncodeToString(inner[:])))
	return form + "&mac=" + hex.EncodeToString(outer[:])
}

// reporting is a configured site some of whose FECs have a token.
type reporting struct {
	*configured
	world
	address string
	tokens  map[string]string
}

func newReporting(t *testing.T, fecs ...string) *reporting {
	c := configure(t, "one")
	r := &reporting{configured: c, world: c.sites["one"], address: c.addrs["one"], tokens: map[string]string{}}
	var lines strings.Builder
	for _, name := range fecs {
		r.tokens[name] = strings.TrimSpace(must(t, "keygen", "--token"))
		fmt.Fprintf(&lines, "%s %s\n", name, r.tokens[name])
	}
	file := filepath.Join(r.dir, "tokens")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.write(t, []string{"one"}, fmt.Sprintf("\t\treports: tokens: %q\n", file))
	eventually(t, "something is published", func() bool { return c.answers("one") })
	r.restart()
	return r
}

func (r *reporting) newFEC(name string) fec {
	f := r.world.newFEC(name, "http://"+r.address)
	if token := r.tokens[name]; token != "" {
		r.put(filepath.Join(f.dir, "token"), []byte(token+"\n"))
	}
	return f
}

// shows runs a command until its output holds all of some texts.
func (r *reporting) shows(what []string, args ...string) {
	r.world.t.Helper()
	var out string
	defer func() {
		if r.world.t.Failed() {
			r.world.t.Logf("pomona %v:\n%s", args, out)
		}
	}()
	eventually(r.world.t, fmt.Sprintf("pomona %v shows %q", args, what), func() bool {
		out = must(r.world.t, append(args, "--root", r.root)...)
		for _, w := range what {
			if !strings.Contains(out, w) {
				return false
			}
		}
		return true
	})
	if testing.Verbose() {
		r.world.t.Logf("pomona %v:\n%s", args, out)
	}
}

func (r *reporting) restart() {
	r.world.t.Helper()
	if err := r.end(syscall.SIGTERM); err != nil {
		r.world.t.Fatal(err)
	}
	r.service = serveFile(r.world.t, r.file)
	eventually(r.world.t, "the service answers again", func() bool { return r.answers("one") })
}

// running is the serial that the ledger says a FEC runs.
func (r *reporting) running(name string) (serial int64, source string) {
	r.world.t.Helper()
	var f struct {
		Running *struct {
			Serial int64
			Source string
		}
	}
	if err := json.Unmarshal([]byte(must(r.world.t, "fec", name, "--root", r.root, "-o", "json")), &f); err != nil {
		r.world.t.Fatal(err)
	}
	if f.Running == nil {
		return 0, ""
	}
	return f.Running.Serial, f.Running.Source
}

// TestWhatFECsRun boots two FECs, one with a token, and asks what they run: after a change, after a reboot, after a failed
// boot, and by a service that was started anew.
func TestWhatFECsRun(t *testing.T) {
	t.Parallel()
	r := newReporting(t, "tim1rx01")
	names := r.fecs()
	total := len(names)
	r.shows([]string{fmt.Sprintf("0 of %d run what is published; %d silent", total, total)}, "status")
	r.shows([]string{"running    unknown", "it has reported nothing"}, "fec", "tim1rx01")

	proven, said := r.newFEC("tim1rx01"), r.newFEC("tim2rx01")
	proven.mustBoot()
	said.mustBoot()
	r.shows([]string{fmt.Sprintf("2 of %d run what is published; %d silent", total, total-2)}, "status")
	r.shows([]string{"proven by its token from 127.0.0.1", "differs    no: it runs what is published", "timing-receiver 1.0.0", "fetching", "installed"}, "fec", "tim1rx01")
	r.shows([]string{"as somebody reported from 127.0.0.1, not proven"}, "fec", "tim2rx01")
	first, _ := r.running("tim1rx01")
	then := time.Now().UTC().Format(time.RFC3339Nano)
	time.Sleep(time.Second) // when something is published is known to the second

	// Another release is published, and nobody boots it.
	r.world.write("fecs/control/more.cue", "package site\n\nfecs: tim1rx01: software: \"diag-tools\": version: \"2.2\"\n", 0o644)
	r.commit("more for tim1rx01")
	r.kick()
	r.shows([]string{"tim1rx01 stale: it runs serial ", "1 stale"}, "status")
	r.shows([]string{"diag-tools 2.2", "has not booted since serial"}, "fec", "tim1rx01")
	if got, _ := r.running("tim1rx01"); got != first {
		t.Errorf("it runs serial %d, want %d", got, first)
	}
	r.shows([]string{"tim1rx01", "stale", "token", "tim2rx01", "running", "report"}, "status", "--fecs")
	was := []string{"tim1rx01 at ", fmt.Sprintf("published  serial %d since ", first), fmt.Sprintf("running    serial %d, as it said at ", first), "said last  running with serial ", "not known  which holds"}
	beside := []string{"DIFFERS", "published software diag-tools  ", "2.2  ", "\nlocation  ", "facts differ"}
	r.shows(was, "fec", "tim1rx01", "--at", then)
	r.shows(beside, "fec", "tim1rx01", "--beside", "tim2rx01")
	if out, errs, code := pomona(t, "fec", "tim1rx01", "--root", r.root, "--beside", "tim2rx0"); code != 2 || !strings.Contains(errs, "there is no FEC tim2rx0: did you mean tim2rx01") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}

	// It is still known when the service starts anew, and in its metrics.
	r.restart()
	r.shows([]string{"tim1rx01 stale: it runs serial ", "1 of"}, "status")
	metrics := string(download(t, "http://"+r.addrs["admin"]+"/metrics"))
	if !strings.Contains(metrics, `pomona_fecs_reported{site="one",state="running"} 2`) {
		t.Errorf("the metrics have forgotten:\n%s", metrics)
	}
	proven.mustBoot()
	r.shows([]string{fmt.Sprintf("2 of %d run what is published", total)}, "status")

	// Its next boot fails.
	r.world.write("fecs/control/fail", "#!/bin/sh\nexit 3\n", 0o755)
	r.world.write("fecs/control/more.cue", "package site\n\nfecs: tim1rx01: init: \"99-fail\": file: \"fecs/control/fail\"\n", 0o644)
	r.commit("an init script that fails")
	r.kick()
	if code, out := proven.boot(); code != 1 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	r.shows([]string{"tim1rx01 failed: init-failed with serial", "99-fail failed with status 3"}, "status")
	r.shows([]string{"differs    init-failed", "99-fail failed with status 3", "running    unknown: its last boot"}, "fec", "tim1rx01")

	// Without a service the ledger tells.
	if err := r.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.shows([]string{"tim1rx01 failed: init-failed", "service    none runs"}, "status", r.site)
	r.shows([]string{"wanted ", "differs    init-failed", "99-fail failed with status 3"}, "fec", "tim1rx01", r.site)
	r.shows(append(was, "not known: what is published is not known: the site's repository is needed: give its folder"), "fec", "tim1rx01", "--at", then)
	r.shows([]string{"DIFFERS", "init script 99-fail  ", "\nlocation  ", "facts differ"}, "fec", "tim1rx01", r.site, "--beside", "tim2rx01")
	if _, errs, code := pomona(t, "fec", "tim1rx0", "--root", r.root); code != 2 || !strings.Contains(errs, "there is no FEC tim1rx0: did you mean tim1rx01") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	r.service = serveFile(t, r.file)
}

// TestNobodySpeaksForAFECWithAToken: neither without it, nor by sending again what it has sent.
func TestNobodySpeaksForAFECWithAToken(t *testing.T) {
	t.Parallel()
	r := newReporting(t, "tim1rx01")
	form := func(serial int) string { return fmt.Sprintf("fec=tim1rx01&state=running&serial=%d", serial) }
	is := func(want int64, wantSource string) bool {
		serial, source := r.running("tim1rx01")
		return serial == want && source == wantSource
	}
	now := time.Now()
	if code := report(t, r.address, form(1)); code != 204 {
		t.Fatalf("status %d", code)
	}
	eventually(t, "what is said counts as long as nothing is proven", func() bool { return is(1, "report") })
	first := prove(r.tokens["tim1rx01"], form(2), now)
	for _, f := range []string{first, prove(r.tokens["tim1rx01"], form(3), now.Add(time.Second)), first, form(4),
		strings.Replace(prove(r.tokens["tim1rx01"], form(5), now.Add(2*time.Second)), "serial=5", "serial=6", 1)} {
		if code := report(t, r.address, f); code != 204 {
			t.Errorf("status %d for %s", code, f)
		}
	}
	eventually(t, "the last one that is proven counts", func() bool { return is(3, "token") })
	r.shows([]string{"somebody reported for it, without its token: running with serial 6"}, "fec", "tim1rx01")
	log := r.log()
	r.restart()
	if code := report(t, r.address, prove(r.tokens["tim1rx01"], form(7), now)); code != 204 {
		t.Errorf("status %d", code)
	}
	r.shows([]string{"without its token: running with serial 7"}, "fec", "tim1rx01")
	if !is(3, "token") {
		t.Error("a replay counts, after a restart")
	}
	for _, why := range []string{"may be a replay", "another token was used", "proven=true"} {
		if !strings.Contains(log, why) {
			t.Errorf("log lacks %q:\n%s", why, log)
		}
	}
}

// TestAReportFloodStarvesNobody: one FEC in a loop, from an address that others share with it.
func TestAReportFloodStarvesNobody(t *testing.T) {
	r := newReporting(t, "tim1rx01")
	codes := map[int]int{}
	for range 2000 {
		codes[report(t, r.address, "fec=diag1pc01&state=fetching&serial=1")]++
	}
	if codes[204] > 500 || codes[429] < 1500 {
		t.Errorf("answers to one FEC in a loop: %v", codes)
	}
	for _, name := range []string{"tim2rx01", "tim1rx01"} {
		f := r.newFEC(name)
		f.mustBoot()
		r.shows([]string{"differs    no: it runs what is published"}, "fec", name)
	}
	var f struct{ Reports []struct{ State string } }
	err := json.Unmarshal([]byte(must(t, "fec", "tim2rx01", "--root", r.root, "-o", "json")), &f)
	states := map[string]bool{} // one that is answered late is reported again
	for _, said := range f.Reports {
		states[said.State] = true
	}
	if err != nil || len(states) != 3 {
		t.Errorf("reports of tim2rx01: %v, %v", states, err)
	}
}

// TestReportsWithoutALedger are answered, counted and dropped; once it is back, others are entered.
func TestReportsWithoutALedger(t *testing.T) {
	t.Parallel()
	r := newReporting(t, "tim1rx01")
	private := filepath.Join(r.root, ".pomona")
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm"} {
		if err := os.Rename(filepath.Join(private, name), filepath.Join(r.dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(private, "ledger.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	f := r.newFEC("tim1rx01")
	f.mustBoot()
	eventually(t, "reports are counted as dropped", func() bool {
		_, n, _ := strings.Cut(string(download(t, "http://"+r.addrs["admin"]+"/metrics")), `pomona_fec_reports_dropped_total{site="one"} `)
		var dropped int
		_, err := fmt.Sscan(n, &dropped)
		return err == nil && dropped >= 3 // one that is answered late is reported again
	})
	if !strings.Contains(r.log(), "ledger cannot be used") {
		t.Errorf("log:\n%s", r.log())
	}
	if err := os.Remove(filepath.Join(private, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	f.mustBoot()
	r.shows([]string{"proven by its token", "differs    no: it runs what is published"}, "fec", "tim1rx01")
}

// TestATokenIsTakenAway from a FEC, which may have got new hardware: what it reports counts again.
func TestATokenIsTakenAway(t *testing.T) {
	t.Parallel()
	const name = "tim1rx01"
	r := newReporting(t, name)
	report(t, r.address, prove(r.tokens[name], "fec="+name+"&serial=1&state=running", time.Now()))
	runs := func(serial int64, source string) func() bool {
		return func() bool {
			is, by := r.running(name)
			return is == serial && by == source
		}
	}
	eventually(t, "what it proves counts", runs(1, "token"))
	r.put(filepath.Join(r.dir, "tokens"), nil)
	r.restart()
	report(t, r.address, "fec="+name+"&serial=2&state=running")
	eventually(t, "what it reports counts", runs(2, "report"))
}
