package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// git runs the real git, with nothing of the machine's configuration.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return gitReading(t, dir, "", args...)
}

func gitReading(t *testing.T, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, dir, name, content string, mode os.FileMode) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// site is a repository with one file of each kind.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	write(t, dir, "site.cue", "package site\n", 0o644)
	write(t, dir, "a/run", "#!/bin/sh\n", 0o755)
	write(t, dir, "a-b", "sorts between a and a/run in git, not here", 0o644)
	write(t, dir, "big", strings.Repeat("0123456789abcdef", 1<<17), 0o644)
	if err := os.Symlink("../etc/passwd", filepath.Join(dir, "a", "link")); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "first\n\nbody")
	return dir
}

func list(t *testing.T, src artifact.Source) (out []string) {
	t.Helper()
	for _, f := range src.Files() {
		out = append(out, fmt.Sprintf("%s %d %d %s", f.Path, f.Mode, f.Size, f.ID))
	}
	return out
}

func read(t *testing.T, src artifact.Source, path string) string {
	t.Helper()
	f, ok := src.Files().Find(path)
	if !ok {
		t.Fatalf("%q is not listed", path)
	}
	r, err := src.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// opened is a repository, and what a revision of it names.
func opened(t testing.TB, dir, rev string) (*repo.Repo, repo.Commit) {
	t.Helper()
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Resolve(rev)
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

func files(t *testing.T, dir, rev string) (*repo.Files, repo.Commit) {
	t.Helper()
	r, c := opened(t, dir, rev)
	fs, err := r.Files(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return fs, c
}

func TestCommitAndWorkTreeAgree(t *testing.T) {
	dir := site(t)
	commit, c := files(t, dir, "HEAD")
	if c.ID != git(t, dir, "rev-parse", "HEAD") || c.Tree != git(t, dir, "rev-parse", "HEAD^{tree}") || c.Subject != "first" {
		t.Errorf("commit is %+v", c)
	}
	work, err := repo.OpenWorkTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	if d := cmp.Diff(list(t, commit), list(t, work)); d != "" {
		t.Errorf("lists differ (-commit +work tree):\n%s", d)
	}
	for _, path := range []string{"site.cue", "a/run", "a/link", "big"} {
		if read(t, commit, path) != read(t, work, path) {
			t.Errorf("%s differs", path)
		}
	}
	if got := read(t, commit, "a/link"); got != "../etc/passwd" {
		t.Errorf("link holds %q", got)
	}
	f, _ := commit.Files().Find("a/run")
	if f.Mode != artifact.Executable {
		t.Errorf("a/run has mode %v", f.Mode)
	}
}

// TestWorkTreeHasWhatGitKnows: files that were added although a rule leaves them out, and a repository in the repository.
func TestWorkTreeHasWhatGitKnows(t *testing.T) {
	dir := site(t)
	write(t, dir, ".gitignore", "*.gz\n/build/\n", 0o644)
	write(t, dir, "a/x.gz", "1", 0o644)
	write(t, dir, "a/y.gz", "2", 0o644)
	write(t, dir, "build/bin/z", "3", 0o644)
	write(t, dir, "build/log", "4", 0o644)
	write(t, dir, "vendor/lib/file", "5", 0o644)
	git(t, filepath.Join(dir, "vendor/lib"), "init", "-q")
	git(t, filepath.Join(dir, "vendor/lib"), "add", "-A")
	git(t, filepath.Join(dir, "vendor/lib"), "commit", "-qm", "lib")
	git(t, dir, "add", "-A")
	git(t, dir, "add", "-f", "a/x.gz", "build/bin/z")
	git(t, dir, "commit", "-qm", "second")
	commit, _ := files(t, dir, "HEAD")
	work, err := repo.OpenWorkTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	if d := cmp.Diff(list(t, commit), list(t, work)); d != "" {
		t.Errorf("lists differ (-commit +work tree):\n%s", d)
	}
}

func TestWorkTreeLeavesOutWhatGitIgnores(t *testing.T) {
	dir := site(t)
	write(t, dir, ".gitignore", "*.log\n/build/\n", 0o644)
	write(t, dir, "x.log", "", 0o644)
	write(t, dir, "build/y", "", 0o644)
	write(t, dir, "new.cue", "package site\n", 0o644)
	work, err := repo.OpenWorkTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	for path, want := range map[string]bool{"x.log": false, "build/y": false, "new.cue": true, ".git/HEAD": false} {
		if _, ok := work.Files().Find(path); ok != want {
			t.Errorf("%s listed: %v", path, ok)
		}
	}
}

func TestRevisions(t *testing.T) {
	dir := site(t)
	git(t, dir, "checkout", "-qb", "feature/slash")
	write(t, dir, "more", "x", 0o644)
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "second")
	git(t, dir, "tag", "-a", "-m", "tag", "v1")
	bare := filepath.Join(t.TempDir(), "bare.git")
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "-q", linked, "main")
	for _, at := range []string{dir, bare, linked, filepath.Join(dir, "a")} {
		for _, rev := range []string{"feature/slash", "v1", git(t, dir, "rev-parse", "feature/slash")} {
			if _, c := files(t, at, rev); c.Subject != "second" {
				t.Errorf("%s at %s is %q", rev, at, c.Subject)
			}
		}
		if _, c := files(t, at, "main"); c.Subject != "first" {
			t.Errorf("main at %s is %q", at, c.Subject)
		}
	}
	if _, c := files(t, linked, "HEAD"); c.Subject != "first" {
		t.Errorf("HEAD of the linked work tree is %q", c.Subject)
	}
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve("nowhere"); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("unknown revision: %v", err)
	}
}

func TestSubmoduleIsListedAsModule(t *testing.T) {
	dir := site(t)
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+git(t, dir, "rev-parse", "HEAD")+",vendor/other")
	git(t, dir, "commit", "-qm", "submodule")
	fs, _ := files(t, dir, "HEAD")
	if f, _ := fs.Files().Find("vendor/other"); f.Mode != artifact.Module {
		t.Errorf("submodule is %+v", f)
	}
}

// TestMalformedNamesAreRefused writes trees that git itself would never write.
func TestMalformedNamesAreRefused(t *testing.T) {
	dir := site(t)
	blob := git(t, dir, "hash-object", "-w", "site.cue")
	for _, name := range []string{"..", ".", ".git", ".GIT"} {
		cmd := exec.Command("git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		cmd.Dir = dir
		var raw []byte
		for i := 0; i < 40; i += 2 {
			var b byte
			fmt.Sscanf(blob[i:i+2], "%02x", &b)
			raw = append(raw, b)
		}
		cmd.Stdin = strings.NewReader("100644 " + name + "\x00" + string(raw))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		id := git(t, dir, "commit-tree", "-m", "evil", strings.TrimSpace(string(out)))
		r, c := opened(t, dir, id)
		if _, err := r.Files(t.Context(), c); err == nil || !strings.Contains(err.Error(), "malformed name") {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestReadsFromManyGoroutines(t *testing.T) {
	dir := site(t)
	git(t, dir, "gc", "-q")
	fs, _ := files(t, dir, "HEAD")
	var g errgroup.Group
	for i := range 40 {
		g.Go(func() error {
			f, _ := fs.Files().Find([]string{"big", "site.cue"}[i%2])
			r, err := fs.Open(f)
			if err != nil {
				return err
			}
			defer r.Close()
			n, err := io.Copy(io.Discard, r)
			if err == nil && n != f.Size {
				err = fmt.Errorf("%s: %d bytes, want %d", f.Path, n, f.Size)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCreateCommitsEverything(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", "x", 0o644)
	write(t, dir, "bin/run", "#!/bin/sh\n", 0o755)
	write(t, dir, ".gitignore", "*.log\n", 0o644)
	c, err := repo.Create(dir, "New\n", time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := git(t, dir, "status", "--porcelain"); got != "" {
		t.Errorf("not committed:\n%s", got)
	}
	if got := git(t, dir, "rev-parse", "main"); got != c.ID {
		t.Errorf("main is %s, want %s", got, c.ID)
	}
	if got := git(t, dir, "ls-files", "-s", "bin/run"); !strings.HasPrefix(got, "100755") {
		t.Errorf("mode: %s", got)
	}
}

func TestErrorsSayWhat(t *testing.T) {
	if _, err := repo.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("no repository: %v", err)
	}
	dir := t.TempDir()
	git(t, dir, "init", "-q")
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve("HEAD"); err == nil || !strings.Contains(err.Error(), "no commit yet") {
		t.Errorf("empty repository: %v", err)
	}
}

// TestListingsAreRemembered lists commits of one repository in turn: each list is that of a repository opened anew, and
// nothing is read for the second list of a commit.
func TestListingsAreRemembered(t *testing.T) {
	dir := site(t)
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	listed := func(rev string) []string {
		c, err := r.Resolve(rev)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := r.Files(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return list(t, fs)
	}
	listed("HEAD")
	changes := []func(){
		func() { write(t, dir, "a/run", "changed", 0o755) },
		func() { write(t, dir, "b/c/d", "new", 0o644) },
		func() { git(t, dir, "mv", "a", "z") },              // the same tree elsewhere
		func() { git(t, dir, "rm", "-q", "z/run") },         // less of it
		func() { git(t, dir, "checkout", "HEAD~4", ".") },   // as at first
		func() { git(t, dir, "rm", "-rq", "--", "b", "z") }, // and only that
	}
	for i, change := range changes {
		change()
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-qm", fmt.Sprint(i))
		fresh, _ := files(t, dir, "HEAD")
		if d := cmp.Diff(list(t, fresh), listed("HEAD")); d != "" {
			t.Errorf("after change %d (-fresh +remembered):\n%s", i, d)
		}
	}
	git(t, dir, "repack", "-adq")
	c, err := r.Resolve("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git", "objects")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Files(t.Context(), c); err != nil {
		t.Errorf("a listed commit was read again: %v", err)
	}
}

// TestAnotherRepositoryIsNotRemembered puts another repository in the place of one that was listed.
func TestAnotherRepositoryIsNotRemembered(t *testing.T) {
	dir, other := site(t), t.TempDir()
	r, c := opened(t, dir, "HEAD")
	if _, err := r.Files(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	git(t, other, "init", "-q", "-b", "main")
	git(t, other, "commit", "-q", "--allow-empty", "-m", "other")
	if err := os.Rename(filepath.Join(dir, ".git"), filepath.Join(t.TempDir(), "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, ".git"), filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve("HEAD"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Files(t.Context(), c); err == nil {
		t.Error("a commit that is not there was listed")
	}
}

// TestWhatIsRememberedCounts lists a commit within the limits, then one that has the same folders at the same places and
// too many others.
func TestWhatIsRememberedCounts(t *testing.T) {
	dir := site(t)
	tree := func(names, below string) string {
		var b strings.Builder
		for _, name := range names {
			fmt.Fprintf(&b, "040000 tree %s\t%c\n", below, name)
		}
		return gitReading(t, dir, b.String(), "mktree")
	}
	below := tree("", "")
	for range 5 {
		below = tree("0123456789", below)
	}
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ names, want string }{{"ab", ""}, {"abcdefghij", "more than 1000000 files and folders"}, {"ab", ""}} {
		_, err := r.Files(t.Context(), repo.Commit{Tree: tree(c.names, below)})
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, want %q", c.names, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Files(ctx, repo.Commit{Tree: tree("ab", below)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a remembered commit, canceled: %v", err)
	}
}

// TestBorrowedObjectsAreRefused opens a clone that has no objects of its own: go-git asks no other repository for sizes.
func TestBorrowedObjectsAreRefused(t *testing.T) {
	dir := site(t)
	shared := filepath.Join(t.TempDir(), "shared")
	git(t, dir, "clone", "-q", "--shared", dir, shared)
	if _, err := repo.Open(shared); err == nil || !strings.Contains(err.Error(), "git repack -ad") {
		t.Errorf("error is %v", err)
	}
	git(t, shared, "repack", "-ad")
	if err := os.Remove(filepath.Join(shared, ".git/objects/info/alternates")); err != nil {
		t.Fatal(err)
	}
	if fs, _ := files(t, shared, "HEAD"); len(fs.Files()) == 0 {
		t.Error("no files after the advice was followed")
	}
}

// TestListingStopsWithItsContext lists a commit whose paths would take for ever.
func TestListingStopsWithItsContext(t *testing.T) {
	dir := site(t)
	r, c := opened(t, dir, "HEAD")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Files(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestAncestors holds ~ and ^ to git.
func TestAncestors(t *testing.T) {
	dir := site(t)
	git(t, dir, "checkout", "-qb", "side")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "side")
	git(t, dir, "checkout", "-q", "main")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "second")
	git(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "side")
	r, err := repo.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	head := git(t, dir, "rev-parse", "HEAD")
	for _, rev := range []string{"HEAD", "main~", "main^", "main~0", "main^0", "main^1", "main^2", "main~2", "main^2~1", "main^^", "side", head[:7], head[:8] + "^2", "refs/heads/side~"} {
		c, err := r.Resolve(rev)
		if want := git(t, dir, "rev-parse", rev); err != nil || c.ID != want {
			t.Errorf("%s is %s, %v; git says %s", rev, c.ID, err, want)
		}
	}
	for rev, want := range map[string]string{"main~3": "has no parent 1", "main^3": "has no parent 3", "main~99999999999999999999": "too far back", "abcd": "reference not found", "ffffffffff": "reference not found"} {
		if _, err := r.Resolve(rev); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rev, err, want)
		}
	}
}

// TestIgnoredAsGitDoes compares a work tree with what git would add, for rules of every kind, odd ones too.
func TestIgnoredAsGitDoes(t *testing.T) {
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	write(t, dir, ".gitignore", "# no rule\n\n   \n*.log\n!keep.log\n/build/\ndeep/**/x\n", 0o644)
	write(t, dir, "a/.gitignore", "!b.log\nonly\r\n", 0o644)
	write(t, dir, ".git/info/exclude", "secret\n", 0o644)
	for _, name := range []string{"x.log", "keep.log", "build/y", "a/build/y", "a/b.log", "b/b.log", "a/only", "only", "secret", "a/secret", "deep/1/2/x", "deep/y"} {
		write(t, dir, name, "", 0o644)
	}
	work, err := repo.OpenWorkTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer work.Close()
	var got []string
	for _, f := range work.Files() {
		got = append(got, f.Path)
	}
	if diff := cmp.Diff(strings.Split(git(t, dir, "ls-files", "--others", "--exclude-standard"), "\n"), got); diff != "" {
		t.Errorf("-git +Pomona:\n%s", diff)
	}
}

// FuzzIgnoreFile reads any .gitignore without a panic.
func FuzzIgnoreFile(f *testing.F) {
	for _, line := range []string{"!", "/", "//", "**", "***", "a/**", "[", "\\", "\\ ", "! ", "a**b", "/**/", "**/**"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		write(t, dir, ".gitignore", content, 0o644)
		write(t, dir, "a/b/c", "", 0o644)
		work, err := repo.OpenWorkTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := work.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDamageIsNoticed puts another object in the place of one that a commit names: it decompresses well, and is wrong.
func TestDamageIsNoticed(t *testing.T) {
	dir := site(t)
	object := func(rev string) string {
		id := git(t, dir, "rev-parse", rev)
		return filepath.Join(dir, ".git/objects", id[:2], id[2:])
	}
	write(t, dir, "big2", strings.Repeat("fedcba9876543210", 1<<17), 0o644)
	write(t, dir, "site.cue", "package elsewhere\n", 0o644)
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "second")
	attempt := func() error {
		r, err := repo.Open(dir)
		if err != nil {
			return err
		}
		c, err := r.Resolve("HEAD")
		if err != nil {
			return err
		}
		fs, err := r.Files(t.Context(), c)
		if err != nil {
			return err
		}
		for _, f := range fs.Files() {
			content, err := fs.Open(f)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, content)
			if err := errors.Join(err, content.Close()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := attempt(); err != nil {
		t.Fatal(err)
	}
	for damaged, by := range map[string]string{"HEAD:site.cue": "HEAD~:site.cue", "HEAD:big2": "HEAD:big", "HEAD^{tree}": "HEAD~^{tree}", "HEAD": "HEAD~"} {
		at, from := object(damaged), object(by)
		good, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		replace(t, at, other)
		if err := attempt(); err == nil || !strings.Contains(err.Error(), "the repository is damaged") {
			t.Errorf("%s holds %s: %v", damaged, by, err)
		}
		replace(t, at, good)
	}
}

func replace(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
