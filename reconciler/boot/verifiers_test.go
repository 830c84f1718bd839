package boot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var built struct {
	sync.Once
	path string
	err  error
}

// verifier is the path of pomona-verify, built once. Its language has no type parameters, which gccgo lacks.
func verifier(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		dir, err := os.MkdirTemp("", "pomona-verify-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "pomona-verify")
		c := exec.Command("go", "build", "-gcflags=-lang=go1.17", "-o", built.path, "./verify")
		c.Stderr = os.Stderr
		built.err = c.Run()
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.path != "" {
		_ = os.RemoveAll(filepath.Dir(built.path)) // the next cleaning of /tmp finds what is left
	}
	os.Exit(code)
}
