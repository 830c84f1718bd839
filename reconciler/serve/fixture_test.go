package serve_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// secret is in every file that nobody may get.
const secret = "the-keys-of-the-machine"

const (
	sha1   = "0123456789abcdef0123456789abcdef01234567"
	script = "#!/bin/sh\necho hello\n"
)

var archive = pseudoRandom(200_000)

func pseudoRandom(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

// fixture is a published root, with secrets beside it and in it.
type fixture struct {
	t       testing.TB
	dir     string          // the root
	archive artifact.Digest // an object
	folder  artifact.Digest // a folder object
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	top := t.TempDir()
	f := &fixture{t: t, dir: filepath.Join(top, "root")}
	f.write("../secret", secret)
	f.write(".pomona/secret", secret)
	f.write("unpublished", secret)
	f.archive = f.object(archive)
	f.folder = f.fecFolder()
	f.generation("42")
	f.link("current", "generations/42")
	f.link("by-commit/"+sha1, "../generations/42")
	f.link("previews/7/fecs/kgp2cu02", "../../../"+store.Path(f.folder))
	f.write("previews/7/index", "pomona-index 1\n")
	f.write("data/kgp2cu02/data.manifest", "pomona-data 1\n")
	f.age()
	return f
}

// fecFolder is the folder object of a FEC, with the links that publishing writes.
func (f *fixture) fecFolder() artifact.Digest {
	d := artifact.Sum([]byte("folder"))
	below := store.Path(d) + "/"
	f.write(below+"boot.manifest", "pomona-boot 1\nfec kgp2cu02\n")
	f.link(below+"init/10-env", "../../../"+toObject(f.object([]byte(script))))
	f.link(below+"software/demo-1.0.0.tar.gz", "../../../"+toObject(f.archive))
	f.link(below+"persistent-data", "../../../../data/kgp2cu02")
	return d
}

func (f *fixture) generation(n string) {
	g := "generations/" + n + "/"
	f.write(g+"generation.json", `{"number":`+n+"}\n")
	f.write(g+"index", "pomona-index 1\n")
	f.write(g+"index.sig", "untrusted comment: x\n")
	f.write(g+"empty", "")
	f.write(g+"page.html", "<script>alert(1)</script>")
	f.write(g+"software/demo/1.0.0/demo-1.0.0.tar.gz.sha256", "00  demo-1.0.0.tar.gz\n")
	f.link(g+"software/demo/1.0.0/demo-1.0.0.tar.gz", "../../../../../"+store.Path(f.archive))
	f.write(g+"fecs/global/pomona-boot", script)
	f.write(g+"fecs/.hidden", secret)
	f.link(g+"fecs/kgp2cu02", "../../../"+store.Path(f.folder))
	f.link(g+"fecs/host-1.example.org", "kgp2cu02")
	f.write(g+"odd/<b>&\"'.txt", "odd\n")
	f.write(g+"odd/a b%41?c#d.txt", "odd\n")
	f.write(g+"odd/javascript:x", "odd\n")
	f.write(g+"odd/Z", "odd\n")
	f.write(g+`odd/back\slash`, "odd\n")
}

// toObject leads from objects/sha256/ab to an object.
func toObject(d artifact.Digest) string { return strings.TrimPrefix(d.Path(), "sha256/") }

func (f *fixture) object(b []byte) artifact.Digest {
	d := artifact.Sum(b)
	f.write(store.Path(d), string(b))
	return d
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(name, content string) {
	f.t.Helper()
	f.make(name, func(path string) error { return os.WriteFile(path, []byte(content), 0o644) })
}

func (f *fixture) link(name, target string) {
	f.t.Helper()
	f.make(name, func(path string) error { return os.Symlink(target, path) })
}

func (f *fixture) make(name string, do func(path string) error) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := do(f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// age gives every file a time in the past, each its own.
func (f *fixture) age() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err := filepath.WalkDir(f.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		at = at.Add(time.Minute)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) fifo(name string) {
	f.t.Helper()
	f.make(name, func(path string) error { return unix.Mkfifo(path, 0o644) })
}

func (f *fixture) root() *os.Root {
	f.t.Helper()
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { root.Close() })
	return root
}

// big is a file of the current generation that takes no space on disk.
func (f *fixture) big(name string, size int64) {
	f.t.Helper()
	f.write("current/"+name, "")
	if err := os.Truncate(f.path("current/"+name), size); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) handler() http.Handler { return serve.Tree(f.root(), serve.Options{}) }

// server is a running server on a real port.
type server struct {
	addr string
	stop context.CancelFunc
	done chan error // the result of Run
}

func (f *fixture) serve(o serve.Options) *server {
	f.t.Helper()
	return run(f.t, listen(f.t), serve.Tree(f.root(), o), o)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func run(t testing.TB, l net.Listener, h http.Handler, o serve.Options) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{addr: l.Addr().String(), stop: cancel, done: make(chan error, 1)}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.done <- serve.Run(ctx, l, h, o)
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return s
}

func (s *server) url(path string) string { return "http://" + s.addr + path }

// dial connects and sends a request as it is written.
func (s *server) dial(t testing.TB, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// logged is a log that a test reads.
func logged() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

// need skips a test without a program, but not in CI.
func need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		if info, err := os.Stat(filepath.Join(dir, program)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, program)
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s not found: install Debian's package %s", program, debianPackage)
	}
	t.Skipf("NOT TESTED: %s not found: install Debian's package %s", program, debianPackage)
	return ""
}
