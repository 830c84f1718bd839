package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFault17SecondInstance starts a second service of one configuration, addresses included, beside the first. It waits for
// all of them, and takes over when the first one ends and when it is killed; nobody is served by both or, for long, by none.
func TestFault17SecondInstance(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, heardBy)
	for i, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		first := m.p
		m.run()
		eventually(t, "the second waits", func() bool {
			return strings.Contains(m.p.log(), "waiting: another pomona serves this root") && strings.Count(m.p.log(), "waiting for an address") == 2
		})
		m.takes(m.pushed(fmt.Sprint("while one waits ", i)))
		if strings.Contains(m.p.log(), "published generation") {
			t.Error("the one that waits publishes")
		}
		if err := first.end(signal); (err == nil) != (signal == syscall.SIGTERM) {
			t.Errorf("%v: the first ends with %v", signal, err)
		}
		eventually(t, "the second answers all who ask", func() bool {
			return get("http://"+m.listens+"/-/readyz") == 200 && get("http://"+m.admin+"/readyz") == 200 && get("http://"+m.hears+"/acc/forge") == http.StatusMethodNotAllowed
		})
		m.deliver(push{id: fmt.Sprint(i), commit: m.pushed(fmt.Sprint("after the change of guard ", i))}, http.StatusAccepted)
		m.follows("the second hears of a push, and publishes")
		m.stays(m.head())
	}
}

// TestFault19QueueOverflows gives the kernel more to tell than it keeps, and then a commit that it does not tell of: what it kept
// has the branch looked for.
func TestFault19QueueOverflows(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	var most int
	if _, err := fmt.Sscan(string(b), &most); err != nil || most > 100_000 {
		t.Skipf("SKIPPED: the kernel keeps %s events", b)
	}
	w := newWorld(t)
	p := w.start("--poll", never)
	defer func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}()
	w.follows("the first commit is published")
	w.kick()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	noise := filepath.Join(w.site, ".git", "noise")
	for range most { // each gives more than one event
		if err := os.WriteFile(noise, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(noise); err != nil {
			t.Fatal(err)
		}
	}
	w.note("untold")
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.follows("a commit that nobody told of is published")
	w.note("told again")
	w.follows("the next one is told of")
}

// TestFault19NoEvents runs where the system tells of nothing, as on a network mount: polling finds the commit.
func TestFault19NoEvents(t *testing.T) {
	try := exec.Command("unshare", "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances")
	if out, err := try.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI must allow user namespaces: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: no user namespaces: %v", err)
	}
	w := newWorld(t)
	f, err := os.Create(filepath.Join(w.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	cmd := exec.Command("unshare", "-Ur", "sh", "-c", `echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@"`,
		binary, "serve", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec"), "--listen", address, "--poll", "100ms")
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &service{t, cmd, address, f}
	w.follows("the first commit is published")
	if !strings.Contains(p.log(), "only polling finds new commits") {
		t.Errorf("nothing is said:\n%s", p.log())
	}
	w.note("one")
	w.follows("polling finds a commit")
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// TestFault21OldPaths reads what was current when it began to read: an archive on its way, the paths of the old commit and the
// objects of the old manifest, after more generations than are kept for their number.
func TestFault21OldPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.large(16 << 20)
	address, _ := w.serve("--poll", never)
	first := w.head()
	archives, err := filepath.Glob(filepath.Join(w.root, "current/software/victim/1.0.0/victim-1.0.0.tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("%v, %v", archives, err)
	}
	want, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	var objects []string // of the old manifest
	manifest := download(t, "http://"+address+"/fecs/victim1/boot.manifest")
	for _, word := range strings.Fields(string(manifest)) {
		if len(word) == 64 && strings.Trim(word, "0123456789abcdef") == "" {
			objects = append(objects, "/objects/sha256/"+word[:2]+"/"+word)
		}
	}
	if len(objects) == 0 {
		t.Fatalf("no objects in\n%s", manifest)
	}
	slow, err := http.Get("http://" + address + "/software/victim/1.0.0/victim-1.0.0.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	begun, err := io.ReadAll(io.LimitReader(slow.Body, 1000))
	if err != nil {
		t.Fatal(err)
	}
	git(t, w.site, "rm", "-q", "-r", "kill.cue", "payload")
	w.commit("no victim any more\n\nPomona-Allow-Removal: 1 fecs")
	for i := range 11 {
		w.kick()
		w.note(fmt.Sprint("generation ", i))
	}
	w.kick()
	w.follows("all of them are published")
	rest, err := io.ReadAll(slow.Body)
	if err != nil || !bytes.Equal(append(begun, rest...), want) {
		t.Errorf("a slow download ends after %d of %d bytes: %v", len(begun)+len(rest), len(want), err)
	}
	if code := get("http://" + address + "/fecs/victim1/boot.manifest"); code != http.StatusNotFound {
		t.Errorf("the FEC that was removed is served: status %d", code)
	}
	if b := download(t, "http://"+address+"/by-commit/"+first+"/fecs/victim1/boot.manifest"); !bytes.Equal(b, manifest) {
		t.Error("the old commit has another manifest now")
	}
	for _, path := range objects {
		if sum := sha256.Sum256(download(t, "http://"+address+path)); hex.EncodeToString(sum[:]) != path[len(path)-64:] {
			t.Errorf("%s is something else", path)
		}
	}
}

// TestFaultTerminatedInEveryStage ends a service while passes run, at any moment of them: it exits with 0, and what it leaves
// is whole.
func TestFaultTerminatedInEveryStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.change(0)
	w.reconcile()
	for i := range 10 {
		before := w.published()
		w.change(i + 1)
		p := w.start("--poll", "10ms", "--admin", "")
		eventually(t, "the service begins", func() bool { return strings.Contains(p.log(), "serving tree") })
		time.Sleep(time.Duration(i*30+rand.IntN(30)) * time.Millisecond)
		w.terminated(p)
		w.whole()
		if have := w.published(); have != before && have != w.head() {
			t.Errorf("commit %s is published, which is neither %s nor %s", have, before, w.head())
		}
	}
	w.reconcile()
	w.settled()
	w.serves(w.head())
}

// terminated ends a service as systemd does.
func (w world) terminated(p *service) {
	w.t.Helper()
	began := time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		w.t.Errorf("pomona serve ends with %v\n%s", err, p.log())
	}
	if took := time.Since(began); took > 30*time.Second { // systemd waits three times as long
		w.t.Errorf("pomona serve ends after %s\n%s", took, p.log())
	}
}

// TestFaultTerminatedWhileOthersAreSlow ends a service while it waits for somebody: a payload's host, the evaluation of CUE,
// the state of the machine, a client that takes its time, an operator's kick.
func TestFaultTerminatedWhileOthersAreSlow(t *testing.T) {
	a := trusted
	reached, end := make(chan string, 100), make(chan struct{})
	slow := a.server(t, func(_ http.ResponseWriter, r *http.Request) {
		reached <- r.URL.Path
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	defer close(end)
	w := newWorld(t)
	w.reconcile()
	before := w.published()

	t.Run("payload", func(t *testing.T) {
		w := w
		w.t = t
		w.remote(fmt.Sprintf("https: {url: %q, sha256: %q}", slow.URL+"/payload.tar.gz", strings.Repeat("ab", 32)))
		p := w.start("--poll", never, "--admin", "")
		<-reached
		kick := exec.Command(binary, "kick", "--root", w.root)
		if err := kick.Start(); err != nil {
			t.Fatal(err)
		}
		w.terminated(p)
		if err := kick.Wait(); err == nil {
			t.Error("a kick that came to nothing succeeds")
		}
		git(t, w.site, "revert", "--no-edit", "HEAD")
	})
	t.Run("evaluation", func(t *testing.T) {
		w := w
		w.t = t
		var bomb strings.Builder
		bomb.WriteString("package site\n\n_a0: [1, 2]\n")
		for i := 1; i < 24; i++ {
			fmt.Fprintf(&bomb, "_a%d: [for x in _a%d for y in [1, 2] {x + y}]\n", i, i-1)
		}
		bomb.WriteString("software: bomb: description: \"\\(len(_a23))\"\n")
		w.write("bomb.cue", bomb.String(), 0o644)
		w.commit("bomb")
		p := w.start("--poll", never, "--admin", "")
		eventually(t, "it is evaluated", func() bool { return children(p.cmd.Process.Pid) > 0 })
		w.terminated(p)
		git(t, w.site, "revert", "--no-edit", "HEAD")
	})
	t.Run("machine", func(t *testing.T) {
		w := w
		w.t = t
		p := w.start("--poll", never, "--admin", "", "--machine-state", slow.URL+"/state")
		<-reached
		w.terminated(p)
	})
	t.Run("client", func(t *testing.T) {
		w := w
		w.t = t
		w.large(16 << 20)
		p := w.start("--poll", never, "--admin", "", "--shutdown-timeout", "1s")
		w.follows("a large payload is published")
		var slow *http.Response
		eventually(t, "a client begins", func() (ok bool) {
			var err error
			slow, err = http.Get("http://" + p.address + "/software/victim/1.0.0/victim-1.0.0.tar.gz")
			return err == nil && slow.StatusCode == http.StatusOK
		})
		defer slow.Body.Close()
		w.terminated(p)
		if !strings.Contains(p.log(), "some transfers took too long to end") {
			t.Errorf("nothing is said:\n%s", p.log())
		}
	})
	w.whole()
	if w.published() == before {
		t.Error("nothing was published")
	}
	w.reconcile()
	w.settled()
}

// large commits a release of so many bytes, too many for the buffers between a server and a client that does not read.
func (w world) large(bytes int) {
	w.t.Helper()
	w.change(1)
	noise := make([]byte, bytes)                    // which nothing makes smaller
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // it never fails
	w.write("payload/victim/data", string(noise), 0o644)
	w.edit("kill.cue", `install: "/opt/victim"`, `install: "/opt/victim", format: "gzip"`)
}

// children counts the processes that a process has started.
func children(pid int) int {
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		more, err := os.ReadFile(task)
		if err == nil {
			out = append(append(out, ' '), more...)
		}
	}
	if err != nil {
		return 0
	}
	return len(bytes.Fields(out))
}
