package e2e

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func get(url string) int {
	r, err := http.Get(url)
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

func download(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("get %s: %s, %v", url, r.Status, err)
	}
	return b
}

// fec is a front-end computer with nothing but busybox, a verifier, and what init scripts of its platform may expect.
type fec struct {
	t       *testing.T
	name    string
	server  string
	dir     string
	busybox string
	env     []string // more of its environment
}

// newFEC gives a FEC the boot client as served, the public key, and a PATH of busybox applets.
func (w world) newFEC(name, server string) fec {
	w.t.Helper()
	f := fec{w.t, name, server, filepath.Join(w.dir, "fec-"+name), debian(w.t, "busybox-static", "busybox"), nil}
	for _, dir := range []string{"bin", "keys", "state"} {
		if err := os.MkdirAll(filepath.Join(f.dir, dir), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if out, err := exec.Command(f.busybox, "--install", "-s", filepath.Join(f.dir, "bin")).CombinedOutput(); err != nil {
		w.t.Fatalf("install busybox: %v: %s", err, out)
	}
	for program, pkg := range map[string]string{
		"signify-openbsd": "signify-openbsd", "zstd": "zstd", "dbus-daemon": "dbus-daemon", "dbus-send": "dbus-bin", "dbus-test-tool": "dbus-tests",
	} {
		if err := os.Symlink(debian(w.t, pkg, program), filepath.Join(f.dir, "bin", program)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.put(filepath.Join(f.dir, "pomona-boot"), download(w.t, server+"/fecs/global/pomona-boot"))
	pub, err := os.ReadFile(filepath.Join(w.dir, "key.pub"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(filepath.Join(f.dir, "keys", "site.pub"), pub)
	w.t.Cleanup(f.stop)
	return f
}

func (w world) put(file string, b []byte) {
	w.t.Helper()
	if err := os.WriteFile(file, b, 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// boot turns the FEC off, runs the boot client once and returns its exit code and what it said.
func (f fec) boot() (int, string) {
	f.t.Helper()
	f.stop()
	out, err := os.CreateTemp(f.dir, "console-")
	if err != nil {
		f.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(f.busybox, "sh", filepath.Join(f.dir, "pomona-boot"))
	cmd.Env = []string{
		"PATH=" + filepath.Join(f.dir, "bin"), "POMONA_SERVER=" + f.server, "POMONA_FEC=" + f.name, "POMONA_RETRIES=3",
		"POMONA_ROOT=" + filepath.Join(f.dir, "state"), "POMONA_KEYS=" + filepath.Join(f.dir, "keys"), "POMONA_CONF=/nonexistent", "POMONA_TOKEN_FILE=" + filepath.Join(f.dir, "token"),
		"TMPDIR=/tmp", "POMONA_E2E=" + f.dir,
	}
	cmd.Env = append(cmd.Env, f.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Daemons keep the console open: wait for the client, not for them.
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	state, err := cmd.Process.Wait()
	if err != nil {
		f.t.Fatal(err)
	}
	said, err := os.ReadFile(out.Name())
	if err != nil {
		f.t.Fatal(err)
	}
	return state.ExitCode(), string(said)
}

// stop kills what the FEC's scripts started, everything that carries its environment, until nothing of it is left: what is killed
// while it starts something leaves that behind.
func (f fec) stop() {
	for f.kill() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// kill kills what runs now, and says how much that was.
func (f fec) kill() (found int) {
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		f.t.Error(err)
	}
	for _, p := range processes {
		b, err := os.ReadFile(p)
		if err != nil || !slices.Contains(strings.Split(string(b), "\x00"), "POMONA_E2E="+f.dir) {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(p, "/")[2])
		if err != nil {
			f.t.Error(err)
		}
		found++
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	return found
}

func (f fec) mustBoot() {
	f.t.Helper()
	if code, said := f.boot(); code != 0 {
		log, _ := os.ReadFile(filepath.Join(f.dir, "state/run/boot.log"))
		f.t.Fatalf("%s boots with exit code %d:\n%s\n%s", f.name, code, said, log)
	}
}

func (f fec) slot(name string) string {
	f.t.Helper()
	target, err := filepath.EvalSymlinks(filepath.Join(f.dir, "state", name))
	if err != nil {
		f.t.Fatal(err)
	}
	return target
}

// fecs are the names of all FECs that the root serves.
func (w world) fecs() (names []string) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.root, "current/fecs"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if isFile(filepath.Join(w.root, "current/fecs", e.Name(), "boot.manifest")) {
			target, err := os.Readlink(filepath.Join(w.root, "current/fecs", e.Name()))
			if err != nil {
				w.t.Fatal(err)
			}
			if strings.Contains(target, "/") { // not the alias of a host name
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// TestFromCommitToBootedFEC is the main job: a new site, a commit, a pass, and every FEC of it boots with busybox.
func TestFromCommitToBootedFEC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, "validate", w.site)
	address, log := w.serve()
	names := w.fecs()
	if len(names) < 10 {
		t.Fatalf("the template has only FECs %v", names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			w := w
			w.t = t
			f := w.newFEC(name, "http://"+address)
			f.mustBoot()
			if !strings.Contains(log(), "state=running") || !strings.Contains(log(), "fec="+name) {
				t.Errorf("%s is not reported running:\n%s", name, log())
			}
			first := f.slot("current")
			f.mustBoot()
			if f.slot("current") != first {
				t.Errorf("an unchanged boot takes another slot")
			}
		})
	}
}

// TestUpdateAndRollBack moves one FEC to another version and back, by commits.
func TestUpdateAndRollBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("software/clock/clock.cue", `package site

software: clock: versions: {
	"1.0.0": payload: any: {folder: "software/clock/1.0.0", install: "/opt/clock"}
	"2.0.0": payload: any: {folder: "software/clock/2.0.0", install: "/opt/clock"}
}
`, 0o644)
	w.write("software/clock/1.0.0/face", "one\n", 0o644)
	w.write("software/clock/2.0.0/face", "two\n", 0o644)
	w.write("fecs/clock/tower.cue", `package site

fecs: tower1: {
	host:     "tower1.example.org"
	platform: "debian-x86"
	software: clock: version: "1.0.0"
	init: "50-show": file: "fecs/clock/show"
}
`, 0o644)
	w.write("fecs/clock/show", "#!/bin/sh\ncp opt/clock/face \"$POMONA_RUN/face\"\n", 0o755)
	w.commit("add a clock")
	w.reconcile()
	address, log := w.serve()
	f := w.newFEC("tower1", "http://"+address)
	face := func() string {
		f.mustBoot()
		b, err := os.ReadFile(filepath.Join(f.dir, "state/run/face"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if got := face(); got != "one" {
		t.Errorf("first boot shows %q", got)
	}
	one := f.slot("current")
	w.edit("fecs/clock/tower.cue", `"1.0.0"`, `"2.0.0"`)
	w.kick()
	if builds := strings.Count(log(), "built parts"); builds != 0 {
		t.Errorf("an unchanged payload is built again, %d times:\n%s", builds, log())
	}
	if got := face(); got != "two" || f.slot("previous") != one {
		t.Errorf("after the update: %q, previous is %s", got, f.slot("previous"))
	}
	git(t, w.site, "revert", "--no-edit", "HEAD")
	w.kick()
	if got := face(); got != "one" {
		t.Errorf("after the revert: %q", got)
	}
	// Offline, the last good one boots.
	f.server = "http://127.0.0.1:1"
	if got := face(); got != "one" {
		t.Errorf("offline: %q", got)
	}
}

// TestRealPayloads sends real programs and libraries of both platforms through the whole corridor.
func TestRealPayloads(t *testing.T) {
	t.Parallel()
	debian(t, "libc6-powerpc-cross", "../powerpc-linux-gnu/lib/libc.so.6")
	w := newWorld(t)
	payloads := map[string]string{"yocto-ppc": "/usr/powerpc-linux-gnu/lib", "debian-x86": "/lib/x86_64-linux-gnu"}
	for platform, from := range payloads {
		copyPayload(t, from, filepath.Join(w.site, "payload", platform))
	}
	w.write("libs.cue", `package site

software: libs: versions: "2.36.0": payload: {
	"yocto-ppc": {folder: "payload/yocto-ppc", install: "/opt/libs"}
	"debian-x86": {folder: "payload/debian-x86", install: "/opt/libs"}
}
fecs: {
	libppc: {host: "libppc.example.org", platform: "yocto-ppc", software: libs: version: "2.36.0"}
	libx86: {host: "libx86.example.org", platform: "debian-x86", software: libs: version: "2.36.0"}
}
`, 0o644)
	w.commit("add real libraries")
	address, _ := w.serve()
	for name, platform := range map[string]string{"libppc": "yocto-ppc", "libx86": "debian-x86"} {
		f := w.newFEC(name, "http://"+address)
		f.mustBoot()
		want, got := filepath.Join(w.site, "payload", platform), filepath.Join(f.slot("current"), "opt/libs")
		if out, err := exec.Command("diff", "-r", "--no-dereference", want, got).CombinedOutput(); err != nil {
			t.Errorf("%s got something else: %v\n%.2000s", name, err, out)
		}
	}
}

// copyPayload copies some of a folder's libraries, links included.
func copyPayload(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(from + "/lib[cm]*.so*")
	if err != nil || len(names) < 3 {
		t.Fatalf("found %v in %s, %v", names, from, err)
	}
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if target, err := os.Readlink(name); err == nil && (filepath.IsAbs(target) || strings.Contains(target, "/")) {
			continue // leads out of the folder
		}
		if info.Mode()&fs.ModeSymlink == 0 && info.Size() > 8<<20 {
			continue
		}
		if out, err := exec.Command("cp", "-a", name, to).CombinedOutput(); err != nil {
			t.Fatalf("copy %s: %v: %s", name, err, out)
		}
	}
	// A link whose target stayed behind would be refused.
	links, err := filepath.Glob(to + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if _, err := os.Stat(link); err != nil {
			if err := os.Remove(link); err != nil {
				t.Fatal(err)
			}
		}
	}
}
