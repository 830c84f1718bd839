package fetch_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
)

// TestNobodyWaitsForASlowPackage has a server that drips: whoever has waited goes on, nobody waits again, and it comes in the end.
func TestNobodyWaitsForASlowPackage(t *testing.T) {
	release := make(chan bool)
	slow := &host{}
	slow.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		slow.asked.Add(1)
		w.Write([]byte("con"))
		w.(http.Flusher).Flush()
		<-release
		w.Write([]byte("tent"))
	}))
	t.Cleanup(slow.Close)
	f := slow.fetcher(t.TempDir(), "")
	p := desired.RPM{File: "a.rpm", URL: slow.URL + "/a.rpm", SHA256: artifact.Sum([]byte("content")).String()}
	if _, err := f.Package(fetch.Waits(t.Context(), time.Millisecond), p); err == nil || !strings.Contains(err.Error(), "still being fetched") {
		t.Errorf("waited: %v", err)
	}
	if _, err := f.Package(fetch.Waits(t.Context(), 24*time.Hour), p); err == nil {
		t.Error("waited again")
	}
	if _, err := f.Local().Package(t.Context(), p); err == nil || !strings.Contains(err.Error(), "not been fetched yet") {
		t.Errorf("whoever fetches nothing has it: %v", err)
	}
	close(release)
	if _, err := f.Package(t.Context(), p); err != nil {
		t.Error(err)
	}
	if _, err := f.Local().Package(t.Context(), p); err != nil || slow.asked.Load() != 1 {
		t.Errorf("asked %d times: %v", slow.asked.Load(), err)
	}
}

// TestAPackageThatDidNotComeIsNotAskedForAgainAtOnce asks for what has another digest.
func TestAPackageThatDidNotComeIsNotAskedForAgainAtOnce(t *testing.T) {
	h := newHost(t)
	f := h.fetcher(t.TempDir(), "")
	p := desired.RPM{File: "a.rpm", URL: h.URL + "/a.rpm", SHA256: artifact.Sum([]byte("other")).String()}
	for range 3 {
		if _, err := f.Package(t.Context(), p); err == nil || !strings.Contains(err.Error(), "what came has the digest") {
			t.Error(err)
		}
	}
	if n := h.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
