package collect_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

// breaker fails change k and, unless it is over then, all after it.
type breaker struct {
	at      int
	applied bool // the change is made all the same
	once    bool
	err     error

	mu   sync.Mutex
	n    int
	over bool
}

func (b *breaker) hook(_ durable.Op, do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	if b.over && b.once || !b.over && b.n < b.at {
		return do()
	}
	if !b.over && b.applied {
		_ = do() // whoever made it does not learn how it went
	}
	b.over = true
	return b.err
}

// TestCollectingMayDieAtAnyStep: what is served is the last snapshot or the new one, whole, and the next start needs no help.
func TestCollectingMayDieAtAnyStep(t *testing.T) {
	f, from := newFEC(t, sshtest.Dropbear), newRoot(t)
	for i := range 3 { // as many as are kept
		c := newCollector(t, f, from, nil)
		f.data(map[string]string{"a": fmt.Sprint("old ", i)})
		if err := c.collect(collect.Collected); err != nil {
			t.Fatal(err)
		}
		c.stop()
	}
	f.data(map[string]string{"a": "new"})
	deaths := 0
	for how, kind := range map[string]func(at int) *breaker{
		"killed before":    func(at int) *breaker { return &breaker{at: at, err: errors.New("killed")} },
		"killed after":     func(at int) *breaker { return &breaker{at: at, err: errors.New("killed"), applied: true} },
		"no room, once at": func(at int) *breaker { return &breaker{at: at, err: syscall.ENOSPC, once: true} },
	} {
		for at := 1; ; at++ {
			at, b := fmt.Sprint(how, " change ", at), kind(at)
			root := filepath.Join(t.TempDir(), "root")
			if out, err := exec.Command("cp", "-a", from, root).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !dies(t, f, root, b) {
				break
			}
			deaths++
			m, got := restored(t, root)
			if got := got[path+"/a"]; got != "old 2" && got != "new" || len(m.Data) != 1 {
				t.Errorf("%s: restored %q", at, got)
			}
			c := newCollector(t, f, root, nil)
			if _, err := c.once(); err != nil {
				t.Errorf("%s and a restart: %v", at, err)
			}
			c.stop()
			if _, got := restored(t, root); got[path+"/a"] != "new" {
				t.Errorf("%s and a restart: restored %q", at, got[path+"/a"])
			}
			if n := objects(t, filepath.Join(root, "data", fecName, "sha256")); n != 3 {
				t.Errorf("%s and a restart: %d snapshots", at, n)
			}
			if n := objects(t, filepath.Join(root, ".pomona/collecting")); n != 0 {
				t.Errorf("%s and a restart: %d temporaries", at, n)
			}
		}
	}
	if t.Logf("%d deaths, each survived", deaths); deaths < 15 {
		t.Errorf("only %d deaths", deaths)
	}
}

// dies collects until a change fails; false if none did.
func dies(t *testing.T, f *fec, root string, b *breaker) bool {
	t.Helper()
	c := newCollector(t, f, root, func(o *collect.Options) { o.Hook = b.hook })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		for {
			_, err := c.Collect(ctx, fecName, "offsets", false)
			if err == nil || b.broken() {
				done <- err
				return
			}
		}
	}()
	eventually(t, "it ends", func() bool { return len(done) > 0 || b.broken() && c.failed() })
	cancel()
	c.stop()
	return b.broken()
}

func (b *breaker) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// TestArchivingMayDieAtAnyStep: data that the site drops is served, or archived.
func TestArchivingMayDieAtAnyStep(t *testing.T) {
	f, from := newFEC(t, sshtest.Dropbear), newRoot(t)
	c := newCollector(t, f, from, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	c.stop()
	for at := 1; ; at++ {
		root := filepath.Join(t.TempDir(), "root")
		if out, err := exec.Command("cp", "-a", from, root).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b := &breaker{at: at, err: errors.New("killed")}
		c := newCollector(t, f, root, func(o *collect.Options) { o.Hook = b.hook })
		c.want(f, nil)
		archive := filepath.Join(root, ".pomona/data", fecName)
		eventually(t, "it is killed or done", func() bool { return b.broken() || objects(t, archive) == 1 && served(t, root) == "" })
		if c.stop(); !b.broken() {
			if at < 3 {
				t.Errorf("only %d deaths", at)
			}
			return
		}
		if n := objects(t, archive) + objects(t, filepath.Join(root, "data", fecName, "sha256")); n != 1 {
			t.Fatalf("after change %d: %d snapshots", at, n)
		}
		c = newCollector(t, f, root, nil)
		c.want(f, map[string]desired.Persistence{})
		eventually(t, "it is archived", func() bool { return objects(t, archive) == 1 && served(t, root) == "" })
		c.stop()
	}
}

// TestFullDisk collects onto a real disk that has no room for it.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root mounts a small disk")
	}
	f, root := newFEC(t, sshtest.Sshd), newRoot(t)
	if err := syscall.Mount("none", root, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: mount a small disk: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	}()
	c := newCollector(t, f, root, nil)
	f.data(map[string]string{"a": "a"})
	if err := c.collect(collect.Collected); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "head -c 600000 /dev/urandom >"+filepath.Join(f.dir, "current", path, "b")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.refused("no space left on device")
	if n := objects(t, filepath.Join(root, ".pomona/collecting")); n != 0 {
		t.Errorf("%d temporaries are left", n)
	}
	f.data(map[string]string{"a": "b"})
	if err := c.collect(collect.Collected); err != nil {
		t.Error(err)
	}
	c.stop()
}
