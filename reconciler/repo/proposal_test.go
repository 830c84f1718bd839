package repo_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// propose makes a branch from a commit with one change, and pushes it as a pull request's head.
func (u *upstream) propose(n int, from string, change func()) string {
	u.t.Helper()
	git(u.t, u.work, "checkout", "-q", "--detach", from)
	change()
	git(u.t, u.work, "add", "-A")
	git(u.t, u.work, "commit", "-q", "--allow-empty", "-m", fmt.Sprint("proposal ", n))
	head := u.head()
	git(u.t, u.work, "push", "-qf", "origin", fmt.Sprintf("%s:refs/pull/%d/head", head, n))
	git(u.t, u.work, "checkout", "-q", "main")
	return head
}

func proposals(t *testing.T, u *upstream, quota int64) *repo.Proposals {
	t.Helper()
	p, err := repo.OpenProposals(filepath.Join(u.dir, "proposals"), u.options(), quota)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it may be closed already
	return p
}

func TestMergeOfAPullRequest(t *testing.T) {
	u := newUpstream(t)
	for i := range 5 {
		u.commit(fmt.Sprint(i))
	}
	from := u.head()
	u.commit("on main since") // changes folder0/file and site.cue
	u.commit("on main since") // changes folder1/file and site.cue
	base := u.head()
	edit := func(name, content string) func() {
		return func() { write(t, u.work, name, content, 0o644) }
	}
	p := proposals(t, u, 1<<30)
	for i, c := range []struct {
		what   string
		change func()
		both   []string
	}{
		{what: "new file", change: edit("new", "x")},
		{what: "new file in a changed folder", change: edit("folder0/new", "x")},
		{what: "other file", change: edit("folder2/file", "x")},
		{what: "nothing", change: func() {}},
		{what: "mode", change: func() { os.Chmod(filepath.Join(u.work, "folder2/file"), 0o755) }},
		{what: "gone", change: func() { os.RemoveAll(filepath.Join(u.work, "folder3")) }},
		{what: "file for a folder", change: func() { os.RemoveAll(filepath.Join(u.work, "folder3")); edit("folder3", "x")() }},
		{what: "same change", change: func() { git(t, u.work, "checkout", "-q", base, "--", "site.cue") }},
		{what: "changed on both sides", change: edit("site.cue", "package site\n// mine\n"), both: []string{"site.cue"}},
		{what: "gone here, changed there", change: func() { os.RemoveAll(filepath.Join(u.work, "folder1")); edit("site.cue", "x")() }, both: []string{"folder1", "site.cue"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			head := u.propose(i, from, c.change)
			r, merged, err := p.Merge(t.Context(), repo.Proposal{Number: i, Head: head, Base: base})
			if c.both != nil {
				var rebase *repo.NeedsRebase
				if !errors.As(err, &rebase) || !slices.Equal(rebase.Paths, c.both) {
					t.Fatalf("%v; want %v", err, c.both)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			git(t, u.work, "checkout", "-q", "--detach", base)
			git(t, u.work, "merge", "-q", "--no-ff", "-m", "by git", head)
			if want := git(t, u.work, "rev-parse", "HEAD^{tree}"); merged.Tree != want {
				t.Errorf("tree %s, git makes %s", merged.Tree, want)
			}
			if _, err := r.Files(t.Context(), merged); err != nil {
				t.Error(err)
			}
			_, again, err := p.Merge(t.Context(), repo.Proposal{Number: i, Head: head, Base: base})
			if err != nil || again != merged {
				t.Errorf("%+v, %v", again, err)
			}
		})
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	git(t, filepath.Join(u.dir, "proposals/git-1"), "fsck", "--full", "--no-dangling")
}

// along makes a commit with a new file upon another commit, and then merges others into it. It leaves it checked out.
func (u *upstream) along(from, name string, others ...string) string {
	u.t.Helper()
	git(u.t, u.work, "checkout", "-q", "--detach", from)
	write(u.t, u.work, name, "x", 0o644)
	git(u.t, u.work, "add", "-A")
	git(u.t, u.work, "commit", "-qm", name)
	for _, id := range others {
		git(u.t, u.work, "merge", "-q", "--no-ff", "--no-edit", id)
	}
	return u.head()
}

// TestMergeOfAHeadThatHasMergedTheBase finds the one commit from which they part, or that there are two.
func TestMergeOfAHeadThatHasMergedTheBase(t *testing.T) {
	u := newUpstream(t)
	from := u.head()
	var main []string
	for range 5 {
		main = append(main, u.commit("on main"))
	}
	p := proposals(t, u, 1<<30)
	head := u.propose(1, u.along(from, "new", main[0], main[2], main[3]), func() {})
	_, c, err := p.Merge(t.Context(), repo.Proposal{Number: 1, Head: head, Base: main[4]})
	if err != nil {
		t.Fatal(err)
	}
	u.along(main[4], "new2", head)
	git(t, u.work, "rm", "-q", "new2")
	git(t, u.work, "commit", "-qm", "as merged")
	if want := git(t, u.work, "rev-parse", "HEAD^{tree}"); c.Tree != want {
		t.Errorf("tree %s, git makes %s", c.Tree, want)
	}
	// Each of them has merged what the other began with.
	one, two := u.along(main[4], "one"), u.along(main[4], "two")
	base := u.along(two, "base", one)
	u.push()
	head = u.propose(2, u.along(one, "head", two), func() {})
	var rebase *repo.NeedsRebase
	if _, _, err := p.Merge(t.Context(), repo.Proposal{Number: 2, Head: head, Base: base}); !errors.As(err, &rebase) || len(rebase.Paths) > 0 {
		t.Errorf("histories that cross: %v", err)
	}
}

// TestTheMirrorIsEmptiedWhenNoPullRequestIsLeft also if a merge queue had something checked.
func TestTheMirrorIsEmptiedWhenNoPullRequestIsLeft(t *testing.T) {
	u := newUpstream(t)
	p := proposals(t, u, 1<<30)
	base := u.head()
	head := u.propose(1, base, func() { write(t, u.work, "new", "x", 0o644) })
	for _, number := range []int{1, 0} {
		if _, _, err := p.Merge(t.Context(), repo.Proposal{Number: number, Head: head, Base: base}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Forget(1); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(u.dir, "proposals/git-1/objects/pack/*.pack")); len(left) > 0 || err != nil {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestMergeOfTheForge takes what the forge says of these two commits, and nothing that it says of others.
func TestMergeOfTheForge(t *testing.T) {
	u := newUpstream(t)
	from := u.head()
	base := u.commit("on main since")
	head := u.propose(7, from, func() { write(t, u.work, "new", "x", 0o644) })
	git(t, u.work, "checkout", "-q", "--detach", base)
	git(t, u.work, "merge", "-q", "--no-ff", "-m", "by the forge", head)
	forge := u.head()
	git(t, u.work, "push", "-q", "origin", forge+":refs/pull/7/merge")
	git(t, u.work, "checkout", "-q", "main")
	p := proposals(t, u, 1<<30)
	pr := repo.Proposal{Number: 7, Head: head, Base: base, MergeRef: "refs/pull/7/merge"}
	if _, c, err := p.Merge(t.Context(), pr); err != nil || c.ID != forge {
		t.Errorf("%+v, %v; want %s", c, err, forge)
	}
	pr.Base = u.commit("on main later") // the forge has not merged anew yet
	_, c, err := p.Merge(t.Context(), pr)
	if err != nil || c.ID == forge {
		t.Fatalf("%+v, %v", c, err)
	}
	git(t, u.work, "merge", "-q", "--no-ff", "-m", "by git", head)
	if want := git(t, u.work, "rev-parse", "HEAD^{tree}"); c.Tree != want {
		t.Errorf("tree %s, git makes %s", c.Tree, want)
	}
	// A base that was set back: the head brings what the base has lost.
	later := u.propose(10, pr.Base, func() { write(t, u.work, "later", "x", 0o644) })
	_, c, err = p.Merge(t.Context(), repo.Proposal{Number: 10, Head: later, Base: base})
	if err != nil || c.Tree != git(t, u.work, "rev-parse", later+"^{tree}") {
		t.Errorf("%+v, %v", c, err)
	}
	var unavailable *remote.Unavailable
	if _, _, err := p.Merge(t.Context(), repo.Proposal{Number: 8, Head: strings.Repeat("ab", 20), Base: base}); !errors.As(err, &unavailable) {
		t.Errorf("a head that is gone: %v", err)
	}
	if _, _, err := p.Merge(t.Context(), repo.Proposal{Number: 8, Head: "main", Base: base}); err == nil {
		t.Error("a branch is a commit")
	}
	git(t, u.work, "checkout", "-q", "--orphan", "unrelated")
	git(t, u.work, "commit", "-qm", "unrelated")
	other := u.propose(9, u.head(), func() {})
	var rebase *repo.NeedsRebase
	if _, _, err := p.Merge(t.Context(), repo.Proposal{Number: 9, Head: other, Base: base}); !errors.As(err, &rebase) {
		t.Errorf("unrelated histories: %v", err)
	}
}

// TestProposalsKeepTheirQuota brings more and more, each a part of the quota, and then too much.
func TestProposalsKeepTheirQuota(t *testing.T) {
	u := newUpstream(t)
	base := u.head()
	const quota = 250_000
	p := proposals(t, u, quota)
	size := func() (n int64) {
		err := filepath.Walk(filepath.Join(u.dir, "proposals"), func(_ string, info os.FileInfo, err error) error {
			if err == nil {
				n += info.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	pull := func(n, bytes int) error {
		head := u.propose(n, base, func() {
			write(t, u.work, "random", string(random(t))+fmt.Sprint(n), 0o644)
			for i := range bytes / 1024 {
				write(t, u.work, fmt.Sprint("r", i), string(random(t)), 0o644)
			}
		})
		_, _, err := p.Merge(t.Context(), repo.Proposal{Number: n, Head: head, Base: base})
		if err == nil { // the second time it is known
			_, _, err = p.Merge(t.Context(), repo.Proposal{Number: n, Head: head, Base: base})
		}
		return err
	}
	for n := range 6 {
		if err := pull(n, 100<<10); err != nil {
			t.Fatal(err)
		}
		if got := size(); got > quota {
			t.Errorf("%d bytes, more than the quota", got)
		}
	}
	var refused *repo.Refused
	if err := pull(99, 600<<10); !errors.As(err, &refused) {
		t.Errorf("more than the quota: %v", err)
	}
	if got := size(); got > quota {
		t.Errorf("%d bytes, more than the quota", got)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = proposals(t, u, quota)
	if err := pull(100, 1<<10); err != nil {
		t.Error(err)
	}
	for n := range 101 {
		if err := p.Forget(n); err != nil {
			t.Fatal(err)
		}
	}
	if got := size(); got > 60_000 {
		t.Errorf("%d bytes when every pull request is closed", got)
	}
}
