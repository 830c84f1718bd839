package build_test

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// unreadable is a commit whose files are listed and cannot be read.
type unreadable struct{ memory }

var errRead = errors.New("it was read")

func (unreadable) Open(artifact.File) (io.ReadCloser, error) { return nil, errRead }

// unclean is a commit in which everything of aSite is wrong, names that are no UTF-8 among it.
func unclean(t *testing.T) memory {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"
	evil := string(compress(t, artifact.Xz, tarOf(t, file("etc/pass\xffwd"), symlink("opt/demo/1/l", "/x"))))
	return commit(map[string]string{"bpm.tar.xz": evil, "bpm/l": "->/x", "bpm/x": pointer, "conf.tar.xz": evil, "net.sh": pointer, "x.sh": pointer})
}

func mustCheck(t *testing.T, src artifact.Source, site desired.Site, v *build.Verdicts) desired.Problems {
	t.Helper()
	ps, err := build.Check(t.Context(), src, site, v)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestVerdictsAreNotReadAgain(t *testing.T) {
	src, cache := unclean(t), t.TempDir()
	want := mustCheck(t, src, aSite(), nil)
	if len(want) < 6 {
		t.Fatalf("only %d problems", len(want))
	}
	v := build.NewVerdicts(cache, nil)
	mustCheck(t, src, aSite(), v)
	for name, v := range map[string]*build.Verdicts{"memory": v, "disk": build.NewVerdicts(cache, nil)} {
		if d := cmp.Diff(want, mustCheck(t, unreadable{src}, aSite(), v)); d != "" {
			t.Errorf("from %s (-read +remembered):\n%s", name, d)
		}
	}
}

// TestWhatVerdictsDependOn changes one thing at a time: then something is read again.
func TestWhatVerdictsDependOn(t *testing.T) {
	changes := map[string]func(*memory, desired.Site){
		"script":         func(m *memory, _ desired.Site) { m.change("x.sh") },
		"archive":        func(m *memory, _ desired.Site) { m.change("bpm.tar.xz") },
		"file of folder": func(m *memory, _ desired.Site) { m.change("bpm/x") },
		"new file": func(m *memory, _ desired.Site) {
			m.add("bpm/y", artifact.Regular, []byte("version https://git-lfs.github.com/spec/v1\n"))
			m.sort()
		},
		"install location": func(_ *memory, s desired.Site) {
			p := s.Software["bpm"].Versions["1.0.0"].Payload
			p["big"] = desired.Payload{Archive: "bpm.tar.xz", Install: "/opt/other"}
		},
		"memory for a folder": func(_ *memory, s desired.Site) {
			s.Settings.Platforms["zstd"] = desired.Platform{Format: artifact.Zstd, UnpackMemory: "64MiB"}
		},
		"memory of a platform": func(_ *memory, s desired.Site) {
			s.Settings.Platforms["small"] = desired.Platform{UnpackMemory: "2MiB"}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			v, site, src := build.NewVerdicts("", nil), aSite(), unclean(t)
			mustCheck(t, src, site, v)
			change(&src, site)
			if ps, err := build.Check(t.Context(), unreadable{src}, site, v); !errors.Is(err, errRead) {
				t.Errorf("nothing was read: %v, %v", ps, err)
			}
			if d := cmp.Diff(mustCheck(t, src, site, nil), mustCheck(t, src, site, v)); d != "" {
				t.Errorf("(-read +remembered):\n%s", d)
			}
		})
	}
}

// change gives a file an end that it did not have.
func (m *memory) change(name string) {
	i := 0
	for m.files[i].Path != name {
		i++
	}
	b := append([]byte{}, m.content[name]...)
	m.files = append(m.files[:i:i], m.files[i+1:]...)
	m.add(name, artifact.Regular, append(b, '\n'))
	m.sort()
}
