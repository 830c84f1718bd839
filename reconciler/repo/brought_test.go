package repo_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// TestWhatBroughtACommit: the merge that had it first, and not a later one that has it too.
func TestWhatBroughtACommit(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	commit := func(message string) string {
		git(t, dir, "commit", "-q", "--allow-empty", "-m", message)
		return git(t, dir, "rev-parse", "HEAD")
	}
	first := commit("first")
	git(t, dir, "checkout", "-qb", "a")
	a := commit("a")
	git(t, dir, "checkout", "-qb", "b")
	b := commit("b")
	git(t, dir, "checkout", "-q", "main")
	git(t, dir, "merge", "-q", "--no-ff", "-m", "Merge pull request #7 from lab/a", "a")
	git(t, dir, "merge", "-q", "--no-ff", "-m", "Merge pull request #8 from lab/b", "b")
	direct := commit("raise the version (#9)")
	c, _ := changesAt(t, dir, "HEAD")
	got, err := c.Brought(t.Context(), []string{first, a, b, direct, "1111111111111111111111111111111111111111"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{first: 0, a: 7, b: 8, direct: 9} {
		if message, ok := got[id]; !ok || repo.PullOf(message) != want {
			t.Errorf("%s is brought by %q, want pull request %d", id, message, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %q", got)
	}
}

func TestPullOf(t *testing.T) {
	for message, want := range map[string]int{
		"Merge pull request #12 from lab/bpm-1.1\n\nbpm 1.1":                     12,
		"bpm 1.1 (#13)\n\nThe new one.\n":                                        13,
		"bpm 1.1 (#13)":                                                          13,
		"Merge pull request 'bpm 1.1 (now)' (#14) from bpm into main":            14,
		"Merge branch 'bpm' into 'main'\n\nbpm\n\nSee merge request lab/site!15": 15,
		"bpm 1.1, see #16":                                                       0,
		"bpm\n\nlike (#17)\n":                                                    0,
		"Merge pull request #99999999999999 from":                                0,
		"": 0,
	} {
		if got := repo.PullOf(message); got != want {
			t.Errorf("%q: %d, want %d", message, got, want)
		}
	}
}
