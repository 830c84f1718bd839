package tree_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var zeros = strings.Repeat("0", 64)

// hostile is text that shells, YAML, Jinja, Markdown and Containerfiles would like to take for something else.
const hostile = `$(touch /tmp/x) ${HOME} '"` + "`id`" + ` \ {{ lookup('pipe', 'id') }} | <b>&amp; *x* # : - %`

// prerequisiteSite has every provider on every family, and text that is hostile wherever text may be.
func prerequisiteSite() desired.Site {
	distro := func(name, candidate string) desired.Source {
		return desired.Source{Distro: &desired.DistroPackage{Package: name, Candidate: candidate, AsOf: "2026-05-01"}}
	}
	vendor := func(name string) desired.Provision {
		return desired.Provision{
			Source:    desired.Source{VendorRepo: &desired.VendorPackage{Package: name, URL: "https://v.example.org/apt", Key: "https://v.example.org/key.asc", KeyFingerprint: strings.Repeat("A", 40), Components: []string{"main", "extra"}}},
			Exception: &desired.Exception{Provider: desired.FromVendor, Reason: hostile, By: "ada@example.org", Expires: "2026-06-01"},
		}
	}
	file := desired.Provision{
		Source:    desired.Source{Artifact: &desired.ArtifactFile{URL: "https://v.example.org/tool", SHA256: zeros, Dest: "/opt/tool/tool", Executable: true}},
		Exception: &desired.Exception{Provider: desired.FromArtifact, Reason: hostile, By: "ada@example.org", Expires: "2026-06-01"},
	}
	module := desired.Provision{Source: desired.Source{Language: &desired.LanguagePackage{Package: "PyYAML", Version: "3.10", SHA256: []string{zeros, strings.Repeat("1", 64)}}}}
	java := func(family string) desired.Provision {
		return desired.Provision{Source: distro("openjdk-21-"+family, "21.0.1"), Others: map[string]desired.Source{"17": distro("openjdk-17-"+family, "17.0.1")}}
	}
	base := desired.Prerequisite{Description: hostile, Responsible: "ada <ada@example.org>", Ecosystem: "system", Verify: []desired.Probe{{Shell: `echo "$HOME" '` + hostile + `'`, Expect: hostile}}}
	with := func(version string, systems map[string]desired.Provision, needs ...string) desired.Prerequisite {
		p := base
		p.Recommended, p.Supported, p.Systems, p.Needs = version, []string{version}, systems, needs
		return p
	}
	s := desired.Site{
		Settings: desired.Settings{
			Name: "ring",
			Systems: map[string]desired.System{
				"debian12": {Family: desired.Debian, Release: "bookworm"}, "rocky-9": {Family: desired.RHEL, Release: "9", Image: "docker.io/rockylinux:9", Description: hostile},
				"mac15": {Family: desired.MacOS, Release: "15"},
			},
			Platforms: map[string]desired.Platform{"x86": {System: "debian12"}, "ppc": {}},
		},
		FECs: map[string]desired.FEC{"kg1": {Host: "kg1.example.org", Platform: "x86"}, "kg2": {Host: "kg2", Platform: "ppc"}},
		Prerequisites: map[string]desired.Prerequisite{
			"java":      with("21", map[string]desired.Provision{"debian12": java("jre"), "rocky-9": java("headless"), "mac15": java("mac")}, "tool.x"),
			"tool.x":    with("1.0", map[string]desired.Provision{"debian12": file, "rocky-9": file, "mac15": file}),
			"vendor-db": with("16", map[string]desired.Provision{"debian12": vendor("db-16"), "rocky-9": vendor("db16")}, "java"),
			"yaml":      with("3.10", map[string]desired.Provision{"debian12": module, "rocky-9": module, "mac15": module}),
		},
	}
	j := s.Prerequisites["java"]
	j.Supported, j.Previous = []string{"21", "17"}, "17"
	j.Verify = []desired.Probe{{Run: []string{"java", "--version"}, Expect: "openjdk ${version}"}}
	s.Prerequisites["java"] = j
	y := s.Prerequisites["yaml"]
	y.Ecosystem = desired.Python
	s.Prerequisites["yaml"] = y
	return s
}

// written writes what is rendered into a folder.
func written(t *testing.T, s desired.Site) (dir string, files map[string]string) {
	t.Helper()
	nodes, err := tree.Prerequisites(s)
	if err != nil {
		t.Fatal(err)
	}
	dir, files = t.TempDir(), map[string]string{}
	for _, n := range nodes {
		files[n.Path] = string(n.Data)
		file, mode := filepath.Join(dir, n.Path), os.FileMode(0o644)
		if n.Mode == artifact.Executable {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, n.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir, files
}

// run runs a program, which must end with 0.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed: .ci/setup test", program)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ANSIBLE_LOCALHOST_WARNING=false", "HOME="+t.TempDir(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPrerequisitesAreRenderedIntoEverything(t *testing.T) {
	_, files := written(t, prerequisiteSite())
	for _, name := range []string{
		"debian12/install.sh", "debian12/verify.sh", "debian12/Containerfile", "rocky-9/install.sh", "rocky-9/verify.sh", "rocky-9/Containerfile", "mac15/install.sh", "mac15/verify.sh",
		"ansible/site.yml", "ansible/debian12.yml", "ansible/rocky-9.yml", "ansible/mac15.yml", "ansible/inventory/hosts.yml", "ansible/roles/vendor_db/tasks/main.yml", "ansible/roles/vendor_db/meta/main.yml",
		"ansible/roles/tool_x/tasks/main.yml", "ci/github-actions.yml", "ci/gitlab-ci.yml", "ci/jenkins-jobs.yml", "docs/README.md", "docs/java.md", "docs/tool.x.md", "lock.json",
	} {
		if files[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if files["mac15/Containerfile"] != "" {
		t.Error("there is a container of macos")
	}
	if !strings.Contains(files["mac15/install.sh"], "Nobody has tested it") || !strings.Contains(files["docs/README.md"], "Nobody has tested that") {
		t.Error("what nobody can test is not marked")
	}
	var lock struct {
		Prerequisites map[string]struct{ Digest string }
		Files         map[string]string
	}
	if err := json.Unmarshal([]byte(files["lock.json"]), &lock); err != nil {
		t.Fatal(err)
	}
	for name, p := range lock.Prerequisites {
		d, err := tree.PrerequisiteDigest(prerequisiteSite(), name)
		if err != nil || p.Digest != "sha256:"+d.String() {
			t.Errorf("lock says %s of %s, want %s, %v", p.Digest, name, d, err)
		}
		role := "ansible/roles/" + strings.NewReplacer("-", "_", ".", "_").Replace(name) + "/tasks/main.yml"
		for _, file := range []string{"debian12/install.sh", "debian12/verify.sh", "debian12/Containerfile", "docs/" + name + ".md", role, "ci/jenkins-jobs.yml"} {
			if !tree.Stamped(tree.Node{Data: []byte(files[file])}, name, d) {
				t.Errorf("%s carries no digest of %s", file, name)
			}
		}
	}
	for name, content := range files {
		if want := artifact.Sum([]byte(content)).String(); name != "lock.json" && lock.Files[name] != want {
			t.Errorf("lock has %s of %s, want %s", lock.Files[name], name, want)
		}
	}
}

func TestPrerequisiteDigestIsOfWhatIsRendered(t *testing.T) {
	digests := func(change func(*desired.Site)) map[string]artifact.Digest {
		s := prerequisiteSite()
		change(&s)
		out := map[string]artifact.Digest{}
		for name := range s.Prerequisites {
			d, err := tree.PrerequisiteDigest(s, name)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = d
		}
		return out
	}
	before := digests(func(*desired.Site) {})
	set := func(name string, change func(*desired.Prerequisite)) func(*desired.Site) {
		return func(s *desired.Site) {
			p := s.Prerequisites[name]
			change(&p)
			s.Prerequisites[name] = p
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*desired.Site)
		changed string
	}{
		{"nothing", func(*desired.Site) {}, ""},
		{"candidate", set("java", func(p *desired.Prerequisite) { p.Systems["debian12"].Distro.Candidate = "21.0.2" }), "java vendor-db"},
		{"what it needs", set("tool.x", func(p *desired.Prerequisite) { p.Systems["mac15"].Artifact.SHA256 = strings.Repeat("1", 64) }), "java tool.x vendor-db"},
		{"probe", set("yaml", func(p *desired.Prerequisite) { p.Verify = []desired.Probe{{Run: []string{"true"}}} }), "yaml"},
		{"day on which an index was asked", set("java", func(p *desired.Prerequisite) { p.Systems["debian12"].Distro.AsOf = "2026-05-02" }), ""},
		{"end of an exception", set("vendor-db", func(p *desired.Prerequisite) { p.Systems["debian12"].Exception.Expires = "2026-05-02" }), ""},
		{"a record", set("yaml", func(p *desired.Prerequisite) {
			p.Records = map[string]desired.PrerequisiteRecord{"a": {Kind: "review"}}
		}), ""},
		{"another FEC", func(s *desired.Site) { s.FECs["kg3"] = desired.FEC{Host: "kg3", Platform: "x86"} }, ""},
		{"another prerequisite", func(s *desired.Site) {
			s.Prerequisites["zz"] = s.Prerequisites["yaml"]
		}, ""},
	} {
		var changed []string
		for name, d := range digests(c.change) {
			if before[name] != d && !before[name].IsZero() {
				changed = append(changed, name)
			}
		}
		if got := len(changed); got != len(strings.Fields(c.changed)) {
			t.Errorf("%s changes the digests of %v, want %q", c.name, changed, c.changed)
		}
		for _, name := range changed {
			if !strings.Contains(" "+c.changed+" ", " "+name+" ") {
				t.Errorf("%s changes the digest of %s", c.name, name)
			}
		}
	}
}

// TestEmptySectionIsAnError has nobody provide anything: nothing is lost in silence.
func TestEmptySectionIsAnError(t *testing.T) {
	s := prerequisiteSite()
	y := s.Prerequisites["yaml"]
	y.Systems = map[string]desired.Provision{"debian12": {}}
	s.Prerequisites["yaml"] = y
	if _, err := tree.Prerequisites(s); err == nil || !strings.Contains(err.Error(), "yaml=3.10 of system debian12 is missing in debian12/install.sh") {
		t.Errorf("without a source: %v", err)
	}
	y = prerequisiteSite().Prerequisites["yaml"]
	y.Verify = nil
	s.Prerequisites["yaml"] = y
	if _, err := tree.Prerequisites(s); err == nil || !strings.Contains(err.Error(), "is missing in debian12/verify.sh") {
		t.Errorf("without probes: %v", err)
	}
}

func TestPrerequisiteScriptsAreClean(t *testing.T) {
	dir, files := written(t, prerequisiteSite())
	for name := range files {
		if strings.HasSuffix(name, ".sh") {
			run(t, dir, "shellcheck", name)
			run(t, dir, "dash", "-n", name)
		}
	}
}

func TestPrerequisiteYAMLIsClean(t *testing.T) {
	dir, _ := written(t, prerequisiteSite())
	run(t, dir, "yamllint", "-s", "-d", "{extends: default, rules: {line-length: disable}}", ".")
	run(t, dir, "jenkins-jobs", "test", "ci/jenkins-jobs.yml", "-o", t.TempDir())
	for _, playbook := range []string{"site.yml", "debian12.yml", "rocky-9.yml", "mac15.yml"} {
		run(t, dir+"/ansible", "ansible-playbook", "--syntax-check", "-i", "inventory/hosts.yml", playbook)
	}
	graph := run(t, dir+"/ansible", "ansible-inventory", "-i", "inventory/hosts.yml", "--graph")
	if !strings.Contains(graph, "@pomona_debian12:\n  |  |--kg1.example.org") || strings.Contains(graph, "kg2") {
		t.Errorf("the inventory has %s", graph)
	}
	if _, err := exec.LookPath("ansible-lint"); err == nil {
		run(t, dir+"/ansible", "ansible-lint", "--offline", "-q", "site.yml")
	}
}

// TestProbesSayWhatTheyFind runs a verify script whose probes are of this machine.
func TestProbesSayWhatTheyFind(t *testing.T) {
	s := prerequisiteSite()
	y := s.Prerequisites["yaml"]
	y.Verify = []desired.Probe{{Run: []string{"echo", hostile}, Expect: hostile}, {Shell: `test "$0" = sh && echo ${version}`, Expect: "3.10"}}
	s.Prerequisites = map[string]desired.Prerequisite{"yaml": y}
	verify := func() (string, int) {
		dir, _ := written(t, s)
		cmd := exec.Command(dir+"/debian12/verify.sh", "yaml")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := verify(); code != 0 || strings.Count(out, "PASS yaml: ") != 2 {
		t.Errorf("probes of what is there: %d\n%s", code, out)
	}
	y.Verify = append(y.Verify, desired.Probe{Run: []string{"false"}}, desired.Probe{Run: []string{"no-such-program"}}, desired.Probe{Run: []string{"echo", "well"}, Expect: "good"})
	s.Prerequisites["yaml"] = y
	if out, code := verify(); code != 1 || strings.Count(out, "FAIL yaml: ") != 3 || !strings.Contains(out, "want good, got: well") {
		t.Errorf("probes of what is not: %d\n%s", code, out)
	}
}

func TestPrerequisitesAreAFunctionOfTheSite(t *testing.T) {
	a, err := tree.Prerequisites(prerequisiteSite())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b, err := tree.Prerequisites(prerequisiteSite())
		if err != nil || len(a) != len(b) {
			t.Fatal(err)
		}
		for i := range a {
			if a[i].Path != b[i].Path || !bytes.Equal(a[i].Data, b[i].Data) {
				t.Errorf("%s is another now", a[i].Path)
			}
		}
	}
	if nodes, err := tree.Prerequisites(desired.Site{}); err != nil || nodes != nil {
		t.Errorf("of nothing: %v, %v", nodes, err)
	}
}
