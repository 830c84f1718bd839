package rpm_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func TestReadTellsWhatAPackageIs(t *testing.T) {
	by := must(entity())(t)
	p := packed{name: "tool", epoch: 2, version: "1.0", arch: "x86_64", provides: "virtual = 3", requires: "lib >= 1.0", files: "/usr/bin/tool", by: by}.read(t)
	if got := p.String(); got != "tool-2:1.0-1.x86_64" {
		t.Errorf("it is %s", got)
	}
	want := []rpm.Dependency{{Name: "lib", Flags: "GE", EVR: rpm.EVR{Version: "1.0"}}}
	if d := cmp.Diff(want, p.Requires); d != "" {
		t.Errorf("requires (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]rpm.File{{Path: "/usr/bin/tool", Kind: rpm.RegularFile}}, p.Files[len(p.Files)-1:]); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if p.SigningKeyID != must(key())(t).ID() {
		t.Errorf("signed by %q, want %s", p.SigningKeyID, must(key())(t).ID())
	}
	if got := (packed{name: "tool"}).read(t).SigningKeyID; got != "" {
		t.Errorf("an unsigned package is signed by %s", got)
	}
}

func TestReadRefuses(t *testing.T) {
	good := packed{name: "tool", files: "/usr/bin/tool"}
	b := good.bytes(t)
	changed := func(at int, to ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], to)
		return c
	}
	named := func(tag int, value string) []byte {
		p := good
		p.tags = map[int]rpmpack.IndexEntry{tag: rpmpack.EntryString(value)}
		return p.bytes(t)
	}
	numbers := func(tag int, values ...uint32) []byte {
		p := good
		p.tags = map[int]rpmpack.IndexEntry{tag: rpmpack.EntryUint32(values)}
		return p.bytes(t)
	}
	long := good
	long.requires = strings.Repeat("x", 17<<10)
	for _, row := range []struct {
		what, want string
		b          []byte
	}{
		{"nothing", "read lead", nil},
		{"text", "not an RPM", []byte(strings.Repeat("text ", 100))},
		{"half", "read header: unexpected EOF", b[:len(b)/3]},
		{"no signature header", "read signature: it does not begin as one", changed(96, 0)},
		{"many tags", "more than", changed(96+8, 0xff, 0xff, 0xff, 0xff)},
		{"much data", "more than", changed(96+12, 0x7f, 0xff, 0xff, 0xff)},
		{"a name that is a path", "malformed name", named(1000, "../tool")},
		{"a name with a space", "malformed name", named(1000, "tool x")},
		{"no version", "malformed version", named(1001, "")},
		{"a release with a dash", "malformed release", named(1002, "1-1")},
		{"an architecture that is a path", "malformed architecture", named(1022, "x/y")},
		{"a control character", "control character 0x7", named(1004, "bell\a")},
		{"no character", "a character that is none", named(1005, "x\ufffe")},
		{"a name that is a number", "tag 1000 is no text", numbers(1000, 1)},
		{"a size that is text", "tag 1009 is no number", named(1009, "x")},
		{"folders that are not there", "folder 7 of", numbers(1116, 7)},
		{"a long requirement", "takes more than 16384 bytes", long.bytes(t)},
		{"fewer modes than files", "modes", numbers(1030, 1, 2, 3)},
	} {
		if _, err := rpm.Read(bytes.NewReader(row.b)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
}

// FuzzRead holds that whatever is read can be kept, and written as repodata.
func FuzzRead(f *testing.F) {
	by := must(entity())(f)
	f.Add([]byte("text"))
	f.Add(packed{name: "tool", epoch: 2, provides: "virtual = 3", requires: "lib >= 1.0", files: "/usr/bin/tool"}.bytes(f))
	f.Add(packed{name: "signed", files: "/usr/bin/tool,/etc/x", by: by}.bytes(f))
	f.Add(packed{name: "told", tags: map[int]rpmpack.IndexEntry{1080: rpmpack.EntryUint32([]uint32{1, 1}), 1081: rpmpack.EntryStringSlice([]string{"a ", "b"}),
		1082: rpmpack.EntryStringSlice([]string{"x", "y"})}}.bytes(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := rpm.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		kept, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back rpm.Package
		if err := json.Unmarshal(kept, &back); err != nil {
			t.Fatal(err)
		}
		here, there := rpm.Entry{Package: &p}.Fragments(), rpm.Entry{Package: &back}.Fragments()
		if d := cmp.Diff(here, there); d != "" {
			t.Error(d)
		}
		for _, s := range []string{here.Primary, here.Filelists, here.Other} {
			wellFormed(t, s)
		}
	})
}
