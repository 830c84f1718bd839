package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

// small is a site with n folders of one FEC each, whose templates lie in a package of its own.
func small(n int) *memory {
	m := newMemory().put("cue.mod/module.cue", module, artifact.Regular).put("site.cue", settings, artifact.Regular)
	m.put("defaults/d.cue", "package defaults\n\nlinux: platform: \"ppc\"\n", artifact.Regular)
	for i := range n {
		m.put(fmt.Sprintf("f%03d/f.cue", i), fmt.Sprintf("package site\n\nimport \"example.org/site/defaults\"\n\nfecs: kg%d: defaults.linux & {host: \"h%d\"}\n", i, i), artifact.Executable)
	}
	return m
}

func mustLoad(t *testing.T, l *load.Loader, src artifact.Source) *load.Loaded {
	t.Helper()
	loaded, err := l.Site(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestManyBatches(t *testing.T) {
	o := options(t)
	o.Batch, o.Children = 3, 3
	loaded := mustLoad(t, load.New(o), small(20))
	if len(loaded.Problems) > 0 || len(loaded.Site.FECs) != 20 || loaded.Site.FECs["kg7"].Host != "h7" {
		t.Errorf("%d FECs, kg7 %+v, problems:\n%v", len(loaded.Site.FECs), loaded.Site.FECs["kg7"], loaded.Problems)
	}
}

// TestLoaderRemembers replaces the child's command by one that fails, so that any evaluation is an error.
func TestLoaderRemembers(t *testing.T) {
	o := options(t)
	script := t.TempDir() + "/worker"
	child := fmt.Sprintf("#!/bin/sh\nexec %q %q\n", o.Worker[0], o.Worker[1])
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(child)
	o.Worker = []string{script}
	l := load.New(o)
	src := small(3)
	want := mustLoad(t, l, src).Site
	write("#!/bin/sh\nexit 3\n")
	if diff := cmp.Diff(want, mustLoad(t, l, src).Site); diff != "" {
		t.Errorf("from memory (-want +got):\n%s", diff)
	}
	changes := map[string]string{
		"f001/f.cue":         "package site\n\nfecs: kg1: {host: \"h9\", platform: \"ppc\"}\n",
		"f001/g.cue":         "package site\n\nfecs: kg9: {host: \"h9\", platform: \"ppc\"}\n",
		"defaults/d.cue":     "package defaults\n\nlinux: platform: \"ppc\" // changed\n",
		"g.cue":              "package site\n",
		"cue.mod/module.cue": module + "// changed\n",
	}
	for path, text := range changes {
		write("#!/bin/sh\nexit 3\n")
		changed := small(3).put(path, text, artifact.Regular)
		if _, err := l.Site(t.Context(), changed); err == nil {
			t.Errorf("after a change of %s: taken from memory", path)
		}
	}
	write(child)
	changed := small(3).put("f001/f.cue", changes["f001/f.cue"], artifact.Regular)
	if got := mustLoad(t, l, changed).Site.FECs["kg1"].Host; got != "h9" {
		t.Errorf("after a change: host %q", got)
	}
}

func TestLocate(t *testing.T) {
	m := small(1)
	m.put("a/a.cue", `package site

import "example.org/site/defaults"

fecs: {
	"kg-a": {
		host: "a"
		platform: "ppc"
		software: bpm: version: "1.0"
		groups: ["x", "y"]
	}
	for i in [1, 2] {
		"kg-b\(i)": defaults.linux & {
			host: "b\(i)"
		}
	}
}
`, artifact.Regular)
	loaded := mustLoad(t, load.New(options(t)), m)
	if len(loaded.Problems) > 0 {
		t.Fatal(loaded.Problems)
	}
	tests := []struct{ path, want string }{
		{`fecs."kg-a".software.bpm.version`, "a/a.cue:9:27"},
		{`fecs."kg-a".software.bpm.until`, "a/a.cue:9:13"},
		{`fecs."kg-a".groups[1]`, "a/a.cue:10:17"},
		{`fecs."kg-a"`, "a/a.cue:6:2"},
		{`fecs."kg-b2".host`, "a/a.cue:14:10"},
		{`fecs."kg-b2".platform`, "defaults/d.cue:3:18"},
		{`site.platforms.ppc`, "site.cue:5:13"},
		{`fecs.kg0.platform`, "defaults/d.cue:3:18"},
	}
	var ps desired.Problems
	for _, tt := range tests {
		ps = append(ps, desired.Problem{Path: tt.path, Text: "t"})
	}
	ps = append(ps, desired.Problem{Path: "fecs.nobody", Text: "t"}, desired.Problem{Path: "site", File: "x.cue", Line: 7, Column: 8})
	got, err := loaded.Locate(t.Context(), ps)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		if p := got[i]; fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) != tt.want || p.Path != tt.path || p.Text != "t" {
			t.Errorf("%s: %s, want %s", tt.path, p, tt.want)
		}
	}
	if diff := cmp.Diff(ps[len(tests):], got[len(tests):]); diff != "" {
		t.Errorf("problems without an owner or with a place (-want +got):\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	big := "package site\n//" + strings.Repeat("x", 256<<10) + "\n"
	files := small(2)
	for i := range 2000 {
		files.put(fmt.Sprintf("many/f%04d.cue", i), fmt.Sprintf("package site\n// %d\n", i), artifact.Regular)
	}
	tests := map[string]struct {
		src  *memory
		want string
	}{
		"file size": {small(2).put("a/big.cue", big, artifact.Regular), "a/big.cue:1:1: the file exceeds 256 KiB; split it"},
		"files":     {files, "many/f0000.cue:1:1: evaluation would read 2001 files, more than 2000; split the folder"},
		"module":    {small(2).put("cue.mod/module.cue", module, artifact.Link), "cue.mod/module.cue:1:1: the file is missing: this is no site; run pomona init"},
		"module size": {small(2).put("cue.mod/module.cue", module+big, artifact.Regular),
			"cue.mod/module.cue:1:1: the file exceeds 256 KiB; split it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			loaded := mustLoad(t, load.New(options(t)), tt.src)
			if got := loaded.Problems.Error(); got != tt.want {
				t.Errorf("problems:\n%s\nwant:\n%s", got, tt.want)
			}
			if !strings.HasPrefix(name, "module") && len(loaded.Site.FECs) != 2 {
				t.Errorf("%d other FECs, want 2", len(loaded.Site.FECs))
			}
		})
	}
}

// TestRepeatable loads a site with many problems from several children: neither their order nor their words may depend on
// which child was faster.
func TestRepeatable(t *testing.T) {
	m := small(30)
	for i := range 30 {
		m.put(fmt.Sprintf("g%d/g.cue", i), fmt.Sprintf("package site\n\nfecs: kg%d: {hots: \"x\"}\n", i/2), artifact.Regular)
	}
	o := options(t)
	o.Batch, o.Children = 2, 4
	first := mustLoad(t, load.New(o), m)
	o.Batch, o.Children = 7, 1
	second := mustLoad(t, load.New(o), m)
	if len(first.Problems) < 100 {
		t.Fatalf("%d problems", len(first.Problems))
	}
	if diff := cmp.Diff(first.Problems, second.Problems); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(first.Site, second.Site); diff != "" {
		t.Error(diff)
	}
}

func TestMachineFailures(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := &breaking{memory: small(3)}
	tests := map[string]struct {
		ctx    context.Context
		src    artifact.Source
		worker []string
	}{
		"no command":    {t.Context(), small(1), nil},
		"no binary":     {t.Context(), small(1), []string{"/nonexistent"}},
		"not a worker":  {t.Context(), small(1), []string{"/bin/true"}},
		"canceled":      {canceled, small(1), options(t).Worker},
		"broken source": {t.Context(), broken, options(t).Worker},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Worker = tt.worker
			if loaded, err := load.Site(tt.ctx, tt.src, o); err == nil {
				t.Errorf("no error; problems %v", loaded.Problems)
			}
		})
	}
}

// breaking is a commit that cannot be read to its end.
type breaking struct {
	*memory
	opened atomic.Int32
}

func (b *breaking) Open(f artifact.File) (io.ReadCloser, error) {
	if b.opened.Add(1) > 2 {
		return nil, errors.New("disk fails")
	}
	return io.NopCloser(bytes.NewReader(b.content[f.Path])), nil
}

// TestBombAbove has a bomb that every folder below sees too: one problem, at the bomb, and an end.
func TestBombAbove(t *testing.T) {
	skipRace(t)
	m := small(0).put("x/b.cue", "package site\n"+unions(22)+"\n", artifact.Regular)
	for i := range 60 {
		m.put(fmt.Sprintf("x/f%d/f.cue", i), fmt.Sprintf("package site\nfecs: kg%d: {host: \"h\", platform: \"ppc\"}\n", i), artifact.Regular)
	}
	o := options(t)
	o.Deadline = time.Second
	loaded := mustLoad(t, load.New(o), m)
	if ps := loaded.Problems.Blocking(); len(ps) != 1 || ps[0].File != "x/b.cue" || loaded.Site.Settings.Name != "acc" {
		t.Errorf("site %q, problems:\n%v", loaded.Site.Settings.Name, loaded.Problems)
	}
}

// TestFolderNames has folders with every sign that git allows: each is loaded or named in a problem, and none harms others.
func TestFolderNames(t *testing.T) {
	m := small(1)
	names := map[string]string{"a...b": "three", "...": "dots", "ä": "umlaut", "a.cue": "cue"}
	for c := rune(1); c < 127; c++ {
		if c != '/' {
			names["a"+string(c)+"b"] = fmt.Sprintf("c%d", c)
		}
	}
	for dir, fec := range names {
		m.put(dir+"/f.cue", fmt.Sprintf("package site\n\nfecs: k%s: {host: \"h\", platform: \"ppc\"}\n", fec), artifact.Regular)
	}
	loaded := mustLoad(t, load.New(options(t)), m)
	named := map[string]bool{}
	for _, p := range loaded.Problems {
		named[p.File] = true
		t.Log(p)
	}
	for dir, fec := range names {
		_, ok := loaded.Site.FECs["k"+fec]
		if ok == named[dir+"/f.cue"] && !strings.HasPrefix(dir, ".") {
			t.Errorf("folder %q: loaded %v, problem %v", dir, ok, named[dir+"/f.cue"])
		}
	}
	if loaded.Site.FECs["kg0"].Host != "h0" {
		t.Error("the ordinary folder is lost")
	}
}
