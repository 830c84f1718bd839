package rpm_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func unmet(available, wanted []*rpm.Package) (all []string) {
	for _, u := range rpm.Closure(available, wanted) {
		all = append(all, u.Package.Name+": "+u.Requirement.String())
	}
	return all
}

// asking is a package with one requirement.
func asking(name, requirement string) *rpm.Package {
	d := rpm.Dependency{Name: requirement}
	if words := strings.Fields(requirement); len(words) == 3 && !strings.HasPrefix(requirement, "(") {
		evr, err := rpm.ParseEVR(words[2])
		if err != nil {
			panic(err) // a test that is wrong
		}
		d = rpm.Dependency{Name: words[0], Flags: map[string]rpm.Flags{"<": "LT", ">": "GT", "=": "EQ", "<=": "LE", ">=": "GE"}[words[1]], EVR: evr}
	}
	return &rpm.Package{Name: name, Arch: "noarch", EVR: rpm.EVR{Version: "1", Release: "1"}, Requires: []rpm.Dependency{d}}
}

func giving(name, evr string, provides ...string) *rpm.Package {
	p := asking(name, name+" = "+evr)
	p.EVR, p.Provides, p.Requires = p.Requires[0].EVR, p.Requires, nil
	for _, word := range provides {
		p.Provides = append(p.Provides, asking("", word).Requires...)
	}
	return p
}

func TestClosureFindsWhatNobodyProvides(t *testing.T) {
	base := []*rpm.Package{
		giving("lib", "1:2.0-3", "virtual", "lib(x86-64) = 1:2.0-3", "range >= 5", "noversion = 4", "perl(A::B) = 2"),
		{Name: "shell", Arch: "noarch", Files: []rpm.File{{Path: "/bin/sh"}, {Path: "/usr/share/x", Kind: rpm.Folder}}},
		{Name: "source", Arch: "src", Provides: []rpm.Dependency{{Name: "only-source"}}},
		giving("policy", "1-1"),
	}
	for _, row := range []struct {
		requirement string
		met         bool
	}{
		{"lib", true}, {"nothing", false}, {"virtual", true}, {"virtual = 1", true}, {"only-source", false},
		{"lib = 1:2.0-3", true}, {"lib = 1:2.0", true}, {"lib = 1:2.0-4", false}, {"lib = 2.0-3", false}, {"lib >= 2.0", true}, {"lib > 1:2.0-3", false},
		{"lib > 1:2.0", false}, {"lib >= 1:2.0-3", true}, {"lib < 1:2.1", true}, {"lib <= 1:2.0-2", false}, {"lib < 1:2.0-3", false}, {"lib > 3", true},
		{"range = 7", true}, {"range = 4", false}, {"range < 5", false}, {"range <= 5", true}, {"range > 9", true}, {"noversion >= 4-2", true},
		{"/bin/sh", true}, {"/bin/zsh", false}, {"/usr/share/x", true}, {"rpmlib(Anything) <= 9", true}, {"config(self) = 1", false},
		{"(lib and virtual)", true}, {"(lib and nothing)", false}, {"(nothing or lib)", true}, {"(nothing or none)", false},
		{"(lib >= 1:2.0 and /bin/sh)", true}, {"(lib >= 1:2.1 or none)", false}, {"(nothing if policy)", false}, {"(nothing if none)", true},
		{"(lib if policy)", true}, {"(nothing if none else lib)", true}, {"(nothing if none else none)", false}, {"(lib if policy else none)", true},
		{"(nothing unless none)", false}, {"(nothing unless policy)", true}, {"(lib unless policy)", true}, {"(nothing unless policy else lib)", true},
		{"(lib with virtual)", true}, {"(lib with policy)", false}, {"(lib without virtual)", false}, {"(lib without policy)", true},
		{"(range > 4 with range < 6)", true}, {"((nothing or lib) and (virtual or none))", true}, {"(perl(A::B) >= 1 and perl(A::B) < 3)", true},
		{"(perl(A::B) >= 3 or perl(C))", false}, {"(lib and", false}, {"(lib or virtual and lib)", false}, {"(lib) lib", false}, {"()", false},
		{strings.Repeat("(", 1000) + "lib" + strings.Repeat(")", 1000), false},
	} {
		got := unmet(base, []*rpm.Package{asking("asks", row.requirement)})
		if (len(got) == 0) != row.met {
			t.Errorf("%.60s: unmet are %v, want met: %v", row.requirement, got, row.met)
		}
	}
}

func TestClosureCountsWhatIsWantedItself(t *testing.T) {
	a, b := asking("a", "b >= 1"), giving("b", "1-1")
	if got := unmet(nil, []*rpm.Package{a, b}); got != nil {
		t.Errorf("unmet are %v", got)
	}
	b.Requires = []rpm.Dependency{{Name: "z"}, {Name: "y"}}
	if d := cmp.Diff([]string{"b: y", "b: z"}, unmet([]*rpm.Package{a}, []*rpm.Package{b})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzRichDependencies(f *testing.F) {
	for _, s := range []string{"(a and b)", "(a >= 1 if (b or c) else d)", "(perl(A) with b)", "((", "(a unless b)"} {
		f.Add(s)
	}
	base := []*rpm.Package{giving("a", "1-1", "b", "perl(A)")}
	f.Fuzz(func(t *testing.T, s string) {
		rpm.Closure(base, []*rpm.Package{asking("asks", "("+s)})
	})
}

// TestClosureIsThatOfDNF has dnf repoclosure judge the same packages.
func TestClosureIsThatOfDNF(t *testing.T) {
	t.Parallel()
	lib := packed{name: "lib", epoch: 1, version: "2.0", release: "3", provides: "virtual, other = 4", files: "/etc/lib.conf,/usr/bin/lib,/usr/share/lib/x"}
	var wanted []packed
	for i, requirement := range []string{
		"lib", "nothing", "virtual", "virtual = 1", "lib = 1:2.0-3", "lib = 1:2.0", "lib = 1:2.0-4", "lib >= 2.0", "lib > 1:2.0-3", "lib > 1:2.0",
		"lib < 1:2.1", "lib <= 1:2.0-2", "lib < 1:2.0-3", "other >= 4-2", "other < 4-2", "other > 3", "/etc/lib.conf", "/usr/bin/lib", "/usr/share/lib/x", "/usr/bin/none",
		"/usr/share/lib/none",
	} {
		wanted = append(wanted, packed{name: fmt.Sprintf("asks%02d", i), requires: requirement})
	}
	for i, requirement := range []string{
		"(lib or nothing)", "(nothing or none)", "(lib >= 1:2.0-3 or none)", "(lib >= 3:1 or none)", "(lib if asks00)", "(lib with virtual)", "(lib with none)",
		"(lib without virtual)", "(none if nothing else lib)", "(lib and virtual)", "(none and nothing)",
	} {
		wanted = append(wanted, packed{name: fmt.Sprintf("rich%02d", i), tags: map[int]rpmpack.IndexEntry{
			1049: rpmpack.EntryStringSlice([]string{requirement}), 1048: rpmpack.EntryUint32([]uint32{0}), 1050: rpmpack.EntryStringSlice([]string{""}),
		}})
	}
	base, dir := published(t, lib), published(t, wanted...)
	for _, row := range []struct {
		name         string
		repositories map[string]string
		available    []*rpm.Package
	}{
		{"with the base", map[string]string{"base": base, "pilot": dir}, parsed(t, base, lib)},
		{"without", map[string]string{"pilot": dir}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			ours := unmet(row.available, packages(t, dir))
			slices.Sort(ours)
			out, err := newClient(t, false, row.repositories).run("repoclosure", "--check", "pilot")
			if (err == nil) != (len(ours) == 0) {
				t.Fatalf("dnf: %v\n%s", err, out)
			}
			if d := cmp.Diff(closureOf(out), ours); d != "" {
				t.Errorf("(-dnf +ours):\n%s\n%s", d, out)
			}
		})
	}
}

// parsed is a repository's primary.xml, with the files of a package that only filelists.xml tells.
func parsed(t *testing.T, dir string, p packed) []*rpm.Package {
	t.Helper()
	b := must(os.ReadFile(filepath.Join(dir, "repodata", rpm.PrimaryName)))(t)
	all := must(rpm.ParseBase(bytes.NewReader(b)))(t)
	if len(all) != 1 {
		t.Fatalf("%d packages", len(all))
	}
	all[0].Files = p.read(t).Files
	return all
}

// closureOf reads what dnf repoclosure says.
func closureOf(out string) (all []string) {
	name := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); len(words) == 4 && words[0] == "package:" {
			name, _, _ = strings.Cut(words[1], "-")
		} else if name != "" && line != "" && !strings.HasPrefix(line, "unresolved deps") && !strings.HasPrefix(line, "Error:") {
			all = append(all, name+": "+line)
		}
	}
	slices.Sort(all)
	return all
}
