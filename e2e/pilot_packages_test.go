package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Who does what in the tests' pilot.
const gridOwner, gridCoordinator, gridDeveloper, gridAuthoriser, gridTester, gridContact = "olga@example.org", "cora@example.org", "dave@example.org", "anna@example.org", "tess@example.org",
	"dora@example.org"

const gridBranch = "SL9/x86_64"

// gridPilot is a service that knows who signs, and a pilot of sites, whose packages one key signs.
type gridPilot struct {
	*configured
	world
	t        *testing.T
	packager openpgp.EntityList
	n        int // of records
}

func newGridPilot(t *testing.T) *gridPilot {
	t.Helper()
	for _, program := range []string{"dnf", "rpm"} {
		debian(t, program, program)
	}
	c := configure(t, "grid")
	g := &gridPilot{configured: c, world: c.sites["grid"], t: t}
	eventually(t, "it is served", func() bool { return c.answers("grid") })
	var allowed strings.Builder
	for _, who := range []string{gridOwner, gridCoordinator, gridDeveloper, gridAuthoriser, gridTester, gridContact} {
		key := filepath.Join(g.dir, who)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		fmt.Fprintf(&allowed, "%s namespaces=\"git\" %s", who, g.file(key+".pub"))
	}
	must(t, "keygen", "--openpgp", filepath.Join(g.dir, "pilots"))
	must(t, "keygen", "--openpgp", filepath.Join(g.dir, "packager"))
	var err error
	if g.packager, err = openpgp.ReadArmoredKeyRing(strings.NewReader(g.file(filepath.Join(g.dir, "packager.sec")))); err != nil {
		t.Fatal(err)
	}
	g.configured.write(t, []string{"grid"}, fmt.Sprintf("\t\trepository: signatures: allowedSigners: %q\n\t\tpilotKey: %q\n", filepath.Join(g.dir, "allowed"), filepath.Join(g.dir, "pilots.sec")))
	g.put(filepath.Join(g.dir, "allowed"), allowed.String())
	eventually(t, "it is served as configured", func() bool { return strings.Contains(c.log(), "configuration read") && c.answers("grid") })
	g.put(filepath.Join(g.site, "keys/packager.asc"), g.file(filepath.Join(g.dir, "packager.asc")))
	return g
}

func (g *gridPilot) file(name string) string {
	g.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

func (g *gridPilot) put(name, content string) {
	g.t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(content), 0o644)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// add makes a signed package and puts it into the blob store; what that prints is what the site says.
func (g *gridPilot) add(name, version, requires string) (desired.RPM, string) {
	g.t.Helper()
	b := signedRPM(g.t, g.packager, name, version, requires)
	file := filepath.Join(g.dir, fmt.Sprintf("%s-%s-1.noarch.rpm", name, version))
	g.put(file, string(b))
	says := strings.TrimSpace(must(g.t, "blob", "add", file, "--root", g.root))
	_, digest, _ := strings.Cut(says, `sha256: "`)
	return desired.RPM{File: filepath.Base(file), SHA256: strings.TrimSuffix(digest, `"}`)}, says
}

// signedRPM is a package that somebody has signed.
func signedRPM(t *testing.T, packager openpgp.EntityList, name, version, requires string) []byte {
	t.Helper()
	r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{Name: name, Version: version, Release: "1", Arch: "noarch", OS: "linux", Summary: name, Description: name,
		Licence: "Apache-2.0", BuildTime: time.Unix(1_700_000_000, 0), BuildHost: "tests", Compressor: "gzip"})
	if err != nil {
		t.Fatal(err)
	}
	if requires != "" {
		if err := r.Requires.Set(requires); err != nil {
			t.Fatal(err)
		}
	}
	r.AddCustomTag(1044, rpmpack.EntryString(name+".src.rpm"))
	r.AddFile(rpmpack.RPMFile{Name: "/opt/" + name, Body: []byte(version), Mode: 0o644, Owner: "root", Group: "root", MTime: 1_700_000_000})
	r.SetPGPSigner(func(b []byte) ([]byte, error) {
		var out bytes.Buffer
		err := openpgp.DetachSign(&out, packager[0], bytes.NewReader(b), nil)
		return out.Bytes(), err
	})
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// signed commits everything that was written, signed by somebody.
func (g *gridPilot) signed(by string) {
	g.t.Helper()
	git(g.t, g.site, "add", "-A")
	git(g.t, g.site, "-c", "gpg.format=ssh", "-c", "user.signingkey="+filepath.Join(g.dir, by), "commit", "-q", "-S", "-m", "pilot")
}

// record writes what somebody says of a snapshot.
func (g *gridPilot) record(by, kind, fields string) {
	g.t.Helper()
	g.n++
	at := time.Now().Add(-72*time.Hour + time.Duration(g.n)*time.Second).UTC().Format(time.RFC3339)
	g.put(filepath.Join(g.site, fmt.Sprintf("record%d.cue", g.n)), fmt.Sprintf("package site\n\npilots: cream: records: \"%s-%d\": {\n\tkind: %q\n\tby: %q\n\tat: %q\n\t%s\n}\n", kind, g.n, kind, by, at, fields))
	g.signed(by)
}

// mirrored has everybody say what brings packages to sites.
func (g *gridPilot) mirrored(s desired.Snapshot, update, terms string) {
	g.t.Helper()
	about := fmt.Sprintf("subject: %q\n\t", s.Subject())
	if update != "" {
		about += fmt.Sprintf("update: %q\n\t", update)
		g.record(gridCoordinator, "approval", about+fmt.Sprintf("terms: %q", terms))
	}
	g.record(gridCoordinator, "freeze", about+"closure: exit: 0")
	var checks []string
	for _, c := range desired.PilotChecks {
		checks = append(checks, fmt.Sprintf("%q: verdict: \"pass\"", c))
	}
	g.record(gridTester, "report", about+`compat: "backward-compatible", checks: {`+strings.Join(checks, ", ")+"}")
	if update == "" {
		g.record(gridAuthoriser, "authorisation", about+`decision: "ok"`)
	}
	g.record(gridDeveloper, "notes", about+`text: "It takes *more* jobs."`)
	g.record(gridAuthoriser, "mirror", about)
}

// served is a file as sites get it; empty: it is not there.
func (g *gridPilot) served(path string) string {
	g.t.Helper()
	address := "http://" + g.addrs["grid"] + "/" + path
	if get(address) != 200 {
		return ""
	}
	return string(download(g.t, address))
}

// gridNode is a machine with dnf, of a site that takes part.
type gridNode struct {
	t   *testing.T
	dir string
}

func newGridNode(t *testing.T) gridNode {
	t.Helper()
	n := gridNode{t, t.TempDir()}
	conf := fmt.Sprintf("[main]\nreposdir=%[1]s/repos\ncachedir=%[1]s/cache\npersistdir=%[1]s/persist\nlogdir=%[1]s\nplugins=1\nassumeyes=1\n", n.dir)
	if err := os.WriteFile(filepath.Join(n.dir, "dnf.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n gridNode) uses(repo string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Join(n.dir, "repos"), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "repos/pilot.repo"), []byte(repo), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// dnf runs with every plugin off that remembers something of this machine.
func (n gridNode) dnf(args ...string) {
	n.t.Helper()
	c := exec.Command("dnf", append([]string{"-c", n.dir + "/dnf.conf", "--releasever=9", "--forcearch=x86_64", "--installroot=" + n.dir + "/root", "--refresh",
		"--disableplugin=*", "--enableplugin=repoclosure,reposync"}, args...)...)
	c.Env = append(os.Environ(), "HOME="+n.dir, "LC_ALL=C.UTF-8")
	if out, err := c.CombinedOutput(); err != nil {
		n.t.Fatalf("dnf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (n gridNode) has(name string) string {
	n.t.Helper()
	c := exec.Command("rpm", "--root", n.dir+"/root", "-q", "--qf", "%{version}", name)
	c.Env = append(os.Environ(), "HOME="+n.dir)
	out, err := c.Output()
	if err != nil {
		return "none"
	}
	return string(out)
}

// TestSitesInstallAPilot takes a pilot from its packages to nodes of a site, through an update and back after a halt.
func TestSitesInstallAPilot(t *testing.T) {
	t.Parallel()
	g := newGridPilot(t)
	svc, saysSvc := g.add("pilot-svc", "1.0", "ext-lib >= 1.0")
	lib, saysLib := g.add("ext-lib", "1.0", "")
	p := desired.Pilot{Branches: map[string]desired.RPMBranch{gridBranch: {desired.ReleaseRPMs: {svc}, desired.ExternalRPMs: {lib}}}}
	g.put(filepath.Join(g.site, "packages.cue"), fmt.Sprintf("package site\n\nsite: packages: {servers: [\"http://%s\"], keys: packager: file: \"keys/packager.asc\"}\n", g.addrs["grid"]))
	g.put(filepath.Join(g.site, "cream.cue"), fmt.Sprintf(`package site

pilots: cream: {
	scope:       "grid-service"
	service:     "CREAM"
	description: "A computing element that takes jobs from everywhere, tried before all get it"
	owner:       %q
	ticket:      "https://tickets.example.org/1"
	tracker:     "https://tickets.example.org/2"
	expires:     %q
	success: jobs: description: "ten thousand jobs in a week"
	roles: {coordinator: %q, developer: %q, authoriser: %q, testers: [%q]}
	impact: {services: ["CE"], resources: "one node"}
	rollout: waves: [{soak: "1d"}, {}]
	sites: {desy: contact: %q, infn: {contact: "ivo@example.org", wave: 2}}
	infosys: type: "org.glite.ce.CREAM"
	branches: %q: {"RPMS.Release": [%s], "RPMS.externals": [%s], "RPMS.pilot_updates": [], "RPMS.production_updates": []}
}
`, gridOwner, time.Now().AddDate(1, 0, 0).Format(time.DateOnly), gridCoordinator, gridDeveloper, gridAuthoriser, gridTester, gridContact, gridBranch, saysSvc, saysLib))
	g.signed(gridCoordinator)
	must(t, "pilot", "cream", "agree", "--site", g.site, "--by", gridOwner, "--sign", filepath.Join(g.dir, gridOwner))
	first := p.Snapshot()
	g.mirrored(first, "", "")
	call := func(closes time.Duration) {
		g.record(gridCoordinator, "call", fmt.Sprintf("subject: %q\n\tcloses: %q", first.Subject(), time.Now().Add(closes).UTC().Format(time.DateOnly)))
	}
	call(72 * time.Hour)
	g.record(gridContact, "join", `site: "desy", answer: "interested"`)
	call(-48 * time.Hour)

	wave := "repo/pilots/cream/wave-1/" + gridBranch + "/"
	eventually(t, "the first wave is open", func() bool { return strings.Contains(g.served(wave+"pilot-node.repo"), "\nenabled=1\n") })
	if off := g.served("repo/pilots/cream/wave-2/" + gridBranch + "/pilot-node.repo"); !strings.Contains(off, "\nenabled=0\n") {
		t.Errorf("wave 2 is told\n%s", off)
	}
	if notes := g.served("pilots/cream/notes/" + strings.TrimPrefix(first.Subject(), "sha256:") + ".md"); !strings.Contains(notes, "It takes *more* jobs.") {
		t.Errorf("notes: %s", notes)
	}
	node, plain := newGridNode(t), newGridNode(t)
	node.uses(g.served(wave + "pilot-node.repo"))
	plain.uses(g.served(wave + "plain-node.repo"))
	node.dnf("repoclosure")
	for _, n := range []gridNode{node, plain} {
		if n.dnf("install", "pilot-svc"); n.has("pilot-svc") != "1.0" {
			t.Fatalf("installed %s", n.has("pilot-svc"))
		}
	}
	must(t, "verify", g.site, "--rev", "HEAD", "--root", g.root, "--public-key", filepath.Join(g.dir, "key.pub"))

	// Whatever somebody makes of its packages then, they stay with who has them.
	branches := g.file(filepath.Join(g.site, "cream.cue"))
	g.put(filepath.Join(g.site, "cream.cue"), strings.Replace(branches, gridBranch, "SL10/x86_64", 1))
	g.signed(gridDeveloper)
	eventually(t, "what strays is published", func() bool {
		return strings.Contains(g.file(filepath.Join(g.root, "current/generation.json")), strings.TrimSpace(git(t, g.site, "rev-parse", "HEAD")))
	})
	if out := must(t, "pilot", "cream", "--root", g.root); !strings.Contains(out, "\n  withheld    its branches are not what is deployed, which stays: put them back") {
		t.Errorf("it is shown as\n%s", out)
	}
	late := newGridNode(t)
	late.uses(g.served(wave + "pilot-node.repo"))
	if late.dnf("install", "pilot-svc"); late.has("pilot-svc") != "1.0" {
		t.Errorf("a node that comes late has %s", late.has("pilot-svc"))
	}
	must(t, "verify", g.site, "--rev", "HEAD", "--root", g.root, "--public-key", filepath.Join(g.dir, "key.pub"))
	g.put(filepath.Join(g.site, "cream.cue"), branches)

	newer, says := g.add("pilot-svc", "1.1", "ext-lib >= 1.0")
	u := desired.PilotUpdate{Kind: desired.UpdateOfPilot, Reason: "bugfix", Base: first.Subject(), Packages: map[string][]desired.RPM{gridBranch: {newer}}}
	g.put(filepath.Join(g.site, "update.cue"), fmt.Sprintf("package site\n\npilots: cream: updates: u1: {kind: \"pilot\", reason: \"bugfix\", base: %q, packages: %q: [%s]}\n", first.Subject(), gridBranch, says))
	g.signed(gridDeveloper)
	second := first.With(u)
	g.mirrored(second, "u1", u.Terms())
	points := func(to desired.Snapshot) func() bool {
		return func() bool {
			return strings.Contains(g.served(wave+"RPMS.pilot_updates.mirrorlist"), "/snap/"+strings.TrimPrefix(to.Subject(), "sha256:")+"/")
		}
	}
	eventually(t, "the wave gets the update", points(second))
	for _, n := range []gridNode{node, plain} {
		n.dnf("upgrade")
	}
	if node.has("pilot-svc") != "1.1" || plain.has("pilot-svc") != "1.0" {
		t.Errorf("the pilot's node has %s, a plain one %s", node.has("pilot-svc"), plain.has("pilot-svc"))
	}
	g.record(gridCoordinator, "halt", `update: "u1", reason: "jobs are lost on nodes that have it"`)
	eventually(t, "the wave goes back", points(first))
	if node.dnf("distro-sync"); node.has("pilot-svc") != "1.0" {
		t.Errorf("after the halt the node has %s", node.has("pilot-svc"))
	}
}
