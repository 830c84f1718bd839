package repo_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

func TestTracked(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	for _, file := range []string{"a/own", "ab/foreign"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", "a/own")
	git(t, dir, "commit", "-qm", "one")
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{dir: "a/own", filepath.Join(dir, "a"): "a/own", filepath.Join(dir, "link"): "a/own", filepath.Join(dir, "ab"): "",
		filepath.Join(dir, "none"): "", t.TempDir(): ""} {
		if got, err := r.Tracked(folder); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", folder, got, err, want)
		}
	}
}
