package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// mounted is a small file system in memory, for root only.
func mounted(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run as root, to mount a small file system")
		}
		t.Skip("SKIPPED: only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestHostile16InodesSpent publishes on a file system that has room for bytes, but not for names.
func TestHostile16InodesSpent(t *testing.T) {
	w := newWorld(t)
	small := mounted(t, "size=64m,nr_inodes=2000")
	w.root = filepath.Join(small, "root")
	w.reconcile()
	a := attack{world: w}
	a.before = a.picture()
	// All but a few of the inodes go to somebody else.
	var fill int
	for ; ; fill++ {
		if err := os.WriteFile(filepath.Join(small, fmt.Sprint("fill", fill)), nil, 0o644); err != nil {
			break
		}
	}
	for _, left := range []int{0, 3, 10} {
		for i := range left {
			if err := os.RemoveAll(filepath.Join(small, fmt.Sprint("fill", i))); err != nil {
				t.Fatal(err)
			}
		}
		w.change(left)
		said, code := a.bounded(maxResident, a.pass("HEAD")...)
		if code != 2 || !strings.Contains(said, "no space left on device") {
			t.Errorf("%d inodes left: exit code %d:\n%s", left, code, said)
		}
		if a.picture() != a.before && left == 0 {
			t.Errorf("%d inodes left: the root changed", left)
		}
		w.whole()
	}
	for i := range fill {
		if err := os.RemoveAll(filepath.Join(small, fmt.Sprint("fill", i))); err != nil {
			t.Fatal(err)
		}
	}
	w.reconcile()
	w.whole()
	w.settled()
}

// settled says that planning again yields nothing, and that nothing temporary is left.
func (w world) settled() {
	w.t.Helper()
	if out, errs, code := pomona(w.t, "plan", w.site, "--root", w.root, "--exit-code"); code != 0 {
		w.t.Errorf("planning again: exit code %d\n%s%s", code, out, errs)
	}
	if left, err := os.ReadDir(filepath.Join(w.root, ".pomona/staging")); len(left) > 0 || err != nil {
		w.t.Errorf("staging holds %v, %v", left, err)
	}
}

// TestHostile16DescriptorsSpent gives the binary ever more file descriptors, until a pass succeeds.
func TestHostile16DescriptorsSpent(t *testing.T) {
	a := newAttack(t)
	a.change(1)
	failed := 0
	for most := 4; ; most++ {
		if most > 200 {
			t.Fatal("a pass needs more than 200 descriptors")
		}
		cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, most), binary}, a.pass("HEAD")...)...)
		out, errs, code := runCommand(t, cmd)
		if code == 0 {
			break
		}
		failed++
		// With so few that not even the runtime starts, it says so itself.
		if most > 8 && !strings.Contains(errs, "too many open files") || code == 1 {
			t.Errorf("%d descriptors: exit code %d:\n%s%s", most, code, out, errs)
		}
		a.whole()
	}
	if failed < 5 {
		t.Errorf("only %d passes ran out of descriptors", failed)
	}
	a.whole()
	a.settled()
}

// TestHostile17TwoInstances starts many passes at once: each one publishes, finds nothing to do or says who writes.
func TestHostile17TwoInstances(t *testing.T) {
	a := newAttack(t)
	for round := range 3 {
		a.change(round)
		var wait sync.WaitGroup
		said, codes := make([]bytes.Buffer, 6), make([]int, 6)
		for i := range codes {
			cmd := exec.Command(binary, a.pass("HEAD")...)
			cmd.Stdout, cmd.Stderr = &said[i], &said[i]
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wait.Go(func() {
				// Its exit code is looked at below.
				_ = cmd.Wait()
				codes[i] = cmd.ProcessState.ExitCode()
			})
		}
		wait.Wait()
		won := 0
		for i, code := range codes {
			switch {
			case code == 0:
				won++
			case code != 2 || !strings.Contains(said[i].String(), "lock root: another pomona writes this root"):
				t.Errorf("exit code %d:\n%s", code, &said[i])
			}
		}
		if won == 0 {
			t.Error("no instance published")
		}
		a.whole()
		a.settled()
	}
	lock, err := os.OpenFile(filepath.Join(a.root, ".pomona/lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	a.before = a.picture()
	a.change(9)
	if said, code := a.bounded(maxResident, a.pass("HEAD")...); code != 2 || !strings.Contains(said, "another pomona writes this root") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if a.picture() != a.before {
		t.Error("the root changed")
	}
}

// TestHostile18CorruptPack damages the repository's pack and its index. A pass says so, or publishes exactly what the
// undamaged commit says.
func TestHostile18CorruptPack(t *testing.T) {
	a := newAttack(t)
	a.change(1)
	git(t, a.site, "repack", "-qadf")
	git(t, a.site, "prune-packed")
	a.root = filepath.Join(a.dir, "good")
	a.reconcile()
	want := a.index()
	a.root = filepath.Join(a.dir, "root")
	a.before = a.picture()
	random := rand.New(rand.NewPCG(1, 2))
	for _, ext := range []string{"pack", "idx"} {
		files, err := filepath.Glob(filepath.Join(a.site, ".git/objects/pack/*."+ext))
		if err != nil || len(files) != 1 {
			t.Fatalf("packs %v, %v", files, err)
		}
		good, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(files[0], 0o644); err != nil {
			t.Fatal(err)
		}
		damage := map[string][]byte{"empty": nil, "cut in the middle": good[:len(good)/2], "cut at the end": good[:len(good)-1], "zeros": make([]byte, len(good)), "one byte": good[:1]}
		for range 40 {
			at := random.IntN(len(good))
			b := bytes.Clone(good)
			b[at] ^= 1 << random.IntN(8)
			damage[fmt.Sprintf("byte %d is %02x", at, b[at])] = b
		}
		refused := 0
		for name, b := range damage {
			if err := os.WriteFile(files[0], b, 0o644); err != nil {
				t.Fatal(err)
			}
			a.root = filepath.Join(t.TempDir(), "root")
			said, code := a.bounded(maxResident, a.pass("HEAD")...)
			switch {
			case code == 0 && a.index() != want:
				t.Errorf("%s, %s: publishes something else", ext, name)
			case code == 2 && strings.HasPrefix(said, "pomona: ") && len(said) < 1000:
				refused++
				if _, err := os.Lstat(filepath.Join(a.root, "current")); err == nil {
					t.Errorf("%s, %s: published, and says %s", ext, name, said)
				}
			case code != 0:
				t.Errorf("%s, %s: exit code %d:\n%.3000s", ext, name, code, said)
			}
		}
		t.Logf("%s: %d of %d kinds of damage were noticed, the rest does no harm", ext, refused, len(damage))
		if refused < 5 {
			t.Errorf("%s: only %d kinds of damage were noticed", ext, refused)
		}
		if err := os.WriteFile(files[0], good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a.root = filepath.Join(a.dir, "root")
	if a.picture() != a.before {
		t.Error("the root changed")
	}
	a.reconcile()
	if a.index() != want {
		t.Error("the mended repository gives something else")
	}
}

// index is what is published, without what a pass gives a number or a date.
func (w world) index() string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, "current/index"))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "tree ") {
			return line
		}
	}
	w.t.Fatalf("no tree in the index:\n%s", b)
	return ""
}

// TestHostile18CorruptKnown damages the memory of what was built: it costs builds, never a wrong tree.
func TestHostile18CorruptKnown(t *testing.T) {
	a := newAttack(t)
	want := a.index()
	known := filepath.Join(a.root, ".pomona/known")
	good, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "garbage": incompressible(10_000), "zeros": strings.Repeat("\x00", 5000), "cut": string(good[:len(good)/2]), "one line": "x",
		"no such object": strings.ReplaceAll(string(good), " 0", " 1"), "half a line": string(good[:len(good)-20]),
	} {
		t.Run(name, func(t *testing.T) {
			a := a.in(t)
			if err := os.WriteFile(known, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			a.reconcile()
			a.whole()
			a.settled()
			if a.index() != want {
				t.Error("another tree is published")
			}
		})
	}
}
