package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

// sayers are people who each have a key, and say things of one pilot by commands alone.
type sayers struct {
	t         *testing.T
	dir, bare string
	keys      map[string]string
	now       time.Time
}

// said is what a command tells of what it wrote.
type said struct {
	Record, Subject, State, Before string
	Files, Doubts                  []string
	Commit, Branch, Change         string
}

func newSayers(t *testing.T, people ...string) *sayers {
	t.Helper()
	s := &sayers{t: t, dir: t.TempDir(), keys: map[string]string{}, now: time.Now().UTC().Truncate(time.Second)}
	must(t, "init", s.path("first"))
	world{t: t}.mkdir(s.path("root"))
	s.bare = s.path("git/controls/site.git")
	git(t, s.dir, "clone", "-q", "--bare", s.path("first"), s.bare)
	var allowed strings.Builder
	for _, who := range people {
		key := s.path(who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		s.keys[who] = key
		fmt.Fprintf(&allowed, "%s@example.org %s", who, public)
	}
	s.write("allowed", allowed.String())
	return s
}

func (s *sayers) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *sayers) write(name, content string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// say has somebody say something, so many days ago, and gives what became of it.
func (s *sayers) say(who string, days int, words ...string) (done said) {
	s.t.Helper()
	args := slices.Concat([]string{"pilot", "grid-1"}, words, []string{"--site", s.bare, "--by", who + "@example.org", "--sign", s.keys[who],
		"--at", s.now.AddDate(0, 0, -days).Format(time.RFC3339), "-o", "json", "--cache", s.path("cache")})
	out, errs, code := pomona(s.t, args...)
	if code != 0 {
		s.t.Fatalf("%s, %v: exit code %d\n%s%s", who, words, code, out, errs)
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		s.t.Fatal(err)
	}
	signer := git(s.t, s.bare, "-c", "gpg.ssh.allowedSignersFile="+s.path("allowed"), "log", "-1", "--format=%G? %GS", done.Commit)
	if signer != "G "+who+"@example.org" {
		s.t.Errorf("%v is signed by %q, and not by %s", words, signer, who)
	}
	return done
}

func (s *sayers) day(days int) string { return s.now.AddDate(0, 0, days).Format(time.DateOnly) }

// TestAPilotsLifeByCommands takes a pilot of sites from its request to its promotion by signed commands of seven people, who never
// see a digest: through an update, a halt that it helps, and all who must say something.
func TestAPilotsLifeByCommands(t *testing.T) {
	t.Parallel()
	s := newSayers(t, "owner", "ann", "bob", "eve", "joe", "kim", "liz")
	for name, content := range map[string]string{
		"packages/SL9/x86_64/RPMS.Release/ce-1.0-1.el9.x86_64.rpm": "ce", "packages/SL9/x86_64/RPMS.externals/lib-1.0-1.el9.x86_64.rpm": "lib",
		"fix/SL9/x86_64/ce-1.0-2.el9.x86_64.rpm": "fixed", "notes.md": "# What is new\n\nEverything.\n", "none": "",
	} {
		s.write(name, content)
	}
	steps := []struct {
		who   string
		days  int // ago
		words []string
		state string
	}{
		{"owner", 60, []string{"request", "--scope", "grid-service", "--service", "compute", "--ticket", "https://tickets.example.org/1", "--expires", s.day(180),
			"--description", "a compute element that gives its slots to jobs of several sites", "--success", "jobs=ninety-nine of a hundred jobs end as they should"}, "requested"},
		{"owner", 59, []string{"staff", "--coordinator", "ann@example.org", "--developer", "bob@example.org", "--authoriser", "eve@example.org", "--tester", "joe@example.org",
			"--tracker", "https://tracker.example.org/1", "--affects", "compute", "--needs", "a node of eight cores"}, "requested"},
		{"ann", 58, []string{"staff", "--wave", "success=100%,soak=2d", "--wave", "success=100%,soak=2d", "--participant", "cern=kim@example.org:1", "--participant", "fnal=liz@example.org:2"}, "requested"},
		{"bob", 57, []string{"add-packages", s.path("packages"), "--root", s.path("root")}, "staffed"},
		{"ann", 56, []string{"freeze", "--closure", s.path("none")}, "frozen"},
		{"joe", 55, []string{"report", "--compat", "new-service", "--check", "all=pass", "--check", "docs=inconclusive:nobody has read them"}, "frozen"},
		{"joe", 54, []string{"report", "--compat", "new-service", "--check", "all=pass"}, "checked"},
		{"eve", 53, []string{"authorise"}, "checked"},
		{"bob", 53, []string{"notes", s.path("notes.md")}, "checked"},
		{"eve", 52, []string{"mirror", "https://mirror.example.org/grid-1", "--on-trust"}, "mirrored"},
		{"ann", 51, []string{"call", "--closes", s.day(-45)}, "called"},
		{"kim", 50, []string{"join", "cern", "--answer", "interested"}, "called"},
		{"liz", 50, []string{"join", "fnal", "--answer", "interested"}, "called"},
		{"kim", 44, []string{"deploy", "cern", "installed"}, "called"},
		{"kim", 44, []string{"resources", "cern", "--nodes", "4", "--cores", "128", "--memory", "512", "--storage", "20.5"}, "called"},
		{"kim", 43, []string{"problem", "--at-site", "cern", "--kind", "functional", "--severity", "blocker", "--text", "it loses the output of one job in ten"}, "called"},
		{"kim", 43, []string{"halt", "--reason", "it loses the output of one job in ten"}, "halted"},
		{"bob", 42, []string{"update", "fix-1", "add", "--kind", "pilot", "--reason", "bugfix", "--packages", s.path("fix"), "--root", s.path("root")}, "halted"},
		{"ann", 42, []string{"update", "fix-1", "approve"}, "halted"},
		{"ann", 41, []string{"update", "fix-1", "freeze", "--closure", "0"}, "halted"},
		{"joe", 40, []string{"update", "fix-1", "report", "--compat", "backward-compatible", "--check", "all=pass"}, "halted"},
		{"bob", 40, []string{"update", "fix-1", "notes", s.path("notes.md")}, "halted"},
		{"ann", 39, []string{"update", "fix-1", "mirror", "https://mirror.example.org/grid-1", "--on-trust"}, "halted"},
		{"ann", 38, []string{"resume", "--update", "fix-1"}, ""},
		{"kim", 38, []string{"problem", "p1", "--status", "fixed", "--fixed-in", "fix-1"}, ""},
		{"kim", 37, []string{"deploy", "cern", "installed", "--update", "fix-1"}, ""},
		{"liz", 30, []string{"deploy", "fnal", "installed", "--update", "fix-1"}, ""},
		{"liz", 20, []string{"feedback", "--rating", "5", "--text", "ten thousand jobs, no trouble"}, ""},
		{"ann", 10, []string{"criterion", "jobs", "yes", "--text", "99.4 of a hundred"}, ""},
		{"ann", 9, []string{"close", "promoted"}, "closed"},
	}
	for _, step := range steps {
		done := s.say(step.who, step.days, step.words...)
		if step.state != "" && done.State != step.state {
			t.Fatalf("after %v the pilot is %s, want %s: %v", step.words, done.State, step.state, done.Doubts)
		}
	}
	git(t, s.dir, "clone", "-q", s.bare, "clone")
	must(t, "validate", s.path("clone"), "--root", s.path("root"))
	if out := git(t, s.bare, "fsck", "--strict"); out != "" {
		t.Error(out)
	}
	// Every record is a file that nobody has touched since.
	if changed := git(t, s.bare, "log", "--diff-filter=MD", "--format=%s", "--", "pilots/grid-1/*-2*.cue"); changed != "" {
		t.Errorf("records were changed by %s", changed)
	}
}

// TestTwoSayAtOnce has two people say something of one pilot through one branch at the same time: both are there.
func TestTwoSayAtOnce(t *testing.T) {
	t.Parallel()
	s := newSayers(t, "ann", "bob")
	s.say("ann", 3, "request", "--scope", "grid-service", "--service", "compute", "--ticket", "https://tickets.example.org/1", "--expires", s.day(180), "--description",
		"a compute element that gives its slots to jobs of several sites", "--success", "jobs=ninety-nine of a hundred jobs end as they should")
	var running []*exec.Cmd
	for _, who := range []string{"ann", "bob"} {
		for range 2 {
			cmd := exec.Command(binary, "pilot", "grid-1", "feedback", "--text", fmt.Sprintf("good, says %s for the time %d", who, len(running)), "--site", s.bare, "--by", who+"@example.org", "--sign", s.keys[who])
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running = append(running, cmd)
		}
	}
	for _, cmd := range running {
		if err := ended(t, cmd); err != nil {
			t.Error(err)
		}
	}
	if n := git(t, s.bare, "ls-tree", "-r", "--name-only", "HEAD", "pilots/grid-1"); strings.Count(n, "feedback-") != 4 {
		t.Errorf("there are %s", n)
	}
}

// TestSayingAsAPullRequest says something through each kind of forge: a branch of its own, a pull request that says by whose approval it counts,
// and nothing on the branch itself.
func TestSayingAsAPullRequest(t *testing.T) {
	t.Parallel()
	a, s := trusted, newSayers(t, "ann")
	git(t, s.bare, "config", "http.receivepack", "true")
	server := pushServer(t, a, s.path("git"), nil)
	s.write("git-password", "robot:hush-hush")
	s.write("forge-token", forgetest.Token)
	o := forgetest.Options{Repository: "controls/site", Certificate: &a.tls, Head: func(branch string) string { return git(t, s.bare, "rev-parse", branch) }}
	hub, tea := forgetest.NewGitHub(t, o), forgetest.NewGitea(t, o)
	before := git(t, s.bare, "rev-parse", "main")
	for kind, api := range map[string]string{"github": hub.URL, "gitea": tea.URL} {
		out, errs, code := pomona(t, "pilot", "psc-2-0", "feedback", "--text", "good, says "+kind, "--by", "ann@example.org", "--sign", "none", "--site", server.URL+"/controls/site.git",
			"--credential", strings.TrimPrefix(server.URL, "https://")+"="+s.path("git-password"), "--pull-request", "--forge", kind, "--forge-api", api, "--forge-token", s.path("forge-token"), "--cache", s.path("cache"))
		if code != 0 || !strings.Contains(out, "branch pilot/psc-2-0-") || !strings.Contains(errs, "it counts once the forge says that ann@example.org has approved the pull request") {
			t.Errorf("%s: exit code %d\n%s%s", kind, code, out, errs)
		}
	}
	branches := strings.Fields(git(t, s.bare, "for-each-ref", "--format=%(refname:short)", "refs/heads/pilot"))
	if len(branches) != 2 || len(hub.OpenPulls()) != 1 || len(tea.Pulls) != 1 || tea.Pulls[0]["title"] != "Feedback on psc-2-0" {
		t.Errorf("branches %v, pull requests %+v and %v", branches, hub.OpenPulls(), tea.Pulls)
	}
	for _, branch := range branches {
		if git(t, s.bare, "rev-parse", branch+"^") != before {
			t.Errorf("%s does not start where the branch is", branch)
		}
	}
	if git(t, s.bare, "rev-parse", "main") != before {
		t.Error("the branch itself has moved")
	}
	// The branch itself, at an address and signed.
	done := must(t, "pilot", "psc-2-0", "feedback", "--text", "good, says nobody but ann", "--by", "ann@example.org", "--sign", s.keys["ann"], "--site", server.URL+"/controls/site.git",
		"--credential", strings.TrimPrefix(server.URL, "https://")+"="+s.path("git-password"), "--cache", s.path("cache"))
	if !strings.Contains(done, "on branch main") || git(t, s.bare, "rev-parse", "main^") != before {
		t.Errorf("not pushed:\n%s", done)
	}
}

// rpmFile writes a package that requires something, or nothing.
func (s *sayers) rpmFile(name, file, requires string) {
	s.t.Helper()
	meta := rpmpack.RPMMetaData{Name: name, Version: "1.0", Release: "1.el9", Arch: "x86_64", BuildTime: time.Unix(1_700_000_000, 0)}
	if requires != "" {
		relation, err := rpmpack.NewRelation(requires)
		if err != nil {
			s.t.Fatal(err)
		}
		meta.Requires = rpmpack.Relations{relation}
	}
	r, err := rpmpack.NewRPM(meta)
	if err != nil {
		s.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	s.write(file, b.String())
}

// TestFreezingLooksAtPackages works out whether everything is provided that packages require, from the packages themselves.
func TestFreezingLooksAtPackages(t *testing.T) {
	t.Parallel()
	s := newSayers(t, "owner", "ann", "bob")
	s.rpmFile("ce", "packages/SL9/x86_64/RPMS.Release/ce-1.0-1.el9.x86_64.rpm", "ext-lib >= 1.0")
	s.say("owner", 9, "request", "--scope", "grid-service", "--service", "compute", "--ticket", "https://tickets.example.org/1", "--expires", s.day(180), "--description",
		"a compute element that gives its slots to jobs of several sites", "--success", "jobs=ninety-nine of a hundred jobs end as they should")
	s.say("owner", 8, "staff", "--coordinator", "ann@example.org", "--developer", "bob@example.org", "--authoriser", "eve@example.org", "--tester", "joe@example.org")
	s.say("bob", 7, "add-packages", s.path("packages"), "--root", s.path("root"))
	_, errs, code := pomona(t, "pilot", "grid-1", "freeze", "--by", "ann@example.org", "--site", s.bare, "--root", s.path("root"), "--cache", s.path("cache"))
	if code != 2 || !strings.Contains(errs, "requires ext-lib >= 1.0") || !strings.Contains(errs, "site.packages.base does not say what nodes have already") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	s.rpmFile("ext-lib", "packages/SL9/x86_64/RPMS.externals/ext-lib-1.0-1.el9.x86_64.rpm", "")
	s.say("bob", 6, "add-packages", s.path("packages"), "--root", s.path("root"))
	s.say("ann", 5, "freeze", "--root", s.path("root"))
	record := git(t, s.bare, "show", "HEAD", "--format=")
	if !strings.Contains(record, "exit: 0") || strings.Contains(record, "unmet") {
		t.Error(record)
	}

	// A mirror is looked at: it is one as long as every file is the same.
	for _, d := range []string{"RPMS.Release", "RPMS.externals", "RPMS.pilot_updates", "RPMS.production_updates"} {
		s.write("packages/SL9/x86_64/"+d+"/.keep", "")
		if out, err := exec.Command("createrepo_c", "-q", s.path("packages/SL9/x86_64/"+d)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(s.path("packages"))))
	t.Cleanup(server.Close)
	mirror := []string{"pilot", "grid-1", "mirror", server.URL, "--by", "ann@example.org", "--site", s.bare, "--sign", "none", "--cache", s.path("cache"), "--dry-run"}
	if out, errs, code := pomona(t, mirror...); code != 0 || !strings.Contains(out, server.URL) || !regexp.MustCompile(`checked: +"digest"`).MatchString(out) {
		t.Errorf("a mirror: exit code %d\n%s%s", code, out, errs)
	}
	s.write("packages/SL9/x86_64/RPMS.Release/ce-1.0-1.el9.x86_64.rpm", "something else")
	if _, errs, code := pomona(t, mirror...); code != 2 || !strings.Contains(errs, "is not what is frozen") || !strings.Contains(errs, "ce-1.0-1.el9.x86_64.rpm") {
		t.Errorf("another package there: exit code %d\n%s", code, errs)
	}
	if out, errs, code := pomona(t, append(mirror, "--on-trust")...); code != 0 || !regexp.MustCompile(`checked: +"trust"`).MatchString(out) {
		t.Errorf("on trust: exit code %d\n%s%s", code, out, errs)
	}
}
