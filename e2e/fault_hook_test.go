package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestFault14Deliveries sends what strangers, and a forge that means something else, may send: nothing of it has the branch
// looked for. Then one push does.
func TestFault14Deliveries(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, heardBy)
	var looks atomic.Int64
	m.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			looks.Add(1)
		}
		m.git.ServeHTTP(w, r)
	})
	second := m.pushed("second")
	zeros := strings.Repeat("0", 40)
	about := `"repository": {"id": 1, "full_name": "controls/site"}`
	// Nobody's, first.
	for _, p := range []push{
		{id: "another-secret", secret: "another secret of sixteen"},
		{id: "an-empty-secret", signature: func(b []byte) (string, string) {
			return "X-Hub-Signature-256", "sha256=" + hex.EncodeToString(hmac.New(sha1.New, nil).Sum(b)[:32])
		}},
		{id: "no-signature", signature: func([]byte) (string, string) { return "X-Hub-Signature-256", "" }},
		{id: "only-SHA-1", signature: func(b []byte) (string, string) {
			mac := hmac.New(sha1.New, []byte(hookSecret))
			mac.Write(b)
			return "X-Hub-Signature", "sha1=" + hex.EncodeToString(mac.Sum(nil))
		}},
	} {
		p.commit = second
		m.deliver(p, http.StatusUnauthorized)
	}
	m.deliver(push{id: "a-form", kind: "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType)
	m.deliver(push{id: "a-huge-body", body: strings.Repeat("x", 4<<20)}, http.StatusRequestEntityTooLarge)
	m.deliver(push{id: "no-JSON", body: "{"}, http.StatusBadRequest)
	// The forge's, which mean nothing here.
	for _, p := range []push{
		{id: "null", body: `{"ref": null, "before": null, "after": null, "repository": null}`},
		{id: "ping", event: "ping", body: `{"zen": "Design for failure.", ` + about + `}`},
		{id: "unknown", event: "something_new"},
		{id: "another-branch", branch: "other"},
		{id: "another-repository", repository: "controls/other"},
		{id: "a-longer-name", repository: "controls/site2"},
		{id: "a-longer-owner", repository: "evil-controls/site"},
		{id: "a-fork", event: "pull_request", body: `{"action": "opened", "number": 1, "pull_request": {"number": 1, "user": {"login": "x"}, ` +
			`"head": {"ref": "main", "sha": "` + second + `", "repo": {"id": 2, "full_name": "evil/site"}}, "base": {"ref": "main", "sha": "` + second + `"}}, ` + about + `}`},
		{id: "the-branch-is-deleted", body: `{"ref": "refs/heads/main", "before": "` + second + `", "after": "` + zeros + `", "deleted": true, ` + about + `}`},
	} {
		m.deliver(p, http.StatusAccepted)
	}
	endless, err := net.Dial("tcp", m.hears) // no header ever ends
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	fmt.Fprint(endless, "POST /acc/forge HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if n := looks.Load(); n > 0 {
		t.Errorf("the branch was looked for %d times", n)
	}
	m.deliver(push{id: "a-push", commit: second}, http.StatusAccepted)
	m.follows("a push has its commit published")
	before := looks.Load()
	m.deliver(push{id: "a-push", commit: second}, http.StatusAccepted)   // again
	m.deliver(push{id: "a-push", commit: m.head()}, http.StatusAccepted) // the same id
	m.takes(second)
	if n := looks.Load() - before; n != 1 { // the kick's
		t.Errorf("the branch was looked for %d times after a delivery that was repeated", n-1)
	}
}

// TestWebhooksAreHeardOnceTheirSecretIsThere starts a service before the file of the secret is there.
func TestWebhooksAreHeardOnceTheirSecretIsThere(t *testing.T) {
	t.Parallel()
	m := newMirrored(t, func(m *mirrored) string {
		said := heardBy(m)
		if err := os.Rename(filepath.Join(m.dir, "hook"), filepath.Join(m.dir, "hook.away")); err != nil {
			t.Fatal(err)
		}
		return said
	})
	eventually(t, "what is wrong is told", func() bool { return strings.Contains(m.p.log(), "no webhooks are received") })
	if err := os.Rename(filepath.Join(m.dir, "hook.away"), filepath.Join(m.dir, "hook")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "webhooks are received", func() bool { return get("http://"+m.hears+"/acc/forge") == http.StatusMethodNotAllowed })
	m.deliver(push{id: "a-push", commit: m.pushed("second")}, http.StatusAccepted)
	m.follows("a push has its commit published")
}
