package repo_test

import (
	"fmt"
	"slices"
	"testing"
)

// TestSayingsAreOfCommitsThatChangedWhatSpeaksOfARecord: written, moved, beside another of that name, removed in one place, brought by a merge.
func TestSayingsAreOfCommitsThatChangedWhatSpeaksOfARecord(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	var all []string
	commit := func(what string) {
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-q", "--allow-empty", "-m", what)
		all = append(all, git(t, dir, "rev-parse", "HEAD"))
	}
	say := func(name string, records ...string) {
		text := "package site\n"
		for _, r := range records {
			text += fmt.Sprintf("records: %q: at: %q\n", r, "at-"+r)
		}
		write(t, dir, name, text, 0o644)
	}
	say("other.cue")
	commit("0: nothing")
	say("a.cue", "r-1")
	commit("1: r-1")
	say("b/c.cue", "r-10") // which has r-1 too, as words go
	commit("2: r-10")
	commit("3: nothing")
	git(t, dir, "mv", "a.cue", "moved.cue")
	commit("4: r-1 is moved")
	git(t, dir, "checkout", "-qb", "side")
	say("s.cue", "r-2")
	commit("5: r-2 beside")
	git(t, dir, "checkout", "-q", "main")
	say("other.cue", "r-3")
	commit("6: r-3")
	git(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "side")
	all = append(all, git(t, dir, "rev-parse", "HEAD"))
	git(t, dir, "rm", "-q", "s.cue")
	commit("8: r-2 is removed")
	git(t, dir, "rm", "-q", "b/c.cue")
	commit("9: r-10 is removed, and r-1 is left elsewhere")
	changes, _ := changesAt(t, dir, "HEAD")
	found, err := changes.Sayings(t.Context(), [][]string{{"r-1", "at-r-1"}, {"r-10", "at-r-10"}, {"r-2", "at-r-2"}, {"r-3", "at-r-3"}, {"r-4", "at-r-4"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, sayings := range found {
		line := ""
		for _, s := range sayings {
			line += fmt.Sprintf("%d", slices.Index(all, s.Commit))
			if s.Adds {
				line += "+"
			}
		}
		got = append(got, line)
	}
	if want := []string{"1+2+4+9", "2+", "5+", "6+", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
