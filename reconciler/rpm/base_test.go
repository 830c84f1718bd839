package rpm_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func TestParseBaseReadsWhatRepodataWrites(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "tool.rpm", packed{name: "tool", epoch: 2, provides: "virtual = 3", requires: "lib >= 1:1.0-2", conflicts: "a", obsoletes: "b < 3", files: "/etc/tool,/opt/tool"}.bytes(t))
	read := entries(t, dir)
	files := must(rpm.Repodata(read, fixed))(t)
	for name, b := range map[string][]byte{"packed": files[rpm.PrimaryName], "plain": []byte(unzipped(t, files[rpm.PrimaryName]))} {
		all := must(rpm.ParseBase(bytes.NewReader(b)))(t)
		if len(all) != 1 {
			t.Fatalf("%s: %d packages", name, len(all))
		}
		p := read[0].Package
		want := rpm.Package{Name: p.Name, EVR: p.EVR, Arch: p.Arch, Provides: p.Provides, Requires: p.Requires, Conflicts: p.Conflicts, Obsoletes: p.Obsoletes}
		for _, f := range p.Files {
			if strings.HasPrefix(f.Path, "/etc/") {
				want.Files = append(want.Files, f)
			}
		}
		if d := cmp.Diff(want, *all[0]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestAddFilesFindsRequiredFilesThatPrimaryDoesNotTell(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "python.rpm", packed{name: "python", epoch: 1, files: "/usr/libexec/python,/usr/libexec/other"}.bytes(t))
	files := must(rpm.Repodata(entries(t, dir), fixed))(t)
	base := must(rpm.ParseBase(bytes.NewReader(files[rpm.PrimaryName])))(t)
	for requirement, met := range map[string]bool{"/usr/libexec/python": true, "(none or /usr/libexec/python)": true, "/usr/libexec/none": false} {
		wanted := []*rpm.Package{asking("asks", requirement)}
		if got := unmet(base, wanted); len(got) != 1 {
			t.Errorf("%s: unmet without filelists.xml are %v", requirement, got)
		}
		if err := rpm.AddFiles(base, wanted, bytes.NewReader(files[rpm.FilelistsName])); err != nil {
			t.Fatal(err)
		}
		if got := unmet(base, wanted); (len(got) == 0) != met {
			t.Errorf("%s: unmet are %v, want met: %v", requirement, got, met)
		}
		if got := len(base[0].Files); met && got != 1 {
			t.Errorf("%s: %d files were added", requirement, got)
		}
		base[0].Files = nil
	}
	if err := rpm.AddFiles(base, nil, bytes.NewReader(files[rpm.PrimaryName])); err == nil {
		t.Error("primary.xml is taken for filelists.xml")
	}
}

func TestParseBaseRefuses(t *testing.T) {
	for what, s := range map[string]string{
		"nothing":          "",
		"another document": "<repomd></repomd>",
		"half":             `<metadata><package><name>a</name>`,
		"no end":           `<metadata>`,
		"no name":          `<metadata><package><arch>noarch</arch></package></metadata>`,
		"an epoch":         `<metadata><package><name>a</name><arch>noarch</arch><version epoch="x"/></package></metadata>`,
		"half a gzip":      "\x1f\x8b\x08",
		"a long requirement": `<metadata><package><name>a</name><arch>noarch</arch><version ver="1"/><format><rpm:requires><rpm:entry name="` + strings.Repeat("(", 17<<10) +
			`"/></rpm:requires></format></package></metadata>`,
	} {
		if got, err := rpm.ParseBase(strings.NewReader(s)); err == nil {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestParseBaseReadsOnlySoMuch has lists that never end.
func TestParseBaseReadsOnlySoMuch(t *testing.T) {
	one := "<package><name>a</name><arch>noarch</arch></package><!--" + strings.Repeat(" ", 3<<20) + "-->"
	for _, row := range []struct{ what, begin, more, want string }{
		{"packages", "<metadata>", one, "more than 256 MiB"},
		{"a package", "<metadata><package><name>a</name>", "<format></format>", "an element takes more than 4 MiB"},
		{"a comment", "<metadata><!--", " ", "an element takes more than 4 MiB"},
	} {
		_, err := rpm.ParseBase(io.MultiReader(strings.NewReader(row.begin), &endless{of: row.more}))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.what, err, row.want)
		}
	}
}

// endless says the same again and again, up to more than anybody should read.
type endless struct {
	of      string
	at, all int
}

func (e *endless) Read(b []byte) (n int, err error) {
	if e.all > 300<<20 {
		return 0, io.EOF
	}
	for n < len(b) {
		k := copy(b[n:], e.of[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.of)
	}
	e.all += n
	return n, nil
}

func FuzzParseBase(f *testing.F) {
	f.Add([]byte(`<metadata><package><name>a</name><arch>noarch</arch><version epoch="1" ver="2" rel="3"/><format><rpm:provides><rpm:entry name="a" flags="EQ" epoch="0" ver="1"/>` +
		`</rpm:provides><file type="dir">/a</file></format></package></metadata>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := rpm.ParseBase(bytes.NewReader(b))
		if err == nil {
			rpm.Closure(nil, all)
		}
	})
}
