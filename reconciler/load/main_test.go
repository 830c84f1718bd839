package load_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/load/eval"
)

// workerArg makes the test binary an evaluation child.
const workerArg = "eval-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerArg {
		if err := eval.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// raceDetector says that this binary, and so the child, was built with -race.
var raceDetector bool

// skipRace skips a test of what children do: the race detector needs more memory than they may have, and many times theirs
// of time.
func skipRace(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("children built with -race do not fit their limits")
	}
}

// options are those of a test; the child is this binary.
func options(t testing.TB) load.Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return load.Options{Worker: []string{exe, workerArg}}
}

// memory is a commit in memory.
type memory struct {
	files   artifact.Files
	content map[string][]byte
}

func (m *memory) Files() artifact.Files { return m.files }

func (m *memory) Open(f artifact.File) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.content[f.Path])), nil
}

func newMemory() *memory { return &memory{content: map[string][]byte{}} }

// put adds a file, or replaces it.
func (m *memory) put(path, content string, mode artifact.Mode) *memory {
	id := sha1.Sum([]byte(content))
	m.files = slices.DeleteFunc(m.files, func(f artifact.File) bool { return f.Path == path })
	m.files = append(m.files, artifact.File{Path: path, Mode: mode, Size: int64(len(content)), ID: hex.EncodeToString(id[:])})
	slices.SortFunc(m.files, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	m.content[path] = []byte(content)
	return m
}

// archive is a commit with the files of a, without those below want/. A file whose name ends in " -> link" is a link.
func archive(a *txtar.Archive) *memory {
	m := newMemory()
	for _, f := range a.Files {
		if strings.HasPrefix(f.Name, "want/") {
			continue
		}
		if name, ok := strings.CutSuffix(f.Name, " -> link"); ok {
			m.put(name, strings.TrimSpace(string(f.Data)), artifact.Link)
			continue
		}
		m.put(f.Name, string(f.Data), artifact.Regular)
	}
	if _, ok := m.content["cue.mod/module.cue"]; !ok {
		m.put("cue.mod/module.cue", module, artifact.Regular)
	}
	return m
}

// module and settings are what every site needs.
const (
	module   = "module: \"example.org/site\"\nlanguage: version: \"v0.17.0\"\n"
	settings = `package site

site: {
	name: "acc"
	platforms: ppc: {arch: "ppc64", os: "yocto", unpack: ["gzip"]}
}
`
)
