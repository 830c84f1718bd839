package load_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// troubled is a site with values, problems, drafts and a folder that cannot be evaluated.
func troubled() *memory {
	m := small(3)
	m.put("broken/b.cue", "package site\n\nfecs: kgb1: {host: \"b1\", platform: \"ppc\", responsable: \"x\"}\nfecs: kgb2: {host: \"b2\", platform: \"ppc\"}\n", artifact.Regular)
	return m.put("lost/l.cue", "package site\n\nfecs: kgl: {host: nobody, platform: \"ppc\"}\n", artifact.Regular)
}

// switched are options whose child works until stop is called.
func switched(t *testing.T) (o load.Options, stop func()) {
	o = options(t)
	dir := t.TempDir()
	script, off := filepath.Join(dir, "worker"), filepath.Join(dir, "off")
	text := fmt.Sprintf("#!/bin/sh\n[ ! -e %q ] || exit 3\nexec %q %q\n", off, o.Worker[0], o.Worker[1])
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Worker, o.Cache = []string{script}, filepath.Join(dir, "cache")
	return o, func() {
		if err := os.WriteFile(off, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// sameLoaded compares everything that is known of a site.
func sameLoaded(want, got *load.Loaded) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(load.Loaded{}))
}

func TestShelfServesAnotherLoader(t *testing.T) {
	o, stop := switched(t)
	want := mustLoad(t, load.New(o), troubled())
	if len(want.Problems) < 2 || len(want.Broken) == 0 || !want.Lost || want.Site.FECs["kgb1"].Host != "b1" {
		t.Fatalf("the site has too few troubles: %v", want.Problems)
	}
	stop()
	if d := sameLoaded(want, mustLoad(t, load.New(o), troubled())); d != "" {
		t.Errorf("from the shelf (-evaluated +remembered):\n%s", d)
	}
	changed := troubled().put("f001/f.cue", "package site\n", artifact.Regular)
	if _, err := load.New(o).Site(t.Context(), changed); err == nil {
		t.Error("a changed folder was taken from the shelf")
	}
	uncached := o
	uncached.Cache = ""
	if _, err := load.New(uncached).Site(t.Context(), troubled()); err == nil {
		t.Error("without a shelf nothing was evaluated")
	}
}

// TestAnotherProgramForgets changes the child's program by one byte.
func TestAnotherProgramForgets(t *testing.T) {
	o, stop := switched(t)
	mustLoad(t, load.New(o), small(1))
	stop()
	f, err := os.OpenFile(o.Worker[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("#"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := load.New(o).Site(t.Context(), small(1)); err == nil {
		t.Error("another program believed what was on the shelf")
	}
}

// TestDamagedShelfChangesNothing loads after each change of the shelf's bytes: the result is that of no shelf.
func TestDamagedShelfChangesNothing(t *testing.T) {
	o := options(t)
	want := mustLoad(t, load.New(o), troubled())
	o.Cache = t.TempDir()
	mustLoad(t, load.New(o), troubled())
	packs, err := filepath.Glob(filepath.Join(o.Cache, "units", "*"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs %v, %v", packs, err)
	}
	whole, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	rounds := 0
	rapid.Check(t, func(r *rapid.T) {
		if rounds++; rounds > 25 {
			return // each may start a child
		}
		b := append([]byte{}, whole...)
		for range rapid.IntRange(1, 4).Draw(r, "flips") {
			b[rapid.IntRange(0, len(b)-1).Draw(r, "at")] ^= byte(rapid.IntRange(1, 255).Draw(r, "bits"))
		}
		b = b[:rapid.IntRange(len(b)/2, len(b)).Draw(r, "to")]
		if err := os.RemoveAll(filepath.Dir(packs[0])); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Dir(packs[0]), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(packs[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if d := sameLoaded(want, mustLoad(t, load.New(o), troubled())); d != "" {
			t.Fatalf("(-without +with a damaged shelf):\n%s", d)
		}
	})
}
