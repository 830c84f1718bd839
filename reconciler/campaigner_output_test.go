package reconciler

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// A file of a later round stands for one of its name that was made of the same inputs, or of some of them.
func TestWhichFilesStand(t *testing.T) {
	folder := t.TempDir()
	s := &Campaigner{engines: map[string]*engineNow{"e": {desk: &submit.Desk{Folder: folder}}}}
	attempt := func(launch string, round int, inputs ...string) ledger.Submission {
		dir := filepath.Join(folder, launch, "inputs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "1"), []byte(strings.Join(append(inputs, ""), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		return ledger.Submission{Key: "pom-" + launch, Launch: launch, Task: 1, Round: round, Engine: "e"}
	}
	first, again, part, rest, all := attempt("first", 0, "b", "a"), attempt("again", 0, "a", "b"), attempt("part", 1, "a"), attempt("rest", 2, "c"), attempt("all", 3, "a", "b", "c")
	for name, c := range map[string]struct {
		of            []ledger.Submission
		kept, clashes string
	}{
		"the same round":    {[]ledger.Submission{first, again}, "again", ""},
		"all of it":         {[]ledger.Submission{first, all}, "all", ""},
		"a part of it":      {[]ledger.Submission{first, part}, "first part", "x"},
		"others":            {[]ledger.Submission{first, rest}, "first rest", "x"},
		"others, then all":  {[]ledger.Submission{first, rest, all}, "all", ""},
		"others, then both": {[]ledger.Submission{first, again, part, rest}, "again part rest", "x"},
	} {
		var files []output
		for _, sub := range c.of {
			files = append(files, output{name: "x", of: sub}, output{name: "only-" + sub.Launch, of: sub})
		}
		kept, clashes, err := s.standing(files)
		var names []string
		for _, f := range kept {
			if f.name == "x" {
				names = append(names, f.of.Launch)
			}
		}
		if err != nil || strings.Join(names, " ") != c.kept || strings.Join(clashes, " ") != c.clashes || len(kept) != len(names)+len(c.of) {
			t.Errorf("%s: %v of %d stand, clashes %v, %v", name, names, len(kept), clashes, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(folder, "rest")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.standing([]output{{name: "x", of: first}, {name: "x", of: rest}}); err == nil {
		t.Error("nobody knows what it has worked on, and it stands")
	}
	if !slices.Equal(notIn([]string{"a"}, []string{"a", "b"}), []string{"b"}) {
		t.Error("names that are not among others")
	}
}
