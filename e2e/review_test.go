package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// hosted is a service beside a git server and GitHub, of which only GitHub is not real.
type hosted struct {
	world
	service *service
	github  *forgetest.GitHub
	bare    string // the repository, as the git server has it
	file    string // configuration
	address string // of the tree
}

const hostedAt = "controls/site"

// newHosted starts a service as a GitHub App, with more in its forge's configuration and in its site's.
func newHosted(t *testing.T, forge, site string) *hosted {
	t.Helper()
	a, w := newAuthority(t), newWorld(t)
	h := &hosted{world: w, bare: filepath.Join(w.dir, "git", "site.git"), file: filepath.Join(w.dir, "pomona.cue"), address: freeAddress(t)}
	git(t, w.dir, "clone", "-q", "--bare", w.site, h.bare)
	git(t, w.site, "remote", "add", "origin", h.bare)
	server := gitServer(t, a, filepath.Join(w.dir, "git"))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h.github = forgetest.NewGitHub(t, forgetest.Options{Repository: hostedAt, Certificate: &a.tls, AppKey: &key.PublicKey})
	secret, appKey := filepath.Join(w.dir, "hook"), filepath.Join(w.dir, "app.pem")
	for file, content := range map[string][]byte{
		secret: []byte("a secret of the webhook"),
		appKey: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hears := freeAddress(t)
	h.github.AddHook("http://"+hears+"/acc/github", "a secret of the webhook")
	if err := os.WriteFile(h.file, fmt.Appendf(nil, `admin: %q
webhooks: %q
sites: acc: {
	root: %q
	listen: %q
	repository: url: %q
	keys: [%q]
	poll: "1d"
	webhooks: github: {kind: "github", secrets: [%q]}
	forge: {
		kind: "github"
		api: %q
		repository: %q
		app: {id: %d, key: %q}
		link: "http://%s"
		%s
	}
	%s
}
`, freeAddress(t), hears, w.root, h.address, server.URL+"/site.git", filepath.Join(w.dir, "key.sec"), secret, h.github.URL, hostedAt, forgetest.AppID, appKey, h.address, forge, site), 0o644); err != nil {
		t.Fatal(err)
	}
	h.service = serveFile(t, h.file)
	t.Cleanup(func() {
		if err := h.service.end(os.Interrupt); err != nil {
			t.Errorf("pomona serve ends with %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", h.service.log())
		}
	})
	w.follows("the branch is published")
	return h
}

// push has the server's branch and GitHub's webhook follow the checkout.
func (h *hosted) push() {
	h.t.Helper()
	before := git(h.t, h.bare, "rev-parse", "main")
	git(h.t, h.site, "push", "-q", "origin", "HEAD:main")
	if code := h.github.Push("main", before, h.head()); code != 202 {
		h.t.Fatalf("a push: %d", code)
	}
}

func (h *hosted) head() string { return git(h.t, h.site, "rev-parse", "HEAD") }

// propose pushes what change commits as a pull request, or as its next commit, and returns to main.
func (h *hosted) propose(branch string, number int, change func()) (int, string) {
	h.t.Helper()
	if number == 0 {
		git(h.t, h.site, "branch", "-q", branch, "main")
	}
	git(h.t, h.site, "switch", "-q", branch)
	change()
	head := h.head()
	git(h.t, h.site, "switch", "-q", "main")
	action := "synchronize"
	if number == 0 {
		action, number = "opened", h.github.OpenPull(forgetest.Pull{Head: head, HeadBranch: branch})
	} else {
		h.github.PushPull(number, head)
	}
	git(h.t, h.site, "push", "-q", "origin", fmt.Sprintf("%s:refs/pull/%d/head", head, number))
	if code := h.github.TellPull(action, number); code != 202 {
		h.t.Fatalf("a pull request: %d", code)
	}
	return number, head
}

// checked waits until a commit's check of the plan has a conclusion.
func (h *hosted) checked(commit, conclusion string) (c forgetest.Check) {
	h.t.Helper()
	eventually(h.t, "the check says "+conclusion, func() bool {
		for _, c = range h.github.ChecksOf(commit) {
			if c.Name == "pomona/acc/plan" && c.Conclusion == conclusion {
				return true
			}
		}
		return false
	})
	return c
}

// comment is the one comment on a pull request.
func (h *hosted) comment(number int) string {
	h.t.Helper()
	all := h.github.CommentsOn(number)
	if len(all) != 1 {
		h.t.Fatalf("%d comments on pull request %d, want one", len(all), number)
	}
	return all[0].Body
}

// page is the plan of a pull request as the service shows it; empty for none.
func (h *hosted) page(number int) string {
	if code, page := text(fmt.Sprintf("http://%s/-/pulls/%d", h.address, number)); code == 200 {
		return page
	}
	return ""
}

func (h *hosted) unchecked() bool {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.root, "current/generation.json"))
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Contains(string(b), `"unchecked": true`)
}

// TestPullRequests goes through the life of a pull request: planned, broken, mended, merged; and of others beside it.
func TestPullRequests(t *testing.T) {
	h := newHosted(t, "", "")
	number, head := h.propose("newer", 0, func() { h.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`) })
	check := h.checked(head, "success")
	for _, want := range []string{"kgp1bp01", "3.0.2", "3.1.0", fmt.Sprintf("%.12s", head), "http://" + h.address + "/-/pulls/1"} {
		if comment := h.comment(number); !strings.Contains(comment, want) {
			t.Errorf("the comment holds no %q:\n%s", want, comment)
		}
	}
	if !strings.Contains(check.Title, "1 FEC") {
		t.Errorf("the check says %q", check.Title)
	}
	if page := h.page(number); !strings.Contains(page, "kgp1bp01") {
		t.Errorf("the page: %s", page)
	}

	// A commit that breaks it: the same comment, and an annotation where the mistake is.
	_, broken := h.propose("newer", number, func() { h.edit("fecs/ring/ring.cue", `"1": "3.1.0"`, `"1": "9.9.9"`) })
	check = h.checked(broken, "failure")
	if len(check.Annotations) == 0 || check.Annotations[0]["path"] != "fecs/ring/ring.cue" || check.Annotations[0]["start_line"].(float64) < 2 {
		t.Errorf("annotations: %v", check.Annotations)
	}
	if comment := h.comment(number); !strings.Contains(comment, "9.9.9") || strings.Contains(comment, "Each FEC") {
		t.Errorf("the comment on the broken commit:\n%s", comment)
	}

	// The branch moves: the plan of the mended commit is of the merge result, and what is merged is what was checked.
	_, mended := h.propose("newer", number, func() { h.edit("fecs/ring/ring.cue", `"1": "9.9.9"`, `"1": "3.1.0"`) })
	h.checked(mended, "success")
	h.note("main moves on")
	h.push()
	h.follows("main is published")
	if !h.unchecked() {
		t.Error("what was pushed without a pull request is not marked")
	}
	base := fmt.Sprintf("%.12s", h.head())
	eventually(t, "the plan is made anew on the moved branch", func() bool { return strings.Contains(h.page(number), "commit "+base+" is published") })
	git(t, h.site, "merge", "-q", "--no-ff", "-m", "merge", "newer")
	h.push()
	h.follows("the merge is published")
	if h.unchecked() {
		t.Error("the merge of a checked pull request is marked as unchecked")
	}
	h.github.ClosePull(number, true)
	h.github.TellPull("closed", number)
	eventually(t, "the page is gone", func() bool { return h.page(number) == "" })

	// Both sides change one path.
	other, head := h.propose("conflict", 0, func() { h.note("theirs") })
	h.checked(head, "success")
	h.note("ours")
	h.push()
	check = h.checked(head, "failure")
	if !strings.Contains(check.Title, "needs rebase") || !strings.Contains(h.comment(other), "software/diag-tools/dev/note") {
		t.Errorf("a conflict: %q\n%s", check.Title, h.comment(other))
	}

	// A merge queue asks about a commit that no pull request has.
	h.follows("ours is published")
	git(t, h.site, "switch", "-q", "-c", "queue", "main")
	h.edit("fecs/ring/ring.cue", `"2": "3.1.0"`, `"2": "3.0.2"`)
	group := h.head()
	git(t, h.site, "push", "-q", "origin", "HEAD:refs/heads/gh-readonly-queue/main/pr-9")
	h.github.TellGroup("main", group)
	h.checked(group, "success")
	git(t, h.site, "switch", "-q", "main")
	git(t, h.site, "merge", "-q", "--ff-only", "queue")
	h.push()
	h.follows("the queue's commit is published")
	if h.unchecked() {
		t.Error("what a merge queue had checked is marked as unchecked")
	}

	// A stranger's pull request is told that nobody looks.
	git(t, h.site, "switch", "-q", "-c", "stranger", "main")
	h.note("from afar")
	strange := h.head()
	git(t, h.site, "switch", "-q", "main")
	git(t, h.site, "push", "-q", "origin", strange+":refs/pull/7/head")
	h.github.OpenPull(forgetest.Pull{Number: 7, Head: strange, HeadBranch: "stranger", Fork: true})
	h.github.TellPull("opened", 7)
	eventually(t, "a fork is told", func() bool {
		s := h.github.StatusesOf(strange)
		return len(s) == 1 && s[0].State == "pending" && strings.Contains(s[0].Text, "another repository")
	})
	if len(h.github.CommentsOn(7)) > 0 {
		t.Error("a fork's pull request has a comment")
	}
}

// TestOnlyCheckedMerges publishes nothing that no check has seen, and goes on serving while GitHub is away.
func TestOnlyCheckedMerges(t *testing.T) {
	h := newHosted(t, "requireChecked: true", "")
	_, head := h.propose("newer", 0, func() { h.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`) })
	h.checked(head, "success")
	served := h.published()
	h.note("pushed by hand")
	h.push()
	eventually(t, "the push is refused", func() bool { return strings.Contains(h.service.log(), "requireChecked") })
	if h.published() != served {
		t.Errorf("published %s", h.published())
	}
	git(t, h.site, "reset", "-q", "--hard", "HEAD~1")

	h.github.Do(func() {
		h.github.Before = func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
	})
	_, unseen := h.propose("late", 0, func() { h.edit("fecs/ring/ring.cue", `"2": "3.1.0"`, `"2": "3.0.2"`) })
	eventually(t, "GitHub is missed", func() bool { return strings.Contains(h.service.log(), "pull requests not looked at") })
	h.github.Do(func() { h.github.Before = nil })
	h.checked(unseen, "success")
}
