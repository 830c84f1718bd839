package repo_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// transports are the ways to reach a repository.
func transports(u *upstream) map[string]func() repo.MirrorOptions {
	return map[string]func() repo.MirrorOptions{
		"https": u.options,
		"ssh":   u.overSSH,
		"file":  func() repo.MirrorOptions { o := u.options(); o.URL = u.bare; return o },
		"work tree": func() repo.MirrorOptions {
			o := u.options()
			o.URL, o.Branch = "file://"+u.work, "HEAD"
			return o
		},
		"file without git": func() repo.MirrorOptions {
			o := u.options()
			o.URL = u.bare
			return o
		},
	}
}

func TestMirrorFollows(t *testing.T) {
	for name := range transports(nil) {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			o := transports(u)[name]()
			path := os.Getenv("PATH")
			alone := func(do func()) { // as on a machine without git
				if name == "file without git" {
					t.Setenv("PATH", "")
				}
				do()
				t.Setenv("PATH", path)
			}
			m := open(t, o)
			first := u.head()
			alone(func() { m.moves(first) })
			alone(func() { m.stays(first) })
			u.commit("second")
			git(t, u.work, "checkout", "-qb", "side", "HEAD~1")
			write(t, u.work, "side", "side\n", 0o644)
			git(t, u.work, "add", "-A")
			git(t, u.work, "commit", "-qm", "side")
			git(t, u.work, "checkout", "-q", "main")
			git(t, u.work, "merge", "-q", "--no-ff", "-m", "merge", "side")
			git(t, u.work, "push", "-q", "origin", "main")
			merged := u.head()
			alone(func() { m.moves(merged) })
			m.restart()
			m.shows(merged)
			alone(func() { m.stays(merged) })
			m.tidy()
			if n := git(t, m.live(), "rev-list", "--count", merged); n != "4" {
				t.Errorf("%s commits, want 4", n)
			}
		})
	}
}

// TestMirrorFetchesLittle counts what comes over the wire: nothing when nothing has moved, and not everything again.
func TestMirrorFetchesLittle(t *testing.T) {
	u := newUpstream(t)
	write(t, u.work, "large", strings.Repeat(fmt.Sprint(random(t)), 1<<10), 0o644)
	m := open(t, u.options())
	m.moves(u.commit("large"))
	before := u.posts.Load()
	m.stays(u.head())
	if u.posts.Load() != before {
		t.Error("objects were asked for although nothing has moved")
	}
	m.moves(u.commit("small"))
	if u.posts.Load() != before+1 {
		t.Errorf("objects were asked for %d times", u.posts.Load()-before)
	}
	packs, err := filepath.Glob(filepath.Join(m.live(), "objects/pack/*.pack"))
	if err != nil || len(packs) != 2 {
		t.Fatalf("packs %v, %v", packs, err)
	}
	least := int64(1 << 30)
	for _, p := range packs {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, info.Size())
	}
	if least > 2000 {
		t.Errorf("a commit of one line brought %d bytes", least)
	}
}

func random(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 1<<10)
	f, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMirrorKnowsItsHosts(t *testing.T) {
	u := newUpstream(t)
	good := u.overSSH()
	var unavailable *remote.Unavailable
	o := good
	o.KnownHosts = ""
	open(t, o).fails("", &unavailable, "give --known-hosts")
	other, err := os.ReadFile(keygen(t, u.dir, "other") + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.SplitN(strings.TrimPrefix(good.URL, "ssh://"), "/", 2)[0]
	_, port, _ := net.SplitHostPort(host[strings.Index(host, "@")+1:])
	o.Dir += "2"
	write(t, u.dir, "known_other", fmt.Sprintf("[127.0.0.1]:%s %s", port, other), 0o600)
	o.KnownHosts = filepath.Join(u.dir, "known_other")
	open(t, o).fails("", &unavailable, "key")
	good.Dir += "3"
	m := open(t, good)
	m.moves(u.head())
	good.Dir += "4"
	good.URL += "-gone"
	var wrong *remote.Wrong
	open(t, good).fails("", &wrong, "no such repository")
}

func TestMirrorRefusesRewrites(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	second := u.commit("second")
	m.moves(second)
	third := u.commit("third")
	m.moves(third)
	var refused *repo.Refused
	var wrong *remote.Wrong

	git(t, u.work, "reset", "-q", "--hard", second)
	u.push()
	m.fails(third, &refused, "the branch was set back")
	forced := u.commit("instead of third")
	m.fails(third, &refused, "does not descend from "+third)
	if refused.Commit != forced {
		t.Errorf("refused is %s", refused.Commit)
	}
	before := u.posts.Load()
	m.fails(third, &refused, "does not descend from "+third)
	if u.posts.Load() != before {
		t.Error("a commit that is refused is fetched again")
	}
	m.restart()
	m.fails(third, &refused, "does not descend from "+third)

	git(t, u.work, "reset", "-q", "--hard", third)
	u.push()
	m.stays(third)
	fourth := u.commit("fourth")
	m.moves(fourth)

	git(t, u.bare, "update-ref", "-d", "refs/heads/main")
	git(t, u.work, "push", "-q", "origin", "HEAD:other")
	m.fails(fourth, &wrong, `no branch "main"`)
	git(t, u.work, "reset", "-q", "--hard", second)
	u.push()
	m.fails(fourth, &refused, "set back")
	u.commit("made again")
	m.fails(fourth, &refused, "does not descend")

	if err := m.Accept("main"); err == nil {
		t.Error("a branch is a commit")
	}
	if err := m.Accept(fourth); err != nil {
		t.Fatal(err)
	}
	m.fails(fourth, &refused, "does not descend")
	if err := m.Accept(u.head()); err != nil {
		t.Fatal(err)
	}
	named := u.head()
	after := u.commit("after what was named")
	m.moves(after)
	m.restart()
	m.stays(after)
	// The name counts once.
	git(t, u.work, "reset", "-q", "--hard", second)
	u.push()
	m.fails(after, &refused, "set back")
	git(t, u.work, "reset", "-q", "--hard", named)
	u.push()
	m.fails(after, &refused, "set back")
	if err := m.Accept(named); err != nil {
		t.Fatal(err)
	}
	m.moves(named)
	m.moves(u.commit("goes on"))
	m.tidy()
}

func TestMirrorOfAnEmptyRepository(t *testing.T) {
	u := emptyUpstream(t)
	m := open(t, u.options())
	var wrong *remote.Wrong
	m.fails("", &wrong, "no commit yet")
	if _, err := m.Repo().Resolve("main"); err == nil {
		t.Error("it shows a commit")
	}
	m.moves(u.commit("first"))
}

func TestMirrorOfAShallowRepository(t *testing.T) {
	u := newUpstream(t)
	u.commit("second")
	shallow := filepath.Join(u.dir, "srv", "shallow.git")
	git(t, u.dir, "clone", "-q", "--bare", "--depth=1", "file://"+u.bare, shallow)
	o := u.options()
	o.URL = u.server.URL + "/shallow.git"
	m := open(t, o)
	var wrong *remote.Wrong
	m.fails("", &wrong, "is shallow")
	git(t, shallow, "fetch", "-q", "--unshallow")
	m.moves(u.head())
	m.tidy()
}

func TestMirrorOfOddBranches(t *testing.T) {
	u := newUpstream(t)
	for _, branch := range []string{"feature/ü#1", "a/b/c", "refs/heads/main", "HEAD"} {
		o := u.options()
		o.Dir = filepath.Join(u.dir, fmt.Sprintf("mirror-%x", branch))
		o.Branch = branch
		if branch != "HEAD" && !strings.HasPrefix(branch, "refs/") {
			git(t, u.bare, "update-ref", "refs/heads/"+branch, u.head())
		}
		m := open(t, o)
		m.moves(u.head())
		m.restart()
		m.stays(u.head())
	}
	for _, branch := range []string{"../../x", "a..b", "a b", "x.lock", "a\nb", "refs/../x", "-x"} {
		o := u.options()
		o.Branch = branch
		if _, err := repo.OpenMirror(o); err == nil {
			t.Errorf("%q is a branch", branch)
		}
	}
	// What a server calls its other branches is its own affair.
	u.answer(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		u.backend.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		if r.Method == http.MethodGet {
			odd := fmt.Sprintf("%s refs/heads/../../../../etc/passwd\n", u.head())
			body = append(bytes.TrimSuffix(body, []byte("0000")), fmt.Sprintf("%04x%s0000", len(odd)+4, odd)...)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("Content-Length")
		w.Write(body)
	})
	o := u.options()
	o.Dir += "-odd"
	open(t, o).moves(u.head())
}

// TestMirrorSurvivesItsServer lets a server do everything wrong, first and after something was accepted.
func TestMirrorSurvivesItsServer(t *testing.T) {
	u := newUpstream(t)
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer other.Close()
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	onPost := func(f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				u.backend.ServeHTTP(w, r)
				return
			}
			f(w, r)
		}
	}
	part := func(from, to float64, then http.HandlerFunc) http.HandlerFunc {
		return onPost(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			u.backend.ServeHTTP(rec, r)
			b := rec.Body.Bytes()
			w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			w.Write(b[int(from*float64(len(b))):int(to*float64(len(b)))])
			if then != nil {
				then(w, r)
			}
		})
	}
	faults := map[string]http.HandlerFunc{
		"status 500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"status 401": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"long error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); w.Write(make([]byte, 10<<20)) },
		"hangs":      hang,
		"garbage":    func(w http.ResponseWriter, _ *http.Request) { w.Write(random(t)) },
		"a page":     func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>hello</html>")) },
		"nothing":    func(w http.ResponseWriter, _ *http.Request) {},
		"endless":    func(w http.ResponseWriter, _ *http.Request) { endless(w, u.head()) },
		"odd line":   func(w http.ResponseWriter, _ *http.Request) { oddLine(w, u.head()) },
		"another host": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
		},
		"another path's end": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) },
		"objects elsewhere": onPost(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}),
		"no objects":          onPost(func(http.ResponseWriter, *http.Request) {}),
		"objects hang":        onPost(hang),
		"objects are garbage": onPost(func(w http.ResponseWriter, _ *http.Request) { w.Write(random(t)) }),
		"half":                part(0, 0.5, nil),
		"half, then hangs":    part(0, 0.5, hang),
		"half, then garbage":  part(0, 0.5, func(w http.ResponseWriter, _ *http.Request) { w.Write(random(t)) }),
		"all but a few bytes": part(0, 0.98, nil),
		"the other half":      part(0.5, 1, nil),
	}
	o := u.options()
	o.Client = remote.New(remote.Options{TLS: u.tls(), Stall: 300 * time.Millisecond})
	at := ""
	m := open(t, o)
	for round := range 2 {
		for name, fault := range faults {
			u.answer(fault)
			update, err := m.Update(t.Context())
			var unavailable *remote.Unavailable
			var wrong *remote.Wrong
			if !errors.As(err, &unavailable) && !errors.As(err, &wrong) || update.Moved {
				t.Errorf("%s: %+v, %T %v", name, update, err, err)
			}
			if len(fmt.Sprint(err)) > 300 {
				t.Errorf("%s: says %d bytes: %.1000s", name, len(fmt.Sprint(err)), err)
			}
			m.tidy()
			if at != "" {
				m.shows(at)
			}
		}
		u.answer(nil)
		m.moves(u.head())
		at = u.head()
		u.commit(fmt.Sprint("round ", round))
	}
	u.server.CloseClientConnections()
	u.server.Close()
	var unavailable *remote.Unavailable
	m.fails(at, &unavailable, "is unavailable")
	m.restart()
	m.fails(at, &unavailable, "is unavailable")
}

func oddLine(w io.Writer, id string) {
	first := fmt.Sprintf("%s refs/heads/main\x00ofs-delta\n", id)
	odd := fmt.Sprintf("%s a b %s", id, strings.Repeat("z\n", 25_000))
	fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s%04x%s0000", len(first)+4, first, len(odd)+4, odd)
}

func endless(w io.Writer, id string) {
	first := fmt.Sprintf("%s refs/heads/main\x00ofs-delta\n", id)
	if _, ok := w.(http.ResponseWriter); ok {
		fmt.Fprint(w, "001e# service=git-upload-pack\n0000")
	}
	fmt.Fprintf(w, "%04x%s", len(first)+4, first)
	line := []byte(strings.Repeat(fmt.Sprintf("0047%s refs/heads/branch-0123456\n", id), 1000))
	for {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

// TestMirrorClonesWhatIsNotWhole lets a server leave objects out, once and for ever.
func TestMirrorClonesWhatIsNotWhole(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	first := u.head()
	m.moves(first)
	second := u.commit("second")
	// A sound pack of the commit and its top folder alone.
	packed := git(t, u.work, "rev-parse", "HEAD", "HEAD^{tree}")
	partial := gitReading(t, u.work, packed+"\n", "pack-objects", "-q", filepath.Join(u.dir, "partial"))
	pack, err := os.ReadFile(filepath.Join(u.dir, "partial-"+partial+".pack"))
	if err != nil {
		t.Fatal(err)
	}
	ever := true
	lacking := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			u.backend.ServeHTTP(w, r)
			return
		}
		fmt.Fprintf(w, "0008NAK\n%04x\x01%s0000", len(pack)+5, pack)
		if !ever {
			u.answer(nil)
		}
	})
	u.answer(lacking)
	var unavailable *remote.Unavailable
	m.fails(first, &unavailable, "not whole")
	m.fails(first, &unavailable, "not whole")
	before := m.live()
	m.restart()
	m.shows(first)
	ever = false
	m.moves(second)
	if m.live() == before {
		t.Error("it was not cloned anew")
	}
	m.tidy()
}

// TestMirrorLimits holds fetches to their limits.
func TestMirrorLimits(t *testing.T) {
	u := newUpstream(t)
	first := u.head()
	git(t, u.work, "config", "core.compression", "9")
	write(t, u.work, "zeros", strings.Repeat("\x00", 8<<20), 0o644)
	u.commit("a large object in a small pack")
	var refused *repo.Refused
	for name, c := range map[string]struct {
		limits repo.Limits
		says   string
	}{
		"object":  {repo.Limits{Object: 1 << 20}, "an object has 8 MiB, more than 1"},
		"objects": {repo.Limits{Objects: 3}, "objects are to be fetched, more than 3"},
		"bytes":   {repo.Limits{Fetch: 1000}, "are to be fetched"},
		"mirror":  {repo.Limits{Mirror: 100_000}, "more than"},
		"all":     {repo.Limits{Fetch: 200_000}, "together"},
	} {
		t.Run(name, func(t *testing.T) {
			o := u.options()
			o.Dir, o.Limits = t.TempDir(), c.limits
			mi := open(t, o)
			mi.fails("", &refused, c.says)
			mi.tidy()
			git(t, u.bare, "update-ref", "refs/heads/main", first)
			if name != "bytes" && name != "objects" && name != "mirror" {
				mi.moves(first)
				git(t, u.bare, "update-ref", "refs/heads/main", u.head())
				mi.fails(first, &refused, c.says)
				before := u.posts.Load()
				mi.fails(first, &refused, c.says)
				if u.posts.Load() != before {
					t.Error("it is fetched again with each look")
				}
			}
			git(t, u.bare, "update-ref", "refs/heads/main", u.head())
		})
	}
}

// TestMirrorRefusesSmallPacksOfLargeObjects: a delta of some bytes may say that its result is as large as it likes.
func TestMirrorRefusesSmallPacksOfLargeObjects(t *testing.T) {
	const base, times = 0xffff, 256
	deflate := func(b []byte) string {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		z.Close()
		return out.String()
	}
	number := func(n int) (b []byte) { // seven bits to a byte
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	header := func(kind, size int) string {
		first := byte(kind<<4 | size&15)
		if size < 16 {
			return string(first)
		}
		return string(append([]byte{first | 0x80}, number(size>>4)...))
	}
	delta := append(number(base), number(base*times)...)
	for range times {
		delta = append(delta, 0x80|0x10|0x20, 0xff, 0xff) // copy that many bytes from the beginning
	}
	raw := bytes.Repeat([]byte("x"), base)
	body := "PACK\x00\x00\x00\x02\x00\x00\x00\x02" + header(3, base) + deflate(raw)
	hash := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", base, raw))
	body += header(7, len(delta)) + string(hash[:]) + deflate(delta)
	sum := sha1.Sum([]byte(body))
	body += string(sum[:])
	u := newUpstream(t)
	u.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			u.backend.ServeHTTP(w, r)
			return
		}
		fmt.Fprintf(w, "0008NAK\n%04x\x01%s0000", len(body)+5, body)
	})
	o := u.options()
	o.Limits.Object = 1 << 20
	m := open(t, o)
	var refused *repo.Refused
	m.fails("", &refused, "an object has 15 MiB, more than 1")
	m.tidy()
	// The pack itself is sound: without the limit, only the commit is missing.
	m.o.Limits.Object = 0
	m.restart()
	var unavailable *remote.Unavailable
	m.fails("", &unavailable, "object not found")
}

// TestMirrorRefusesOddTrees refuses what a commit must not hold, and goes on with the next one.
func TestMirrorRefusesOddTrees(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	first := u.head()
	m.moves(first)
	blob := git(t, u.work, "rev-parse", "HEAD:site.cue")
	tree := gitReading(t, u.work, fmt.Sprintf("100644 blob %s\t.GIT\n", blob), "mktree")
	bad := git(t, u.work, "commit-tree", "-p", "HEAD", "-m", "bad", tree)
	git(t, u.work, "reset", "-q", "--soft", bad)
	u.push()
	var refused *repo.Refused
	m.fails(first, &refused, "malformed name")
	m.fails(first, &refused, "malformed name")
	git(t, u.work, "commit", "-qm", "good again")
	u.push()
	m.moves(u.head())
}

// damage finds the packs of a mirror and does something to them.
func damage(t *testing.T, dir string, do func(file string) error) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "git-*/objects/pack/*.pack"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	for _, f := range found {
		if err := errors.Join(os.Chmod(f, 0o600), do(f)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMirrorIsMadeAnew(t *testing.T) {
	flip := func(file string) error {
		b, err := os.ReadFile(file)
		for i := 12; i < len(b); i++ {
			b[i] ^= 0x55
		}
		return errors.Join(err, os.WriteFile(file, b, 0o600))
	}
	for name, do := range map[string]func(string) error{
		"pack lost": os.Remove, "pack flipped": flip,
		"pack cut":   func(f string) error { return os.Truncate(f, 100) },
		"all lost":   func(f string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(filepath.Dir(f)))) },
		"index lost": func(f string) error { return os.Remove(strings.TrimSuffix(f, ".pack") + ".idx") },
		"HEAD lost":  func(f string) error { return os.RemoveAll(filepath.Join(filepath.Dir(f), "../../HEAD")) },
		"refs lost":  func(f string) error { return os.RemoveAll(filepath.Join(filepath.Dir(f), "../../packed-refs")) },
		"config odd": func(f string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(f), "../../config"), []byte("[oops\n"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			m := open(t, u.options())
			at := u.commit("second")
			m.moves(at)
			// Beside a mirror that runs.
			damage(t, m.o.Dir, do)
			u.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
			if err := m.Check(t.Context()); err == nil && name != "HEAD lost" && name != "refs lost" {
				t.Error("the check finds nothing")
			}
			var unavailable *remote.Unavailable
			if u, err := m.Update(t.Context()); !errors.As(err, &unavailable) || u.To != at {
				t.Errorf("%+v, %v", u, err)
			}
			u.answer(nil)
			m.stays(at)
			// Found at the start.
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, m.o.Dir, do)
			m.Mirror = open(t, m.o).Mirror
			if m.Accepted() != at {
				t.Fatalf("accepted is %q", m.Accepted())
			}
			m.stays(at)
			m.tidy()
			// Another history is no way to mend it.
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, m.o.Dir, do)
			m.Mirror = open(t, m.o).Mirror
			git(t, u.work, "reset", "-q", "--hard", "HEAD~1")
			u.commit("instead")
			live := m.live()
			update, err := m.Update(t.Context())
			var refused *repo.Refused
			if !errors.As(err, &refused) || update.To != at {
				t.Fatalf("%+v, %v", update, err)
			}
			if name != "HEAD lost" && name != "refs lost" && name != "all lost" && m.live() != live {
				t.Error("what is left of the accepted commit was given up")
			}
			before := u.posts.Load()
			if _, err := m.Update(t.Context()); !errors.As(err, &refused) || u.posts.Load() != before {
				t.Errorf("asked again, %v", err)
			}
			if err := m.Accept(u.head()); err != nil {
				t.Fatal(err)
			}
			m.moves(u.head())
		})
	}
}

// TestMirrorMendsWhatCannotBeRead finds damage when a pass does.
func TestMirrorMendsWhatCannotBeRead(t *testing.T) {
	u := newUpstream(t)
	write(t, u.work, "large", strings.Repeat("0123456789abcdef", 1<<17), 0o644)
	at := u.commit("second")
	m := open(t, u.options())
	m.moves(at)
	m.restart()
	for _, path := range []string{"site.cue", "large"} {
		c, err := m.Repo().Resolve("main")
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.Repo().Files(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := files.Files().Find(path)
		flipObject(t, m.live(), f.ID)
		r, err := files.Open(f)
		if err == nil {
			_, err = bytes.NewBuffer(nil).ReadFrom(r)
			r.Close()
		}
		if err == nil {
			t.Fatalf("%s: damage is read as if it were none", path)
		}
		before := m.live()
		m.stays(at)
		if m.live() == before {
			t.Errorf("%s: the mirror was not made anew", path)
		}
	}
}

// flipObject damages the bytes of one object in its pack.
func flipObject(t *testing.T, dir, id string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "objects/pack/*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range found {
		for line := range strings.Lines(git(t, dir, "verify-pack", "-v", strings.TrimSuffix(pack, ".pack")+".idx")) {
			parts := strings.Fields(line)
			if parts[0] != id {
				continue
			}
			var offset, size int64
			fmt.Sscan(parts[4], &offset)
			fmt.Sscan(parts[3], &size)
			if err := os.Chmod(pack, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(pack, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte{0x55}, int(size-12)), offset+8); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no pack has %s", id)
}

func TestMirrorRecordDamaged(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	at := u.commit("second")
	m.moves(at)
	record := filepath.Join(m.o.Dir, "mirror.json")
	for _, content := range []string{"", "{", `{"repository": "../x"}`, `{"repository": "git-1", "accepted": {"refs/heads/main": "x"}}`} {
		if err := errors.Join(m.Close(), os.WriteFile(record, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		m.Mirror = open(t, m.o).Mirror
		m.shows(at)
	}
	// With the references lost too, nobody knows what was accepted.
	if err := errors.Join(m.Close(), os.WriteFile(record, nil, 0o600), os.Remove(filepath.Join(m.live(), "packed-refs"))); err != nil {
		t.Fatal(err)
	}
	m.Mirror = open(t, m.o).Mirror
	var refused *repo.Refused
	m.fails("", &refused, "nothing says which commit was accepted last")
	m.restart()
	m.fails("", &refused, "nothing says which commit was accepted last")
	if err := m.Accept(at); err != nil {
		t.Fatal(err)
	}
	m.moves(at)
	m.restart()
	m.stays(at)
}

// TestMirrorSweepsLeftovers finds what a killed fetch and a killed clone leave.
func TestMirrorSweepsLeftovers(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	m.moves(u.head())
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	live := m.live()
	id := strings.Repeat("ab", 20)
	left := []string{"objects/pack/tmp_pack_1", "objects/pack/tmp_idx_1", "objects/pack/pack-" + id + ".idx", "../git-99/HEAD", "../.pomona/staging/file-x"}
	for _, name := range left {
		write(t, live, name, "left", 0o400)
	}
	m.Mirror = open(t, m.o).Mirror
	m.stays(u.head())
	m.tidy()
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(live, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := repo.OpenMirror(m.o); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

// TestMirrorDiesAnywhere lets each change of the disk be the last one, applied or not.
func TestMirrorDiesAnywhere(t *testing.T) {
	u := newUpstream(t)
	first := u.head()
	second := u.commit("second")
	killed := errors.New("killed")
	for k := 0; ; k++ {
		for _, applied := range []bool{false, true} {
			git(t, u.bare, "update-ref", "refs/heads/main", first)
			o := u.options()
			o.Dir = filepath.Join(u.dir, fmt.Sprint("mirror-", k, applied))
			n, dead := 0, false
			o.Hook = func(_ durable.Op, do func() error) error {
				if dead {
					return killed
				}
				if n++; n <= k {
					return do()
				}
				dead = true
				if applied {
					_ = do() // nobody hears of it
				}
				return killed
			}
			accepted := ""
			m, err := repo.OpenMirror(o)
			if err == nil {
				for _, at := range []string{first, second} {
					git(t, u.bare, "update-ref", "refs/heads/main", at)
					if up, err := m.Update(t.Context()); err == nil && up.To == at {
						accepted = at
					}
				}
				_ = m.Close() // it died
			}
			git(t, u.bare, "update-ref", "refs/heads/main", second)
			alive := dead
			o.Hook = nil
			again := open(t, o)
			if got := again.Accepted(); got != accepted && got == "" {
				t.Fatalf("step %d: %q was accepted, and is forgotten", k, accepted)
			}
			if _, err := again.Update(t.Context()); err != nil {
				t.Fatalf("step %d: %v", k, err)
			}
			again.shows(second)
			again.tidy()
			if !alive {
				if k < 20 {
					t.Errorf("only %d steps", k)
				}
				return
			}
		}
	}
}

// TestMirrorPacksAnew lets a mirror have few packs, with git's own program, from its server, and while what is there is
// refused.
func TestMirrorPacksAnew(t *testing.T) {
	for name, program := range map[string]string{"git": "git", "server": ""} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			o := u.options()
			o.Git, o.Limits.Packs = program, 4
			m := open(t, o)
			m.moves(u.head())
			most := 0
			for i := range 12 {
				m.moves(u.commit(fmt.Sprint(i)))
				most = max(most, m.packs())
				if i%7 == 0 {
					m.stays(u.head())
				}
			}
			if most > 8 {
				t.Errorf("%d packs", most)
			}
			m.stays(u.head())
			if n := m.packs(); n > 3 {
				t.Errorf("%d packs when idle", n)
			}
			at := u.head()
			var refused *repo.Refused
			for i := range 12 {
				git(t, u.work, "reset", "-q", "--hard", "HEAD~1")
				u.commit(fmt.Sprint("instead ", i))
				m.fails(at, &refused, "does not descend")
				most = max(most, m.packs())
			}
			if most > 8 {
				t.Errorf("%d packs of what was refused", most)
			}
			m.restart()
			m.fails(at, &refused, "does not descend")
			m.tidy()
		})
	}
}

// TestReadersSurviveAReplacement reads a commit while the mirror below is replaced again and again.
func TestReadersSurviveAReplacement(t *testing.T) {
	u := newUpstream(t)
	write(t, u.work, "large", strings.Repeat("0123456789abcdef", 1<<18), 0o644)
	for i := range 30 {
		write(t, u.work, fmt.Sprint("file", i), fmt.Sprint(i), 0o644)
	}
	at := u.commit("many files")
	o := u.options()
	o.Limits.Packs = 1
	m := open(t, o)
	m.moves(at)
	c, err := m.Repo().Resolve("main")
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.Repo().Files(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			if up, err := m.Update(t.Context()); err != nil || up.Untidy != nil {
				t.Error(up, err)
			}
		}
	}()
	for n := 0; ; n++ {
		for _, f := range files.Files() {
			r, err := files.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(r); err != nil || int64(b.Len()) != f.Size {
				t.Fatal(f.Path, err)
			}
			r.Close()
		}
		select {
		case <-done:
			if n < 2 {
				t.Logf("read only %d times", n)
			}
			return
		default:
		}
	}
}

func TestMirrorURLs(t *testing.T) {
	for _, url := range []string{"", "http://a/b", "git://a/b", "ext::sh -c x", "relative", "https://me:secret@a/b", "ssh://-oProxyCommand=x/a", "ssh://git@a/';x'", "-x@a:b", "a@b:c'd"} {
		o := repo.MirrorOptions{Dir: t.TempDir(), URL: url, Branch: "main", Client: remote.New(remote.Options{})}
		m, err := repo.OpenMirror(o)
		if err == nil {
			m.Close()
			t.Errorf("%q is an address", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	o := repo.MirrorOptions{Dir: t.TempDir(), URL: "git@localhost:group/site.git", Branch: "main", Client: remote.New(remote.Options{})}
	open(t, o)
}

// TestMirrorRemembersBranches keeps what was accepted of each branch that was ever asked for.
func TestMirrorRemembersBranches(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	first := u.head()
	m.moves(first)
	second := u.commit("second")
	git(t, u.bare, "update-ref", "refs/heads/other", second)
	m.o.Branch = "other"
	m.restart()
	m.moves(second)
	m.o.Branch = "main"
	m.restart()
	m.shows(first)
	git(t, u.work, "checkout", "-q", "--orphan", "unrelated")
	u.commit("unrelated")
	var refused *repo.Refused
	m.fails(first, &refused, "does not descend from "+first)
	b, err := os.ReadFile(filepath.Join(m.o.Dir, "mirror.json"))
	var record struct{ Accepted map[string]string }
	if err := errors.Join(err, json.Unmarshal(b, &record)); err != nil {
		t.Fatal(err)
	}
	if got := []string{record.Accepted["refs/heads/main"], record.Accepted["refs/heads/other"]}; !slices.Equal(got, []string{first, second}) {
		t.Errorf("recorded: %s", b)
	}
}

// TestMirrorSurvivesItsSSHServer connects to hosts that say nothing, or nothing that makes sense, at each stage.
func TestMirrorSurvivesItsSSHServer(t *testing.T) {
	dir := t.TempDir()
	key, err := os.ReadFile(keygen(t, dir, "host"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	greet := func(then func(ssh.Channel)) func(net.Conn) {
		return func(c net.Conn) {
			config := &ssh.ServerConfig{NoClientAuth: true}
			config.AddHostKey(signer)
			_, channels, requests, err := ssh.NewServerConn(c, config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			for wanted := range channels {
				ch, requests, err := wanted.Accept()
				if err != nil {
					return
				}
				for r := range requests {
					if err := r.Reply(true, nil); err != nil {
						return
					}
					then(ch)
				}
			}
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"silent":               func(net.Conn) { <-t.Context().Done() },
		"gone":                 func(net.Conn) {},
		"garbage":              func(c net.Conn) { _, _ = c.Write(random(t)) },
		"endless banner":       func(c net.Conn) { copyForEver(c) },
		"silent after a login": greet(func(ssh.Channel) {}),
		"gone after a login":   greet(func(ch ssh.Channel) { ch.Close() }),
		"garbage after it":     greet(func(ch ssh.Channel) { _, _ = ch.Write(random(t)) }),
		"endless after it":     greet(func(ch ssh.Channel) { copyForEver(ch) }),
		"endless branches":     greet(func(ch ssh.Channel) { endless(ch, strings.Repeat("ab", 20)) }),
		"no such repository": greet(func(ch ssh.Channel) {
			fmt.Fprintln(ch.Stderr(), "fatal: '/x' does not appear to be a git repository")
			ch.Close()
		}),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { defer c.Close(); serve(c) }()
				}
			}()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			write(t, dir, "known_hosts", fmt.Sprintf("[127.0.0.1]:%s %s", port, ssh.MarshalAuthorizedKey(signer.PublicKey())), 0o600)
			credential, err := remote.ParseCredential(key)
			if err != nil {
				t.Fatal(err)
			}
			m := open(t, repo.MirrorOptions{
				Dir: t.TempDir(), URL: "ssh://git@" + l.Addr().String() + "/x", Branch: "main", KnownHosts: filepath.Join(dir, "known_hosts"),
				Client: remote.New(remote.Options{Credentials: remote.Credentials{l.Addr().String(): credential}, Stall: 300 * time.Millisecond}),
			})
			_, err = m.Update(t.Context())
			var unavailable *remote.Unavailable
			var wrong *remote.Wrong
			if !errors.As(err, &unavailable) && !(name == "no such repository" && errors.As(err, &wrong)) || len(err.Error()) > 300 {
				t.Errorf("%v", err)
			}
		})
	}
}

func copyForEver(w io.Writer) {
	for {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
			return
		}
	}
}

// TestMirrorOfWhatMovesMeanwhile rewrites the branch between the list of branches and the objects, and renames the repository.
func TestMirrorOfWhatMovesMeanwhile(t *testing.T) {
	u := newUpstream(t)
	m := open(t, u.options())
	first := u.head()
	m.moves(first)
	second := u.commit("second")
	git(t, u.work, "reset", "-q", "--hard", first)
	write(t, u.work, "other", "other\n", 0o644)
	git(t, u.work, "add", "-A")
	git(t, u.work, "commit", "-qm", "instead of second")
	u.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			u.answer(nil)
			git(t, u.bare, "fetch", "-q", u.work, "+HEAD:refs/heads/main")
			git(t, u.bare, "reflog", "expire", "--expire=now", "--all")
			git(t, u.bare, "gc", "-q", "--prune=now")
		}
		u.backend.ServeHTTP(w, r)
	})
	var unavailable *remote.Unavailable
	m.fails(first, &unavailable, "is unavailable")
	m.moves(u.head())
	if strings.Contains(git(t, m.live(), "cat-file", "--batch-check", "--batch-all-objects"), second) {
		t.Error("a commit came that was not asked for")
	}

	if err := os.Rename(u.bare, u.bare+".renamed"); err != nil {
		t.Fatal(err)
	}
	var wrong *remote.Wrong
	m.fails(u.head(), &wrong, "no such repository")
	git(t, u.work, "remote", "set-url", "origin", u.bare+".renamed")
	u.answer(func(w http.ResponseWriter, r *http.Request) { // as forges do
		if strings.HasPrefix(r.URL.Path, "/site.git/") {
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/site.git/", "/site.git.renamed/", 1), http.StatusMovedPermanently)
			return
		}
		u.backend.ServeHTTP(w, r)
	})
	m.moves(u.commit("in the renamed repository"))
}

// TestMirrorOnAFullDisk blames this machine, leaves nothing, and goes on when there is room.
func TestMirrorOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root, to mount a small file system")
		}
		t.Skip("SKIPPED: only root can mount a small file system")
	}
	u := newUpstream(t)
	o := u.options()
	o.Dir = t.TempDir()
	if err := unix.Mount("tmpfs", o.Dir, "tmpfs", 0, "size=400k"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	m := open(t, o)
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), unix.Unmount(o.Dir, 0)); err != nil {
			t.Error(err)
		}
	})
	at := u.head()
	m.moves(at)
	for i := range 600 {
		write(t, u.work, fmt.Sprint("random/", i), string(random(t)), 0o644)
	}
	u.commit("more than there is room for")
	m.fails(at, new(error), "no space left on device")
	var unavailable *remote.Unavailable
	if _, err := m.Update(t.Context()); errors.As(err, &unavailable) {
		t.Errorf("the server is blamed: %v", err)
	}
	m.tidy()
	m.restart()
	m.fails(at, new(error), "no space left on device")
	if err := unix.Mount("", o.Dir, "", unix.MS_REMOUNT, "size=10m"); err != nil {
		t.Fatal(err)
	}
	m.moves(u.head())
	m.tidy()
}
