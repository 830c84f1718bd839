package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// only has something stand in for the part of git's answers that brings objects, and leaves git the list of branches.
func (m *mirrored) only(objects http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			m.git.ServeHTTP(w, r)
			return
		}
		objects(w, r)
	}
}

// altered has git's objects arrive as something else.
func (m *mirrored) altered(change func([]byte) []byte) http.HandlerFunc {
	return m.only(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		m.git.ServeHTTP(rec, r)
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.Write(change(rec.Body.Bytes())) // the service may have gone
	})
}

// TestFault11Transfers has the git server answer with everything but what was asked for, and then with that.
func TestFault11Transfers(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
	var elsewhere atomic.Int64
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	leads := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}
	for name, fault := range map[string]http.HandlerFunc{
		"status 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"endless branches": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "001e# service=git-upload-pack\n0000")
			line := strings.Repeat(fmt.Sprintf("0047%040d refs/heads/branch-0123456\n", 7), 1000)
			for err := error(nil); err == nil; {
				_, err = io.WriteString(w, line)
			}
		},
		"another host":          leads,
		"objects elsewhere":     m.only(leads),
		"half":                  m.altered(func(b []byte) []byte { return b[:len(b)/2] }),
		"one byte is another":   m.altered(func(b []byte) []byte { b[len(b)/2] ^= 4; return b }),
		"endless objects":       m.altered(func(b []byte) []byte { return bytes.Repeat(b, 5000) }),
		"a long refusal":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); w.Write(make([]byte, 10<<20)) },
		"the connection breaks": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		before := m.head()
		m.takes(before)
		m.pushed(name)
		m.answer(fault)
		t.Log(name)
		if name == "endless objects" { // what follows the pack is nobody's
			must(t, "kick", "--root", m.root)
		} else {
			m.refuses("pomona: ")
		}
		m.answer(nil)
	}
	m.takes(m.head())
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("another host was asked %d times", n)
	}
	// A certificate that nobody knows.
	m.host.Close()
	stranger := httptest.NewUnstartedServer(m.git)
	stranger.Listener.Close()
	stranger.Listener = listenAgain(t, m.host.Listener.Addr().String())
	stranger.StartTLS()
	defer stranger.Close()
	m.refuses("certificate")
}

// TestFault11HostKey has the ssh host show another key than before.
func TestFault11HostKey(t *testing.T) {
	t.Parallel()
	m := newHost(t)
	s := m.sshd()
	m.more = fmt.Sprintf("repository: url: %q\ncredentials: %q: %q\nknownHosts: %q", s.url(m.bare), s.address, filepath.Join(m.dir, "user"), s.known("host"))
	m.configure()
	m.run()
	t.Cleanup(m.stop)
	m.follows("the branch is published")
	m.takes(m.pushed("one"))
	s.restart("other")
	m.pushed("two")
	m.refuses("is unavailable")
	s.restart("host")
	m.takes(m.head())
}

// TestFault12TokenExpires has the token of the git server expire between two answers of one fetch, and then without another
// to take its place.
func TestFault12TokenExpires(t *testing.T) {
	t.Parallel()
	var token atomic.Value
	token.Store("one-token-of-many")
	var m *mirrored
	put := func(content string) {
		file := filepath.Join(m.dir, "token")
		if err := os.WriteFile(file+".new", []byte(content+"\n"), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Error(err)
		}
	}
	expire := atomic.Bool{}
	guarded := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet && expire.Swap(false) { // after this answer
			defer func() { token.Store("two-token-of-many"); put("two-token-of-many") }()
		}
		m.git.ServeHTTP(w, r)
	}
	m = newMirrored(t, func(made *mirrored) string {
		m = made
		put("one-token-of-many")
		m.answer(guarded)
		return fmt.Sprintf("credentials: %q: %q", m.host.Listener.Addr(), filepath.Join(m.dir, "token"))
	})
	m.takes(m.pushed("one"))
	expire.Store(true)
	m.takes(m.pushed("two"))
	if token.Load() != "two-token-of-many" {
		t.Error("no token expired")
	}
	token.Store("three-token-of-many")
	m.pushed("three")
	m.refuses("another credential")
	put("")
	m.refuses("another credential") // a file that somebody writes
	put("three-token-of-many")
	m.takes(m.head())
	if strings.Contains(m.p.log(), "token-of-many") {
		t.Errorf("a token is in the log:\n%s", m.p.log())
	}
}

// TestFault13LaggingReplica has one of the server's copies lag behind the one that sends webhooks.
func TestFault13LaggingReplica(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, heardBy)
	old := filepath.Join(filepath.Dir(m.bare), "old.git")
	git(t, m.dir, "clone", "-q", "--bare", m.site, old)
	var lagging atomic.Int64
	m.answer(func(w http.ResponseWriter, r *http.Request) {
		if lagging.Load() > 0 {
			if r.Method == http.MethodGet {
				lagging.Add(-1)
			}
			r = r.Clone(r.Context())
			r.URL.Path = strings.Replace(r.URL.Path, "/site.git/", "/old.git/", 1)
		}
		m.git.ServeHTTP(w, r)
	})
	lagging.Store(2)
	second := m.pushed("second")
	m.deliver(push{id: "1", commit: second}, http.StatusAccepted)
	m.follows("the commit of the webhook is published, though nobody asks again")
	// The other way round, what was published is not set back.
	lagging.Store(1)
	m.refuses("the branch was set back, or its server lags behind")
	m.takes(second)
}

// TestFaultOutage starts a service whose git server never answers, and whose mirror is gone: the tree is served all the same.
func TestFaultOutage(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
	if err := m.p.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	first := m.head()
	second := m.pushed("meanwhile")
	if err := os.RemoveAll(filepath.Join(m.root, ".pomona/mirror")); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(m.root, "current/fecs", m.fecs()[0], "boot.manifest")
	if err := os.Chmod(manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, asked := make(chan struct{}), make(chan struct{}, 100)
	var givenUp atomic.Int64
	m.answer(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-silent:
		case <-r.Context().Done():
			givenUp.Add(1)
		}
		panic(http.ErrAbortHandler)
	})
	m.run()
	<-asked
	eventually(t, "the tree is served", func() bool { return get("http://"+m.listens+"/-/readyz") == 200 })
	if givenUp.Load() > 0 {
		t.Error("the tree is served only when the git server is given up")
	}
	m.stays(first)
	m.stop() // while it waits for the first answer
	m.run()
	<-asked
	m.answer(nil)
	close(silent)
	eventually(t, "the branch is followed again", func() bool {
		_, _, code := pomona(t, "kick", "--root", m.root)
		return code == 0 && m.published() == second
	})
	if info, err := os.Stat(manifest); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("damage was not repaired: %v, %v", info.Mode(), err)
	}
	// Now the server is away for longer than anybody waits, and comes back.
	m.host.CloseClientConnections()
	address := m.host.Listener.Addr().String()
	m.host.Close()
	m.refuses("is unavailable")
	if err := os.Chmod(manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	m.run()
	eventually(t, "damage is repaired without the server", func() bool {
		info, err := os.Stat(manifest)
		return err == nil && info.Mode().Perm() == 0o444 && get("http://"+m.listens+"/-/readyz") == 200
	})
	third := m.pushed("while the server is away")
	m.hostAgain(address)
	m.takes(third)
}

// TestFaultMirrorRemoved removes the mirror's repository, and then all of the mirror, below the running service.
func TestFaultMirrorRemoved(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
	repositories, err := filepath.Glob(filepath.Join(m.root, ".pomona/mirror/git-*"))
	if err != nil || len(repositories) != 1 {
		t.Fatalf("%v, %v", repositories, err)
	}
	if err := os.RemoveAll(repositories[0]); err != nil {
		t.Fatal(err)
	}
	m.takes(m.pushed("without the repository"))
	if err := os.RemoveAll(filepath.Join(m.root, ".pomona/mirror")); err != nil {
		t.Fatal(err)
	}
	last := m.head()
	git(t, m.site, "reset", "-q", "--hard", "HEAD~1")
	m.push()
	m.refuses("is not taken") // what counted last is known all the same
	git(t, m.site, "reset", "-q", "--hard", last)
	m.takes(m.pushed("without the mirror"))
	m.takes(m.pushed("and after it"))
}

// TestFaultRepositorySwitched has the configuration name another repository: with the same history, and with another.
func TestFaultRepositorySwitched(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
	first := m.head()
	moved := filepath.Join(filepath.Dir(m.bare), "moved.git")
	git(t, m.dir, "clone", "-q", "--bare", m.site, moved)
	m.bare = moved
	second := m.pushed("in the repository's new place")
	m.more = fmt.Sprintf("repository: url: %q", m.host.URL+"/moved.git")
	m.configure()
	m.follows("the new place is followed")
	other := filepath.Join(filepath.Dir(m.bare), "other.git")
	git(t, m.site, "checkout", "-q", "--orphan", "another-history")
	git(t, m.site, "commit", "-qm", "Another history")
	git(t, m.dir, "init", "-q", "--bare", "-b", "main", other)
	m.bare = other
	m.push()
	m.more = fmt.Sprintf("repository: url: %q", m.host.URL+"/other.git")
	m.configure()
	eventually(t, "another history is not taken", func() bool {
		_, errs, _ := pomona(t, "kick", "--root", m.root)
		return strings.Contains(errs, "does not descend from "+second)
	})
	m.stays(second)
	m.takes(m.head(), "--accept", m.head())
	if first == second {
		t.Error("nothing was pushed")
	}
}

// damageLedger overwrites every part of the ledger of a service that writes nothing into it just then: else its next words might make what it
// goes by whole again, and it would notice only when it reads what it does not remember.
func (m *mirrored) damageLedger() {
	m.t.Helper()
	ledger := filepath.Join(m.root, ".pomona/ledger.db")
	written := func() time.Time {
		info, err := os.Stat(ledger + "-wal")
		if err != nil {
			m.t.Fatal(err)
		}
		return info.ModTime()
	}
	eventually(m.t, "nothing is written into the ledger", func() bool { return time.Since(written()) > time.Second })
	signal := func(signal syscall.Signal) {
		if err := m.p.cmd.Process.Signal(signal); err != nil {
			m.t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	for _, part := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(ledger + part)
		if err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(ledger+part, bytes.Repeat([]byte("x"), int(info.Size())), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestFaultLedgerDamagedWhileServing overwrites the ledger of a running service: it says so, makes another, and serves what
// it served.
func TestFaultLedgerDamagedWhileServing(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, nil)
	first := m.head()
	m.hold("suspend", "--reason", "shift change", "--for", "1h", "--by", "ann")
	m.damageLedger()
	second := m.pushed("held all the same")
	m.takes(first)
	eventually(t, "the ledger is made again", func() bool {
		must(t, "kick", "--root", m.root)
		aside, _ := filepath.Glob(filepath.Join(m.root, ".pomona/ledger.db.damaged-*"))
		return len(aside) > 0 && len(m.status().Holds) == 1
	})
	if !strings.Contains(m.p.log(), "ledger was damaged; it is set aside, and a new one made from the tree") {
		t.Errorf("nothing is said:\n%s", m.p.log())
	}
	m.stays(first)
	m.hold("resume")
	m.stays(second)
}
