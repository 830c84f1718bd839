// Package e2e runs the binary, and nothing but the binary, against real parts: git, busybox, nginx, dbus-daemon, stock
// cue, programs and libraries from Debian's packages.
package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/e2e/address"
)

// binary is the pomona that the tests run.
var binary string

func TestMain(m *testing.M) {
	if file := os.Getenv(measureFile); file != "" {
		os.Exit(measure(file))
	}
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(withBinary(m))
}

// atOnce is how many tests run at once, of those that say that they may: they mostly wait for services.
const atOnce = 4

// measureFile names the variable that has this program run the command in its arguments, and write into a file how many KiB it took.
const measureFile = "POMONA_E2E_MEASURE"

// measure runs a command: a process counts what its parent had taken as its own, and by now that of the tests has taken much.
func measure(file string) int {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, measureFile+"=") })
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 126
	}
	taken := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if err := os.WriteFile(file, []byte(strconv.FormatInt(taken, 10)), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 126
	}
	return cmd.ProcessState.ExitCode()
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pomona-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pomona")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/pomona").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build pomona: %v\n%s", err, out)
		return 2
	}
	// What Pomona caches is the tests' own; what the compiler does, is not.
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err := errors.Join(err, os.Setenv("GOCACHE", strings.TrimSpace(string(cache))), os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if trusted, err = newAuthority(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return m.Run()
}

// pomona runs the binary and returns what it printed and its exit code.
func pomona(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runCommand(t, exec.Command(binary, args...))
}

func runCommand(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &o, &e, 10*time.Second
	err := cmd.Start()
	if err == nil {
		err = ended(t, cmd)
	}
	if err != nil && cmd.ProcessState == nil || errors.Is(err, exec.ErrWaitDelay) { // it has left something behind that holds its output
		t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// patience is how long a command may take that does not wait for anything, and what others do may: longer than any does on a busy machine.
const patience = 5 * time.Minute

// ended waits until a command has ended. One that hangs says where, and the test fails, long before that of all tests would.
func ended(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	hangs := time.AfterFunc(patience, func() {
		t.Errorf("%v hangs", cmd.Args)
		_ = cmd.Process.Signal(syscall.SIGQUIT) // it may have ended meanwhile
	})
	defer hangs.Stop()
	return cmd.Wait()
}

// must runs the binary and fails the test unless it exits with 0.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := pomona(t, args...)
	if code != 0 {
		t.Fatalf("pomona %v: exit code %d\n%s%s", args, code, out, errs)
	}
	return out
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// debian finds a program of a Debian package. In CI it must be there.
func debian(t *testing.T, pkg, program string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if found := filepath.Join(dir, program); isFile(found) {
			return found
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: .ci/setup must install Debian's package %s", program, pkg)
	}
	t.Skipf("SKIPPED: %s is missing; install Debian's package %s", program, pkg)
	return ""
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// world is a site made from the template, a key and a root.
type world struct {
	t               *testing.T
	dir, site, root string
}

func newWorld(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	w := world{t, dir, filepath.Join(dir, "site"), filepath.Join(dir, "root")}
	must(t, "init", w.site)
	must(t, "keygen", filepath.Join(dir, "key"))
	return w
}

// mkdir makes a folder.
func (w world) mkdir(folder string) {
	w.t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) reconcile(more ...string) string {
	w.t.Helper()
	return must(w.t, append([]string{"reconcile", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec")}, more...)...)
}

// edit changes a file of the site by a regular expression and commits it.
func (w world) edit(name, old, new string) {
	w.t.Helper()
	file := filepath.Join(w.site, name)
	b, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	edited := regexp.MustCompile(old).ReplaceAll(b, []byte(new))
	if bytes.Equal(b, edited) {
		w.t.Fatalf("%s holds no %q:\n%s", name, old, b)
	}
	w.write(name, string(edited), 0o644)
	w.commit("change " + name)
}

func (w world) write(name, content string, mode os.FileMode) {
	w.t.Helper()
	file := filepath.Join(w.site, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
}

func (w world) commit(message string) {
	w.t.Helper()
	git(w.t, w.site, "add", "-A")
	git(w.t, w.site, "commit", "-qm", message)
}

// serve runs pomona serve until the test ends and returns its address and its log.
func (w world) serve(more ...string) (address string, log func() string) {
	w.t.Helper()
	p := w.start(more...)
	w.t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil {
			w.t.Errorf("pomona serve ends with %v", err)
		}
	})
	eventually(w.t, "pomona serve is ready", func() bool { return get("http://"+p.address+"/-/readyz") == 200 })
	return p.address, p.log
}

// service is a running pomona serve.
type service struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	logFile *os.File
}

func (w world) start(more ...string) *service {
	w.t.Helper()
	address := freeAddress(w.t)
	f, err := os.CreateTemp(w.dir, "serve-*.log")
	if err != nil {
		w.t.Fatal(err)
	}
	args := append([]string{"serve", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec"), "--listen", address}, more...)
	cmd := exec.Command(binary, args...)
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return &service{w.t, cmd, address, f}
}

// end sends the service a signal and waits until it has ended. It has said something before it is asked to end: a process that
// has hardly begun does not know yet that this is a request.
func (p *service) end(signal os.Signal) error {
	p.t.Helper()
	if signal == syscall.SIGTERM {
		eventually(p.t, "the service has begun", func() bool { return p.log() != "" })
	}
	if p.t.Failed() {
		signal = syscall.SIGQUIT // it says where it is
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Error(err)
	}
	err := ended(p.t, p.cmd)
	if p.t.Failed() {
		p.t.Log(p.log())
	}
	return errors.Join(err, p.logFile.Close())
}

func (p *service) log() string {
	p.t.Helper()
	b, err := os.ReadFile(p.logFile.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// kick has the running service make a pass.
func (w world) kick() string {
	w.t.Helper()
	return must(w.t, "kick", "--root", w.root)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	free, err := address.Free()
	if err != nil {
		t.Fatal(err)
	}
	return free
}

// eventually waits for something that another process does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not after %v: %s", patience, what)
}
