package propose_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// site is laid out as no formatter would: every byte of it must stay.
const site = `// Kept.
package site

// About the monitor.
software: bpm:   {   // odd spaces
	description:    "beam   position" // after a value
	versions: {
		// before the first
		"1.0": payload: any: {folder: "a",install: "/opt/a"}


		dev: payload: any: {folder: "d", install: "/opt/d"} // after the last
		// at the end
	}
}
let v = {one: "1.0", two:"1.0"}
fecs: {
	a: software: bpm: version: v.one
	b: software: bpm: {version: "1.0", start: true}
	c: software: bpm: version: *"1.0" | string
}
`

var release = desired.Release{
	Released: "2026-11-21", Notes: `say "hi"`,
	Payload: map[string]desired.Payload{"vme-ppc": {Blob: desired.Blob{SHA256: "ab"}, Install: "/opt/b", Format: "xz"}},
}

const block = `"2.0": {
	released: "2026-11-21"
	notes:    "say \"hi\""
	payload: "vme-ppc": {
		blob: sha256: "ab"
		install: "/opt/b"
		format:  "xz"
	}
}
`

func indented(by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\n", "\n"+by) + "\n"
}

func TestDeclareAddsAndKeepsTheRest(t *testing.T) {
	path := []string{"software", "bpm", "versions", "2.0"}
	for name, c := range map[string]struct{ before, rest, added string }{
		"within braces":      {before: site[:strings.Index(site, "\t}\n}\nlet")], rest: site[strings.Index(site, "\t}\n}\nlet"):], added: indented("\t\t")},
		"empty braces":       {"package site\nsoftware: bpm: versions: {\n", "}\n", indented("\t")},
		"spaces for tabs":    {"package site\nsoftware: {\n  bpm: versions: {\n    \"1.0\": {}\n", "  }\n}\n", indented("    ")},
		"joined":             {"package site\nimport \"x.y/t\"\nsoftware: bpm: t.x & {\n\tversions: {\n", "\t}\n}\n", indented("\t\t")},
		"comprehension":      {"package site\nsoftware: bpm: versions: {\n\tfor v in [\"1\"] {(v): {}}\n", "}\n", indented("\t")},
		"made by template":   {"package site\nsoftware: {\n\tfor n in [\"bpm\"] {(n): versions: \"1.0\": {}}\n", "}\n", "\tbpm: versions: " + strings.TrimPrefix(indented("\t"), "\t")},
		"one line":           {"package site\nsoftware: bpm: versions: {\"1.0\": {}}\n", "", "\nsoftware: bpm: versions: " + block},
		"no braces":          {"package site\nsoftware: bpm: versions: \"1.0\": {}", "", "\n\nsoftware: bpm: versions: " + block},
		"elsewhere":          {"package site\nfecs: {}\n", "", "\nsoftware: bpm: versions: " + block},
		"carriage returns":   {"package site\r\nsoftware: bpm: versions: {\r\n", "}\r\n", strings.ReplaceAll(indented("\t"), "\n", "\r\n")},
		"ellipsis":           {"package site\nsoftware: {\n\tbpm: versions: {\n\t\t...\n\t}\n", "}\n", "\tbpm: versions: " + strings.TrimPrefix(indented("\t"), "\t")},
		"hidden is another":  {"package site\n_software: bpm: versions: {\n}\n", "", "\nsoftware: bpm: versions: " + block},
		"multi-line strings": {"package site\nsoftware: bpm: {\n\tdescription: \"\"\"\n\t\tversions: {\n\t\t}\n\t\t\"\"\"\n\tversions: {\n", "\t}\n}\n", indented("\t\t")},
	} {
		got, err := propose.Declare(propose.File{Path: "x.cue", Content: []byte(c.before + c.rest)}, path, propose.ReleaseText(release))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.before+c.added+c.rest, string(got.Content)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestDeclareRefusesAnotherPackage(t *testing.T) {
	_, err := propose.Declare(propose.File{Path: "t.cue", Content: []byte("package templates\n")}, []string{"software", "bpm"}, "{\n\ta: 1\n\tb: {\n\t\tc: 2\n\t}\n}")
	var problems desired.Problems
	if !errors.As(err, &problems) || !strings.Contains(problems[0].Advice, `software: bpm: {a: 1, b: {c: 2}}`) {
		t.Errorf("gives %v", err)
	}
}

func TestReplaceChangesOneValue(t *testing.T) {
	p := desired.Payload{Blob: desired.Blob{SHA256: "ab"}, Install: "/opt/d"}
	got, err := propose.Replace(propose.File{Path: "x.cue", Content: []byte(site)}, []string{"software", "bpm", "versions", "dev", "payload", "any"}, propose.PayloadText(p))
	want := strings.Replace(site, `{folder: "d", install: "/opt/d"}`, "{\n\t\t\tblob: sha256: \"ab\"\n\t\t\tinstall: \"/opt/d\"\n\t\t}", 1)
	if diff := cmp.Diff(want, string(got.Content)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = propose.Replace(propose.File{Path: "x.cue", Content: []byte("package site\nsoftware: bpm: versions: {for v in [\"dev\"] {(v): {}}}\n")}, []string{"software", "bpm", "versions", "dev"}, "{}")
	var problems desired.Problems
	if !errors.As(err, &problems) || !strings.Contains(problems[0].String(), "write by hand: software: bpm: versions: dev: {}") {
		t.Errorf("a comprehension gives %v", err)
	}
}

func TestRestateChangesTheTextAtItsPlace(t *testing.T) {
	f := propose.File{Path: "x.cue", Content: []byte(site)}
	line := 1 + strings.Count(site[:strings.Index(site, "let v")], "\n")
	for name, c := range map[string]struct {
		line, column int
		want         string // "" for a refusal
	}{
		"the text":      {line, 15, strings.Replace(site, `one: "1.0"`, `one: "2.0"`, 1)},
		"its label":     {line, 22, strings.Replace(site, `two:"1.0"`, `two:"2.0"`, 1)},
		"two in a line": {line, 3, ""},
		"one in a line": {line + 3, 1, strings.Replace(site, `{version: "1.0", start`, `{version: "2.0", start`, 1)},
		"no text":       {line + 2, 29, ""},
	} {
		got, err := propose.Restate(f, c.line, c.column, "p", "1.0", "2.0")
		if (err != nil) != (c.want == "") {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, string(got.Content)); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if propose.IsDefault(f, line, 15, "1.0") || !propose.IsDefault(f, line+4, 1, "1.0") {
		t.Error("a default is not told from a text")
	}
}

// TestFormattedStaysFormatted adds a version to every file of the template that has software.
func TestFormattedStaysFormatted(t *testing.T) {
	files, err := filepath.Glob("../../site-template/software/*/*.cue")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".cue")
		got, err := propose.Declare(propose.File{Path: file, Content: b}, []string{"software", name, "versions", "2.0"}, propose.ReleaseText(release))
		if err != nil {
			t.Fatal(err)
		}
		formatted, err := format.Source(got.Content)
		if diff := cmp.Diff(string(formatted), string(got.Content)); diff != "" || err != nil {
			t.Errorf("%s: cue fmt would change it, %v:\n%s", file, err, diff)
		}
	}
}

// FuzzDeclare holds that any file evaluates to its old value and exactly the new one, and that all its bytes are kept.
func FuzzDeclare(f *testing.F) {
	files, err := filepath.Glob("../../site-template/*/*/*.cue")
	if err != nil || len(files) < 7 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "bpm-fesa", "3.2.0")
	}
	f.Add([]byte(site), "bpm", "dev")
	for _, s := range []string{
		"", "package site", "package site\r\nsoftware: x: versions: {\r\n}\r\n", "software: x: {versions: {\n} & {a: 1}}", "software: X=x: versions: {\n\ta: X\n}\n",
		"software: {\n\t[string]: versions: {\n\t\ty: 1\n\t}\n\tx: {\n\t\tversions: {}\n\t}\n}", "\xef\xbb\xbfsoftware: x: versions: {\n}", "a: software\nsoftware: x: versions: \"1\": 2 // c",
		"software: x: versions: {\n\t\"\"\"\n\t\ta\n\t\t\"\"\"\n}", "software: x: versions: {\n/}\n}", "let software = 1\nx: software", "software: x: close({\n\tversions: {\n\t}\n})",
	} {
		f.Add([]byte(s), "x", "9.0")
	}
	f.Fuzz(func(t *testing.T, src []byte, name, version string) {
		if len(src) > 4096 || len(name) > 60 || len(version) > 60 {
			return
		}
		path := []string{"software", name, "versions", version}
		edited, err := propose.Declare(propose.File{Path: "x.cue", Content: src}, path, propose.ReleaseText(release))
		if err != nil {
			return
		}
		kept(t, src, edited.Content)
		if bytes.Contains(src, []byte("import")) || bytes.Contains(src, []byte("for")) && len(src) < 100 {
			return // no module here; a few bytes can make work without end
		}
		ctx := cuecontext.New()
		before, after := ctx.CompileBytes(src), ctx.CompileBytes(edited.Content)
		if before.Err() != nil {
			return // no site file, whose problem would be told first
		}
		one := ctx.CompileString("{" + declaration(path) + propose.ReleaseText(release) + "}")
		want, errWant := before.Unify(one).MarshalJSON()
		got, errGot := after.MarshalJSON()
		switch {
		case errWant == nil && errGot == nil && !cmp.Equal(want, got):
			if !cmp.Equal(sorted(t, want), sorted(t, got)) {
				t.Errorf("evaluates to\n%s\nwant\n%s\nof\n%s", got, want, edited.Content)
			}
		case errWant == nil && errGot != nil && before.Validate(cue.Concrete(true)) == nil && !captured(src):
			t.Errorf("valid before, and then %v:\n%s", errGot, edited.Content)
		}
	})
}

// captured says whether a new field might take a reference to a let clause or an alias: such a site is found out by evaluating it.
func captured(src []byte) bool {
	return bytes.Contains(src, []byte("let")) || bytes.ContainsAny(src, "=~")
}

// kept holds that what was added is one run of bytes.
func kept(t *testing.T, before, after []byte) {
	t.Helper()
	start := 0
	for start < len(before) && before[start] == after[start] {
		start++
	}
	if !bytes.HasSuffix(after, before[start:]) {
		t.Errorf("of\n%q\nnot everything is left in\n%q", before, after)
	}
}

func declaration(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteString(propose.Text(name) + ": ")
	}
	return b.String()
}

func sorted(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
