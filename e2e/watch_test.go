package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// text is the body of an answer, with its status.
func text(url string) (int, string) {
	r, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, ""
	}
	return r.StatusCode, string(b)
}

// TestThoseWhoWatchHaveAListenerOfTheirOwn asks for health and metrics before, with and after a valid commit.
func TestThoseWhoWatchHaveAListenerOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	admin := freeAddress(t)
	address, log := w.serve("--admin", admin, "--poll", never)
	metric := func(line string) func() bool {
		return func() bool {
			_, metrics := text("http://" + admin + "/metrics")
			return strings.Contains(metrics, "\n"+line+"\n")
		}
	}
	eventually(t, "a pass is counted", metric(`pomona_passes_total{outcome="published",site="site"} 1`))
	if !metric(`pomona_published_generation{site="site"} 1`)() || !metric(`pomona_site_problems{severity="problem",site="site"} 0`)() {
		_, metrics := text("http://" + admin + "/metrics")
		t.Errorf("metrics:\n%s", metrics)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 404, "/index": 404} {
		if have, _ := text("http://" + admin + path); have != want {
			t.Errorf("admin %s: %d, want %d", path, have, want)
		}
	}
	for _, path := range []string{"/metrics", "/-/metrics", "/healthz", "/readyz"} {
		if have, _ := text("http://" + address + path); have != 404 {
			t.Errorf("FECs get %s: %d", path, have)
		}
	}
	download(t, "http://"+address+"/index")
	eventually(t, "an answer is counted", metric(`pomona_fecs_reported{site="site",state="unknown"} 12`))
	if _, metrics := text("http://" + admin + "/metrics"); !strings.Contains(metrics, `pomona_http_requests_total{code="4xx",site="site"} 4`) {
		t.Errorf("the refused requests are not counted:\n%s", metrics)
	}
	fec := w.fecs()[0]
	if r, err := http.Post("http://"+address+"/-/report", "application/x-www-form-urlencoded", strings.NewReader("fec="+fec+"&state=failed")); err != nil || r.Body.Close() != nil {
		t.Error(err)
	}
	eventually(t, "a report is counted", metric(`pomona_fecs_reported{site="site",state="failed"} 1`))

	w.write("fecs/broken.cue", "package site\n\nfecs: broken: {}\n", 0o644)
	w.commit("an incomplete FEC")
	pomona(t, "kick", "--root", w.root)
	// The branch is watched besides: there may have been two passes.
	eventually(t, "an invalid commit is counted", func() bool {
		return metric(`pomona_passes_total{outcome="invalid",site="site"} 1`)() || metric(`pomona_passes_total{outcome="invalid",site="site"} 2`)()
	})
	if metric(`pomona_site_problems{severity="problem",site="site"} 0`)() {
		t.Error("the problems are not counted")
	}
	if err := os.WriteFile(filepath.Join(w.root, "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log(), "no metrics") {
		t.Errorf("log:\n%s", log())
	}
}

// TestATakenAdminAddressStopsNobody serves FECs without metrics, unless the address was asked for.
func TestATakenAdminAddressStopsNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:8081")
	if err == nil { // else somebody else has it, which does as well
		defer l.Close()
	}
	w := newWorld(t)
	address, log := w.serve("--poll", never)
	if have, _ := text("http://" + address + "/-/healthz"); have != 200 {
		t.Errorf("healthz: %d", have)
	}
	if !strings.Contains(log(), "no metrics and no health checks") {
		t.Errorf("nothing is said about it:\n%s", log())
	}
	other := newWorld(t)
	_, errs, code := pomona(t, "serve", other.site, "--root", other.root, "--listen", freeAddress(t), "--admin", "127.0.0.1:8081")
	if code != 2 || !strings.Contains(errs, "127.0.0.1:8081") {
		t.Errorf("code %d: %s", code, errs)
	}
}

// block makes whoever asks for the branch wait until unblock: its name is a pipe that nobody writes to.
func (w world) block() (unblock func()) {
	w.t.Helper()
	head := filepath.Join(w.site, ".git", "HEAD")
	content, err := os.ReadFile(head)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Mkfifo(head+".pipe", 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(head+".pipe", head); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		w.t.Helper()
		pipe, err := os.OpenFile(head, os.O_RDWR, 0) // whoever waits has it open; for others, the file takes its place
		if err != nil {
			w.t.Fatal(err)
		}
		defer pipe.Close()
		temp := head + ".new"
		if err := os.WriteFile(temp, content, 0o644); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Rename(temp, head); err != nil {
			w.t.Fatal(err)
		}
		if _, err := pipe.Write(content); err != nil {
			w.t.Fatal(err)
		}
	}
}

// systemd is what a service manager hears. It always listens: a socket that nobody reads takes no more.
type systemd struct {
	t    *testing.T
	path string

	mu    sync.Mutex
	heard []string // and not asked for yet
}

func listenAsSystemd(t *testing.T) *systemd {
	t.Helper()
	s := &systemd{t: t, path: filepath.Join(t.TempDir(), "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return // it is closed
			}
			s.mu.Lock()
			s.heard = append(s.heard, string(b[:n]))
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		c.Close()
		listening.Wait()
	})
	return s
}

// hear waits for a message that holds something, and gives it. Those before it are gone then.
func (s *systemd) hear(what string) (message string) {
	s.t.Helper()
	eventually(s.t, "systemd is told "+what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.heard, func(m string) bool { return strings.Contains(m, what) })
		if i >= 0 {
			message, s.heard = s.heard[i], s.heard[i+1:]
		}
		return i >= 0
	})
	return message
}

// hearAll waits for messages that hold this and that, whichever comes first.
func (s *systemd) hearAll(all ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("systemd is told %q", all), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !slices.ContainsFunc(all, func(what string) bool {
			return !slices.ContainsFunc(s.heard, func(m string) bool { return strings.Contains(m, what) })
		})
	})
}

// pending are the messages that have been sent and not asked for: all that lie before one of our own.
func (s *systemd) pending() []string {
	s.t.Helper()
	const end = "END OF WHAT WAS SENT"
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(end))
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var before []string
	eventually(s.t, "our own message has come", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.Index(s.heard, end)
		if i >= 0 {
			before, s.heard = s.heard[:i], s.heard[i+1:]
		}
		return i >= 0
	})
	return before
}

// TestServeTellsSystemdHowItFares goes through the life of a service: up, at work, reloading, hung, at work again, stopped.
func TestServeTellsSystemdHowItFares(t *testing.T) {
	w := newWorld(t)
	s := listenAsSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	t.Setenv("WATCHDOG_USEC", "100000")
	admin := freeAddress(t)
	p := w.start("--admin", admin, "--poll", "50ms", "--hang-after", "5s")
	s.hear("READY=1")
	s.hearAll("WATCHDOG=1", "STATUS=generation 1, commit "+git(t, w.site, "rev-parse", "HEAD")[:12])
	s.pending()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if m := s.hear("RELOADING=1"); !strings.Contains(m, "MONOTONIC_USEC=") {
		t.Errorf("reloading: %q", m)
	}
	s.hear("READY=1")

	unblock := w.block()
	eventually(t, "the loop hangs", func() bool { // on a busy machine a pass before may have seemed to
		code, why := text("http://" + admin + "/healthz")
		return code == 503 && strings.Contains(why, "no sign of life") && strings.Contains(p.log(), "watchdog not fed")
	})
	s.pending()
	time.Sleep(500 * time.Millisecond) // ten meals of the watchdog
	if heard := s.pending(); len(heard) > 0 {
		t.Errorf("a hung service says %q", heard)
	}
	if code, _ := text("http://" + p.address + "/index"); code != 200 {
		t.Errorf("a hung service serves no more: %d", code)
	}
	unblock()
	s.hear("WATCHDOG=1")
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("ends with %v\n%s", err, p.log())
	}
	s.hear("STOPPING=1")
}

// TestLogsAreJSONAndHoldNoSecret gives a password in a place where it lands in errors.
func TestLogsAreJSONAndHoldNoSecret(t *testing.T) {
	w := newWorld(t)
	const password = "correct-horse-battery"
	credential := filepath.Join(w.dir, "credential")
	if err := os.WriteFile(credential, []byte("ann:"+password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Anybody may report, and what a FEC says is logged.
	address, log := w.serve("--admin", "", "--poll", never, "--log-format", "json", "--credential", "git.example.org="+credential)
	detail := "could+not+fetch+https://ann:" + password + "@git.example.org/,+Authorization:+Bearer+" + password + "+and+it+said+" + password
	if r, err := http.Post("http://"+address+"/-/report", "application/x-www-form-urlencoded", strings.NewReader("fec="+w.fecs()[0]+"&state=failed&detail="+detail)); err != nil || r.Body.Close() != nil {
		t.Error(err)
	}
	eventually(t, "the report is logged", func() bool { return strings.Contains(log(), "received report") })
	for line := range strings.Lines(log()) {
		if !strings.HasSuffix(line, "\n") {
			continue // it is being written
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if strings.Contains(log(), password) || !strings.Contains(log(), "https://[redacted]@git.example.org/") {
		t.Errorf("log:\n%s", log())
	}
	for _, args := range [][]string{{"--log-format", "xml"}, {"--log-level", "loud"}} {
		if _, errs, code := pomona(t, append([]string{"serve", w.site, "--root", w.root + "2", "--key", filepath.Join(w.dir, "key.sec")}, args...)...); code != 2 || !strings.Contains(errs, args[1]) {
			t.Errorf("%q: code %d: %s", args, code, errs)
		}
	}
}
