package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

func open(t *testing.T, hook durable.Hook) (*durable.Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := durable.Open(path, hook)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Prepare(); err != nil {
		t.Fatal(err)
	}
	return d, path
}

// recorded notes every change that is applied.
func recorded(ops *[]string) durable.Hook {
	return func(op durable.Op, do func() error) error {
		*ops = append(*ops, op.Kind)
		return do()
	}
}

func TestReplaceSyncsContentThenNames(t *testing.T) {
	var ops []string
	d, path := open(t, recorded(&ops))
	for _, content := range []string{"one", "two"} {
		ops = nil
		if err := d.Replace("file", []byte(content), 0o444); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"write", "sync", "rename", "sync"}, ops); diff != "" {
			t.Errorf("order of operations (-want +got):\n%s", diff)
		}
		if got, err := os.ReadFile(filepath.Join(path, "file")); string(got) != content || err != nil {
			t.Errorf("file holds %q, %v", got, err)
		}
	}
}

func TestRelinkReplacesALink(t *testing.T) {
	d, path := open(t, nil)
	for _, target := range []string{"generations/1", "generations/2"} {
		if err := d.Relink(target, "current"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(filepath.Join(path, "current")); got != target || err != nil {
			t.Errorf("current -> %q, %v", got, err)
		}
	}
}

func TestMkdirAllMendsTheModeOfAFolderThatItsMakerLeft(t *testing.T) {
	d, path := open(t, nil)
	if err := os.Mkdir(filepath.Join(path, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.MkdirAll("a/b"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(path, "a")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestModesDoNotDependOnTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	d, path := open(t, nil)
	if err := d.MkdirAll("a/b"); err != nil {
		t.Fatal(err)
	}
	if err := d.Write("a/b/c", nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a": 0o755, "a/b": 0o755, "a/b/c": 0o444, ".pomona": 0o700} {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestRecoverRemovesEveryLeftover(t *testing.T) {
	d, path := open(t, nil)
	for _, kind := range []string{"file", "link", "object", "folder", "generation", "pruned"} {
		if err := os.MkdirAll(filepath.Join(path, d.Temp(kind), "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(path, durable.Staging, "link-left")); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Recover(); n != 7 || err != nil {
		t.Errorf("removed %d, %v; want 7", n, err)
	}
	if names, err := d.Names(durable.Staging); len(names) > 0 || err != nil {
		t.Errorf("left %v, %v", names, err)
	}
}

func TestNothingIsReachedOutside(t *testing.T) {
	d, path := open(t, nil)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(path, "out")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "out/x", "/x"} {
		if err := d.Write(name, nil, 0o644); err == nil {
			t.Errorf("wrote %q", name)
		}
	}
}

func TestOneWriter(t *testing.T) {
	d, path := open(t, nil)
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	second, err := durable.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Lock(); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("second lock: %v, want %v", err, durable.ErrLocked)
	}
	unlock()
	if unlock, err = second.Lock(); err != nil {
		t.Errorf("lock after unlock: %v", err)
	} else {
		unlock()
	}
}

func TestManySyncsBecomeOne(t *testing.T) {
	var ops []string
	d, _ := open(t, recorded(&ops))
	names := make([]string, 100)
	for i := range names {
		names[i] = "."
	}
	ops = nil
	if err := d.SyncAll(names); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"syncfs"}, ops); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// TestSyncsAreShared: whoever writes at once shares a few syncs, and each of them begins after what it is for was written.
func TestSyncsAreShared(t *testing.T) {
	var mu sync.Mutex
	written, synced, syncs := map[string]bool{}, map[string]bool{}, 0
	d, _ := open(t, func(op durable.Op, do func() error) error {
		mu.Lock()
		before := maps.Clone(written)
		mu.Unlock()
		err := do()
		mu.Lock()
		defer mu.Unlock()
		switch op.Kind {
		case "write":
			written[op.Path] = true
		case "syncfs":
			syncs++
			maps.Copy(synced, before)
		case "sync":
			syncs++
			synced[op.Path] = before[op.Path]
		}
		return err
	})
	var work sync.WaitGroup
	for i := range 200 {
		work.Go(func() {
			name := fmt.Sprint("file-", i)
			if err := errors.Join(d.Write(name, nil, 0o644), d.SyncTogether(name)); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !synced[name] {
				t.Errorf("%s was not synced after it was written", name)
			}
		})
	}
	work.Wait()
	if syncs > 50 {
		t.Errorf("%d syncs for 200 files", syncs)
	}
}

func TestASharedSyncThatFailsFailsForAll(t *testing.T) {
	var fails atomic.Bool
	d, _ := open(t, func(op durable.Op, do func() error) error {
		if fails.Load() && (op.Kind == "sync" || op.Kind == "syncfs") {
			return syscall.EIO
		}
		return do()
	})
	fails.Store(true)
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			if err := d.SyncTogether("."); !errors.Is(err, syscall.EIO) {
				t.Errorf("synced: %v", err)
			}
		})
	}
	work.Wait()
}
