package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// What a git server, a forge, the network or the machine may do to a running service. Those named TestFault… carry the number
// of their case; here means this folder. Cases of one pass are listed in hostile_test.go.
//
//	10 rewritten, deleted, renamed   here TestFault10Rewrites; repo TestMirrorRefusesRewrites, TestMirrorOfWhatMovesMeanwhile

// mirrored is a service that follows a repository of a git server, and what stands between the two.
type mirrored struct {
	world
	p           *service
	bare, file  string // the server's repository, and the service's configuration
	host        *httptest.Server
	fault       atomic.Pointer[http.HandlerFunc] // answers in place of git; nil: git does
	git         http.Handler
	fecs, admin string // addresses
	hears       string // likewise, of webhooks
	more        string // of the site
}

// newMirrored starts a service whose site says more than it must. It polls once a day unless that says otherwise.
func newMirrored(t *testing.T, more string) *mirrored {
	t.Helper()
	a := newAuthority(t)
	m := &mirrored{world: newWorld(t), fecs: freeAddress(t), admin: freeAddress(t), hears: freeAddress(t), more: more}
	m.bare = filepath.Join(m.dir, "git", "site.git")
	m.file = filepath.Join(m.dir, "pomona.cue")
	git(t, m.dir, "clone", "-q", "--bare", m.site, m.bare)
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	m.git = &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + filepath.Dir(m.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	m.host = a.server(t, func(w http.ResponseWriter, r *http.Request) {
		if f := m.fault.Load(); f != nil {
			(*f)(w, r)
			return
		}
		m.git.ServeHTTP(w, r)
	})
	m.configure()
	m.run()
	t.Cleanup(func() {
		m.answer(nil)
		if err := m.p.end(syscall.SIGTERM); err != nil {
			t.Errorf("pomona serve ends with %v\n%s", err, m.p.log())
		}
	})
	m.follows("the branch is published")
	return m
}

// configure writes the configuration.
func (m *mirrored) configure() {
	m.t.Helper()
	if !strings.Contains(m.more, "poll:") {
		m.more += "\npoll: \"1d\""
	}
	if !strings.Contains(m.more, "repository:") {
		m.more += fmt.Sprintf("\nrepository: url: %q", m.host.URL+"/site.git")
	}
	text := fmt.Sprintf("admin: %q\nwebhooks: %q\nsites: acc: {\nroot: %q\nlisten: %q\nkeys: [%q]\n%s\n}\n",
		m.admin, m.hears, m.root, m.fecs, filepath.Join(m.dir, "key.sec"), m.more)
	if err := os.WriteFile(m.file+".new", []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.file+".new", m.file); err != nil {
		m.t.Fatal(err)
	}
}

// run starts the service.
func (m *mirrored) run() { m.p = serveFile(m.t, m.file) }

// answer has something else than git answer the service; nil is git again.
func (m *mirrored) answer(f http.HandlerFunc) {
	if f == nil {
		m.fault.Store(nil)
		return
	}
	m.fault.Store(&f)
}

// push gives the server what the site's work tree has, whatever the server had.
func (m *mirrored) push() { m.t.Helper(); git(m.t, m.site, "push", "-qf", m.bare, "HEAD:main") }

// pushed is a new commit on the server.
func (m *mirrored) pushed(text string) string {
	m.t.Helper()
	m.note(text)
	m.push()
	return m.head()
}

// takes kicks, and checks that a commit is published after it.
func (m *mirrored) takes(commit string, more ...string) {
	m.t.Helper()
	must(m.t, append([]string{"kick", "--root", m.root}, more...)...)
	m.stays(commit)
}

// refuses kicks, and checks that this says why nothing was done, and that nothing was.
func (m *mirrored) refuses(says string, more ...string) {
	m.t.Helper()
	before := m.published()
	_, errs, code := pomona(m.t, append([]string{"kick", "--root", m.root}, more...)...)
	if code != 2 || !strings.Contains(errs, says) || len(errs) > 1000 {
		m.t.Errorf("exit code %d, want 2 and %q:\n%.3000s", code, says, errs)
	}
	m.stays(before)
}

// stays checks that a commit is served, and that nobody need look after the service.
func (m *mirrored) stays(commit string) {
	m.t.Helper()
	if have := m.published(); have != commit {
		m.t.Errorf("commit %s is published, want %s", have, commit)
	}
	for _, url := range []string{m.fecs + "/index", m.fecs + "/-/readyz", m.admin + "/readyz", m.admin + "/healthz"} {
		if code := get("http://" + url); code != http.StatusOK {
			m.t.Errorf("%s: status %d", url, code)
		}
	}
}

// TestFault10Rewrites pushes back, rewrites, deletes and renames the branch. An operator names what counts.
func TestFault10Rewrites(t *testing.T) {
	m := newMirrored(t, "")
	first := m.head()
	second := m.pushed("second")
	m.takes(second)

	git(t, m.site, "reset", "-q", "--hard", first)
	m.push()
	m.refuses("the branch was set back")
	forced := m.pushed("instead of second")
	m.refuses("commit " + forced + " is not taken: it does not descend from " + second)
	m.refuses("malformed commit", "--accept", forced[:12])
	m.refuses("is not taken", "--accept", strings.Repeat("ab", 20))
	m.refuses("is not taken", "--accept", second)
	m.refuses("is not taken") // nothing of this is remembered
	m.takes(forced, "--accept", forced)
	m.takes(m.pushed("after what was named"))

	third := m.head()
	git(t, m.site, "reset", "-q", "--hard", second)
	m.push()
	m.refuses("the branch was rewritten") // a name counts once
	git(t, m.site, "reset", "-q", "--hard", third)
	m.push()
	m.takes(third)
	m.refuses("is not one of the branch", "--accept", strings.Repeat("ab", 20))

	git(t, m.bare, "branch", "other", "main")
	git(t, m.bare, "update-ref", "-d", "refs/heads/main")
	m.refuses(`the repository has no branch "main"`)
	m.push()
	m.takes(third)
	if err := os.Rename(m.bare, m.bare+".new"); err != nil {
		t.Fatal(err)
	}
	m.refuses("no such repository")
	m.answer(func(w http.ResponseWriter, r *http.Request) { // as forges do for one that was renamed
		if strings.HasPrefix(r.URL.Path, "/site.git/") {
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/site.git/", "/site.git.new/", 1), http.StatusMovedPermanently)
			return
		}
		m.git.ServeHTTP(w, r)
	})
	m.bare += ".new"
	m.takes(m.pushed("in the renamed repository"))
}
