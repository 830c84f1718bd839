package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReconcileURL publishes a repository of another host by one command.
func TestReconcileURL(t *testing.T) {
	a, w := newAuthority(t), newWorld(t)
	bare := filepath.Join(w.dir, "git", "site.git")
	git(t, w.dir, "clone", "-q", "--bare", w.site, bare)
	server := gitServer(t, a, filepath.Join(w.dir, "git"))
	url := server.URL + "/site.git"
	key := filepath.Join(w.dir, "key.sec")
	must(t, "reconcile", url, "--root", w.root, "--key", key, "--branch", "main")
	w.follows("the branch is published")
	w.note("more")
	git(t, w.site, "push", "-q", bare, "HEAD")
	must(t, "reconcile", url, "--root", w.root, "--key", key, "--branch", "main")
	w.follows("what was pushed is published")
	// What was published is not set back.
	git(t, w.site, "push", "-qf", bare, "HEAD~1:main")
	if _, errs, code := pomona(t, "reconcile", url, "--root", w.root, "--key", key, "--branch", "main"); code != 2 || !strings.Contains(errs, "is not taken") {
		t.Errorf("a branch that was set back: exit code %d: %s", code, errs)
	}
	w.follows("nothing changes")
	server.Close()
	if _, errs, code := pomona(t, "reconcile", url, "--root", w.root, "--key", key, "--branch", "main"); code != 2 || !strings.Contains(errs, "fetch:") {
		t.Errorf("a host that is down: exit code %d: %s", code, errs)
	}
}

// TestServeFollowsAnotherHost runs a service beside a git server: it follows the branch when a webhook says so, survives the
// server's outage and its own death, and hears nobody who does not sign.
func TestServeFollowsAnotherHost(t *testing.T) {
	a, w := newAuthority(t), newWorld(t)
	bare := filepath.Join(w.dir, "git", "site.git")
	git(t, w.dir, "clone", "-q", "--bare", w.site, bare)
	server := gitServer(t, a, filepath.Join(w.dir, "git"))
	const secret = "a secret of the webhook"
	secretFile := filepath.Join(w.dir, "hook")
	if err := os.WriteFile(secretFile, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	hears, listens := freeAddress(t), freeAddress(t)
	file := filepath.Join(w.dir, "pomona.cue")
	if err := os.WriteFile(file, fmt.Appendf(nil, `admin: %q
webhooks: %q
sites: acc: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	poll: "1d"
	webhooks: forge: {kind: "github", secrets: [%q], repositories: ["controls/site"]}
}
`, freeAddress(t), hears, w.root, listens, server.URL+"/site.git", filepath.Join(w.dir, "key.sec"), secretFile), 0o644); err != nil {
		t.Fatal(err)
	}
	p := serveFile(t, file)
	w.follows("the branch is published")

	// deliver posts a push of the branch, as GitHub does.
	deliver := func(id, secret, branch string) int {
		body := fmt.Appendf(nil, `{"ref": "refs/heads/%s", "before": "%[2]s", "after": "%[2]s", "compare": %[3]q, "repository": {"id": 1, "full_name": "controls/site"}}`,
			branch, strings.Repeat("ab", 20), id)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+hears+"/acc/forge", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Github-Event", "push")
		req.Header.Set("X-Github-Delivery", id)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	w.note("one")
	git(t, w.site, "push", "-q", bare, "HEAD")
	if code := deliver("1", "another secret of sixteen", "main"); code != http.StatusUnauthorized {
		t.Errorf("a forged delivery gets status %d", code)
	}
	if code := deliver("2", secret, "main"); code != http.StatusAccepted {
		t.Errorf("a delivery gets status %d", code)
	}
	w.follows("a webhook has the commit published")

	// The host goes away: what is published stays, is served and repaired.
	server.CloseClientConnections()
	server.Close()
	if code := deliver("3", secret, "main"); code != http.StatusAccepted {
		t.Errorf("a delivery gets status %d", code)
	}
	eventually(t, "the outage is told", func() bool { return strings.Contains(p.log(), "branch not fetched; what is published stays") })
	if get("http://"+listens+"/fecs/") != 200 {
		t.Error("nothing is served while the host is away")
	}
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	if err := os.RemoveAll(filepath.Join(w.root, "objects/sha256")); err != nil {
		t.Fatal(err)
	}
	p = serveFile(t, file)
	eventually(t, "the tree is repaired from the mirror alone", func() bool {
		return get("http://"+listens+"/-/readyz") == 200 && strings.Contains(p.log(), "found damage") && get("http://"+listens+"/fecs/global/pomona-boot") == 200
	})
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	w.follows("the last commit is still published")
}
