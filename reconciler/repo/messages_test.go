package repo_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// TestHugeMessagesAreNotRead hides a commit that takes much memory behind another one, and in a merge.
func TestHugeMessagesAreNotRead(t *testing.T) {
	dir := site(t)
	first := git(t, dir, "rev-parse", "HEAD")
	huge := strings.Repeat("a long line of text that says nothing\n", 50_000)
	commit := func(message string, parents ...string) string {
		args := []string{"commit-tree", "HEAD^{tree}"}
		for _, p := range parents {
			args = append(args, "-p", p)
		}
		return gitReading(t, dir, message, args...)
	}
	large := commit(huge, first)
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]string{"before": commit("last", large), "merged": commit("last", first, large)} {
		got, err := r.Messages(id, first)
		if len(got) != 1 || strings.TrimSpace(got[0]) != "last" || err != nil {
			t.Errorf("%s: %d messages, %v", name, len(got), err)
		}
	}
	if _, err := r.Messages(large, first); err == nil {
		t.Error("a huge commit's own message is read")
	}
}
