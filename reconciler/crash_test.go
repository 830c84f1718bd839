package reconciler_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/durable"
)

var errKilled = errors.New("killed")

// killer dies at change k: that change is applied or not, and none after it is.
type killer struct {
	at      int
	applied bool
	among   func(durable.Op) bool // the changes that are counted; nil: all

	mu   sync.Mutex // parts are built side by side
	n    int
	died bool
}

func (k *killer) hook(op durable.Op, do func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.died && k.among != nil && !k.among(op) {
		return do()
	}
	k.n++
	switch {
	case k.n < k.at:
		return do()
	case k.n == k.at && k.applied:
		k.died = true
		if err := do(); err != nil {
			return err
		}
	}
	k.died = true
	return errKilled
}

func copyRoot(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy root: %v: %s", err, out)
	}
	return to
}

// survives kills passes at each of their changes, applied or not, and checks after each death that what is published is
// whole, and that one more pass needs no help and leaves nothing behind.
func survives(t *testing.T, from string, r func(root string) *reconciler.Reconciler) {
	t.Helper()
	deaths := 0
	for _, applied := range []bool{false, true} {
		for at := 1; ; at++ {
			k := &killer{at: at, applied: applied}
			root := copyRoot(t, from)
			dying := r(root)
			dying.Hook = k.hook
			_, err := dying.Reconcile(t.Context())
			if !k.died {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			deaths++
			t.Run(fmt.Sprintf("change %d, applied %v", at, applied), func(t *testing.T) {
				if err == nil {
					t.Error("the pass did not notice that it was killed")
				}
				whole(t, root)
				pass(t, r(root))
				whole(t, root)
				clean(t, root)
			})
		}
	}
	t.Logf("%d deaths, each survived", deaths)
	if deaths < 20 {
		t.Errorf("only %d deaths", deaths)
	}
}

// clean checks that nothing temporary is left and that no link dangles.
func clean(t *testing.T, root string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(root, durable.Staging))
	if len(left) > 0 || err != nil {
		t.Errorf("staging holds %v, %v", left, err)
	}
	if _, err := os.Lstat(filepath.Join(root, durable.Unfinished)); err == nil {
		t.Error("the pass is still marked as unfinished")
	}
	have := observeRoot(t, root)
	for commit, n := range have.Commits {
		if _, err := os.Stat(filepath.Join(root, "by-commit", commit, "index")); err != nil {
			t.Errorf("by-commit/%s → %d dangles: %v", commit, n, err)
		}
	}
	current, _ := have.Published()
	if have.Commits[current.Commit] != current.Number {
		t.Errorf("by-commit has no link for generation %d", current.Number)
	}
}

func TestKilledFirstPass(t *testing.T) {
	s := newSite(t)
	survives(t, t.TempDir(), s.reconciler)
}

func TestKilledUpdate(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	s.commit("payload/bpm/1.1.0/bin/bpm", "echo 1.1.0", "echo 1.1.0, rebuilt")
	survives(t, root, s.reconciler)
}

// prunable is a root of three generations, and passes long after, of which the first prunes and sweeps.
func prunable(t *testing.T) (s site, root string, late func(root string) *reconciler.Reconciler) {
	t.Helper()
	s, root = newSite(t), t.TempDir()
	s.commit("site.cue", "scripts:", "retention: generations: 2\n\tscripts:")
	at := func(hours int) func(string) *reconciler.Reconciler {
		return func(root string) *reconciler.Reconciler {
			r := s.reconciler(root)
			r.Now = func() time.Time { return time.Now().Add(time.Duration(hours) * time.Hour) }
			return r
		}
	}
	for i, v := range []string{"one", "two", "three"} {
		s.commit("payload/bpm/dev/bin/bpm", "echo", "echo "+v+";echo")
		pass(t, at(i)(root))
	}
	return s, root, at(100)
}

func TestKilledPrune(t *testing.T) {
	_, root, late := prunable(t)
	survives(t, root, late)
	done := copyRoot(t, root)
	have := pass(t, late(done))
	if have.Generations[0].Number != 2 {
		t.Errorf("generation %d was kept", have.Generations[0].Number)
	}
	before, after := count(t, root), count(t, done)
	if after >= before {
		t.Errorf("%d objects before, %d after", before, after)
	}
}

func count(t *testing.T, root string) (n int) {
	t.Helper()
	for name := range snapshot(t, filepath.Join(root, "objects")) {
		if strings.Count(name, "/") == 2 {
			n++
		}
	}
	return n
}

// TestEveryLeftoverIsRemoved plants one of every temporary that a pass makes.
func TestEveryLeftoverIsRemoved(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	kinds := map[string]bool{}
	var mu sync.Mutex // parts are built side by side
	r := s.reconciler(root)
	r.Hook = func(op durable.Op, do func() error) error {
		mu.Lock()
		defer mu.Unlock()
		if name, ok := strings.CutPrefix(op.Path, durable.Staging+"/"); ok {
			kind, _, _ := strings.Cut(name, "-")
			kinds[kind] = true
		}
		return do()
	}
	if _, err := r.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(kinds) < 5 {
		t.Fatalf("a pass makes only temporaries %v", kinds)
	}
	for kind := range kinds {
		if err := os.MkdirAll(filepath.Join(root, durable.Staging, kind+"-LEFT", "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "generations"), 0o755); err != nil {
		t.Fatal(err)
	}
	pass(t, s.reconciler(root))
	clean(t, root)
}

func TestFullDiskLeavesTheOldTree(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root, to mount a small file system")
		}
		t.Skip("SKIPPED: only root can mount a small file system")
	}
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	root := filepath.Join(small, "root")
	s := newSite(t)
	pass(t, s.reconciler(root))
	first := listing(t, root, "current")
	s.commit("payload/bpm/1.1.0/noise", "", incompressible(2<<20))
	_, err := s.reconciler(root).Reconcile(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "bpm 1.1.0") {
		t.Errorf("error is %v", err)
	}
	whole(t, root)
	if now := listing(t, root, "current"); strings.Join(first, "\n") != strings.Join(now, "\n") {
		t.Error("the published tree changed")
	}
	// Room comes back: the next pass needs no help.
	if err := os.Remove(filepath.Join(s.dir, "payload/bpm/1.1.0/noise")); err != nil {
		t.Fatal(err)
	}
	s.commit("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	pass(t, s.reconciler(root))
	clean(t, root)
}

// incompressible is pseudo-random text.
func incompressible(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

func TestReadOnlyRootIsAClearError(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root, to mount a read-only file system")
		}
		t.Skip("SKIPPED: only root can mount a read-only file system")
	}
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	before := snapshot(t, root)
	if err := syscall.Mount(root, root, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("", root, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s.commit("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	_, err := s.reconciler(root).Reconcile(t.Context())
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("error is %v", err)
	}
	if d := cmp.Diff(before, snapshot(t, root)); d != "" {
		t.Errorf("the root changed (-before +after):\n%s", d)
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	d, err := durable.Open(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := s.reconciler(root).Reconcile(t.Context()); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("error is %v", err)
	}
}
