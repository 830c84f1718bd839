package build_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
)

// unpackers are how front-end computers and people unpack each format.
var unpackers = map[artifact.Format][]string{
	artifact.Gzip: {"busybox tar -xzf a", "tar -xf a", "pigz -dc a | busybox tar -x"},
	artifact.Xz:   {"busybox tar -xJf a", "tar -xf a", "xz -t a && busybox xzcat a | busybox tar -x"},
	artifact.Zstd: {"tar --zstd -xf a", "zstd -q -t a && zstd -dc a | busybox tar -x"},
}

func TestUnpackingGivesTheFilesBack(t *testing.T) {
	long := strings.Repeat("long-name-", 20) + "end"
	odd := commit(map[string]string{
		"p/run*": "#!/bin/sh\n", "p/empty": "", "p/lib/libx.so.1": "x", "p/lib/libx.so": "->libx.so.1", "p/bin/x": "->../lib/libx.so",
		"p/a-b": "sorts before a/", "p/a/x": "1", "p/space and 'quote": "2", "p/größe/日本": "3", "p/-dash": "4",
		"p/" + long + "/" + long + "/f": "long", "p/to-long": "->" + long + "/" + long + "/f", "other/file": "not packed",
	})
	t.Run("odd names", func(t *testing.T) { testUnpack(t, odd, "p") })
	t.Run("PowerPC libraries", func(t *testing.T) {
		needs(t, "/usr/powerpc-linux-gnu/lib", "libc6-powerpc-cross")
		testUnpack(t, diskSource(t, "/usr/powerpc-linux-gnu/lib", "sw/ppc", 1<<30), "sw/ppc")
	})
	t.Run("programs of this machine", func(t *testing.T) { testUnpack(t, diskSource(t, "/usr/bin", "b", 6<<20), "b") })
}

func testUnpack(t *testing.T, src memory, folder string) {
	for _, f := range formats {
		var s sink
		made, err := build.Make(t.Context(), src, build.Spec{Folder: folder, Install: "/opt/fesa/demo/1.0.0", Format: f}, &s)
		if err != nil {
			t.Fatal(err)
		}
		if made.Size != int64(s.Len()) || made.Digest != artifact.Sum(s.Bytes()) || made.Format != f {
			t.Errorf("%s: artifact %+v is not what was written", f, made)
		}
		limits := build.Limits{Install: "/opt/fesa/demo/1.0.0", Memory: made.Memory}
		if found := build.Lint(bytes.NewReader(s.Bytes()), f, limits); found != nil {
			t.Errorf("%s: lint of what was packed: %v", f, found)
		}
		for _, how := range unpackers[f] {
			t.Run(how, func(t *testing.T) {
				for tool, debian := range map[string]string{"busybox": "busybox", "tar": "tar", "xz": "xz-utils", "zstd": "zstd", "pigz": "pigz"} {
					if strings.Contains(how, tool) {
						needs(t, tool, debian)
					}
				}
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "a"), s.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				run(t, dir, nil, "sh", "-c", how)
				if err := os.Remove(filepath.Join(dir, "a")); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want(src, folder, "opt/fesa/demo/1.0.0"), got(t, dir)); diff != "" {
					t.Errorf("unpacked files differ (-want +got):\n%.2000s", diff)
				}
			})
		}
	}
}

// want is what must be there: path to mode, a space, and the digest of the content or the target.
func want(src memory, folder, install string) map[string]string {
	out := map[string]string{}
	for _, f := range src.Files().Under(folder) {
		p := path.Join(install, f.Path[len(folder):])
		switch f.Mode {
		case artifact.Link:
			out[p] = "link " + string(src.content[f.Path])
		case artifact.Executable:
			out[p] = "0755 " + artifact.Sum(src.content[f.Path]).String()
		default:
			out[p] = "0644 " + artifact.Sum(src.content[f.Path]).String()
		}
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			out[dir] = "0755 folder"
		}
	}
	return out
}

func got(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := map[fs.FileMode]string{0o755: "0755 ", 0o644: "0644 "}[info.Mode().Perm()]
		switch {
		case info.IsDir():
			out[p] = mode + "folder"
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(filepath.Join(dir, p))
			out[p] = "link " + target
			return err
		default:
			b, err := os.ReadFile(filepath.Join(dir, p))
			out[p] = mode + artifact.Sum(b).String()
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
