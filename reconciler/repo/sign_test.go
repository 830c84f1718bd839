package repo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// TestDraftsAreSigned has git itself say who signed what we sign, with each kind of key, and adds files in folders that are not there.
func TestDraftsAreSigned(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	git(t, dir, "init", "-qb", "main", work)
	write(t, work, "a/b.cue", "b\n", 0o644)
	git(t, work, "add", "-A")
	git(t, work, "commit", "-qm", "first")
	plain, locked := keygen(t, dir, "plain"), filepath.Join(dir, "locked")
	rsa := filepath.Join(dir, "rsa")
	for _, args := range [][]string{{"-t", "rsa", "-b", "2048", "-N", "", "-f", rsa}, {"-t", "ecdsa", "-N", "secret", "-f", locked}} {
		if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	write(t, dir, "askpass", "#!/bin/sh\necho secret\n", 0o755)
	t.Setenv("SSH_ASKPASS", filepath.Join(dir, "askpass"))
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	var allowed strings.Builder
	for _, key := range []string{plain, rsa, locked} {
		allowed.WriteString(line(t, key, "") + "\n")
	}
	write(t, dir, "allowed", allowed.String(), 0o600)
	signers, err := repo.OpenSigners(repo.SignerFiles{SSH: filepath.Join(dir, "allowed")}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for n, key := range []string{plain, rsa, locked} {
		r, at := opened(t, work, "refs/heads/main")
		sign, err := repo.SignSSH(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join("a", strings.Repeat("c/", n)+"new-"+filepath.Base(key))
		d, err := r.Draft(at, map[string][]byte{name: []byte("new\n"), "a/b.cue": []byte(key), "a-" + filepath.Base(key): nil}, "signed\n\nby "+key, time.Now(), sign)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Advance("main", d); err != nil {
			t.Fatal(err)
		}
		if who, err := r.SignedBy(d.Commit.ID, signers); err != nil || who != "somebody@example.org" {
			t.Errorf("%s: %q, %v", key, who, err)
		}
		git(t, work, "-c", "gpg.ssh.allowedSignersFile="+filepath.Join(dir, "allowed"), "verify-commit", "HEAD")
		git(t, work, "fsck", "--strict")
		if s := git(t, work, "status", "--porcelain"); s != "" {
			t.Errorf("work tree: %s", s)
		}
		if b, err := os.ReadFile(filepath.Join(work, name)); err != nil || string(b) != "new\n" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if _, err := repo.SignSSH(t.Context(), filepath.Join(dir, "nowhere"), ""); err == nil {
		t.Error("a key that is not there")
	}
}

// TestNewFilesOfOthers leaves alone what lies where a new file would go.
func TestNewFilesOfOthers(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-qb", "main", ".")
	write(t, dir, "a", "a\n", 0o644)
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "first")
	r, at := opened(t, dir, "refs/heads/main")
	if _, err := r.Draft(at, map[string][]byte{"a/b": nil}, "m", time.Now(), nil); err == nil || !strings.Contains(err.Error(), "both a file and a folder") {
		t.Errorf("a folder in place of a file: %v", err)
	}
	write(t, dir, "mine", "mine\n", 0o644)
	d, err := r.Draft(at, map[string][]byte{"mine": []byte("theirs\n")}, "m", time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Advance("main", d); err == nil || !strings.Contains(err.Error(), `"mine" has changes that are not committed`) {
		t.Errorf("over a file of somebody: %v", err)
	}
	write(t, dir, "mine", "theirs\n", 0o644)
	if err := r.Advance("main", d); err != nil {
		t.Errorf("over the same file: %v", err)
	}
	if s := git(t, dir, "status", "--porcelain"); s != "" {
		t.Errorf("work tree: %s", s)
	}
}

// TestABranchIsReadWhileItMoves never sees a branch where packed-refs says that it was once.
func TestABranchIsReadWhileItMoves(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-qb", "main", ".")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "first")
	git(t, dir, "pack-refs", "--all")
	r, first := opened(t, dir, "refs/heads/main")
	advance := func(at repo.Commit, n int) repo.Commit {
		d, err := r.Draft(at, map[string][]byte{"n": []byte(strconv.Itoa(n))}, "m", time.Now(), nil)
		if err == nil {
			err = r.Advance("main", d)
		}
		if err != nil {
			t.Error(err)
		}
		return d.Commit
	}
	at, done := advance(first, 0), make(chan struct{})
	go func() {
		defer close(done)
		for n := range 300 {
			at = advance(at, n+1)
		}
	}()
	for {
		if _, now := opened(t, dir, "refs/heads/main"); now.ID == first.ID {
			t.Fatal("the branch is where it was before")
		}
		select {
		case <-done:
			git(t, dir, "fsck", "--strict")
			return
		default:
		}
	}
}
