package build_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
)

type failingSink struct{ err error }

func (f failingSink) Put(_ context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	return artifact.Digest{}, 0, write(failingWriter(f))
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// golden are the digests of one small payload. If one changes, a compressor changed its bytes: raise packer in
// build.go, then change them here.
var golden = map[artifact.Format]string{
	artifact.Gzip: "c7e01e27f5aeffe2a0792925818c04a1dc70b53726f5d576370aac1e504fddfb",
	artifact.Xz:   "a8dd627c2e161e9b26400170cff20d931d921e05b4d322e3c3092116f928867e",
	artifact.Zstd: "19341d09787e2f314c7312ca77829535dd7af16ebb6c4e8ac8f771cc5fa54e57",
}

func TestGolden(t *testing.T) {
	src := commit(map[string]string{"p/bin/run*": "#!/bin/sh\nexec x\n", "p/etc/long": manyLines(20_000), "p/l": "->bin/run", "p/empty": ""})
	for _, f := range formats {
		if got := digest(t, src, f); got != golden[f] {
			t.Errorf("%s: %s, want %s", f, got, golden[f])
		}
	}
}

func digest(t testing.TB, src artifact.Source, f artifact.Format) string {
	t.Helper()
	made, err := build.Make(t.Context(), src, build.Spec{Folder: "p", Install: install, Format: f}, &sink{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Digest.String()
}

// manyLines are about 50 bytes each, which compress to a tenth.
func manyLines(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for line := range n {
		fmt.Fprintf(&b, "line %8d of a file that is long, with %6d\n", line, r.IntN(1_000_000))
	}
	return b.String()
}

// TestBytesAreTheSameWithAnyNumberOfProcessors packs several blocks of each format.
func TestBytesAreTheSameWithAnyNumberOfProcessors(t *testing.T) {
	src := commit(map[string]string{"p/a": manyLines(100_000), "p/b": strings.Repeat("x", 14<<20), "p/c": manyLines(100_000)})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, f := range formats {
		seen := map[string]bool{}
		for _, n := range []int{1, 2, 8} {
			runtime.GOMAXPROCS(n)
			seen[digest(t, src, f)] = true
		}
		if len(seen) != 1 {
			t.Errorf("%s: %d different artifacts", f, len(seen))
		}
	}
}

func TestBytesAreTheSameInAnyOrder(t *testing.T) {
	src := commit(map[string]string{"p/a": "1", "p/a/b": "2", "p/a-b": "3", "p/b/c/d": "4", "p/b/e": "5", "p/l": "->a-b", "q": "", "o": ""})
	delete(src.content, "p/a")
	src.files = src.files.Under("p")[1:]
	want := digest(t, src, artifact.Gzip)
	rapid.Check(t, func(t *rapid.T) {
		shuffled := src
		shuffled.files = rapid.Permutation(src.files).Draw(t, "files")
		made, err := build.Make(t.Context(), shuffled, build.Spec{Folder: "p", Install: install, Format: artifact.Gzip}, &sink{})
		if err != nil || made.Digest.String() != want {
			t.Fatalf("artifact %s (%v), want %s", made.Digest, err, want)
		}
		if build.Key(shuffled.files, build.Spec{Folder: "p", Install: install}) != build.Key(src.files, build.Spec{Folder: "p", Install: install}) {
			t.Fatal("the key follows the order of files")
		}
	})
}

// inAnotherPlace is the umask, in octal, under which this test prints the golden digests and ends.
var inAnotherPlace = flag.Int("umask", -1, "used by TestBytesAreTheSameAnywhere")

func TestBytesAreTheSameAnywhere(t *testing.T) {
	if *inAnotherPlace >= 0 {
		syscall.Umask(*inAnotherPlace)
		t.Run("golden", TestGolden)
		return
	}
	for _, env := range []string{"TZ=Pacific/Apia LANG=tr_TR.UTF-8 HOME=/ USER=nobody", "TZ=UTC LC_ALL=C GOMAXPROCS=7"} {
		c := exec.Command(os.Args[0], "-test.run=TestBytesAreTheSameAnywhere", "-umask=63") // 077
		c.Env, c.Dir = append(os.Environ(), strings.Fields(env)...), t.TempDir()
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
}
