package repo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// history is a repository whose branches edit two files and merge, by a seed. Lines are unique, so that there is one
// truth about each.
func history(t *testing.T, seed uint64, commits int) string {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	n := 0
	line := func() string { n++; return fmt.Sprintf("line %d of %d", n, seed) }
	var start []string
	for range 20 {
		start = append(start, line())
	}
	save := func(name string, lines []string) { write(t, dir, name, strings.Join(lines, "\n")+"\n", 0o644) }
	save("fecs/a.cue", start)
	save("payload/x/bin", []string{line()})
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "start")
	edit := func(low, high int) {
		b, err := os.ReadFile(filepath.Join(dir, "fecs/a.cue"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		at := min(low+random.IntN(high-low), len(lines)-1)
		switch random.IntN(3) {
		case 0:
			lines[at] = line()
		case 1:
			lines = slices.Insert(lines, at, line(), line())
		default:
			save("payload/x/bin", []string{line()})
		}
		save("fecs/a.cue", lines)
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-q", "--allow-empty", "-m", fmt.Sprint("change ", n))
	}
	for i := range commits {
		if random.IntN(4) > 0 {
			edit(0, 6)
			continue
		}
		git(t, dir, "checkout", "-qb", fmt.Sprint("side", i))
		edit(14, 18)
		git(t, dir, "checkout", "-q", "main")
		edit(0, 6)
		if err := exec.Command("git", "-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "merge", "-qm", "merge", fmt.Sprint("side", i)).Run(); err != nil {
			git(t, dir, "merge", "--abort")
		}
	}
	return dir
}

// changesAt are the changes up to a revision, and what that names.
func changesAt(t *testing.T, dir, rev string) (*repo.Changes, repo.Commit) {
	t.Helper()
	r, c := opened(t, dir, rev)
	changes, err := r.Changes(c)
	if err != nil {
		t.Fatal(err)
	}
	return changes, c
}

// TestChangesAgreeWithGit compares with git log and git blame.
func TestChangesAgreeWithGit(t *testing.T) {
	for seed := range uint64(4) {
		dir := history(t, seed, 12)
		changes, _ := changesAt(t, dir, "HEAD")
		for _, name := range []string{"fecs/a.cue", "fecs", "payload/x/bin", "payload", "payload/x/"} {
			want := git(t, dir, "log", "-1", "--format=%H", "--", name)
			if got, err := changes.Path(t.Context(), name); err != nil || got.ID != want {
				t.Errorf("seed %d: %s was changed by %s, %v; git says %s", seed, name, got.ID, err, want)
			}
		}
		var lines []int
		var want []string
		for l := range strings.Lines(git(t, dir, "blame", "-l", "--root", "fecs/a.cue")) {
			want = append(want, strings.Fields(l)[0])
			lines = append(lines, len(want))
		}
		got, err := changes.Lines(t.Context(), "fecs/a.cue", lines)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range lines {
			if got[l].ID != want[i] {
				t.Errorf("seed %d: line %d was changed by %s %q, git says %s", seed, l, got[l].ID, got[l].Subject, want[i])
			}
		}
		if c := got[1]; c.Author != "a <a@b>" || c.Subject == "" || c.Time.IsZero() {
			t.Errorf("commit is %+v", c)
		}
	}
}

func TestChangesOfAShallowClone(t *testing.T) {
	dir := history(t, 9, 5)
	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, dir, "clone", "-q", "--depth", "1", "file://"+dir, shallow)
	changes, head := changesAt(t, shallow, "HEAD")
	// The oldest commit that is there counts.
	if got, err := changes.Path(t.Context(), "payload"); err != nil || got.ID != head.ID {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestChangesSayWhatIsNotThere(t *testing.T) {
	dir := history(t, 9, 1)
	changes, _ := changesAt(t, dir, "HEAD")
	for _, name := range []string{"nowhere", "fecs/nowhere", "fecs/a.cue/below", "../a", "/etc"} {
		if got, err := changes.Path(t.Context(), name); err == nil {
			t.Errorf("%s was changed by %+v", name, got)
		}
		if got, err := changes.Lines(t.Context(), name, []int{1}); err == nil {
			t.Errorf("a line of %s was changed by %+v", name, got)
		}
	}
	if got, err := changes.Lines(t.Context(), "fecs/a.cue", []int{9999}); err != nil || len(got) != 1 {
		t.Errorf("a line behind the end: %+v, %v", got, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := changes.Path(ctx, "fecs"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
