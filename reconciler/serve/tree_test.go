package serve_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

func get(h http.Handler, path string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestEscapes follows links that publishing never makes, to places that nobody may see.
func TestEscapes(t *testing.T) {
	f := newFixture(t)
	outside := filepath.Dir(f.dir)
	links := map[string]string{
		"relative":       "../../../secret",
		"absolute":       filepath.Join(outside, "secret"),
		"inside":         filepath.Join(f.dir, "generations/42/index"), // absolute, even though it leads back
		"folder":         "../../..",
		"private":        "../../.pomona",
		"private-file":   "../../.pomona/secret",
		"by-two":         "private",
		"up-and-down":    "../../../root/.pomona/secret",
		"hidden":         "fecs/.hidden",
		"etc":            "/etc",
		"self":           "/proc/self/root",
		"through-object": "../../objects/../../secret",
	}
	for name, target := range links {
		f.link("generations/42/"+name, target)
	}
	log, text := logged()
	h := serve.Tree(f.root(), serve.Options{Log: log})
	for name := range links {
		for _, path := range []string{"/" + name, "/" + name + "/", "/" + name + "/secret", "/by-commit/" + sha1 + "/" + name} {
			if r := get(h, path); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d, want 404", path, r.StatusCode)
			}
		}
		if !strings.Contains(text.String(), "path=current/"+name+" ") {
			t.Errorf("%s: not logged", name)
		}
	}
}

// TestMovedRoot moves the root, which an open folder follows.
func TestMovedRoot(t *testing.T) {
	f := newFixture(t)
	h := f.handler()
	if err := os.Rename(f.dir, f.dir+"2"); err != nil {
		t.Fatal(err)
	}
	if r := get(h, "/index"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", r.StatusCode)
	}
}

// TestNeitherFileNorFolder would hang if it opened a FIFO as usual.
func TestNeitherFileNorFolder(t *testing.T) {
	f := newFixture(t)
	f.fifo("generations/42/fifo")
	f.link("generations/42/fifo-link", "fifo")
	h := f.handler()
	for _, path := range []string{"/fifo", "/fifo-link", "/fifo/"} {
		if r := get(h, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, r.StatusCode)
		}
	}
}

func TestUnreadable(t *testing.T) {
	f := newFixture(t)
	if err := os.Chmod(f.path("generations/42/index"), 0); err != nil {
		t.Fatal(err)
	}
	h := f.handler()
	if os.Getuid() == 0 { // root may read everything: this thread asks as nobody, setfsuid(2)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setfsuid(0)
	}
	if r := get(h, "/index"); r.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, want 404", r.StatusCode)
	}
}

// TestPublish renames current, forward and back. Dates must not decide what is new: the old generation is older.
func TestPublish(t *testing.T) {
	f := newFixture(t)
	f.generation("43")
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(f.path("generations/43/index"), old, old); err != nil {
		t.Fatal(err)
	}
	h := f.handler()
	first := get(h, "/index")
	f.link("next", "generations/43")
	if err := os.Rename(f.path("next"), f.path("current")); err != nil {
		t.Fatal(err)
	}
	second := get(h, "/index")
	if first.Header.Get("Etag") == second.Header.Get("Etag") {
		t.Error("two generations with one tag")
	}
	for _, header := range [][]string{
		{"If-None-Match", first.Header.Get("Etag")},
		{"If-Modified-Since", first.Header.Get("Last-Modified")},
	} {
		if r := get(h, "/index", header...); r.StatusCode != http.StatusOK {
			t.Errorf("%s of the generation before: status %d, want 200", header[0], r.StatusCode)
		}
	}
	if r := get(h, "/by-commit/"+sha1+"/index", "If-None-Match", first.Header.Get("Etag")); r.StatusCode != http.StatusNotModified {
		t.Errorf("the generation before, by its commit: status %d, want 304", r.StatusCode)
	}
}

// TestTags holds tags to what they promise: an object's is its digest, and data that is replaced changes its tag even
// when name, size and time stay.
func TestTags(t *testing.T) {
	f := newFixture(t)
	h := f.handler()
	want := `"` + f.archive.String() + `"`
	for _, path := range []string{"/" + store.Path(f.archive), "/fecs/kgp2cu02/software/demo-1.0.0.tar.gz"} {
		if have := get(h, path).Header.Get("Etag"); have != want {
			t.Errorf("%s: tag %s, want %s", path, have, want)
		}
	}
	data := "data/kgp2cu02/data.manifest"
	first := get(h, "/"+data).Header.Get("Etag")
	info, err := os.Stat(f.path(data))
	if err != nil {
		t.Fatal(err)
	}
	f.write("next", "pomona-data 2\n")
	if err := os.Chtimes(f.path("next"), info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path("next"), f.path(data)); err != nil {
		t.Fatal(err)
	}
	if second := get(h, "/"+data).Header.Get("Etag"); second == first || second == "" {
		t.Errorf("tag %s before and %s after", first, second)
	}
}

func TestListing(t *testing.T) {
	f := newFixture(t)
	page := httptest.NewRecorder()
	f.handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/odd/", nil))
	body := page.Body.String()
	if strings.Contains(body, "<b>") || strings.Contains(body, `href="javascript`) {
		t.Errorf("unescaped name in\n%s", body)
	}
	at := []int{strings.Index(body, ">&lt;b&gt;"), strings.Index(body, ">Z<"), strings.Index(body, ">a b"), strings.Index(body, ">javascript")}
	if !slices.IsSorted(at) || at[0] < 0 {
		t.Errorf("not sorted byte-wise: %v in\n%s", at, body)
	}
}

func TestReady(t *testing.T) {
	f := newFixture(t)
	h := f.handler()
	if r := get(h, "/-/readyz"); r.StatusCode != http.StatusOK {
		t.Errorf("published: status %d, want 200", r.StatusCode)
	}
	if err := os.Remove(f.path("current")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/-/readyz": 503, "/-/healthz": 200, "/": 404, "/index": 404} {
		if r := get(h, path); r.StatusCode != want {
			t.Errorf("nothing published: %s: status %d, want %d", path, r.StatusCode, want)
		}
	}
}
