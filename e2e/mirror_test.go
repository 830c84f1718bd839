package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// TestReconcileURL publishes a repository of another host by one command.
func TestReconcileURL(t *testing.T) {
	t.Parallel()
	a, w := trusted, newWorld(t)
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
	t.Parallel()
	f := newFollowed(t)
	f.note("one")
	f.push()
	if code := f.deliver("another secret of sixteen"); code != http.StatusUnauthorized {
		t.Errorf("a forged delivery gets status %d", code)
	}
	if code := f.deliver(hookSecret); code != http.StatusAccepted {
		t.Errorf("a delivery gets status %d", code)
	}
	f.follows("a webhook has the commit published")

	// The host goes away: what is published stays, is served and repaired.
	f.host.CloseClientConnections()
	f.host.Close()
	if code := f.deliver(hookSecret); code != http.StatusAccepted {
		t.Errorf("a delivery gets status %d", code)
	}
	eventually(t, "the outage is told", func() bool { return strings.Contains(f.service.log(), "branch not fetched; what is published stays") })
	if get("http://"+f.serves+"/fecs/") != 200 {
		t.Error("nothing is served while the host is away")
	}
	f.end(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(f.root, "objects/sha256")); err != nil {
		t.Fatal(err)
	}
	f.begin()
	eventually(t, "the tree is repaired from the mirror alone", func() bool {
		return strings.Contains(f.service.log(), "found damage") && get("http://"+f.serves+"/fecs/global/pomona-boot") == 200
	})
	f.follows("the last commit is still published")
}

// TestPullRequestAtGitea plans a pull request and tells of its merge where there are neither check runs nor deployments.
func TestPullRequestAtGitea(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	gitea := forgetest.NewGitea(t, forgetest.Options{Certificate: &f.authority.tls, Head: func(branch string) string { return git(t, f.bare, "rev-parse", branch) }})
	git(t, f.site, "switch", "-qc", "newer")
	f.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`)
	head := git(t, f.site, "rev-parse", "HEAD")
	git(t, f.site, "push", "-q", f.bare, "newer")
	gitea.Do(func() { gitea.AddPull(1, "newer", "main") })
	token := filepath.Join(f.dir, "gitea")
	conf, err := os.ReadFile(f.file)
	if err := errors.Join(err, os.WriteFile(token, []byte(forgetest.Token), 0o600), os.Chmod(token, 0o600)); err != nil {
		t.Fatal(err)
	}
	f.put(f.file, fmt.Appendf(nil, "%s\nsites: acc: forge: {kind: \"gitea\", repository: \"o/r\", api: %q, token: %q}\n", conf, gitea.URL, token))
	newest := func(commit, context string) (found forgetest.Status) {
		for _, s := range gitea.StatusesOf(commit) {
			if s.Context == context {
				found = s
			}
		}
		return found
	}
	eventually(t, "the pull request is planned", func() bool { return newest(head, "pomona/acc/plan").State == "success" })
	if all := gitea.CommentsOn(1); len(all) != 1 || !strings.Contains(all[0].Body, "kgp1bp01") {
		t.Errorf("comments: %v", all)
	}
	f.push()
	f.deliver(hookSecret)
	f.follows("the merge is published")
	eventually(t, "the merge's status", func() bool { return newest(head, "pomona/acc").State == "success" })
}
