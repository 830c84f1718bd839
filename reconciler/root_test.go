package reconciler_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler"
)

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

func TestARootThatCannotBeMadeIsNamedWhole(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link") // leads nowhere
	root := filepath.Join(link, "root")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	if err := reconciler.MakeRoot(root); err == nil || !strings.HasPrefix(err.Error(), "mkdir "+root+": ") {
		t.Errorf("%v, want mkdir %s: …", err, root)
	}
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
