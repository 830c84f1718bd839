package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// serveReviewed starts a service as a GitHub App that polls hardly ever, with more in its site's and its forge's configuration.
func serveReviewed(t *testing.T, site, forge string) *reviewed {
	t.Helper()
	r := newReviewed(t, true)
	git(t, r.site, "remote", "add", "origin", r.bare)
	r.serve("poll: \"1d\"\n"+site, fmt.Sprintf("link: %q\n", "http://"+r.listen)+forge)
	r.follows("the branch is published")
	return r
}

// told has the server's branch and GitHub's webhook follow the checkout.
func (h *reviewed) told() {
	h.world.t.Helper()
	before := git(h.world.t, h.bare, "rev-parse", "main")
	if code := h.hub.Push("main", before, h.push()); code != 202 {
		h.world.t.Fatalf("a push: %d", code)
	}
}

func (h *reviewed) head() string { return git(h.world.t, h.site, "rev-parse", "HEAD") }

// propose pushes what change commits as a pull request, or as its next commit, and returns to main.
func (h *reviewed) propose(branch string, number int, change func()) (int, string) {
	h.world.t.Helper()
	if number == 0 {
		git(h.world.t, h.site, "branch", "-q", branch, "main")
	}
	git(h.world.t, h.site, "switch", "-q", branch)
	change()
	head := h.head()
	git(h.world.t, h.site, "switch", "-q", "main")
	git(h.world.t, h.site, "push", "-q", "-f", "origin", branch)
	action := "synchronize"
	if number == 0 {
		action, number = "opened", h.hub.OpenPull(forgetest.Pull{Head: head, HeadBranch: branch})
	} else {
		h.hub.PushPull(number, head)
	}
	git(h.world.t, h.site, "push", "-q", "origin", fmt.Sprintf("%s:refs/pull/%d/head", head, number))
	if code := h.hub.TellPull(action, number); code != 202 {
		h.world.t.Fatalf("a pull request: %d", code)
	}
	return number, head
}

// checked waits until a commit's check of the plan has a conclusion.
func (h *reviewed) checked(commit, conclusion string) (c forgetest.Check) {
	h.world.t.Helper()
	eventually(h.world.t, "the check says "+conclusion, func() bool {
		for _, c = range h.hub.ChecksOf(commit) {
			if c.Name == "pomona/acc/plan" && c.Conclusion == conclusion {
				return true
			}
		}
		return false
	})
	return c
}

// comment is the one comment on a pull request.
func (h *reviewed) comment(number int) string {
	h.world.t.Helper()
	all := h.hub.CommentsOn(number)
	if len(all) != 1 {
		h.world.t.Fatalf("%d comments on pull request %d, want one", len(all), number)
	}
	return all[0].Body
}

// page is the plan of a pull request as the service shows it; empty for none.
func (h *reviewed) page(number int) string {
	if code, page := text(fmt.Sprintf("http://%s/-/pulls/%d", h.listen, number)); code == 200 {
		return page
	}
	return ""
}

func (h *reviewed) unchecked() bool {
	h.world.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.root, "current/generation.json"))
	if err != nil {
		h.world.t.Fatal(err)
	}
	return strings.Contains(string(b), `"unchecked": true`)
}

// TestPullRequests goes through the life of a pull request: planned, broken, mended, merged; and of others beside it.
func TestPullRequests(t *testing.T) {
	t.Parallel()
	h := serveReviewed(t, "", "")
	number, head := h.propose("newer", 0, func() { h.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`) })
	check := h.checked(head, "success")
	for _, want := range []string{"kgp1bp01", "3.0.2", "3.1.0", fmt.Sprintf("%.12s", head), "http://" + h.listen + "/-/pulls/1"} {
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
	h.told()
	h.follows("main is published")
	if !h.unchecked() {
		t.Error("what was pushed without a pull request is not marked")
	}
	base := fmt.Sprintf("%.12s", h.head())
	eventually(t, "the plan is made anew on the moved branch", func() bool { return strings.Contains(h.page(number), "commit "+base+" is published") })
	git(t, h.site, "merge", "-q", "--no-ff", "-m", "merge", "newer")
	h.told()
	h.follows("the merge is published")
	if h.unchecked() {
		t.Error("the merge of a checked pull request is marked as unchecked")
	}
	h.hub.ClosePull(number, true)
	h.hub.TellPull("closed", number)
	eventually(t, "the page is gone", func() bool { return h.page(number) == "" })

	// Both sides change one path.
	other, head := h.propose("conflict", 0, func() { h.note("theirs") })
	h.checked(head, "success")
	h.note("ours")
	h.told()
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
	h.hub.TellGroup("main", group)
	h.checked(group, "success")
	git(t, h.site, "switch", "-q", "main")
	git(t, h.site, "merge", "-q", "--ff-only", "queue")
	h.told()
	h.follows("the queue's commit is published")
	if h.unchecked() {
		t.Error("what a merge queue had checked is marked as unchecked")
	}

	// A stranger's pull request is told that nobody looks.
	git(t, h.site, "switch", "-q", "-c", "stranger", "main")
	h.note("from afar")
	strange := h.head()
	git(t, h.site, "switch", "-q", "main")
	git(t, h.site, "push", "-q", "origin", "stranger", strange+":refs/pull/7/head")
	h.hub.OpenPull(forgetest.Pull{Number: 7, Head: strange, HeadBranch: "stranger", Fork: true})
	h.hub.TellPull("opened", 7)
	eventually(t, "a fork is told", func() bool {
		s := h.hub.StatusesOf(strange)
		return len(s) == 1 && s[0].State == "pending" && strings.Contains(s[0].Text, "another repository")
	})
	if len(h.hub.CommentsOn(7)) > 0 {
		t.Error("a fork's pull request has a comment")
	}
}

// TestOnlyCheckedMerges publishes nothing that no check has seen, and goes on serving while GitHub is away.
func TestOnlyCheckedMerges(t *testing.T) {
	t.Parallel()
	h := serveReviewed(t, "", "requireChecked: true")
	_, head := h.propose("newer", 0, func() { h.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`) })
	h.checked(head, "success")
	served := h.published()
	h.note("pushed by hand")
	h.told()
	eventually(t, "the push is refused", func() bool { return strings.Contains(h.service.log(), "requireChecked") })
	if h.published() != served {
		t.Errorf("published %s", h.published())
	}
	must(t, "kick", "--root", h.root, "--accept", h.head())
	if h.published() != h.head() || !h.unchecked() {
		t.Errorf("what an operator accepted: published %s, unchecked %v", h.published(), h.unchecked())
	}
	h.hub.Do(func() {
		h.hub.Before = func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
	})
	_, unseen := h.propose("late", 0, func() { h.edit("fecs/ring/ring.cue", `"2": "3.1.0"`, `"2": "3.0.2"`) })
	eventually(t, "GitHub is missed", func() bool { return strings.Contains(h.service.log(), "pull requests not looked at") })
	h.hub.Do(func() { h.hub.Before = nil })
	h.checked(unseen, "success")
}
