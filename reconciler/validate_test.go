package reconciler_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/repo"
)

// replacement puts new in the place of old in a file; an empty new name removes the file.
type replacement struct{ name, old, new string }

// replacements each make or mend problems of FECs, most of them without touching the FEC's own file.
var replacements = []replacement{
	{"fecs/b/b.cue", `"1.1.0"`, `"1.7.0"`}, // no such version
	{"fecs/b/b.cue", `"1.7.0"`, `"1.1.0"`},
	{"software/bpm.cue", `"1.1.0": payload`, `"1.2.0": payload`}, // what b runs is gone
	{"software/bpm.cue", `"1.2.0": payload`, `"1.1.0": payload`},
	{"site.cue", `x86: {`, `x87: {`}, // b's platform is gone
	{"site.cue", `x87: {`, `x86: {`},
	{"configuration.cue", `">=1 <2"`, `">=1.1 <2"`}, // does not fit what a runs
	{"configuration.cue", `">=1.1 <2"`, `">=1 <2"`},
	{"scripts/bpm", "", ""}, // a runs it
	{"scripts/bpm", "", "#!/bin/sh\n"},
	{"scripts/bpm", "#!/bin/sh\n", "version https://git-lfs.github.com/spec/v1\n"},
	{"scripts/bpm", "version https://git-lfs.github.com/spec/v1\n", "#!/bin/sh\n"},
	{"fecs/b/b.cue", `"scuxl0002"`, `"scuxl0001"`}, // a's host
	{"fecs/b/b.cue", `"scuxl0001"`, `"scuxl0002"`},
	{"site.cue", `"10-env"`, `"11-env"`}, // both run it
	{"site.cue", `"11-env"`, `"10-env"`},
	{"software/bpm.cue", `install: "/opt/bpm/1.0.0"`, `install: "/opt/data/orbit"`}, // where a's data lies
	{"software/bpm.cue", `install: "/opt/data/orbit"`, `install: "/opt/bpm/1.0.0"`},
	{"fecs/b/b.cue", `host:`, `hots:`},
	{"fecs/b/b.cue", `hots:`, `host:`},
}

func (c replacement) apply(s site) {
	file := filepath.Join(s.dir, c.name)
	b, err := os.ReadFile(file)
	if c.old == "" && c.new == "" {
		err = os.Remove(file)
	} else if c.old == "" {
		s.write(c.name, c.new)
		err = nil
	} else if err == nil && !strings.Contains(string(b), c.old) {
		s.t.Fatalf("%s holds no %s", c.name, c.old)
	} else if err == nil {
		s.write(c.name, strings.Replace(string(b), c.old, c.new, 1))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// newSpread is the usual site with two FECs in folders of their own.
func newSpread(t *testing.T) site {
	s := newSite(t)
	b, err := os.ReadFile(filepath.Join(s.dir, "fecs/fecs.cue"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(b), "\tkgp2cu0", 4)
	for i, name := range []string{"a", "b"} {
		s.write("fecs/"+name+"/"+name+".cue", "package site\n\nfecs: {\n\tkgp2cu0"+parts[i+1]+"}\n")
	}
	s.write("fecs/fecs.cue", "package site\n\nfecs: {\n\tkgp2cu0"+parts[3])
	return s
}

func (s site) validate(l *load.Loader, v *build.Verdicts, at time.Time) (desired.Site, desired.Problems) {
	s.t.Helper()
	work, err := repo.OpenWorkTree(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	defer work.Close()
	site, problems, err := reconciler.Validate(s.t.Context(), work, l, v, nil, at)
	if err != nil {
		s.t.Fatal(err)
	}
	return site, problems
}

func newLoader(cache string) *load.Loader {
	return load.New(load.Options{Worker: []string{os.Args[0], "eval-worker"}, Cache: cache})
}

// TestMemoryChangesNoVerdict validates one state after the other, remembering in memory and on disk: the result is always
// that of a validation that remembers nothing.
func TestMemoryChangesNoVerdict(t *testing.T) {
	s := newSpread(t)
	cache := t.TempDir()
	l, v := newLoader(cache), build.NewVerdicts(cache, nil)
	s.validate(l, v, now)
	seen := map[string]bool{}
	for _, c := range replacements {
		c.apply(s)
		site, want := s.validate(newLoader(""), nil, now)
		seen[want.Error()] = true
		gotSite, got := s.validate(l, v, now)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after %v, in memory (-fresh +remembered):\n%s", c, d)
		}
		if d := cmp.Diff(site, gotSite); d != "" {
			t.Errorf("after %v, in memory (-fresh +remembered):\n%s", c, d)
		}
		_, got = s.validate(newLoader(cache), build.NewVerdicts(cache, nil), now)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after %v, on disk (-fresh +remembered):\n%s", c, d)
		}
	}
	if len(seen) < len(replacements)/2 {
		t.Errorf("only %d different verdicts", len(seen))
	}
}

// TestPermissionsExpireInMemory has one FEC with a permission that ends while nothing changes.
func TestPermissionsExpireInMemory(t *testing.T) {
	s := newSpread(t)
	l := newLoader("")
	if _, ps := s.validate(l, nil, now); len(ps) > 0 {
		t.Fatal(ps)
	}
	if _, ps := s.validate(l, nil, now.AddDate(0, 6, 0)); len(ps) != 1 || !strings.Contains(ps.Error(), "permission ended") {
		t.Errorf("half a year later: %v", ps)
	}
}
