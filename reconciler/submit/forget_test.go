package submit_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// asNobody runs something without the rights of root over files, if this is root.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with it
		var err error
		if os.Geteuid() == 0 {
			err = syscall.Setfsuid(nobody)
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

const nobody = 65534

func TestWhatAJobHasMadeUnwritableIsRemoved(t *testing.T) {
	folder := t.TempDir()
	old := filepath.Join(folder, ".old-pom-aaaaaaaaaaaaaaaaaaaaaaaaaa-x")
	deep := filepath.Join(old, "out", "deep")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "file"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{deep, filepath.Dir(deep), old, folder, filepath.Dir(folder)} {
		if os.Geteuid() == 0 {
			if err := os.Chown(dir, nobody, -1); err != nil {
				t.Fatal(err)
			}
		}
		if len(dir) > len(folder) {
			if err := os.Chmod(dir, 0o444); err != nil {
				t.Fatal(err)
			}
		}
	}
	asNobody(t, func() {
		if more, err := (&submit.Desk{Folder: folder}).Clear(10); more || err != nil {
			t.Error(more, err)
		}
	})
	if _, err := os.Lstat(old); err == nil {
		t.Error("it is still there")
	}
}
