package artifact_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

func FuzzParseDigest(f *testing.F) {
	f.Add(artifact.Sum([]byte("x")).String())
	f.Add(strings.ToUpper(artifact.Sum([]byte("x")).String()))
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := artifact.ParseDigest(s); err == nil && d.String() != s {
			t.Errorf("%q prints as %s", s, d)
		}
	})
}

// FuzzArchiveNames holds the names of archives to their formats.
func FuzzArchiveNames(f *testing.F) {
	for _, name := range []string{"a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.zst", "a.zip", ".tar.gz"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		format, err := artifact.FormatOf(name)
		if err == nil && !strings.HasSuffix(name, format.Extension()) && !strings.HasSuffix(name, ".tgz") {
			t.Errorf("%q has format %s", name, format)
		}
	})
}

func TestUnderAndFindAgreeWithALinearSearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfDistinct(rapid.StringMatching(`[ab](-[ab])?(/[ab]){0,2}`), rapid.ID).Draw(t, "paths")
		var files artifact.Files
		for _, p := range paths {
			files = append(files, artifact.File{Path: p})
		}
		files = files.Sorted()
		dir := rapid.StringMatching(`[ab](/[ab])?`).Draw(t, "dir")
		var want artifact.Files
		for _, f := range files {
			if strings.HasPrefix(f.Path, dir+"/") {
				want = append(want, f)
			}
		}
		if d := cmp.Diff(append(artifact.Files{}, want...), append(artifact.Files{}, files.Under(dir)...)); d != "" {
			t.Errorf("under %q (-want +got):\n%s", dir, d)
		}
		for _, p := range paths {
			if f, ok := files.Find(p); !ok || f.Path != p {
				t.Errorf("find %q gives %+v, %v", p, f, ok)
			}
		}
		if _, ok := files.Find("none"); ok {
			t.Error("found what is not there")
		}
	})
}
