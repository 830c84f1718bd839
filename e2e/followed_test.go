package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// followed is a site whose repository is another host's, and a service that hears of it by webhook alone.
type followed struct {
	world
	service                *service
	bare, file             string // the repository on its host; the configuration
	serves, hears, watches string // addresses: for FECs, for webhooks, for those who watch
	deliveries             atomic.Int64
	host                   *host
	authority              authority // of the host
}

// newFollowed starts a git server and a service that has published its branch.
func newFollowed(t *testing.T) *followed {
	t.Helper()
	a, w := trusted, newWorld(t)
	f := &followed{
		world: w, bare: filepath.Join(w.dir, "git", "site.git"), file: filepath.Join(w.dir, "pomona.cue"),
		serves: freeAddress(t), hears: freeAddress(t), watches: freeAddress(t), authority: a,
	}
	// What superseded generations cost is to be seen within the test.
	f.edit("site.cue", "retention: production: 3", `retention: {production: 3, generations: 2, grace: "1s"}`)
	git(t, w.dir, "clone", "-q", "--bare", w.site, f.bare)
	f.host = newGitHost(t, a, filepath.Join(w.dir, "git"))
	secret := filepath.Join(w.dir, "hook")
	w.put(secret, []byte(hookSecret))
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	w.put(f.file, fmt.Appendf(nil, `admin: %q
webhooks: %q
sites: acc: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	poll: "1d"
	webhooks: forge: {kind: "github", secrets: [%q], repositories: ["controls/site"]}
}
`, f.watches, f.hears, w.root, f.serves, f.host.URL+"/site.git", filepath.Join(w.dir, "key.sec"), secret))
	f.begin()
	t.Cleanup(func() { f.end(syscall.SIGTERM) })
	f.follows("the branch is published")
	return f
}

// begin starts the service and waits until it serves.
func (f *followed) begin() {
	f.t.Helper()
	f.service = serveFile(f.t, f.file)
	eventually(f.t, "the service is ready", func() bool {
		return get("http://"+f.serves+"/-/readyz") == 200 && get("http://"+f.hears+"/acc/forge") == http.StatusMethodNotAllowed
	})
}

// end ends the service.
func (f *followed) end(signal syscall.Signal) {
	f.t.Helper()
	if err := f.service.end(signal); err != nil && signal != syscall.SIGKILL {
		f.t.Errorf("pomona serve ends with %v", err)
	}
}

// push has the host's branch follow the checkout, wherever that is.
func (f *followed) push() { git(f.t, f.site, "push", "-qf", f.bare, "HEAD:main") }

// deliver posts a push of the branch, as GitHub does, and returns the status: each delivery is another one.
func (f *followed) deliver(secret string) int {
	f.t.Helper()
	resp, err := http.DefaultClient.Do(f.delivery("http://"+f.hears+"/acc/forge", secret))
	if err != nil {
		f.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func (f *followed) delivery(url, secret string) *http.Request {
	f.t.Helper()
	id := f.deliveries.Add(1)
	body := fmt.Appendf(nil, `{"ref": "refs/heads/main", "before": "%[1]s", "after": "%040[2]x", "repository": {"id": 1, "full_name": "controls/site"}}`, strings.Repeat("ab", 20), id)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body) // never fails (hash.Hash)
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Github-Event", "push")
	req.Header.Set("X-Github-Delivery", fmt.Sprint(id))
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return req
}

// metric is the sum of a metric of those who watch, over all lines that hold what.
func (f *followed) metric(name string, what ...string) (sum float64) {
	f.t.Helper()
	code, body := text("http://" + f.watches + "/metrics")
	if code != 200 {
		f.t.Fatalf("metrics: status %d", code)
	}
lines:
	for line := range strings.Lines(body) {
		value, ok := strings.CutPrefix(line, name)
		if !ok || value[0] != ' ' && value[0] != '{' {
			continue
		}
		for _, w := range what {
			if !strings.Contains(value, w) {
				continue lines
			}
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value[strings.LastIndex(value, " "):]), 64)
		if err != nil {
			f.t.Fatalf("malformed metric %q", line)
		}
		sum += n
	}
	return sum
}

// host is a git server that can be taken down.
type host struct {
	*httptest.Server
	down  atomic.Bool
	asked atomic.Int64 // requests
}

func newGitHost(t *testing.T, a authority, dir string) *host {
	t.Helper()
	h, git := &host{}, gitBackend(t, dir)
	h.Server = a.server(t, func(w http.ResponseWriter, req *http.Request) {
		h.asked.Add(1)
		if h.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		git.ServeHTTP(w, req)
	})
	return h
}
