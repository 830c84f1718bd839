package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
)

// listing is what a gzip archive holds: type, mode, owner, time, name and target of each entry.
func listing(t *testing.T, z io.Reader) (out []string) {
	t.Helper()
	r, err := gzip.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%c %o %d:%d%s%s %d %s %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.Unix(), h.Name, h.Linkname))
	}
}

func TestMakeFixesEverythingButNamesAndContent(t *testing.T) {
	src := commit(map[string]string{"p/bin/run*": "x", "p/a-b": "x", "p/a/x": "x", "p/l": "->bin/run", "q/no": "x"})
	var s sink
	if _, err := build.Make(t.Context(), src, build.Spec{Folder: "p", Install: "/opt/x/1", Format: artifact.Gzip}, &s); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"5 755 0:0 0 opt/ ", "5 755 0:0 0 opt/x/ ", "5 755 0:0 0 opt/x/1/ ", "0 644 0:0 0 opt/x/1/a-b ", "5 755 0:0 0 opt/x/1/a/ ",
		"0 644 0:0 0 opt/x/1/a/x ", "5 755 0:0 0 opt/x/1/bin/ ", "0 755 0:0 0 opt/x/1/bin/run ", "2 777 0:0 0 opt/x/1/l bin/run",
	}
	if diff := cmp.Diff(want, listing(t, &s)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestMakeRefusesFolders(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"no files in this folder":      {"q/x": ""},
		"absolute path":                {"p/l": "->/opt/x/1/a"},
		"out of the install location":  {"p/l": "->../x"},
		"Git LFS pointer":              {"p/x": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"},
		"control characters":           {"p/x\n": ""},
		"more than 255 bytes":          {"p/" + strings.Repeat("x", 256): ""},
		"more than 1024 bytes":         {"p/l": "->" + strings.Repeat("x/", 600)},
		"which is no folder":           {"p/l": "->a", "p/l/x": ""}, // no honest git makes such a tree
		"outside the install location": {"p/../../x": "", "p/x": ""},
	} {
		t.Run(want, func(t *testing.T) {
			var s sink
			_, err := build.Make(t.Context(), commit(files), build.Spec{Folder: "p", Install: "/opt/x/1", Format: artifact.Gzip}, &s)
			var lint *build.LintError
			if !errors.As(err, &lint) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if s.Len() > 0 {
				t.Error("something was stored")
			}
		})
	}
	t.Run("submodule", func(t *testing.T) {
		src := commit(map[string]string{"p/x": ""})
		src.add("p/sub", artifact.Module, nil)
		src.sort()
		_, err := build.Make(t.Context(), src, build.Spec{Folder: "p", Install: "/opt/x/1", Format: artifact.Gzip}, &sink{})
		if err == nil || !strings.Contains(err.Error(), `"opt/x/1/sub": is a submodule`) {
			t.Errorf("error %v, want a submodule", err)
		}
	})
}

func TestMakeRefusesSpecs(t *testing.T) {
	for want, s := range map[string]build.Spec{
		"malformed payload":    {Install: "/opt/x", Format: artifact.Gzip},
		"either a folder":      {Folder: "p", Archive: "a.tar.gz", Install: "/opt/x", Format: artifact.Gzip},
		"malformed install":    {Folder: "p", Install: "opt/x", Format: artifact.Gzip},
		"clean absolute path":  {Folder: "p", Install: "/opt/../x", Format: artifact.Gzip},
		"unknown format":       {Folder: "p", Install: "/opt/x", Format: "lzma"},
		"no such file":         {Archive: "missing.tar.gz", Install: "/opt/x", Format: artifact.Gzip},
		"promises gzip":        {Archive: "a.tar.gz", Install: "/opt/x", Format: artifact.Xz},
		"unknown archive name": {Archive: "p/x", Install: "/opt/x", Format: artifact.Xz},
		"is a symbolic link":   {Archive: "l.tar.gz", Install: "/opt/x", Format: artifact.Gzip},
		"is not gzip":          {Archive: "a.tar.gz", Install: "/opt/x", Format: artifact.Gzip},
	} {
		src := commit(map[string]string{"p/x": "", "a.tar.gz": "no archive", "l.tar.gz": "->a.tar.gz"})
		if _, err := build.Make(t.Context(), src, s, &sink{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want %q", s, err, want)
		}
	}
}

func TestFinishedArchiveIsStoredAsItIs(t *testing.T) {
	for _, f := range formats {
		z := compress(t, f, tarOf(t, with(file("opt/demo/1/a"), func(h *tar.Header) { h.Size = 1 << 20 })))
		name := "dist/demo" + f.Extension()
		var s sink
		made, err := build.Make(t.Context(), commit(map[string]string{name: string(z)}), build.Spec{Archive: name, Install: install, Format: f}, &s)
		if err != nil {
			t.Fatal(err)
		}
		want := artifact.Artifact{Digest: artifact.Sum(z), Size: int64(len(z)), Format: f,
			Memory: map[artifact.Format]int64{artifact.Gzip: 32 << 10, artifact.Xz: 8 << 20, artifact.Zstd: 1 << 20}[f]}
		if !bytes.Equal(s.Bytes(), z) || made != want {
			t.Errorf("made %+v, want %+v", made, want)
		}
	}
}

func TestMachineFailuresAreNoFindings(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, s := range []build.Spec{
		{Folder: "p", Install: install, Format: artifact.Gzip}, {Folder: "p", Install: install, Format: artifact.Xz},
		{Folder: "p", Install: install, Format: artifact.Zstd}, {Archive: "a.tar.gz", Install: install, Format: artifact.Gzip},
	} {
		_, err := build.Make(t.Context(), failing{broken}, s, &sink{})
		var lint *build.LintError
		if !errors.Is(err, broken) || errors.As(err, &lint) {
			t.Errorf("%+v: error %v, want only %v", s, err, broken)
		}
		full := failingSink{broken}
		src := commit(map[string]string{"p/x": "x", "a.tar.gz": string(compress(t, artifact.Gzip, tarOf(t, file("opt/demo/1/a"))))})
		if _, err := build.Make(t.Context(), src, s, full); !errors.Is(err, broken) || errors.As(err, &lint) {
			t.Errorf("%+v, full disk: error %v, want only %v", s, err, broken)
		}
	}
}

func TestScripts(t *testing.T) {
	src := commit(map[string]string{"a.sh": "1", "b.sh*": "2", "l": "->a.sh"})
	pick := func(names ...string) map[string]artifact.File {
		out := map[string]artifact.File{}
		for n := 0; n < len(names); n += 2 {
			out[names[n]], _ = src.Files().Find(names[n+1])
		}
		return out
	}
	var s sink
	made, err := build.Scripts(t.Context(), src, pick("20-b", "a.sh", "10-a", "b.sh", "30-c", "a.sh"), &s)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"0 755 0:0 0 10-a ", "0 755 0:0 0 20-b ", "0 755 0:0 0 30-c "}
	if diff := cmp.Diff(want, listing(t, bytes.NewReader(s.Bytes()))); diff != "" || made.Format != artifact.Gzip || made.Digest != artifact.Sum(s.Bytes()) {
		t.Errorf("made %+v, entries (-want +got):\n%s", made, diff)
	}
	for want, scripts := range map[string]map[string]artifact.File{
		"no plain name": pick("10/a", "a.sh"),
		"symbolic link": pick("10-a", "l"),
		"name with ..":  pick("..", "a.sh"),
		"empty name":    pick("", "a.sh"),
		"control":       pick("10\na", "a.sh"),
	} {
		if _, err := build.Scripts(t.Context(), src, scripts, &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestFile(t *testing.T) {
	src := commit(map[string]string{"a.sh*": "#!/bin/sh\n", "l": "->a.sh", "big": "version https://git-lfs.github.com/spec/v1\n"})
	var s sink
	f, _ := src.Files().Find("a.sh")
	made, err := build.File(t.Context(), src, f, &s)
	want := artifact.Artifact{Digest: artifact.Sum([]byte("#!/bin/sh\n")), Size: 10}
	if err != nil || made != want || s.String() != "#!/bin/sh\n" {
		t.Errorf("made %+v (%v), want %+v", made, err, want)
	}
	for name, want := range map[string]string{"l": "symbolic link", "big": "Git LFS pointer"} {
		f, _ := src.Files().Find(name)
		if _, err := build.File(t.Context(), src, f, &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

// TestKey holds the law that keys are equal if and only if Make gives equal bytes.
func TestKey(t *testing.T) {
	spec := rapid.Custom(func(t *rapid.T) build.Spec {
		return build.Spec{
			Folder:  rapid.SampledFrom([]string{"p", "q"}).Draw(t, "folder"),
			Install: rapid.SampledFrom([]string{"/opt/a", "/opt/b"}).Draw(t, "install"),
			Format:  rapid.SampledFrom(formats[:1]).Draw(t, "format"),
		}
	})
	tree := rapid.MapOfN(rapid.SampledFrom([]string{"p/a", "p/a*", "p/b", "q/a", "q/a*", "q/b", "r"}), rapid.SampledFrom([]string{"x", "y", "->x"}), 1, 4)
	made := func(t *rapid.T, files map[string]string, s build.Spec) (key artifact.Digest, bytes string) {
		if _, both := files[s.Folder+"/a"]; both {
			files = maps.Clone(files)
			delete(files, s.Folder+"/a*")
		}
		src := commit(files)
		var out sink
		if _, err := build.Make(t.Context(), src, s, &out); err != nil {
			t.Skip(err)
		}
		return build.Key(src.Files(), s), out.String()
	}
	rapid.Check(t, func(t *rapid.T) {
		keyA, bytesA := made(t, tree.Draw(t, "a"), spec.Draw(t, "spec a"))
		keyB, bytesB := made(t, tree.Draw(t, "b"), spec.Draw(t, "spec b"))
		if (keyA == keyB) != (bytesA == bytesB) {
			t.Fatalf("keys equal: %v, bytes equal: %v", keyA == keyB, bytesA == bytesB)
		}
	})
}

func TestKeyOfFormatsAndArchives(t *testing.T) {
	src := commit(map[string]string{"p/a": "x", "a.tar.gz": "x", "b.tar.gz": "x", "c.tar.gz": "y"})
	key := func(s build.Spec) artifact.Digest { return build.Key(src.Files(), s) }
	if key(build.Spec{Archive: "a.tar.gz", Install: "/opt/a"}) != key(build.Spec{Archive: "b.tar.gz", Install: "/opt/a"}) {
		t.Error("the name of an archive is in its key")
	}
	keys := []artifact.Digest{
		key(build.Spec{Archive: "a.tar.gz", Install: "/opt/a"}), key(build.Spec{Archive: "c.tar.gz", Install: "/opt/a"}),
		key(build.Spec{Archive: "a.tar.gz", Install: "/opt/b"}), key(build.Spec{Archive: "missing", Install: "/opt/b"}),
	}
	for _, f := range formats {
		keys = append(keys, key(build.Spec{Folder: "p", Install: "/opt/a", Format: f}))
	}
	slices.SortFunc(keys, func(a, b artifact.Digest) int { return bytes.Compare(a[:], b[:]) })
	if len(slices.Compact(keys)) != 7 {
		t.Error("different artifacts have one key")
	}
}
