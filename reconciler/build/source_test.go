package build_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// memory is a commit held in memory.
type memory struct {
	files   artifact.Files
	content map[string][]byte // by path
}

// commit makes a commit: names that end in * are executable, content that begins with -> is a link.
func commit(files map[string]string) memory {
	m := memory{content: map[string][]byte{}}
	for name, text := range files {
		mode := artifact.Regular
		if n := len(name) - 1; name[n] == '*' {
			name, mode = name[:n], artifact.Executable
		}
		if len(text) > 2 && text[:2] == "->" {
			text, mode = text[2:], artifact.Link
		}
		m.add(name, mode, []byte(text))
	}
	m.sort()
	return m
}

func (m *memory) add(name string, mode artifact.Mode, b []byte) {
	id := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(b), b))
	m.files = append(m.files, artifact.File{Path: name, Mode: mode, Size: int64(len(b)), ID: hex.EncodeToString(id[:])})
	m.content[name] = b
}

func (m memory) sort() {
	slices.SortFunc(m.files, func(a, b artifact.File) int { return cmp.Compare(a.Path, b.Path) })
}

func (m memory) Files() artifact.Files { return m.files }

func (m memory) Open(f artifact.File) (io.ReadCloser, error) {
	b, ok := m.content[f.Path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// sink keeps the last artifact in memory.
type sink struct{ bytes.Buffer }

func (s *sink) Put(_ context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	s.Reset()
	if err := write(&s.Buffer); err != nil {
		s.Reset()
		return artifact.Digest{}, 0, err
	}
	return artifact.Sum(s.Bytes()), int64(s.Len()), nil
}

// diskSource is a commit of the files in a folder of this machine, up to a total size; links that leave their folder
// are left out.
func diskSource(t *testing.T, dir, prefix string, most int64) memory {
	t.Helper()
	m := memory{content: map[string][]byte{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := prefix + p[len(dir):]
		if target, err := os.Readlink(p); err == nil {
			if filepath.Base(target) == target {
				m.add(name, artifact.Link, []byte(target))
			}
			return nil
		}
		if most -= info.Size(); most < 0 || !info.Mode().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(p)
		mode := artifact.Regular
		if info.Mode()&0o100 != 0 {
			mode = artifact.Executable
		}
		m.add(name, mode, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.sort()
	return m
}

// needs skips a test without a program or folder of a Debian package; continuous integration has them all.
func needs(t *testing.T, what, debian string) {
	t.Helper()
	_, err := exec.LookPath(what)
	if filepath.IsAbs(what) {
		_, err = os.Stat(what)
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is missing: install Debian package %s", what, debian)
	default:
		t.Skipf("SKIPPED, NOT TESTED: %s is missing; install Debian package %s", what, debian)
	}
}

// run runs a program and returns what it printed.
func run(t *testing.T, dir string, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Stdin = dir, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return out
}

var formats = []artifact.Format{artifact.Gzip, artifact.Xz, artifact.Zstd}
