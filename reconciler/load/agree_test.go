package load_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	cueload "cuelang.org/go/cue/load"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/schema"
)

// checkout writes a site into a folder as pomona init lays it out: with the schema vendored and the root file that
// applies it.
func checkout(t *testing.T, m *memory) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range m.files {
		if f.Mode == artifact.Regular {
			write(f.Path, m.content[f.Path])
		}
	}
	importPath, _, _ := strings.Cut(schema.Path, "@")
	names, err := fs.Glob(schema.FS, "*.cue")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := schema.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write("cue.mod/pkg/"+importPath+"/"+name, b)
	}
	if m.content[schema.Root] == nil {
		write(schema.Root, []byte(root))
	}
	return dir
}

// root is the generated root file. Without the experiment, which language v0.15 brought, a struct that embeds #Site would be
// open again: stock CUE would find no unknown field, at no depth.
const root = `@experiment(explicitopen)

package site

import "` + schema.Path + `"

schema.#Site
`

// stock is what cue vet -c and cue export ./... see of a site: the values of its folders, or the first error.
func stock(t *testing.T, dir string) ([]cue.Value, error) {
	t.Helper()
	ctx := cuecontext.New()
	var values []cue.Value
	for _, inst := range cueload.Instances([]string{"./...:site"}, &cueload.Config{Dir: dir, Env: []string{"CUE_REGISTRY=none", "HOME=" + dir}}) {
		if inst.Err != nil {
			return nil, inst.Err
		}
		v := ctx.BuildInstance(inst)
		if err := v.Validate(cue.Concrete(true), cue.Final()); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// TestAgreesWithStockCUE compares every case with CUE as users run it: the same sites are valid, apart from what only the
// site as a whole shows, and their values are the same.
func TestAgreesWithStockCUE(t *testing.T) {
	skipRace(t)
	names, err := filepath.Glob("../../schema/testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	// What stock CUE cannot know: it sees folders one by one, and no links.
	only := []string{"unit_duplicate", "unit_link", "unit_refinement", "unit_settings_missing", "unit_settings_twice", "unit_misspelt_package", "unit_without_package"}
	for _, name := range names {
		name := strings.TrimSuffix(filepath.Base(name), ".txtar")
		t.Run(name, func(t *testing.T) {
			a, err := txtar.ParseFile("../../schema/testdata/" + name + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			m := caseSource(a)
			values, stockErr := stock(t, checkout(t, m))
			loaded, err := load.Site(t.Context(), m, options(t))
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(only, name) {
				if stockErr != nil || len(loaded.Problems.Blocking()) == 0 {
					t.Errorf("listed as invalid for Pomona alone, but stock says %v, Pomona %v", stockErr, loaded.Problems)
				}
				return
			}
			if (stockErr == nil) != (len(loaded.Problems.Blocking()) == 0) {
				t.Fatalf("stock: %v\nPomona: %v", errors.Details(stockErr, nil), loaded.Problems)
			}
			if stockErr == nil {
				compareValues(t, values, loaded)
			}
		})
	}
}

// compareValues overlays what the folders export, which is the site, since every object is the same wherever it is seen.
func compareValues(t *testing.T, values []cue.Value, loaded *load.Loaded) {
	t.Helper()
	want := map[string]any{}
	for _, v := range values {
		b, err := v.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var sections map[string]any
		if err := json.Unmarshal(b, &sections); err != nil {
			t.Fatal(err)
		}
		for section, objects := range sections {
			if want[section] == nil || section == "site" {
				want[section] = objects
				continue
			}
			for name, o := range objects.(map[string]any) {
				want[section].(map[string]any)[name] = o
			}
		}
	}
	prune(want)
	if diff := cmp.Diff(want, asJSON(t, loaded.Site)); diff != "" {
		t.Errorf("(-stock +Pomona):\n%s", diff)
	}
}

// prune removes empty maps of maps: a template that constrains a map makes it appear, and Go leaves it out.
func prune(v map[string]any) {
	for name, f := range v {
		m, ok := f.(map[string]any)
		if !ok {
			continue
		}
		if prune(m); len(m) == 0 && name == "software" {
			delete(v, name)
		}
	}
}

func asJSON(t *testing.T, v any) (out map[string]any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSchemaAgreesWithGo holds the Go structs to the schema: testdata/kitchen-sink sets every field of the schema, and the
// Go value, which refuses fields that it does not know, has all of them with the same values.
func TestSchemaAgreesWithGo(t *testing.T) {
	a, err := txtar.ParseFile("testdata/kitchen-sink.txtar")
	if err != nil {
		t.Fatal(err)
	}
	m := archive(a)
	values, err := stock(t, checkout(t, m))
	if err != nil {
		t.Fatal(errors.Details(err, nil))
	}
	loaded := mustLoad(t, load.New(options(t)), m)
	if len(loaded.Problems) > 0 {
		t.Fatal(loaded.Problems)
	}
	compareValues(t, values, loaded)

	insts := cueload.Instances([]string{"."}, &cueload.Config{FS: schema.FS, Dir: "/", Env: []string{"CUE_REGISTRY=none"}})
	site := cuecontext.New().BuildInstance(insts[0]).LookupPath(cue.ParsePath("#Site"))
	seen := map[string]bool{}
	record(asJSON(t, loaded.Site), "", seen)
	n := 0
	for _, path := range fields(t, site, "") {
		n++
		if !seen[path] {
			t.Errorf("kitchen-sink.txtar sets no %s", path)
		}
	}
	if n < 80 {
		t.Errorf("the schema has only %d fields: the walk is wrong", n)
	}
}

// record notes the path of every field of a value, with all parts that a key of a map could be replaced by *.
func record(v any, path string, seen map[string]bool) {
	seen[path] = true
	switch v := v.(type) {
	case map[string]any:
		for name, f := range v {
			record(f, path+"."+name, seen)
			record(f, path+".*", seen)
		}
	case []any:
		for _, e := range v {
			record(e, path+"[]", seen)
		}
	}
}

// fields are the paths of every field that a schema value may have; * stands for the keys of a map.
func fields(t *testing.T, v cue.Value, path string) (paths []string) {
	t.Helper()
	if v.IncompleteKind() == cue.ListKind {
		return append(fields(t, v.LookupPath(cue.MakePath(cue.AnyIndex)), path+"[]"), path)
	}
	if v.IncompleteKind() != cue.StructKind {
		return []string{path}
	}
	it, err := v.Fields(cue.Optional(true), cue.Patterns(true))
	if err != nil {
		t.Fatal(err)
	}
	for it.Next() {
		name := "*"
		if it.Selector().ConstraintType() != cue.PatternConstraint {
			name = it.Selector().Unquoted()
		}
		paths = append(paths, fields(t, it.Value(), path+"."+name)...)
	}
	return append(paths, path)
}
