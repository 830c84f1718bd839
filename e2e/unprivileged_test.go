package e2e

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// unprivileged is a world whose root and key belong to nobody, and whose binary runs as nobody: root ignores modes.
func unprivileged(t *testing.T) world {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root, to become somebody else")
		}
		t.Skip("SKIPPED: only root can become somebody else")
	}
	dir, err := os.MkdirTemp("", "pomona-nobody-") // t.TempDir is for its owner only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := world{t, dir, filepath.Join(dir, "site"), filepath.Join(dir, "root")}
	must(t, "init", w.site)
	must(t, "keygen", filepath.Join(dir, "key"))
	for _, name := range []string{dir, filepath.Join(dir, "key.sec"), filepath.Join(dir, "key.pub")} {
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(binary), 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

// asNobody runs the binary as nobody, with what a pass needs.
func (w world) asNobody(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_CACHE_HOME=" + filepath.Join(w.dir, "cache")}
	cmd.Dir = w.dir
	return runCommand(w.t, cmd)
}

func (w world) passAsNobody() (stdout, stderr string, code int) {
	return w.asNobody("reconcile", w.site, "--root", w.root, "--key", filepath.Join(w.dir, "key.sec"))
}

func TestUnprivilegedRepair(t *testing.T) {
	w := unprivileged(t)
	if out, errs, code := w.passAsNobody(); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	first := w.fecs()[0]
	for name, path := range map[string]string{
		"private part": ".pomona", "staging": ".pomona/staging", "objects": "objects", "shelves": "objects/sha256", "generations": "generations",
		"generation": "generations/1", "FECs of a generation": "generations/1/fecs", "index": "generations/1/index",
		"generation.json": "generations/1/generation.json", "links of commits": "by-commit", "data": "data",
		"folder of a FEC": "current/fecs/" + first, "manifest": "current/fecs/" + first + "/boot.manifest",
		"client": "current/fecs/global/pomona-boot", "archive": "current/software/bpm-fesa/3.1.0/bpm-fesa-3.1.0.tar.gz",
	} {
		t.Run(name, func(t *testing.T) {
			w := w
			w.t = t
			path, err := filepath.EvalSymlinks(filepath.Join(w.root, path))
			if err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			if out, errs, code := w.passAsNobody(); code != 0 || !strings.Contains(out, "repaired: ") && !strings.HasPrefix(name, "staging") && name != "private part" {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
			if after, err := os.Lstat(path); err != nil || after.Mode() != before.Mode() {
				t.Errorf("mode is %v, %v; was %v", after.Mode(), err, before.Mode())
			}
		})
	}
	if n := len(w.fecs()); n != 12 {
		t.Errorf("%d FECs are served", n)
	}
	if b, err := os.Readlink(filepath.Join(w.root, "current")); b != "generations/1" {
		t.Errorf("current -> %s, %v: wrong modes need no new generation", b, err)
	}
}

// TestUnprivilegedErrors takes away from nobody what a command needs: the error says what, and nothing changes.
func TestUnprivilegedErrors(t *testing.T) {
	w := unprivileged(t)
	if out, errs, code := w.passAsNobody(); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	w.note("another commit")
	key := filepath.Join(w.dir, "key.sec")
	for _, c := range []struct {
		name, path string // that belongs to root, and is closed to others
		args       []string
		want       string
		code       int
	}{
		{"key", key, []string{"reconcile", w.site, "--root", w.root, "--key", key}, "read key", 2},
		{"repository", filepath.Join(w.site, ".git/objects"), []string{"reconcile", w.site, "--root", w.root, "--key", key}, "", 2},
		{"site", w.site, []string{"validate", w.site}, "permission denied", 2},
		{"root", w.root, []string{"reconcile", w.site, "--root", w.root, "--key", key}, "permission denied", 2},
		{"root of a service", w.root, []string{"serve", w.site, "--root", w.root, "--key", key, "--listen", freeAddress(t)}, "permission denied", 2},
		{"root of a kick", w.root, []string{"kick", "--root", w.root}, "permission denied", 2},
		{"private part", filepath.Join(w.root, ".pomona"), []string{"reconcile", w.site, "--root", w.root, "--key", key}, "permission denied", 2},
		{"private part of a kick", filepath.Join(w.root, ".pomona"), []string{"kick", "--root", w.root}, "permission denied", 2},
		{"private part of a plan", filepath.Join(w.root, ".pomona"), []string{"plan", w.site, "--root", w.root}, "publish generation 2", 0},
		{"parent of a new root", w.dir, []string{"reconcile", w.site, "--root", filepath.Join(w.dir, "new"), "--key", key}, "permission denied", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := w
			w.t = t
			info, err := os.Stat(c.path)
			if err != nil {
				t.Fatal(err)
			}
			owner := info.Sys().(*syscall.Stat_t)
			mode := fs.FileMode(0o700)
			if !info.IsDir() {
				mode = 0o600
			} else if c.path == w.dir {
				mode = 0o755 // to be read, not written
			}
			if err := os.Chown(c.path, 0, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.path, mode); err != nil {
				t.Fatal(err)
			}
			out, errs, code := w.asNobody(c.args...)
			if err := os.Chown(c.path, int(owner.Uid), int(owner.Gid)); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.path, info.Mode().Perm()); err != nil {
				t.Fatal(err)
			}
			if code != c.code || !strings.Contains(out+errs, c.want) || strings.Contains(errs, "goroutine") {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", code, c.code, c.want, out, errs)
			}
			if len(w.fecs()) != 12 {
				t.Error("the published tree changed")
			}
		})
	}
	if out, errs, code := w.passAsNobody(); code != 0 || w.published() != git(t, w.site, "rev-parse", "HEAD") {
		t.Errorf("afterwards: exit code %d\n%s%s", code, out, errs)
	}
}
