package boot_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const manifestPath = "/fecs/" + fecName + "/boot.manifest"

// TestFaults is what networks and servers do to a boot.
func TestFaults(t *testing.T) { onEach(t, testFaults) }

func testFaults(t *testing.T, on machine) {
	for _, c := range []struct {
		name      string
		installed bool  // serial 100 has booted before
		fault     fault // of the boot of serial 101
		state     string
		serial    int64
		detail    string
		asked     map[string]int // requests for the manifest and for bpm's archive
		resumed   string         // Range header of the second request for bpm's archive
	}{
		{name: "first boot", state: "running", serial: 101, asked: requests(1, 1)},
		{name: "update", installed: true, state: "running", serial: 101, asked: requests(1, 1)},
		{name: "503 twice for the manifest", fault: only(manifestPath, first(2, status(503))), state: "running", serial: 101, asked: requests(3, 1)},
		{name: "503 twice for each object", fault: only("/objects/", first(2, status(503))), state: "running", serial: 101, asked: requests(7, 3)}, // progress resets the rounds
		{name: "object cut with length", fault: only("/objects/", first(1, big(cut(200_000)))), state: "running", serial: 101, asked: requests(2, 2), resumed: "bytes=200000-"},
		{name: "object cut without length", fault: only("/objects/", first(1, big(cutSilently(150_000)))), state: "running", serial: 101, asked: requests(2, 2), resumed: "bytes=150000-"},
		{name: "bit flipped once", fault: only("/objects/", first(1, big(flip))), state: "running", serial: 101, asked: requests(1, 2)},
		{name: "bit flipped always, nothing installed", fault: only("/objects/", big(flip)), state: "failed", serial: 101, detail: "is corrupt", asked: requests(3, 6)},
		{name: "bit flipped always, good release installed", installed: true, fault: only("/objects/", big(flip)), state: "fallback", serial: 100, detail: "is corrupt", asked: requests(3, 6)},
		{name: "object stalls", fault: only("/objects/", first(1, big(stall(100_000)))), state: "running", serial: 101, asked: requests(2, 2), resumed: "bytes=100000-"},
		{name: "manifest stalls", fault: only(manifestPath, first(1, stall(10))), state: "running", serial: 101, asked: requests(2, 1)},
		{name: "manifest cut with length", fault: only(manifestPath, first(1, cut(400))), state: "running", serial: 101, asked: requests(2, 1)},
		{name: "manifest cut without length", fault: only(manifestPath, first(1, cutSilently(400))), state: "running", serial: 101, asked: requests(2, 1)},
		{name: "manifest tampered with", installed: true, fault: only(manifestPath, flip), state: "fallback", serial: 100, detail: "has signed it", asked: requests(3, 0)},
		{name: "server down, release installed", installed: true, fault: down, state: "fallback", serial: 100, detail: "no manifest", asked: requests(3, 0)},
		{name: "server down, nothing installed", fault: down, state: "failed", serial: 0, detail: "nothing to boot", asked: requests(3, 0)},
		{name: "server back after two rounds", fault: only(manifestPath, first(2, down)), state: "running", serial: 101, asked: requests(3, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := siteOn(t, on)
			f := s.fec()
			if c.installed {
				s.publish(s.release(100))
				boots(t, f, "running", 100, "")
			}
			m := s.release(101)
			s.publish(m)
			s.fail(c.fault)
			o := boots(t, f, c.state, c.serial, c.detail)
			counted := map[string]int{}
			var ranges []string
			for _, q := range s.asked() {
				switch q.Path {
				case manifestPath:
					counted["manifest"]++
				case "/objects/" + m.Software[0].Digest.Path():
					counted["bpm"]++
					ranges = append(ranges, q.Range)
				}
			}
			if d := cmp.Diff(c.asked, counted); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
			if c.resumed != "" && ranges[1] != c.resumed {
				t.Errorf("second request for the archive has range %q, want %q", ranges[1], c.resumed)
			}
			started(t, f, o)
		})
	}
}

func requests(manifest, bpm int) map[string]int {
	m := map[string]int{"manifest": manifest}
	if bpm > 0 {
		m["bpm"] = bpm
	}
	return m
}

// big lets a fault have bpm's archive alone: it is the only large one.
func big(f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, content []byte, n int) bool {
		return len(content) > 200_000 && f(w, r, content, n)
	}
}

func down(http.ResponseWriter, *http.Request, []byte, int) bool { panic(http.ErrAbortHandler) }

// started checks that the version that o names was started by the init scripts, and none when there is no release.
func started(t *testing.T, f *boot.FEC, o boot.Outcome) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.Root(), "run/started"))
	if o.Status == 2 {
		if err == nil {
			t.Errorf("%q was started", b)
		}
		return
	}
	if string(b) != "1.0."+o.Serial {
		t.Errorf("started %q, want 1.0.%s: %v", b, o.Serial, err)
	}
}

func TestUnchangedRebootIsOneRequest(t *testing.T) { onEach(t, testUnchangedRebootIsOneRequest) }

func testUnchangedRebootIsOneRequest(t *testing.T, on machine) {
	s := siteOn(t, on)
	f := s.fec()
	f.Env = append(f.Env, "POMONA_REPORT=no")
	s.publish(s.release(100))
	before := boots(t, f, "running", 100, "")
	s.fail(nil)
	if after := boots(t, f, "running", 100, ""); after.Slot != before.Slot {
		t.Errorf("slot %q, want %q", after.Slot, before.Slot)
	}
	if d := cmp.Diff([]request{{Path: manifestPath}}, s.asked()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
	if n := len(s.told()); n > 0 {
		t.Errorf("%d reports, want none", n)
	}
}

func TestSecondServer(t *testing.T) {
	s, broken := newSite(t), newServer(t)
	broken.fail(status(500))
	s.publish(s.release(100))
	f := s.fec()
	f.Server = broken.URL + " " + s.URL
	boots(t, f, "running", 100, "")
	if len(broken.asked()) != 1 || len(s.told()) != 3 {
		t.Errorf("first server: %v; reports to the second: %v", broken.asked(), s.told())
	}
}

// TestNothingIsLeftRunning looks for processes of the client after boots with many short transfers, each with a watcher.
func TestNothingIsLeftRunning(t *testing.T) { onEach(t, testNothingIsLeftRunning) }

func testNothingIsLeftRunning(t *testing.T, on machine) {
	s := siteOn(t, on)
	f := s.fec()
	f.Env = append(f.Env, "POMONA_RETRIES=30")
	s.Close()
	boots(t, f, "failed", 0, "no manifest")
	for deadline := time.Now().Add(5 * time.Minute); len(running(t, f)) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still running: %q", running(t, f))
		}
	}
}

// running are the command lines of all processes of f.
func running(t *testing.T, f *boot.FEC) (lines []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[1-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range environs {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "HOME="+f.Dir+"\x00") {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")) // for people
			lines = append(lines, string(line))
		}
	}
	return lines
}

// TestReplay serves an older release than the one that booted last.
func TestReplay(t *testing.T) { onEach(t, testReplay) }

func testReplay(t *testing.T, on machine) {
	s := siteOn(t, on)
	f := s.fec()
	s.publish(s.release(101))
	boots(t, f, "running", 101, "")
	s.publish(s.release(100))
	boots(t, f, "fallback", 101, "replay: serial 100 is older than 101")

	t.Run("diskless", func(t *testing.T) {
		f := s.fec()
		f.Env = append(f.Env, "POMONA_MIN_SERIAL=101")
		boots(t, f, "failed", 100, "replay")
	})
	t.Run("unreadable serial", func(t *testing.T) { // as a power cut may leave it
		if err := os.WriteFile(filepath.Join(f.Root(), "serial"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		boots(t, f, "fallback", 101, "replay")
	})
}

func TestReports(t *testing.T) { onEach(t, testReports) }

func testReports(t *testing.T, on machine) {
	s := siteOn(t, on)
	f := s.fec()
	s.publish(s.release(100))
	o := boots(t, f, "running", 100, "")
	var states []string
	for _, r := range s.told() {
		states = append(states, r.Get("state"))
	}
	if d := cmp.Diff([]string{"fetching", "installed", "running"}, states); d != "" {
		t.Fatalf("states (-want +got):\n%s", d)
	}
	last := s.told()[2]
	for key, want := range map[string]string{"fec": fecName, "serial": "100", "slot": filepath.Base(o.Slot), "client": "3"} {
		if last.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, last.Get(key), want)
		}
	}

	s.publish(tree.Manifest{})
	s.fail(nil)
	boots(t, f, "fallback", 100, "malformed line: site ")
	if d := s.told()[0].Get("detail"); !strings.HasPrefix(d, "manifest: malformed line: site") {
		t.Errorf("detail %q", d)
	}
}

// TestReportsToAStaticServer are requests that its access log keeps.
func TestReportsToAStaticServer(t *testing.T) {
	s := newSite(t)
	s.publish(s.release(100))
	s.reportStatus = func(r *http.Request) int {
		if r.Method == http.MethodPost {
			return http.StatusMethodNotAllowed
		}
		return http.StatusNotFound
	}
	boots(t, s.fec(), "running", 100, "")
	if n := len(s.told()); n != 6 || s.told()[5].Get("state") != "running" {
		t.Errorf("reports %v", fmt.Sprint(s.told()))
	}
}
