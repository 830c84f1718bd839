package repo_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

func TestUncommitted(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	for _, name := range []string{"changed", "same-size", "touched", "staged", "deleted", "removed", "mode"} {
		write(t, dir, name, "old\n", 0o644)
	}
	if err := os.Symlink("changed", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "first")
	uncommitted := func() []string {
		r, c := opened(t, dir, "HEAD")
		files, err := r.Files(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return r.Uncommitted(files)
	}
	if got := uncommitted(); len(got) > 0 {
		t.Errorf("a fresh commit: %v", got)
	}
	later := time.Now().Add(time.Hour)
	write(t, dir, "changed", "new and longer\n", 0o644)
	write(t, dir, "same-size", "new\n", 0o644)
	write(t, dir, "staged", "new\n", 0o644)
	write(t, dir, "more/new.cue", "x: 1\n", 0o644)
	write(t, dir, "notes.txt", "not a site's\n", 0o644)
	for _, name := range []string{"same-size", "touched"} {
		if err := os.Chtimes(filepath.Join(dir, name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", "staged")
	git(t, dir, "rm", "-q", "--cached", "removed")
	if err := os.Remove(filepath.Join(dir, "deleted")); err != nil {
		t.Fatal(err)
	}
	want := []string{"changed", "deleted", "more/new.cue", "removed", "same-size", "staged"}
	if d := cmp.Diff(want, uncommitted()); d != "" {
		t.Errorf("uncommitted (-want +got):\n%s", d)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "second")
	if got := uncommitted(); len(got) > 0 {
		t.Errorf("all is committed: %v", got)
	}
}

func TestABareRepositoryHasNothingUncommitted(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "clone", "-q", "--bare", site(t), "bare.git")
	f, _ := files(t, filepath.Join(dir, "bare.git"), "HEAD")
	r, err := repo.Open(filepath.Join(dir, "bare.git"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Uncommitted(f); got != nil {
		t.Errorf("uncommitted: %v", got)
	}
}
