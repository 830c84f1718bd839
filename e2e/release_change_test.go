package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// TestReleaseAsAPullRequest releases through each kind of forge: a branch of its own and one pull request, however often it is
// tried, and nothing on the branch itself.
func TestReleaseAsAPullRequest(t *testing.T) {
	t.Parallel()
	a, r := trusted, newReleases(t)
	bare := filepath.Join(r.dir, "git", "controls", "site.git")
	git(t, r.dir, "clone", "-q", "--bare", r.site, bare)
	git(t, bare, "config", "http.receivepack", "true")
	server := pushServer(t, a, filepath.Join(r.dir, "git"), nil)
	password, token := filepath.Join(r.dir, "git-password"), filepath.Join(r.dir, "forge-token")
	r.secret(password, "robot:hush-hush")
	r.secret(token, forgetest.Token)
	host := func(s string) string { return strings.TrimPrefix(s, "https://") }
	release := func(version, api string, more ...string) (string, string, int) {
		return pomona(t, append([]string{"release", "bpm-fesa", version, r.folder, "--site", server.URL + "/controls/site.git", "--root", r.root, "--cache", filepath.Join(r.dir, "cache"),
			"--credential", host(server.URL) + "=" + password, "--pull-request", "--forge-api", api}, more...)...)
	}
	o := forgetest.Options{Repository: "controls/site", Certificate: &a.tls, Head: func(branch string) string { return git(t, bare, "rev-parse", branch) }}
	hub, tea := forgetest.NewGitHub(t, o), forgetest.NewGitea(t, o)
	before := git(t, bare, "rev-parse", "main")

	// What is missing is told before anything is done.
	for want, more := range map[string][]string{
		"give --forge, one of github, gitea":           nil,
		"give --forge-token FILE, or --credential":     {"--forge", "github"},
		"unknown kind of forge":                        {"--forge", "svn", "--forge-token", token},
		"name its address with --site":                 {"--site", r.site},
		"read token: stat /nowhere: no such file or d": {"--forge", "github", "--forge-token", "/nowhere"},
	} {
		if _, errs, code := release("3.2.0", hub.URL, more...); code != 2 || !strings.Contains(errs, want) {
			t.Errorf("exit code %d, want %q:\n%s", code, want, errs)
		}
	}
	if stored, _ := r.blobs(); len(stored) != 0 {
		t.Errorf("stored %v", stored)
	}

	// GitHub is down after the branch was pushed; the same command ends what was begun, and again has nothing more to do.
	github := []string{"--forge", "github", "--credential", host(hub.URL) + "=" + token, "--pin-group", "ring"}
	hub.Do(func() {
		hub.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
	})
	if _, errs, code := release("3.2.0", hub.URL, github...); code != 3 || !strings.Contains(errs, "takes no more requests until") {
		t.Errorf("a forge that is down: exit code %d\n%s", code, errs)
	}
	hub.Do(func() { hub.Before = nil })
	for range 2 {
		out, errs, code := release("3.2.0", hub.URL, github...)
		if code != 0 || !strings.Contains(out, "https://github.com/controls/site/pull/1\n") || !strings.Contains(out, "branch release/bpm-fesa-3.2.0-") || strings.Contains(out, "commit ") {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
	}
	branch := git(t, bare, "for-each-ref", "--format=%(refname:short)", "refs/heads/release")
	p, ok := hub.OpenPulls()[branch]
	if !ok || len(hub.OpenPulls()) != 1 || p.Title != "Release bpm-fesa 3.2.0" || p.Branch != "main" || !strings.Contains(p.Body, "Moved to it: ") || !strings.Contains(p.Body, "sha256 ") {
		t.Errorf("branches %q, pull requests %+v", branch, hub.OpenPulls())
	}
	if git(t, bare, "rev-parse", "main") != before || git(t, bare, "rev-parse", branch+"^") != before {
		t.Error("the branch itself has moved, or the new one does not start there")
	}

	// It is merged: released.
	git(t, bare, "update-ref", "refs/heads/main", branch)
	hub.ClosePull(1, true)
	if out, errs, code := release("3.2.0", hub.URL, github...); code != 0 || !strings.Contains(out, "nothing to do") {
		t.Errorf("once it is merged: exit code %d\n%s%s", code, out, errs)
	}
	git(t, r.dir, "clone", "-q", bare, "clone")
	must(t, "validate", filepath.Join(r.dir, "clone"), "--root", r.root)

	// Gitea.
	for range 2 {
		out, errs, code := release("3.3.0", tea.URL, "--forge", "gitea", "--forge-token", token)
		if code != 0 || !strings.Contains(out, "https://git.example.org/controls/site/pulls/1\n") {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
	}
	if len(tea.Pulls) != 1 || tea.Pulls[0]["title"] != "Release bpm-fesa 3.3.0" {
		t.Errorf("%v", tea.Pulls)
	}
	r.secret(token, "another-token")
	if _, errs, code := release("3.4.0", tea.URL, "--forge", "gitea", "--forge-token", token); code != 2 || !strings.Contains(errs, "does not accept the token") || strings.Contains(errs, "another-token") {
		t.Errorf("a wrong token: exit code %d\n%s", code, errs)
	}
}
