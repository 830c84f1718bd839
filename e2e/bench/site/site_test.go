package site

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func head(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("git", "-C", dir, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestDeterministic writes the same site twice, and changes one.
func TestDeterministic(t *testing.T) {
	var commits []string
	for _, name := range []string{"a", "b"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := Write(dir, 30); err != nil {
			t.Fatal(err)
		}
		commits = append(commits, head(t, dir))
		if err := Change(dir, 30, 7, 1); err != nil {
			t.Fatal(err)
		}
		if err := Commit(dir, "change"); err != nil {
			t.Fatal(err)
		}
		commits = append(commits, head(t, dir))
	}
	if commits[0] != commits[2] || commits[1] != commits[3] || commits[0] == commits[1] {
		t.Errorf("commits %v", commits)
	}
}
