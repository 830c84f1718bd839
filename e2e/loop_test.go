package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// published is the commit that the root serves; empty before the first.
func (w world) published() string {
	b, err := os.ReadFile(filepath.Join(w.root, "current/generation.json"))
	if err != nil {
		return ""
	}
	var g struct{ Commit string }
	if err := json.Unmarshal(b, &g); err != nil {
		w.t.Fatal(err)
	}
	return g.Commit
}

func (w world) follows(what string) {
	w.t.Helper()
	eventually(w.t, what, func() bool { return w.published() == git(w.t, w.site, "rev-parse", "HEAD") })
}

// change commits something that every generation shows.
func (w world) note(text string) {
	w.t.Helper()
	w.write("software/diag-tools/dev/note", text, 0o644)
	w.commit(text)
}

const never = "24h"

// TestServeFollowsItsBranch finds commits by being told of them and by looking, in every way that a branch can move.
func TestServeFollowsItsBranch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, branch string
		poll         string
		before, move func(w world)
	}{
		{"told of a commit", "HEAD", never, nil, func(w world) { w.note("one") }},
		{"looks for a commit", "HEAD", "100ms", nil, func(w world) { w.note("one") }},
		{"branch with slashes", "team/bpm/main", never, func(w world) { git(t, w.site, "checkout", "-qb", "team/bpm/main") },
			func(w world) { w.note("one") }},
		{"packed branch", "HEAD", never, func(w world) { git(t, w.site, "pack-refs", "--all") }, func(w world) { w.note("one") }},
		{"another branch is checked out", "HEAD", never, func(w world) { git(t, w.site, "branch", "other") }, func(w world) {
			git(t, w.site, "checkout", "-q", "other")
			w.note("one")
		}},
		{"garbage collected and repacked", "HEAD", never, nil, func(w world) {
			w.note("one")
			git(t, w.site, "gc", "-q", "--prune=now", "--aggressive")
			w.note("two")
			git(t, w.site, "gc", "-q", "--prune=now")
		}},
		{"pushed", "HEAD", never, nil, func(w world) {
			clone := filepath.Join(w.dir, "clone")
			git(t, w.dir, "clone", "-q", w.site, clone)
			git(t, w.site, "config", "receive.denyCurrentBranch", "ignore")
			other := w
			other.site = clone
			other.note("one")
			git(t, clone, "push", "-q", "origin", "HEAD")
		}},
		{"repository replaced", "HEAD", "100ms", nil, func(w world) {
			clone := filepath.Join(w.dir, "clone")
			git(t, w.dir, "clone", "-q", w.site, clone)
			other := w
			other.site = clone
			other.note("one")
			if err := os.Rename(w.site, w.site+".old"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(clone, w.site); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.before != nil {
				c.before(w)
			}
			w.serve("--branch", c.branch, "--poll", c.poll)
			w.follows("the first commit is published")
			c.move(w)
			w.follows("the change is published")
			w.note("after it")
			w.follows("a change after it is published")
		})
	}
}

func TestKickMakesAPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, log := w.serve("--poll", never)
	if out := w.kick(); !strings.Contains(out, "nothing to do") {
		t.Errorf("a kick without a change says %q", out)
	}
	w.note("one")
	w.kick()
	if w.published() != git(t, w.site, "rev-parse", "HEAD") {
		t.Error("a kick returns before its commit is published")
	}
	// Many at once share passes.
	w.note("two")
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { must(t, "kick", "--root", w.root) })
	}
	wg.Wait()
	if n := strings.Count(log(), "published generation"); n != 3 {
		t.Errorf("%d generations for 3 commits", n)
	}
	w.edit("site.cue", "name:", "nmae:")
	out, errs, code := pomona(t, "kick", "--root", w.root)
	if code != 1 || !strings.Contains(errs, "site.cue:") || !strings.Contains(errs, "1 problem") && !strings.Contains(errs, "problems") {
		t.Errorf("a kick with an invalid commit: exit code %d\n%s%s", code, out, errs)
	}
	git(t, w.site, "revert", "--no-edit", "HEAD")
	w.kick()
	w.follows("the reverted commit is published")
}

func TestKickWithoutAService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	if _, errs, code := pomona(t, "kick", "--root", w.root); code != 2 || !strings.Contains(errs, "no pomona serves this root: start pomona serve\n") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	p := w.start()
	w.follows("the first commit is published")
	eventually(t, "the service answers", func() bool { _, _, code := pomona(t, "kick", "--root", w.root); return code == 0 })
	if err := p.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	if _, errs, code := pomona(t, "kick", "--root", w.root); code != 2 || !strings.Contains(errs, "no pomona serves this root: start pomona serve\n") {
		t.Errorf("after a kill: exit code %d: %s", code, errs)
	}
	w.note("meanwhile")
	w.serve("--poll", never)
	w.follows("what was committed meanwhile is published")
	w.kick()
}

// TestServeOutlivesAnInvalidCommit starts on a site with a problem: nothing is served, and the service waits.
func TestServeOutlivesAnInvalidCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edit("site.cue", "name:", "nmae:")
	p := w.start("--poll", never)
	eventually(t, "the problem is told", func() bool { return strings.Contains(p.log(), "found problem in site") })
	if w.published() != "" || get("http://"+p.address+"/-/readyz") == 200 {
		t.Error("an invalid commit is published")
	}
	git(t, w.site, "revert", "--no-edit", "HEAD")
	w.follows("the reverted commit is published")
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// TestServeRepairs damages the root of a running service; its next look at every name is at its start.
func TestServeRepairs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconcile()
	manifest := filepath.Join(w.root, "current/fecs", w.fecs()[0], "boot.manifest")
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	_, log := w.serve("--poll", never)
	eventually(t, "the manifest is back", func() bool { return isFile(manifest) })
	if !strings.Contains(log(), "found damage") {
		t.Errorf("damage is not told:\n%s", log())
	}
}
