package load_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/load"
)

var update = flag.Bool("update", false, "rewrite what the cases of schema/testdata want")

// TestCases loads each site of schema/testdata and compares its problems or its values. A case without site.cue gets the
// settings that every site needs, and one without module.cue gets that.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("../../schema/testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			checkCase(t, name, a)
		})
	}
}

func checkCase(t *testing.T, name string, a *txtar.Archive) {
	loaded, err := load.Site(t.Context(), caseSource(a), options(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if len(loaded.Problems) > 0 {
		got["want/problems"] = loaded.Problems.Error() + "\n"
	}
	if len(loaded.Problems.Blocking()) == 0 {
		b, err := json.MarshalIndent(loaded.Site, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		got["want/site.json"] = string(b) + "\n"
	}
	want := map[string]string{}
	var files []txtar.File
	for _, f := range a.Files {
		if strings.HasPrefix(f.Name, "want/") {
			want[f.Name] = string(f.Data)
			continue
		}
		files = append(files, f)
	}
	if diff := cmp.Diff(want, got); diff == "" {
		return
	} else if !*update {
		t.Errorf("(-want +got):\n%s", diff)
		return
	}
	for _, f := range []string{"want/problems", "want/site.json"} {
		if got[f] != "" {
			files = append(files, txtar.File{Name: f, Data: []byte(got[f])})
		}
	}
	a.Files = files
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// caseSource is the commit of a case.
func caseSource(a *txtar.Archive) *memory {
	m := archive(a)
	if _, ok := m.content["site.cue"]; !ok && !strings.Contains(string(a.Comment), "no settings") {
		m.put("site.cue", settings, artifact.Regular)
	}
	return m
}
