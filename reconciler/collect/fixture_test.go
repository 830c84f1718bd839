package collect_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

const (
	fecName = "kgp1bp01"
	path    = "opt/fesa/data"
)

var dataKey = tree.NewSecretKey([32]byte{7}, tree.KeyID{7})

// fec is a FEC with a real ssh server and busybox's tar.
type fec struct {
	t      testing.TB
	server *sshtest.Server
	dir    string // the boot client's state folder
}

// newFEC starts a FEC that answers to nothing but what collects its data.
func newFEC(t testing.TB, start func(testing.TB, ...sshtest.Option) *sshtest.Server) *fec {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("busybox is missing: .ci/setup must install Debian's package busybox-static")
		}
		t.Skip("SKIPPED: busybox is missing; install Debian's package busybox-static")
	}
	f := &fec{t: t, dir: t.TempDir()}
	script := filepath.Join(f.dir, "answer")
	if err := os.WriteFile(script, fmt.Appendf(nil, `#!%[1]s sh
[ "$SSH_ORIGINAL_COMMAND" = "tar -cf - -C %[2]s/current %[3]s" ] || { echo "refused: $SSH_ORIGINAL_COMMAND" >&2; exit 126; }
[ ! -x %[2]s/fault ] || exec %[2]s/fault
exec %[1]s $SSH_ORIGINAL_COMMAND
`, busybox, f.dir, path), 0o755); err != nil {
		t.Fatal(err)
	}
	f.server = start(t, sshtest.Force(script))
	return f
}

// put has the FEC hold a file below its slot.
func (f *fec) put(name, content string, mode os.FileMode) {
	f.t.Helper()
	file := filepath.Join(f.dir, "current", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755)); err != nil {
		f.t.Fatal(err)
	}
	if mode == 0 {
		return
	}
	if err := errors.Join(os.WriteFile(file, []byte(content), mode), os.Chmod(file, mode)); err != nil {
		f.t.Fatal(err)
	}
}

// data has the FEC hold these files as its data, and no others.
func (f *fec) data(files map[string]string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, "current", path)); err != nil {
		f.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(f.dir, "current", path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	for name, content := range files {
		f.put(path+"/"+name, content, 0o644)
	}
}

// fault has the FEC answer with what a shell script does; empty: as it should.
func (f *fec) fault(script string) {
	f.t.Helper()
	file := filepath.Join(f.dir, "fault")
	if err := os.RemoveAll(file); err != nil {
		f.t.Fatal(err)
	}
	if script == "" {
		return
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

// collector is one that runs, and whose clock stands still unless somebody moves it.
type collector struct {
	*collect.Collector
	t     testing.TB
	root  string
	stop  func()
	ended chan error

	mu   sync.Mutex
	site *collect.Published
	now  time.Time
}

var offsets = desired.Persistence{Path: "/" + path, Schema: "v1"}

// newCollector runs one over a root until the test ends. Change changes its options before.
func newCollector(t testing.TB, f *fec, root string, change func(*collect.Options)) *collector {
	t.Helper()
	c := &collector{t: t, root: root, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	c.want(f, map[string]desired.Persistence{"offsets": offsets})
	o := collect.Options{
		Root: root, Keys: []tree.SecretKey{dataKey}, SSH: &remote.SSH{Key: f.server.Key, Timeout: time.Minute}, Folder: f.dir + "/current",
		AtOnce: 4, Largest: 1 << 20, Room: 1 << 30, Least: 50, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Site: func(context.Context) (*collect.Published, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.site, nil
		},
		Now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.now
		},
	}
	if change != nil {
		change(&o)
	}
	c.Collector = collect.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	c.ended = make(chan error, 1)
	go func() { c.ended <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-c.ended; err != nil && o.Hook == nil {
			t.Errorf("collector ends with %v", err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// failed says that it did not begin.
func (c *collector) failed() bool { return len(c.ended) > 0 }

// want publishes what is collected of the FEC, and waits until that is known.
func (c *collector) want(f *fec, data map[string]desired.Persistence) {
	c.t.Helper()
	h := remote.Host{Name: fecName, Address: f.server.Address, User: f.server.User, HostKeys: []string{f.server.HostKey}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.site = &collect.Published{Site: "linac", FECs: map[string]collect.FEC{fecName: {Host: h, Data: data}}}
	if len(data) == 0 {
		c.site.FECs = nil
	}
}

func (c *collector) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// collect collects once, some time after the last time.
func (c *collector) collect(want collect.Outcome) error {
	c.t.Helper()
	got, err := c.once()
	if got != want {
		c.t.Errorf("outcome %s, %v; want %s", got, err, want)
	}
	return err
}

func (c *collector) once() (got collect.Outcome, err error) {
	c.t.Helper()
	c.pass(time.Millisecond)
	eventually(c.t, "the site is known", func() bool {
		got, err = c.Collect(c.t.Context(), fecName, "offsets", false)
		return err == nil || !strings.Contains(err.Error(), "nothing published")
	})
	return got, err
}

// refused collects once, which must fail with these words, and change nothing that is served.
func (c *collector) refused(words string) {
	c.t.Helper()
	before := served(c.t, c.root)
	if err := c.collect(collect.Failed); err == nil || !strings.Contains(err.Error(), words) {
		c.t.Errorf("error %v; want %q", err, words)
	}
	if after := served(c.t, c.root); after != before {
		c.t.Errorf("served before:\n%s\nserved after:\n%s", before, after)
	}
}

// served is what FECs see of data: names, and what the manifest says.
func served(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "data"), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		fmt.Fprintln(&b, strings.TrimPrefix(name, root), artifact.Sum(content))
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b.String()
}

// restored is what a FEC would restore: the manifest's signature, sizes and digests hold, and busybox unpacks each archive below
// its path; path to content, and to target for links.
func restored(t testing.TB, root string) (tree.DataManifest, map[string]string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "data", fecName, "data.manifest"))
	if err != nil {
		t.Fatal(err)
	}
	m, sigs, signed, err := tree.ParseDataManifest(b)
	if err != nil || !tree.Verify(signed, sigs, []tree.PublicKey{dataKey.Public()}) {
		t.Fatalf("manifest: %v\n%s", err, b)
	}
	files := map[string]string{}
	for _, d := range m.Data {
		file := filepath.Join(root, "data", fecName, "sha256", d.Digest.String())
		b, err := os.ReadFile(file)
		if err != nil || int64(len(b)) != d.Size || artifact.Sum(b) != d.Digest {
			t.Fatalf("%s of %d bytes: %v", file, len(b), err)
		}
		into := t.TempDir()
		cmd := exec.Command("sh", "-c", `busybox gunzip -c <"$1" | busybox tar -xf - -C "$2" "$3"`, "sh", file, into, strings.TrimPrefix(d.Path, "/"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("unpack: %v\n%s", err, out)
		}
		for name, content := range unpacked(t, into) {
			files[name] = content
		}
	}
	return m, files
}

func unpacked(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel := strings.TrimPrefix(name, dir+"/")
		if d.Type() == os.ModeSymlink {
			files[rel], err = os.Readlink(name)
			return err
		}
		b, err := os.ReadFile(name)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// archive is a tar of these entries; regular files have their Linkname as content.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		h.Mode, h.Format = 0o755, tar.FormatGNU
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not after five minutes: %s", what)
}

// newRoot is a root as a service has it.
func newRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	d, err := durable.Open(root, nil)
	if err == nil {
		err = errors.Join(d.Prepare(), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}
