package fetch_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// host serves the file "content" and counts how often.
type host struct {
	*httptest.Server
	asked atomic.Int64
}

func newHost(t *testing.T) *host {
	h := &host{}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.asked.Add(1)
		w.Write([]byte("content"))
	}))
	t.Cleanup(h.Close)
	return h
}

// fetcher is as in a new process.
func (h *host) fetcher(cache, root string) *fetch.Fetcher {
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	return fetch.New(fetch.Options{Cache: cache, Root: root, Remote: remote.New(remote.Options{TLS: &tls.Config{RootCAs: pool}})})
}

func (h *host) payload() desired.Payload {
	return desired.Payload{HTTPS: desired.Download{URL: h.URL + "/a.tar.xz", SHA256: artifact.Sum([]byte("content")).String()}, Install: "/opt/a"}
}

// get fetches the payload and reads it as build does.
func get(t *testing.T, f *fetch.Fetcher, p desired.Payload) {
	t.Helper()
	src, local, err := f.Payload(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if want := (desired.Payload{Archive: "archive.tar.xz", Install: "/opt/a", Format: artifact.Xz}); local != want {
		t.Errorf("it is %+v, want %+v", local, want)
	}
	file, ok := src.Files().Find(local.Archive)
	r, err := src.Open(file)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(b) != "content" || file.Size != int64(len(b)) {
		t.Errorf("%q of %d bytes, %v", b, file.Size, err)
	}
}

func TestManyWantOneFile(t *testing.T) {
	h, cache := newHost(t), t.TempDir()
	f := h.fetcher(cache, "")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { get(t, f, h.payload()) })
	}
	all.Wait()
	get(t, h.fetcher(cache, ""), h.payload())
	if n := h.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestFetchersDoNotWaitForEachOther has one bring a file from a host that sends nothing: another has it from elsewhere
// meanwhile, and then both have it.
func TestFetchersDoNotWaitForEachOther(t *testing.T) {
	h, cache := newHost(t), t.TempDir()
	asked, release := make(chan bool), make(chan bool)
	slow := &host{}
	slow.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-release
		w.Write([]byte("content"))
	}))
	defer slow.Close()
	var waiting sync.WaitGroup
	waiting.Go(func() { get(t, slow.fetcher(cache, ""), slow.payload()) })
	<-asked
	get(t, h.fetcher(cache, ""), h.payload())
	close(release)
	waiting.Wait()
}

func TestDamagedFilesAreFetchedAgain(t *testing.T) {
	h, cache, root := newHost(t), t.TempDir(), t.TempDir()
	for _, dir := range []string{cache, root} {
		file := filepath.Join(dir, "objects", artifact.Sum([]byte("content")).Path())
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("damaged"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	get(t, h.fetcher(cache, root), h.payload())
	get(t, h.fetcher(cache, root), h.payload())
	if n := h.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestObjectsOfTheRootNeedNoHost(t *testing.T) {
	h, root := newHost(t), t.TempDir()
	get(t, h.fetcher(root, ""), h.payload())
	get(t, h.fetcher(filepath.Join(t.TempDir(), "unused"), root), h.payload())
	if n := h.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestWithoutACacheNothingIsFetched(t *testing.T) {
	h := newHost(t)
	if _, _, err := h.fetcher("", "").Payload(t.Context(), h.payload()); err == nil || h.asked.Load() > 0 {
		t.Errorf("fetched: %v", err)
	}
}

// TestTheCacheForgets removes what nobody has used for a month, and nothing else; being used counts.
func TestTheCacheForgets(t *testing.T) {
	h, cache := newHost(t), t.TempDir()
	get(t, h.fetcher(cache, ""), h.payload())
	file := filepath.Join(cache, "objects", artifact.Sum([]byte("content")).Path())
	old := filepath.Join(cache, "objects", artifact.Sum([]byte("old")).Path())
	commit, recent := filepath.Join(cache, "git", "aa"), filepath.Join(cache, "git", "bb")
	left, staged := filepath.Join(cache, ".pomona/staging/object-left"), filepath.Join(cache, ".pomona/staging/object-new")
	for _, name := range []string{old, filepath.Join(commit, "HEAD"), filepath.Join(recent, "HEAD"), left, staged} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("old"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	month, days := time.Now().Add(-31*24*time.Hour), time.Now().Add(-2*24*time.Hour)
	for name, when := range map[string]time.Time{file: month, old: month, commit: month, recent: days, left: days} {
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	f := h.fetcher(cache, "")
	get(t, f, h.payload())
	p := h.payload()
	p.HTTPS.SHA256 = artifact.Sum([]byte("something else")).String()
	if _, _, err := f.Payload(t.Context(), p); err == nil {
		t.Error("a wrong digest is accepted")
	}
	for name, want := range map[string]bool{file: true, old: false, commit: false, recent: true, left: false, staged: true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s stays: %v, want %v", name, err == nil, want)
		}
	}
}
