package reconciler_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler"
)

// readable checks that a web server of another user reaches every folder that is served.
func readable(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if e.Name() == ".pomona" {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o055 != 0o055 {
			t.Errorf("%s has mode %v", strings.TrimPrefix(path, root), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestARootIsReadableWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root := filepath.Join(t.TempDir(), "srv", "pomona", "root")
	if err := reconciler.MakeRoot(root); err != nil {
		t.Fatal(err)
	}
	readable(t, filepath.Dir(filepath.Dir(root)))
	pass(t, newSite(t).reconciler(root))
	readable(t, root)
}

func TestKilledUnderAStrictUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s := newSite(t)
	for at := 1; ; at++ {
		k := &killer{at: at, applied: true}
		root := filepath.Join(t.TempDir(), "root")
		dying := s.reconciler(root)
		dying.Hook = k.hook
		if _, err := dying.Reconcile(t.Context()); !k.died {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		pass(t, s.reconciler(root))
		readable(t, root)
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
}

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o444) }
