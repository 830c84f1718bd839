package repo_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/e2e/address"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// upstream is a repository that people push to, and git's own server for it.
type upstream struct {
	t       *testing.T
	dir     string
	work    string // where people work
	bare    string // what is served
	server  *httptest.Server
	backend http.Handler
	fault   atomic.Pointer[http.HandlerFunc] // answers instead of git
	posts   atomic.Int64                     // how often objects were asked for
	n       int
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := emptyUpstream(t)
	u.commit("first")
	return u
}

func emptyUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{t: t, dir: t.TempDir()}
	u.work, u.bare = filepath.Join(u.dir, "work"), filepath.Join(u.dir, "srv", "site.git")
	git(t, u.dir, "init", "-q", "-b", "main", u.work)
	git(t, u.dir, "init", "-q", "-b", "main", "--bare", u.bare)
	git(t, u.work, "remote", "add", "origin", u.bare)
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	u.backend = &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(u.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	u.server = httptest.NewTLSServer(http.HandlerFunc(u.serve))
	t.Cleanup(u.server.Close)
	return u
}

func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		u.posts.Add(1)
	}
	if f := u.fault.Load(); f != nil {
		(*f)(w, r)
		return
	}
	u.backend.ServeHTTP(w, r)
}

func (u *upstream) answer(f http.HandlerFunc) {
	if f == nil {
		u.fault.Store(nil)
		return
	}
	u.fault.Store(&f)
}

// commit makes a commit with one changed file, and pushes it.
func (u *upstream) commit(content string) string {
	u.t.Helper()
	u.n++
	write(u.t, u.work, fmt.Sprintf("folder%d/file", u.n%7), content+"\n", 0o644)
	write(u.t, u.work, "site.cue", fmt.Sprintf("package site\n// %d\n", u.n), 0o644)
	git(u.t, u.work, "add", "-A")
	git(u.t, u.work, "commit", "-qm", content)
	u.push()
	return u.head()
}

func (u *upstream) head() string { u.t.Helper(); return git(u.t, u.work, "rev-parse", "HEAD") }

// push makes the served branch what the one where people work is, whatever it was.
func (u *upstream) push() { u.t.Helper(); git(u.t, u.work, "push", "-qf", "origin", "HEAD:main") }

func (u *upstream) tls() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(u.server.Certificate())
	return &tls.Config{RootCAs: pool}
}

// options are those of a mirror over https.
func (u *upstream) options() repo.MirrorOptions {
	return repo.MirrorOptions{
		Dir: filepath.Join(u.dir, "mirror"), URL: u.server.URL + "/site.git", Branch: "main",
		Client: remote.New(remote.Options{TLS: u.tls(), Stall: 5 * time.Second}),
	}
}

// mirror is one that the test opens and closes.
type mirror struct {
	*repo.Mirror
	t *testing.T
	o repo.MirrorOptions
}

func open(t *testing.T, o repo.MirrorOptions) *mirror {
	t.Helper()
	m, err := repo.OpenMirror(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() }) // it may be closed already
	return &mirror{m, t, o}
}

// restart is the mirror in another process.
func (m *mirror) restart() {
	m.t.Helper()
	if err := m.Close(); err != nil {
		m.t.Fatal(err)
	}
	var err error
	if m.Mirror, err = repo.OpenMirror(m.o); err != nil {
		m.t.Fatal(err)
	}
}

// moves updates the mirror, which must then show a commit and all its files.
func (m *mirror) moves(to string) {
	m.t.Helper()
	u, err := m.Update(m.t.Context())
	if err != nil || !u.Moved || u.To != to || u.Untidy != nil {
		m.t.Fatalf("update to %s: %+v, %v", to, u, err)
	}
	m.shows(to)
}

// stays updates the mirror, which must not move.
func (m *mirror) stays(at string) {
	m.t.Helper()
	u, err := m.Update(m.t.Context())
	if err != nil || u.Moved || u.To != at || u.From != at || u.Untidy != nil {
		m.t.Fatalf("update at %s: %+v, %v", at, u, err)
	}
	m.shows(at)
}

// fails updates the mirror, which must say something and stay.
func (m *mirror) fails(at string, as any, says string) {
	m.t.Helper()
	u, err := m.Update(m.t.Context())
	if err == nil || u.Moved || u.To != at || !errors.As(err, as) || !strings.Contains(err.Error(), says) || u.Untidy != nil {
		m.t.Fatalf("update at %s: %+v, %T: %v; want %q", at, u, err, err, says)
	}
	if at != "" {
		m.shows(at)
	}
}

// shows reads everything that the mirror shows.
func (m *mirror) shows(commit string) {
	m.t.Helper()
	if m.Accepted() != commit {
		m.t.Fatalf("accepted is %s, want %s", m.Accepted(), commit)
	}
	c, err := m.Repo().Resolve(m.o.Branch)
	if err != nil || c.ID != commit {
		m.t.Fatalf("it shows %+v, %v; want %s", c, err, commit)
	}
	files, err := m.Repo().Files(m.t.Context(), c)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range files.Files() {
		r, err := files.Open(f)
		if err != nil {
			m.t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			m.t.Fatal(err)
		}
		r.Close()
	}
}

// live is the bare repository that the mirror reads.
func (m *mirror) live() string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.o.Dir, "git-*"))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("repositories %v, %v", found, err)
	}
	return found[0]
}

// tidy says that nothing temporary is left, and that git finds nothing wrong.
func (m *mirror) tidy() {
	m.t.Helper()
	for _, pattern := range []string{".pomona/staging/*", "git-*/objects/pack/tmp_*"} {
		if left, _ := filepath.Glob(filepath.Join(m.o.Dir, pattern)); len(left) > 0 {
			m.t.Errorf("left: %v", left)
		}
	}
	if at := m.Accepted(); at != "" {
		git(m.t, m.live(), "fsck", "--full", "--strict", "--no-dangling", at)
		git(m.t, m.live(), "rev-list", "--objects", at)
	}
}

func (m *mirror) packs() int {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.live(), "objects/pack/*.pack"))
	if err != nil {
		m.t.Fatal(err)
	}
	return len(found)
}

// program is one of Debian's, which CI must have.
func program(t *testing.T, pkg, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(dir, name)
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: .ci/setup must install Debian's package %s", name, pkg)
	}
	t.Skipf("SKIPPED: %s is missing; install Debian's package %s", name, pkg)
	return ""
}

// keygen makes an ssh key pair and returns its private file.
func keygen(t *testing.T, dir, name string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if out, err := exec.Command(program(t, "openssh-client", "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

// overSSH runs a real sshd and says how a mirror reaches the repository through it.
func (u *upstream) overSSH() repo.MirrorOptions {
	u.t.Helper()
	t := u.t
	sshd := program(t, "openssh-server", "sshd")
	host, user := keygen(t, u.dir, "host"), keygen(t, u.dir, "user")
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // what Debian's own start of sshd makes
			t.Fatal(err)
		}
	}
	free, err := address.Free()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free)
	write(t, u.dir, "sshd_config", fmt.Sprintf("Port %s\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 100\n", port, host, user), 0o600)
	var log bytes.Buffer
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(u.dir, "sshd_config"))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", free); err == nil {
			c.Close()
			break
		}
	}
	hostKey, err1 := os.ReadFile(host + ".pub")
	key, err2 := os.ReadFile(user)
	who, err3 := exec.Command("id", "-un").Output()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	write(t, u.dir, "known_hosts", fmt.Sprintf("[127.0.0.1]:%s %s", port, hostKey), 0o600)
	c, err := remote.ParseCredential(key)
	if err != nil {
		t.Fatal(err)
	}
	o := u.options()
	o.URL = fmt.Sprintf("ssh://%s@%s%s", strings.TrimSpace(string(who)), free, u.bare)
	o.KnownHosts = filepath.Join(u.dir, "known_hosts")
	o.Client = remote.New(remote.Options{Credentials: remote.Credentials{free: c}, Stall: 5 * time.Second})
	return o
}
