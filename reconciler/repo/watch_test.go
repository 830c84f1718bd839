package repo_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// hinted says whether a hint comes; it waits long only for one that never does, longer than any takes on a busy machine.
func hinted(hints <-chan struct{}) bool {
	select {
	case <-hints:
		return true
	case <-time.After(5 * time.Minute):
		return false
	}
}

func watch(t *testing.T, dir, branch string) <-chan struct{} {
	t.Helper()
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	hints, err := r.Watch(t.Context(), branch)
	if err != nil {
		t.Fatal(err)
	}
	return hints
}

func TestWatchTellsOfEveryKindOfRevision(t *testing.T) {
	for branch, ref := range map[string]string{
		"main": "refs/heads/main", "team/main": "refs/heads/team/main", "HEAD": "refs/heads/main", "refs/heads/main": "refs/heads/main",
		"v1": "refs/tags/v1", "team/v1": "refs/tags/team/v1", "refs/tags/v1": "refs/tags/v1", "origin/main": "refs/remotes/origin/main",
		"origin": "refs/remotes/origin/main", "refs/notes/x": "refs/notes/x", "main~1": "refs/heads/main",
	} {
		dir := site(t)
		git(t, dir, "update-ref", ref, "HEAD")
		git(t, dir, "commit", "-q", "--allow-empty", "-m", "another")
		id := git(t, dir, "rev-parse", "HEAD")
		git(t, dir, "update-ref", ref, id+"~1")
		hints := watch(t, dir, branch)
		git(t, dir, "update-ref", ref, id)
		if !hinted(hints) {
			t.Errorf("nothing is told of %s when %s moves", branch, ref)
		}
	}
}

// TestWatchTellsWhereOthersWriteAllTheTime commits beside a file that somebody else never stops to write.
func TestWatchTellsWhereOthersWriteAllTheTime(t *testing.T) {
	dir := site(t)
	hints := watch(t, dir, "HEAD")
	go func() {
		for t.Context().Err() == nil {
			_ = os.WriteFile(filepath.Join(dir, "log"), []byte("x"), 0o644) // gone with the test
			time.Sleep(time.Millisecond)
		}
	}()
	for range 3 {
		if !hinted(hints) {
			t.Fatal("nothing is told")
		}
	}
}

// TestWatchFollowsAReplacedRepository moves a repository away and makes another in its place, one step after the other.
func TestWatchFollowsAReplacedRepository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	if err := os.Rename(site(t), dir); err != nil {
		t.Fatal(err)
	}
	hints := watch(t, dir, "HEAD")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if !hinted(hints) {
		t.Fatal("nothing is told when the repository goes")
	}
	git(t, filepath.Dir(dir), "clone", "-q", dir+".old", dir)
	if !hinted(hints) {
		t.Fatal("nothing is told when another repository comes")
	}
	for quiet := false; !quiet; { // of what was done before
		select {
		case <-hints:
		case <-time.After(time.Second):
			quiet = true
		}
	}
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "another")
	if !hinted(hints) {
		t.Error("nothing is told of a commit in the other repository")
	}
}

// TestARepositoryMayComeLater reads one that was not there at first, and is told when it comes.
func TestARepositoryMayComeLater(t *testing.T) {
	dir := site(t)
	id := git(t, dir, "rev-parse", "HEAD")
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Await(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := r.Resolve("HEAD"); err == nil {
		t.Errorf("found %s where nothing is", c.ID)
	}
	hints, err := r.Watch(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if !hinted(hints) {
		t.Error("nothing is told when the repository comes")
	}
	if c, err := r.Resolve("HEAD"); err != nil || c.ID != id {
		t.Errorf("found %s, %v, want %s", c.ID, err, id)
	}
}
