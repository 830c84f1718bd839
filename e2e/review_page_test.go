package e2e

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// look is what a page says to a browser.
func look(t *testing.T, url string) string {
	t.Helper()
	code, page := text(url)
	if code != 200 {
		t.Fatalf("%s: status %d: %s", url, code, page)
	}
	return html.UnescapeString(page)
}

// TestACommentLeadsToThePageOfItsPlan follows the links that a pull request gets, through its life, and those of the passes that it causes.
func TestACommentLeadsToThePageOfItsPlan(t *testing.T) {
	t.Parallel()
	h := newReviewed(t, true)
	h.pages = freeAddress(t)
	git(t, h.site, "remote", "add", "origin", h.bare)
	h.serve("poll: \"1d\"", fmt.Sprintf("link: %q", "http://"+h.listen))
	h.follows("the branch is published")
	number, head := h.propose("newer", 0, func() { h.edit("fecs/ring/ring.cue", `"1": "3.0.2"`, `"1": "3.1.0"`) })
	check := h.checked(head, "success")
	link := regexp.MustCompile(`Everything: (\S+)`).FindStringSubmatch(h.comment(number))
	if link == nil || link[1] != fmt.Sprintf("http://%s/acc/plans/%d", h.pages, number) || check.Link != link[1] {
		t.Fatalf("the comment leads to %q, the check to %q:\n%s", link, check.Link, h.comment(number))
	}
	page := look(t, link[1])
	for _, want := range []string{check.Title, "bpm-fesa 3.0.2 → 3.1.0", `href="/acc/fecs/kgp1bp01"`, "1 FEC changed"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	if again := look(t, fmt.Sprintf("http://%s/acc/plans/%s", h.pages, head)); !strings.Contains(again, "bpm-fesa 3.0.2 → 3.1.0") {
		t.Errorf("the page of the commit: %s", again)
	}

	// What breaks it is shown in its line.
	_, broken := h.propose("newer", number, func() { h.edit("fecs/ring/ring.cue", `"1": "3.1.0"`, `"1": "9.9.9"`) })
	h.checked(broken, "failure")
	page = look(t, link[1])
	if mark := regexp.MustCompile(`class="here">> +\d+  .*bpm-fesa.*version: <mark>v</mark>`).FindString(page); mark == "" || strings.Contains(page, "what its merge would do") {
		t.Errorf("the page of the broken commit:\n%s", page)
	}

	_, mended := h.propose("newer", number, func() { h.edit("fecs/ring/ring.cue", `"1": "9.9.9"`, `"1": "3.1.0"`) })
	h.checked(mended, "success")
	git(t, h.site, "merge", "-q", "--no-ff", "-m", "merge", "newer")
	h.hub.ClosePull(number, true) // as a forge does with the merge
	h.told()
	h.follows("the merge is published")
	h.hub.TellPull("closed", number)
	eventually(t, "the page says that the pull request is closed", func() bool {
		page := look(t, link[1])
		return strings.Contains(page, "It is closed.") && strings.Contains(page, "bpm-fesa 3.0.2 → 3.1.0")
	})
	if all := look(t, "http://"+h.pages+"/acc/plans"); !strings.Contains(all, fmt.Sprintf(`href="/acc/plans/%d"`, number)) || !strings.Contains(all, "(closed)") {
		t.Errorf("the list of pull requests:\n%s", all)
	}

	// The pass that published the merge has the same plan, and says how long its stages took.
	newest := regexp.MustCompile(`href="(/acc/passes/\d+)"`)
	eventually(t, "the plan of the pass is kept", func() bool {
		page = look(t, "http://"+h.pages+"/acc/passes")
		found := newest.FindStringSubmatch(page) // the pass may not have ended
		return found != nil && strings.Contains(look(t, "http://"+h.pages+found[1]), "bpm-fesa 3.0.2 → 3.1.0")
	})
	if !strings.Contains(page, "render ") || !strings.Contains(page, `class="stage-render"`) {
		t.Errorf("the timeline:\n%s", page)
	}
	if page := look(t, "http://"+h.pages+"/acc/passes/"+h.head()); !strings.Contains(page, "commit <code>"+h.head()) {
		t.Errorf("the pass of the commit:\n%s", page)
	}

	// The comment stays for ever: its link outlives the service.
	if err := h.service.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.service = serveFile(t, h.file)
	eventually(t, "the closed pull request can still be read", func() bool {
		code, page := text(link[1])
		return code == 200 && strings.Contains(page, "It is closed.") && strings.Contains(html.UnescapeString(page), "bpm-fesa 3.0.2 → 3.1.0")
	})
}
