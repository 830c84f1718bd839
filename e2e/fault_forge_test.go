package e2e

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestFault22Forge has GitHub refuse everything for a while, each time in another way: no check is lost, the tree is served, and
// what needs a check is published when an operator says so.
func TestFault22Forge(t *testing.T) {
	t.Parallel()
	h := serveReviewed(t, "", "requireChecked: true")
	served := h.published()
	pull := 0
	var refused atomic.Int64
	for i, says := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) { // a secondary limit
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"message": "You have exceeded a secondary rate limit.", "documentation_url": "https://docs.github.com/"}`)
		},
		func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
	} {
		refused.Store(0)
		h.hub.Do(func() {
			h.hub.Before = func(w http.ResponseWriter, _ *http.Request) bool {
				refused.Add(1)
				says(w)
				return true
			}
		})
		var head string
		pull, head = h.propose("pull", pull, func() { h.note(strings.Repeat("x", i+1)) })
		eventually(t, "GitHub refuses", func() bool { return refused.Load() > 0 })
		if get("http://"+h.listen+"/-/readyz") != http.StatusOK || h.published() != served {
			t.Error("the forge's trouble is the tree's")
		}
		h.hub.Do(func() { h.hub.Before = nil })
		h.checked(head, "success")
	}
	if n := len(h.hub.CommentsOn(pull)); n != 1 {
		t.Errorf("%d comments, want one", n)
	}

	// What no check has seen.
	h.note("pushed by hand")
	h.told()
	eventually(t, "the push is refused", func() bool { return strings.Contains(h.service.log(), "pomona kick --accept "+h.head()) })
	if _, errs, code := pomona(t, "kick", "--root", h.root); code != 2 || !strings.Contains(errs, "no check of a pull request has seen its tree") || h.published() != served {
		t.Errorf("exit code %d, commit %s: %s", code, h.published(), errs)
	}
	must(t, "kick", "--root", h.root, "--accept", h.head())
	if h.published() != h.head() || !h.unchecked() {
		t.Errorf("commit %s is published, unchecked %v", h.published(), h.unchecked())
	}
}
