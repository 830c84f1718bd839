package e2e

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What a git server, a forge, the network or the machine may do to a running service. Those named TestFault… carry the number
// of their case, if it has one; here means this folder. Cases of one pass are listed in hostile_test.go.
//
//	10 rewritten, deleted, renamed   here TestFault10Rewrites; repo TestMirrorRefusesRewrites, TestMirrorOfWhatMovesMeanwhile
//	11 transfers                     here TestFault11Transfers, TestFault11HostKey; repo TestMirrorSurvivesItsServer,
//	                                 TestMirrorSurvivesItsSSHServer (those that fall silent too), TestMirrorLimits
//	12 expired tokens                here TestFault12TokenExpires; repo TestMirrorAsGitHubApp; forge TestATokenThatRanOutOnTheWayIsRenewed
//	13 a replica that lags behind    here TestFault13LaggingReplica; reconciler TestFollower
//	14 deliveries                    here TestFault14Deliveries; webhook, all of it, with every example of GitHub's
//	17 clocks                        nothing moves the clock of a program without that of its machine: reconciler
//	                                 TestHostile17ClockJumps, TestTheLoopSeesAJumpOfTheClock, TestSerialRisesWithoutAClock
//	17 two instances                 here TestFault17SecondInstance, TestStandby, TestHostile17TwoInstances
//	19 lost events                   here TestFault19QueueOverflows, TestFault19NoEvents, TestServeFollowsItsBranch (repository replaced)
//	21 old paths                     here TestFault21OldPaths
//	22 the forge                     here TestFault22Forge, TestOnlyCheckedMerges; forge TestACommitThatTakesNoMoreStatusesIsToldOf and others
//	   host away for hours           here TestFaultOutage, TestServeFollowsAnotherHost; reconciler TestFollower (how often it is asked)
//	   mirror gone, another address  here TestFaultMirrorRemoved, TestFaultRepositorySwitched
//	   damaged ledger                here TestFaultLedgerDamagedWhileServing, TestADamagedLedgerTakesNothingDown; ledger
//	   SIGTERM in every stage        here TestFaultTerminatedInEveryStage, TestFaultTerminatedWhileOthersAreSlow, TestFaultOutage (fetching)

// mirrored is a service that follows a repository of a git server, and what stands between the two.
type mirrored struct {
	world
	p              *service
	bare, file     string // the server's repository, and the service's configuration
	authority      authority
	host           *httptest.Server
	fault          atomic.Pointer[http.HandlerFunc] // answers in place of git; nil: git does
	git            http.Handler
	listens, admin string // addresses
	hears          string // likewise, of webhooks
	more           string // of the site
}

// newMirrored starts a service that polls once a day. What its site says beside what it must, more tells.
func newMirrored(t *testing.T, more func(*mirrored) string) *mirrored {
	t.Helper()
	m := newHost(t)
	if more != nil {
		m.more = more(m)
	}
	m.configure()
	m.run()
	t.Cleanup(m.stop)
	m.follows("the branch is published")
	return m
}

// newHost is the git server alone.
func newHost(t *testing.T) *mirrored {
	t.Helper()
	a := trusted
	m := &mirrored{world: newWorld(t), authority: a, listens: freeAddress(t), admin: freeAddress(t), hears: freeAddress(t)}
	m.bare = filepath.Join(m.dir, "git", "site.git")
	m.file = filepath.Join(m.dir, "pomona.cue")
	git(t, m.dir, "clone", "-q", "--bare", m.site, m.bare)
	m.git = gitBackend(t, filepath.Dir(m.bare))
	m.host = a.server(t, func(w http.ResponseWriter, r *http.Request) {
		if f := m.fault.Load(); f != nil {
			(*f)(w, r)
			return
		}
		m.git.ServeHTTP(w, r)
	})
	return m
}

// stop ends the service as an operator does.
func (m *mirrored) stop() {
	m.t.Helper()
	began := time.Now()
	if err := m.p.end(syscall.SIGTERM); err != nil {
		m.t.Errorf("pomona serve ends with %v\n%s", err, m.p.log())
	}
	if took := time.Since(began); took > 30*time.Second { // systemd waits three times as long
		m.t.Errorf("pomona serve ends after %s\n%s", took, m.p.log())
	}
}

// configure writes the configuration.
func (m *mirrored) configure() {
	m.t.Helper()
	if !strings.Contains(m.more, "repository:") {
		m.more += fmt.Sprintf("\nrepository: url: %q", m.host.URL+"/site.git")
	}
	text := fmt.Sprintf("admin: %q\nwebhooks: %q\nsites: acc: {\nroot: %q\nlisten: %q\nkeys: [%q]\npoll: \"1d\"\n%s\n}\n",
		m.admin, m.hears, m.root, m.listens, filepath.Join(m.dir, "key.sec"), m.more)
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
	for _, url := range []string{m.listens + "/index", m.listens + "/-/readyz", m.admin + "/readyz", m.admin + "/healthz"} {
		if code := get("http://" + url); code != http.StatusOK {
			m.t.Errorf("%s: status %d", url, code)
		}
	}
}

// TestFault10Rewrites pushes back, rewrites, deletes and renames the branch. An operator names what counts.
func TestFault10Rewrites(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
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
	m.note("named before it is there")
	m.refuses("is not one of the branch", "--accept", m.head())
	m.push()
	m.refuses("the branch was rewritten") // that name was taken back, and the first one counted once
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

// hostAgain starts the git server anew where it was.
func (m *mirrored) hostAgain(address string) {
	m.t.Helper()
	s := httptest.NewUnstartedServer(m.host.Config.Handler)
	s.Listener.Close()
	s.Listener, s.TLS = listenAgain(m.t, address), &tls.Config{Certificates: []tls.Certificate{m.authority.tls}}
	s.StartTLS()
	m.t.Cleanup(s.Close)
	m.host = s
}

// listenAgain takes an address that was given up.
func listenAgain(t *testing.T, address string) (l net.Listener) {
	t.Helper()
	eventually(t, "the address is free", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	return l
}

// heardBy is a webhook of GitHub's kind, for newMirrored.
func heardBy(m *mirrored) string {
	file := filepath.Join(m.dir, "hook")
	m.put(file, []byte(hookSecret))
	if err := os.Chmod(file, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return fmt.Sprintf("webhooks: forge: {kind: \"github\", secrets: [%q], repositories: [\"controls/site\"]}", file)
}

const hookSecret = "a secret of the webhook"

// push is a delivery; what is empty is as GitHub has it.
type push struct {
	id, event, commit, branch, repository, body, kind string
	secret                                            string
	signature                                         func(body []byte) (header, value string)
}

// deliver posts a push, and checks how it is answered.
func (m *mirrored) deliver(p push, want int) {
	m.t.Helper()
	if p.body == "" {
		p.body = fmt.Sprintf(`{"ref": "refs/heads/%s", "before": %q, "after": %q, "compare": %q, "repository": {"id": 1, "full_name": %q}}`,
			cmp.Or(p.branch, "main"), strings.Repeat("0", 40), cmp.Or(p.commit, strings.Repeat("ab", 20)), p.id, cmp.Or(p.repository, "controls/site"))
	}
	header, value := "X-Hub-Signature-256", ""
	if p.signature != nil {
		header, value = p.signature([]byte(p.body))
	} else {
		mac := hmac.New(sha256.New, []byte(cmp.Or(p.secret, hookSecret)))
		mac.Write([]byte(p.body))
		value = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, "http://"+m.hears+"/acc/forge", strings.NewReader(p.body))
	if err != nil {
		m.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": cmp.Or(p.kind, "application/json"), "X-Github-Event": cmp.Or(p.event, "push"), "X-Github-Delivery": p.id, header: value,
	} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		said, _ := io.ReadAll(resp.Body)
		m.t.Errorf("delivery %s gets status %d, want %d: %s", p.id, resp.StatusCode, want, said)
	}
}

// sshd is a server of git by ssh, whose keys are files of the world.
type sshd struct {
	world
	program, address string
	stop             func()
}

// sshd starts one whose key is called host. There is another key, other, and that of its user.
func (w world) sshd() *sshd {
	w.t.Helper()
	s := &sshd{world: w, program: debian(w.t, "openssh-server", "sshd"), address: freeAddress(w.t)}
	for _, name := range []string{"host", "other", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(w.dir, name)).CombinedOutput(); err != nil {
			w.t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // what Debian's own start of sshd makes
			w.t.Fatal(err)
		}
	}
	s.start("host")
	w.t.Cleanup(func() { s.stop() })
	return s
}

func (s *sshd) restart(key string) {
	s.stop()
	s.start(key)
}

// start serves with one of the keys.
func (s *sshd) start(key string) {
	s.t.Helper()
	host, port, _ := strings.Cut(s.address, ":")
	s.put(filepath.Join(s.dir, "sshd_config"), fmt.Appendf(nil, "Port %s\nListenAddress %s\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\n", port, host, filepath.Join(s.dir, key), filepath.Join(s.dir, "user.pub")))
	cmd := exec.Command(s.program, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	}
	eventually(s.t, "sshd answers", func() bool {
		c, err := net.Dial("tcp", s.address)
		return err == nil && c.Close() == nil
	})
}

// url is a repository of this machine by way of ssh.
func (s *sshd) url(dir string) string {
	who, err := exec.Command("id", "-un").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return "ssh://" + strings.TrimSpace(string(who)) + "@" + s.address + dir
}

// known is a file that knows one of the keys.
func (s *sshd) known(key string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, key+".pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	host, port, _ := strings.Cut(s.address, ":")
	file := filepath.Join(s.dir, "known-"+key)
	s.put(file, fmt.Appendf(nil, "[%s]:%s %s", host, port, b))
	return file
}
