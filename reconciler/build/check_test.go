package build_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func aSite() desired.Site {
	payload := func(folder, archive string) desired.Payload {
		return desired.Payload{Folder: folder, Archive: archive, Install: install}
	}
	return desired.Site{
		Settings: desired.Settings{
			Platforms: map[string]desired.Platform{"big": {}, "small": {UnpackMemory: "1MiB"}, "zstd": {Format: artifact.Zstd, UnpackMemory: "2MiB"}},
			Scripts:   map[string]desired.GlobalScript{"net": {File: "net.sh"}},
		},
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{"1.0.0": {Payload: map[string]desired.Payload{
			"big": payload("", "bpm.tar.xz"), "any": payload("bpm", ""),
		}}}}},
		Configuration: map[string]desired.Configuration{
			"all": {Versions: map[string]desired.ConfigurationVersion{"1": {Payload: payload("", "conf.tar.xz")}}},
			"one": {FEC: "f1", Versions: map[string]desired.ConfigurationVersion{"1": {Payload: payload("", "conf.tar.xz")}}},
		},
		FECs: map[string]desired.FEC{"f1": {Platform: "big", Init: map[string]desired.Init{"10-x": {File: "x.sh"}, "20-net": {Global: "net"}}}},
	}
}

func TestCheck(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
	z := string(compress(t, artifact.Xz, tarOf(t, file("opt/demo/1/a"))))
	evil := string(compress(t, artifact.Xz, tarOf(t, file("etc/passwd"), symlink("opt/demo/1/l", "/x"))))
	const xzTooBig = "takes 8192 KiB to unpack, more than the 1024 KiB that are there"
	const zstdTooBig = `software.bpm.versions."1.0.0".payload.any.folder: takes 4096 KiB to unpack as zstd, more than the 2048 KiB of a platform`
	always := []string{zstdTooBig, `configuration.all.versions."1".payload.archive: ` + xzTooBig}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"clean": {map[string]string{"bpm.tar.xz": z, "bpm/x": "", "conf.tar.xz": z, "net.sh": "", "x.sh": ""}, nil},
		"pointers": {map[string]string{"bpm.tar.xz": z, "bpm/x": pointer, "conf.tar.xz": z, "net.sh": pointer, "x.sh": pointer}, []string{
			`software.bpm.versions."1.0.0".payload.any.folder: "opt/demo/1/x": is a Git LFS pointer`,
			`site.scripts.net.file: is a Git LFS pointer`, `fecs.f1.init."10-x".file: is a Git LFS pointer`,
		}},
		"hostile": {map[string]string{"bpm.tar.xz": evil, "bpm/l": "->/x", "conf.tar.xz": z, "net.sh": "", "x.sh": ""}, []string{
			`software.bpm.versions."1.0.0".payload.big.archive: "etc/passwd": lies outside the install location`,
			`software.bpm.versions."1.0.0".payload.big.archive: "opt/demo/1/l": is a link to the absolute path /x`,
			`software.bpm.versions."1.0.0".payload.any.folder: "opt/demo/1/l": is a link to the absolute path /x`,
		}},
		"what desired finds": {map[string]string{"bpm.tar.xz": "->x", "bpm/x": "", "conf.tar.xz": z, "net.sh": "->x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ps, err := build.Check(t.Context(), commit(c.files), aSite(), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := append(c.want, always...)
			if len(ps) != len(want) {
				t.Errorf("%d problems, want %d:\n%v", len(ps), len(want), ps)
			}
			for _, w := range want {
				if !strings.Contains(ps.Error(), w) {
					t.Errorf("missing %q in:\n%v", w, ps)
				}
			}
			if diff := cmp.Diff(ps.Sorted(), ps); diff != "" {
				t.Errorf("not sorted:\n%s", diff)
			}
		})
	}
}

func TestCheckFailsWithItsMachine(t *testing.T) {
	broken := errors.New("disk on fire")
	site := aSite()
	for _, p := range []desired.Payload{{Folder: "p", Install: install}, {Archive: "a.tar.gz", Install: install}} {
		site.Software["bpm"].Versions["1.0.0"].Payload["any"] = p
		if ps, err := build.Check(t.Context(), failing{broken}, site, nil); !errors.Is(err, broken) {
			t.Errorf("%+v: problems %v, error %v, want %v", p, ps, err, broken)
		}
	}
}

func TestLintErrorAsProblems(t *testing.T) {
	_, err := build.Make(t.Context(), commit(map[string]string{"p/l": "->/x"}), build.Spec{Folder: "p", Install: install, Format: artifact.Gzip}, &sink{})
	var lint *build.LintError
	if !errors.As(err, &lint) {
		t.Fatal(err)
	}
	want := desired.Problems{{Path: "a.b", Text: `"opt/demo/1/l": is a link to the absolute path /x`, Advice: "make the target relative"}}
	if diff := cmp.Diff(want, lint.Findings.Problems("a.b")); diff != "" {
		t.Error(diff)
	}
}
