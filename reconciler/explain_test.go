package reconciler_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

func (s site) explain(root, asked string) (report.Explanation, error) {
	s.t.Helper()
	r := s.reconciler(root)
	r.Branch = ""
	return r.Explain(s.t.Context(), asked)
}

// places are an explanation as "role cue-path = value file:line by subject".
func places(e report.Explanation) (out []string) {
	for _, s := range e.Sources {
		line := fmt.Sprintf("%s|%s|%s|%s", s.Role, s.Path, s.Value, s.File)
		if s.Line > 0 {
			line += fmt.Sprintf(":%d", s.Line)
		}
		if s.Changed != nil {
			line += "|" + s.Changed.Subject
		}
		out = append(out, line)
	}
	return out
}

func TestExplain(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	// Two FECs of a comprehension, whose platform comes from a definition.
	s.write("fecs/many/many.cue", `package site

#Crate: {platform: "ppc", ...}
fecs: {
	for n, v in {"1": "1.0.0", "2": "1.1.0"} {
		"many\(n)": #Crate & {
			host: "h\(n)"
			software: bpm: version: v
		}
	}
}
`)
	s.commit("README", "", "x\n")
	have := pass(t, s.reconciler(root))
	g := have.Generations[0]
	url := "http://fecs.example.org/by-commit/" + g.Commit + "/software/bpm/1.0.0/bpm-1.0.0.tar.gz"
	archive := []string{
		`payload|software.bpm.versions."1.0.0".payload.any||software/bpm.cue:4|change README`,
		`content|||payload/bpm/1.0.0/|change README`,
	}
	object, err := filepath.EvalSymlinks(filepath.Join(root, "current/fecs/kgp2cu01/init/50-bpm"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Join(root, "current/fecs/kgp2cu02"))
	if err != nil {
		t.Fatal(err)
	}
	script := []string{
		`init script|fecs.kgp2cu01.init."50-bpm"||fecs/fecs.cue:11|change README`,
		`content|||scripts/bpm|change README`,
	}
	for _, c := range []struct {
		asked, path, what string
		want              []string
	}{
		{"fecs/many2/software/bpm-1.1.0.tar.gz", "", "archive of bpm 1.1.0 for FEC many2", []string{
			`pinned version|fecs.many2.software.bpm.version|"1.1.0"|fecs/many/many.cue:8|change README`,
			`pinned version, stated in|fecs.many2.software.bpm.version|"1.1.0"|fecs/many/many.cue:5|change README`,
			`payload|software.bpm.versions."1.1.0".payload.any||software/bpm.cue:5|change README`,
			`content|||payload/bpm/1.1.0/|change README`,
		}},
		{"fecs/many1", "", "FEC many1", []string{
			`FEC|fecs.many1||fecs/many/many.cue:6|change README`,
			`host name|fecs.many1.host|"h1"|fecs/many/many.cue:7|change README`,
			`platform|fecs.many1.platform|"ppc"|fecs/many/many.cue:3|change README`,
		}},
		{"fecs/h1/", "fecs/h1", "link to FEC many1, by its host name", []string{`host name|fecs.many1.host|"h1"|fecs/many/many.cue:7|change README`}},
		{"software/bpm/1.0.0/bpm-1.0.0.tar.gz", "", "archive of bpm 1.0.0 (any, gzip), served because it is named by fecs.kgp2cu01, fecs.many1", archive},
		{url, "software/bpm/1.0.0/bpm-1.0.0.tar.gz", "archive of bpm 1.0.0 (any, gzip), served because it is named by fecs.kgp2cu01, fecs.many1", archive},
		{root + "/generations/1/software/bpm/1.0.0/bpm-1.0.0.tar.gz.sha256", "software/bpm/1.0.0/bpm-1.0.0.tar.gz.sha256",
			"checksum of the archive of bpm 1.0.0 (any, gzip), served because it is named by fecs.kgp2cu01, fecs.many1", archive},
		{root + "/current/fecs/kgp2cu01/init/50-bpm", "fecs/kgp2cu01/init/50-bpm", "init script 50-bpm of FEC kgp2cu01", script},
		{object, "objects/" + strings.SplitN(object, "/objects/", 2)[1], "object: init script 50-bpm of FEC kgp2cu01", script},
		{folder + "/monitor", "", "", nil},
		{"current", "index", "list of all folders of a generation", []string{`site|site.name|"test"|site.cue:4|change README`}},
		{"fecs.kgp2cu02.software.bpm", "", `value {"version":"1.1.0"}`, []string{`value|fecs.kgp2cu02.software.bpm||fecs/fecs.cue:19|change README`}},
		{`software.bpm.versions."1.0.0".payload.any.install`, "", `value "/opt/bpm/1.0.0"`, []string{
			`value|software.bpm.versions."1.0.0".payload.any.install|"/opt/bpm/1.0.0"|software/bpm.cue:4|change README`}},
	} {
		got, err := s.explain(root, c.asked)
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: %+v", c.asked, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.asked, err)
			continue
		}
		if c.path == "" {
			c.path = c.asked
		}
		if got.Path != c.path || got.What != c.what || got.Commit != g.Commit {
			t.Errorf("%s is %q %q of commit %s, want %q %q of %s", c.asked, got.Path, got.What, got.Commit, c.path, c.what, g.Commit)
		}
		if d := cmp.Diff(c.want, places(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.asked, d)
		}
	}
}

// TestExplainEveryPathThatIsServed asks for every path of a root, as it lies there.
func TestExplainEveryPathThatIsServed(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	n := 0
	for _, line := range listing(t, root, "current") {
		name, _, _ := strings.Cut(line, " ")
		name = strings.TrimSuffix(name, "/")
		if !strings.Contains(name, "/") && name != "index" && name != "index.sig" && name != "generation.json" {
			continue // fecs, software, configuration
		}
		e, err := s.explain(root, filepath.Join(root, "current", name))
		if err != nil {
			t.Error(err)
			continue
		}
		n++
		for _, source := range e.Sources {
			if source.File == "" || source.Changed == nil {
				t.Errorf("%s: source %+v", name, source)
			}
		}
	}
	if n < 30 {
		t.Errorf("explained %d paths", n)
	}
	all, err := filepath.Glob(filepath.Join(root, "objects/sha256/*/*"))
	if err != nil || len(all) < 10 {
		t.Fatalf("%d objects, %v", len(all), err)
	}
	for _, object := range all {
		if e, err := s.explain(root, object); err != nil || len(e.Sources) == 0 {
			t.Errorf("%s: %+v, %v", object, e, err)
		}
	}
}

func TestExplainSaysWhatItDoesNotKnow(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	s.commit("software/bpm.cue", `	dev:`, `	"0.7.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/0"}
	"0.8.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/0"}
	"0.9.0": payload: any: {folder: "payload/bpm/1.0.0", install: "/opt/bpm/0"}
	dev:`)
	pass(t, s.reconciler(root))
	for asked, want := range map[string]string{
		"fecs/kgp2cu1":               `did you mean "fecs/kgp2cu01"?`,
		"fecs/kgp2cu1/boot.manifest": `did you mean "fecs/kgp2cu01"?`,
		"fecs/kgp2cu01/boot.manifes": `did you mean "fecs/kgp2cu01/boot.manifest"?`,
		"software/bmp":               `did you mean "software/bpm"?`,
		"nothing/like/it":            `serves no "nothing/like/it"`,
		"../../etc":                  `serves no "../../etc"`,
		"software/bpm/0.7.0":         `does not serve "software/bpm/0.7.0": bpm 0.7.0 is named by nothing and older than the 3 newest`,
		"/etc/passwd":                "not below a served directory",
		"fecs.kgp2cu1":               `fecs has no kgp2cu1: did you mean "kgp2cu01"?`,
		"fecs.kgp2cu01.hots":         `did you mean "host"?`,
		"fecs":                       "name one of fecs: kgp2cu01, kgp2cu02, kgp2cu03",
		"fecs.":                      "malformed path",
		"fecs.kgp2cu01.host.x":       "fecs.kgp2cu01.host has no x",
		"objects/sha256/ab/cd":       "malformed digest",
		"objects/sha256/ab/" + strings.Repeat("ab", 32): "nothing of commit",
		root + "/generations/9/index":                   "find generation 9",
		"generations/x/index":                           "unknown commit",
		"by-commit/" + strings.Repeat("ab", 20):         "resolve revision",
	} {
		if _, err := s.explain(root, asked); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", asked, err, want)
		}
	}
	if _, err := s.explain(t.TempDir(), "index"); err == nil || !strings.Contains(err.Error(), "has published nothing") {
		t.Errorf("empty root: %v", err)
	}
}

// TestExplainNamesTheOneWhoChangedIt goes through a second commit and a root that still serves the first.
func TestExplainNamesTheOneWhoChangedIt(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	pass(t, s.reconciler(root))
	b, err := os.ReadFile(filepath.Join(s.dir, "fecs/fecs.cue"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("fecs/fecs.cue", strings.Replace(string(b), `version: "1.1.0"`, `version: "1.0.0"`, 1))
	commitAs(t, s.dir, "Ann", "back to 1.0.0")
	served, err := s.explain(root, "fecs.kgp2cu02.software.bpm.version")
	if err != nil || served.Sources[0].Value != `"1.1.0"` || served.Sources[0].Changed.Subject != "first" {
		t.Errorf("served: %+v, %v", served, err)
	}
	now, err := s.explain("", "fecs/kgp2cu02/software/bpm-1.0.0.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	if c := now.Sources[0].Changed; c.Author != "Ann <ann@example.org>" || c.Subject != "back to 1.0.0" {
		t.Errorf("pinned by %+v", c)
	}
	if c := now.Sources[1].Changed; c.Subject != "first" {
		t.Errorf("payload by %+v", c)
	}
	var text strings.Builder
	if err := now.Text(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"fecs/kgp2cu02/software/bpm-1.0.0.tar.zst: archive of bpm 1.0.0 for FEC kgp2cu02, at commit ",
		"\n  pinned version  fecs.kgp2cu02.software.bpm.version: \"1.0.0\"\n    fecs/fecs.cue:19:27  software: bpm: version: \"1.0.0\"\n",
		"  Ann <ann@example.org>: back to 1.0.0\n", "\n  content\n    payload/bpm/1.0.0/\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

// commitAs adds a commit to a repository with the real git.
func commitAs(t *testing.T, dir, name, subject string) {
	t.Helper()
	runGit(t, dir, "add", "-A")
	runGit(t, dir, "-c", "user.name="+name, "-c", "user.email="+strings.ToLower(name)+"@example.org", "commit", "--author", name+" <"+strings.ToLower(name)+"@example.org>", "-qm", subject)
}

func runGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}
