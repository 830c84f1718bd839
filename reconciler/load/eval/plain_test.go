package eval

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"cuelang.org/go/cue"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// loaded is the only unit of a site of these files.
func loaded(t *testing.T, files map[string][]byte) (*batch, unit) {
	t.Helper()
	if files["cue.mod/module.cue"] == nil {
		files["cue.mod/module.cue"] = []byte("module: \"example.org/site\"\nlanguage: version: \"v0.17.0\"\n")
	}
	b, ps := loadBatch(wire.Batch{Files: files, Units: []wire.Unit{{Dir: "."}}})
	if len(ps) > 0 {
		t.Skip(ps)
	}
	return b, b.units[0]
}

// agree holds every object that is taken as it is written to what CUE exports, and says how many there are.
func agree(t *testing.T, files map[string][]byte) (plain int) {
	t.Helper()
	b, u := loaded(t, files)
	if u.inst == nil || u.inst.Err != nil {
		return 0
	}
	p := plainOf(u.inst)
	v := b.site.Unify(b.ctx.BuildInstance(u.inst))
	for name, got := range p {
		path := cue.MakePath(cue.Str(name.section), cue.Str(name.name))
		if name.name == "" {
			path = cue.MakePath(cue.Str(name.section))
		}
		if got == nil {
			continue
		}
		plain++
		object := v.LookupPath(path)
		if object.Validate(cue.Concrete(true), cue.Final()) != nil {
			continue // never exported
		}
		want, err := object.MarshalJSON()
		if err != nil {
			t.Errorf("%v: %v", name, err)
			continue
		}
		var g, w any
		if err := json.Unmarshal(got, &g); err != nil {
			t.Errorf("%v: %v in %s", name, err, got)
		}
		if err := json.Unmarshal(want, &w); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(w, g); d != "" {
			t.Errorf("%v (-CUE +plain):\n%s", name, d)
		}
	}
	return plain
}

// TestPlainIsWhatCUEExports reads every case of the schema's tests.
func TestPlainIsWhatCUEExports(t *testing.T) {
	names, err := filepath.Glob("../../../schema/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	plain := 0
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{}
		for _, f := range a.Files {
			if filepath.Ext(f.Name) == ".cue" {
				files[f.Name] = f.Data
			}
		}
		t.Run(filepath.Base(name), func(t *testing.T) { plain += agree(t, files) })
	}
	if plain < 20 {
		t.Errorf("only %d plain objects in %d cases", plain, len(names))
	}
}

func TestPlain(t *testing.T) {
	const head = "// a comment\npackage site\n"
	fec := func(fields string) string { return "fecs: kg1: {host: \"h\", platform: \"p\", " + fields + "}\n" }
	tests := map[string]struct {
		src   string
		plain int
	}{
		"fields":        {fec(`labels: {a: "b", "c-d": "\u00e4\n\"<&>", e: ""}`), 1},
		"lists":         {fec("// why\ngroups: [\"a\", // this\n\"b\"]"), 1},
		"numbers":       {fec("persistence: x: {path: \"/opt/x\", schema: \"s\", keep: 12}"), 1},
		"booleans":      {fec(`software: s: {version: "1.0", start: true}`), 1},
		"lines":         {fec("description: \"\"\"\n\ta\n\tb\n\t\"\"\""), 1},
		"two":           {"fecs: {kg1: {host: \"h\"}, \"kg2\": {host: \"i\"}}\nsite: name: \"n\"\n", 3},
		"one of two":    {fec("") + "fecs: kg2: host: \"a\" + \"b\"\n", 1},
		"import":        {"import \"strings\"\n" + fec("") + "fecs: kg2: host: strings.ToLower(\"A\")\n", 1},
		"thrice":        {"fecs: kg1: host: \"h\"\nfecs: kg1: platform: \"p\"\nfecs: kg1: location: \"l\"\n", 0},
		"raw string":    {fec(`description: #"a\nb"#`), 0},
		"other number":  {fec(`persistence: x: {path: "/opt/x", schema: "s", keep: 0x0c}`), 0},
		"reference":     {"_h: \"h\"\n" + "fecs: kg1: host: _h\n", 0},
		"expression":    {fec(`description: "a" + "b"`), 0},
		"interpolation": {fec(`description: "\(1)"`), 0},
		"twice":         {"fecs: kg1: host: \"h\"\nfecs: kg1: platform: \"p\"\n", 0},
		"twice inside":  {fec("labels: a: \"x\", labels: b: \"y\""), 0},
		"pattern":       {fec("") + "fecs: [string]: location: \"l\"\n", 0},
		"comprehension": {fec("") + "for i in [1] {fecs: \"kg2\": host: \"h\"}\n", 0},
		"in a section":  {"fecs: {for i in [1] {\"kg\\(i)\": host: \"h\"}}\n", 0},
		"embedding":     {"fecs: kg1: {{host: \"h\"}}\n", 0},
		"definition":    {"#x: 1\n", 0},
		"conjunction":   {"fecs: kg1: {host: \"h\"} & {platform: \"p\"}\n", 0},
		"optional":      {"fecs: kg1: host?: \"h\"\n", 0},
		"required":      {"fecs: kg1: host!: \"h\"\n", 0},
		"default":       {"fecs: kg1: host: *\"h\" | string\n", 0},
		"alias":         {"fecs: kg1: X={host: \"h\"}\n", 0},
		"ellipsis":      {"fecs: kg1: {host: \"h\", ...}\n", 0},
		"open list":     {fec(`groups: ["a", ...]`), 0},
		"let":           {"let x = 1\n" + fec(""), 0},
		"attribute":     {fec(`description: "a" @x(y)`), 0},
		"dynamic label": {"fecs: (\"kg1\"): host: \"h\"\n", 0},
		"null":          {fec("description: null"), 0},
		"bytes":         {fec("description: 'a'"), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := agree(t, map[string][]byte{"a.cue": []byte(head + tt.src)}); got != tt.plain {
				t.Errorf("%d plain objects, want %d", got, tt.plain)
			}
		})
	}
}
