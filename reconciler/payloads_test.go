package reconciler_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// tgz is a finished archive with one file below /opt/bpm/2.0.0.
func tgz(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	_, err1 := w.Write([]byte(content))
	if err := errors.Join(err1, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// host is an HTTPS server and how often it was asked.
type host struct {
	*httptest.Server
	asked atomic.Int64
}

func newHost(t *testing.T, h http.HandlerFunc) *host {
	t.Helper()
	out := &host{}
	out.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(out.Close)
	return out
}

// trusting is a TLS configuration that knows test servers.
func (h *host) trusting() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	return &tls.Config{RootCAs: pool}
}

// fetching is a pass that fetches from h.
func (s site) fetching(root string, h *host) *reconciler.Reconciler {
	r := s.reconciler(root)
	r.Payloads = fetch.New(fetch.Options{
		Cache: filepath.Join(root, ".pomona/cache"), Root: root, Remote: remote.New(remote.Options{TLS: h.trusting(), Stall: 5 * time.Second}),
	})
	return r
}

// bpm2 adds a release whose payload is what source says.
func (s site) bpm2(source string) {
	s.t.Helper()
	s.commit("software/bpm.cue", `"1.1.0": payload`, fmt.Sprintf("\"2.0.0\": payload: any: {install: \"/opt/bpm/2.0.0\", %s}\n\t\"1.1.0\": payload", source))
}

func TestDownloadedPayloadIsFetchedOnce(t *testing.T) {
	archive := tgz(t, "opt/bpm/2.0.0/bin/bpm", "2.0.0")
	h := newHost(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(archive) })
	s, root := newSite(t), t.TempDir()
	s.bpm2(fmt.Sprintf("https: {url: %q, sha256: %q}", h.URL+"/bpm-2.0.0.tar.gz", artifact.Sum(archive)))
	r := s.fetching(root, h)
	pass(t, r)
	whole(t, root)
	served, err := os.ReadFile(filepath.Join(root, "current/software/bpm/2.0.0/bpm-2.0.0.tar.gz"))
	if err != nil || !bytes.Equal(served, archive) {
		t.Errorf("another archive is served: %v", err)
	}
	if n := h.asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times", n)
	}
	h.Close()
	// Everything that was fetched may be gone: what is built counts.
	if err := os.RemoveAll(filepath.Join(root, ".pomona/cache")); err != nil {
		t.Fatal(err)
	}
	s.commit("fecs/fecs.cue", `version: "1.1.0"`, `version: "2.0.0"`)
	pass(t, s.fetching(root, h))
	_, problems, err := reconciler.Validate(t.Context(), worktree(t, s.dir), loader, nil, s.fetching(root, h).Payloads, now)
	if err != nil || len(problems) > 0 {
		t.Errorf("validate with the objects of the root: %v, %v", problems, err)
	}
}

// TestBillsOfMaterialsStay sweeps everything that no generation names: bills are named, also those of what belongs to one
// FEC.
func TestBillsOfMaterialsStay(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("configuration.cue", "table: versions", `own: {fec: "kgp2cu01", versions: "1.1": {for: {}, payload: {folder: "payload/table", install: "/opt/own2"}}, versions: "1.0": {for: {}, payload: {folder: "payload/table", install: "/opt/own"}}}
configuration: table: versions`)
	s.commit("fecs/fecs.cue", `configuration: table: "1.0"`, `configuration: {table: "1.0", own: "1.0"}`)
	pass(t, s.reconciler(root))
	for name, kind := range map[string]string{
		"software/bpm/1.0.0/bpm-1.0.0.tar.gz": "application", "configuration/table/1.0/table-1.0.tar.gz": "data", "fecs/kgp2cu01/configuration/own-1.0.tar.gz": "data",
	} {
		b, err := os.ReadFile(filepath.Join(root, "current", name+".cdx.json"))
		archive, err2 := os.ReadFile(filepath.Join(root, "current", name))
		if err := errors.Join(err, err2); err != nil || !bytes.Contains(b, []byte(artifact.Sum(archive).String())) || !bytes.Contains(b, fmt.Appendf(nil, "\"bom-ref\": \"artifact\",\n      \"type\": %q", kind)) {
			t.Errorf("%s has no bill of materials of a component %s: %v\n%s", name, kind, err, b)
		}
	}
	// The mark of an interrupted pass makes the next one sweep.
	if err := os.WriteFile(filepath.Join(root, ".pomona/unfinished"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.reconciler(root)
	r.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
	rep, err := r.Pass(t.Context(), reconciler.Digests)
	if err != nil || !rep.Plan.Prune.Sweep || rep.Swept > 0 {
		t.Errorf("%d objects are swept, %v", rep.Swept, err)
	}
	pass(t, r)
}

func TestWhatAHostSaysIsToldApart(t *testing.T) {
	good, other := tgz(t, "opt/bpm/2.0.0/bin/bpm", "2.0.0"), tgz(t, "opt/bpm/2.0.0/bin/bpm", "other")
	escaping := tgz(t, "etc/passwd", "root")
	handlers := map[string]struct {
		answer http.HandlerFunc
		sum    artifact.Digest
		want   string // problem or the host's fault
		wrong  bool
	}{
		"wrong digest": {func(w http.ResponseWriter, _ *http.Request) { w.Write(other) }, artifact.Sum(good),
			"https.sha256: what came has the digest " + artifact.Sum(other).String(), true},
		"gone":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, artifact.Sum(good), "https.url: HOST has no such file (status 410)", true},
		"missing": {http.NotFound, artifact.Sum(good), "https.url: HOST has no such file (status 404)", true},
		"escapes": {func(w http.ResponseWriter, _ *http.Request) { w.Write(escaping) }, artifact.Sum(escaping), `https: "etc/passwd": lies outside the install location`, true},
		"to http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1/x", http.StatusFound)
		}, artifact.Sum(good),
			"https.url: HOST leads to 127.0.0.1 over http", true},
		"broken":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, artifact.Sum(good), "HOST is unavailable: status 503", false},
		"busy":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, artifact.Sum(good), "HOST is unavailable: status 429", false},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, artifact.Sum(good), "HOST is unavailable: status 403", false},
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			w.Write(good[:len(good)/2])
		}, artifact.Sum(good), "HOST is unavailable: unexpected EOF", false},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, artifact.Sum(good), "HOST is unavailable: EOF", false},
		"in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, artifact.Sum(good),
			"HOST is unavailable: more than 5 redirects", false},
	}
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := snapshot(t, root)
	for name, c := range handlers {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, c.answer)
			s := newSite(t)
			s.bpm2(fmt.Sprintf("https: {url: %q, sha256: %q}", h.URL+"/bpm.tar.gz", c.sum))
			r := s.fetching(root, h)
			_, err := r.Reconcile(t.Context())
			checkTold(t, err, c.wrong, strings.ReplaceAll(c.want, "HOST", h.Listener.Addr().String()))
			_, problems, err := reconciler.Validate(t.Context(), worktree(t, s.dir), loader, nil, r.Payloads, now)
			if c.wrong {
				err = errors.Join(err, problems)
			}
			checkTold(t, err, c.wrong, strings.ReplaceAll(c.want, "HOST", h.Listener.Addr().String()))
			if left, _ := filepath.Glob(filepath.Join(root, ".pomona/cache/.pomona/staging/*")); len(left) > 0 {
				t.Errorf("staging of the cache holds %v", left)
			}
			if _, err := os.Stat(filepath.Join(root, ".pomona/cache/objects", artifact.Sum(other).Path())); err == nil {
				t.Error("what was wrong is kept")
			}
			if err := os.RemoveAll(filepath.Join(root, ".pomona/cache")); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, snapshot(t, root)); d != "" {
				t.Errorf("the root has changed:\n%s", d)
			}
		})
	}
}

func worktree(t *testing.T, dir string) *repo.WorkTree {
	t.Helper()
	w, err := repo.OpenWorkTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// checkTold checks that a failure is a problem at its place, or a host's fault.
func checkTold(t *testing.T, err error, wrong bool, want string) {
	t.Helper()
	var problems desired.Problems
	var unavailable *remote.Unavailable
	if wrong != errors.As(err, &problems) || wrong == errors.As(err, &unavailable) {
		t.Errorf("problem: want %v, got %v", wrong, err)
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
	if wrong && !strings.HasPrefix(err.Error(), "software/bpm.cue:5:") {
		t.Errorf("no place: %v", err)
	}
}
