package reconciler_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// openPGPKey makes a key once: that takes long.
func openPGPKey() func() (*rpm.Key, error) {
	return sync.OnceValues(func() (*rpm.Key, error) { return rpm.GenerateKey("tests") })
}

var pilotKey, packagerKey, strangerKey = openPGPKey(), openPGPKey(), openPGPKey()

func keyOf(t testing.TB, make func() (*rpm.Key, error)) *rpm.Key {
	t.Helper()
	k, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// packageFile is a package that rpmpack makes, signed unless by is nil.
func packageFile(t testing.TB, name, version, requires string, by *rpm.Key) []byte {
	t.Helper()
	m := rpmpack.RPMMetaData{Name: name, Version: version, Release: "1", Arch: "noarch", OS: "linux", Summary: name, Description: name, Licence: "Apache-2.0",
		BuildTime: time.Unix(1_700_000_000, 0), BuildHost: "tests", Compressor: "gzip"}
	if requires != "" {
		if err := m.Requires.Set(requires); err != nil {
			t.Fatal(err)
		}
	}
	r, err := rpmpack.NewRPM(m)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCustomTag(1044, rpmpack.EntryString(name+".src.rpm"))
	r.AddFile(rpmpack.RPMFile{Name: "/opt/" + name, Body: []byte(version), Mode: 0o644, Owner: "root", Group: "root", MTime: 1_700_000_000})
	if by != nil {
		secret, err := by.SecretArmored()
		if err != nil {
			t.Fatal(err)
		}
		entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(secret))
		if err != nil {
			t.Fatal(err)
		}
		r.SetPGPSigner(func(b []byte) ([]byte, error) {
			var out bytes.Buffer
			err := openpgp.DetachSign(&out, entities[0], bytes.NewReader(b), nil)
			return out.Bytes(), err
		})
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// gridPilot is a site with one pilot of sites, its root and what serves it.
type gridPilot struct {
	site
	t        *testing.T
	root     string
	server   *httptest.Server
	packages map[string][]byte // by file
	pilot    desired.Pilot
}

const gridBranch = "SL9/x86_64"

func newGridPilot(t *testing.T) *gridPilot {
	t.Helper()
	g := &gridPilot{site: newSite(t), t: t, root: t.TempDir(), packages: map[string][]byte{}}
	opened, err := os.OpenRoot(g.root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	g.server = httptest.NewServer(serve.Tree(opened, serve.Options{}))
	t.Cleanup(g.server.Close)
	g.pilot = desired.Pilot{Scope: desired.PilotOfSites, Branches: map[string]desired.RPMBranch{gridBranch: {
		desired.ReleaseRPMs:           {g.add("pilot-svc", "1.0", "ext-lib >= 1.0", keyOf(t, packagerKey))},
		desired.ExternalRPMs:          {g.add("ext-lib", "1.0", "", keyOf(t, packagerKey))},
		desired.PilotUpdateRPMs:       {},
		desired.ProductionUpdatesRPMs: {},
	}}, Updates: map[string]desired.PilotUpdate{}}
	public, err := keyOf(t, packagerKey).PublicArmored()
	if err != nil {
		t.Fatal(err)
	}
	g.write("keys/packager.asc", string(public))
	g.state("")
	return g
}

// add puts a package into the blob store.
func (g *gridPilot) add(name, version, requires string, by *rpm.Key) desired.RPM {
	g.t.Helper()
	b := packageFile(g.t, name, version, requires, by)
	file := fmt.Sprintf("%s-%s-1.noarch.rpm", name, version)
	g.packages[file] = b
	d, _, err := reconciler.AddBlob(g.t.Context(), g.root, bytes.NewReader(b))
	if err != nil {
		g.t.Fatal(err)
	}
	return desired.RPM{File: file, SHA256: d.String()}
}

// state commits the pilot, with more of its fields.
func (g *gridPilot) state(more string) {
	g.t.Helper()
	list := func(packages []desired.RPM) string {
		b := &strings.Builder{}
		for _, p := range packages {
			fmt.Fprintf(b, "{file: %q, sha256: %q},", p.File, p.SHA256)
		}
		return "[" + b.String() + "]"
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, "package site\n\nsite: packages: {servers: [%q], keys: packager: file: \"keys/packager.asc\"}\n", g.server.URL)
	b.WriteString(`pilots: cream: {
	scope: "grid-service"
	service: "CREAM"
	description: "A computing element that takes jobs from everywhere"
	owner: "ann@example.org"
	expires: "2027-06-30"
	success: jobs: description: "Ten thousand jobs in a week"
` + more)
	for _, branch := range slices.Sorted(keysOf(g.pilot.Branches)) {
		fmt.Fprintf(b, "\tbranches: %q: {", branch)
		for _, directory := range desired.RPMDirectories {
			fmt.Fprintf(b, "%q: %s, ", directory, list(g.pilot.Branches[branch][directory]))
		}
		b.WriteString("}\n")
	}
	for name, u := range g.pilot.Updates {
		fmt.Fprintf(b, "\tupdates: %q: {kind: %q, reason: %q, base: %q, packages: %q: %s", name, u.Kind, "bugfix", u.Base, gridBranch, list(u.Packages[gridBranch]))
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	g.write("pilots.cue", b.String())
	g.commit("pilots.cue", "package", "package")
}

func keysOf[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// update adds an update and says which snapshot it makes.
func (g *gridPilot) update(name, kind string, base desired.Snapshot, packages ...desired.RPM) desired.Snapshot {
	g.t.Helper()
	u := desired.PilotUpdate{Kind: kind, Reason: "bugfix", Base: base.Subject(), Packages: map[string][]desired.RPM{gridBranch: packages}}
	g.pilot.Updates[name] = u
	g.state("")
	return base.With(u)
}

func (g *gridPilot) reconciler() *reconciler.Reconciler {
	r := g.site.reconciler(g.root)
	r.PilotKey = keyOf(g.t, pilotKey)
	r.Packages = build.NewPackages("", r.Log)
	r.Payloads = fetch.New(fetch.Options{Cache: filepath.Join(g.root, ".pomona/cache"), Root: g.root, Remote: remote.New(remote.Options{})})
	return r
}

// publish makes a pass with what each wave gets.
func (g *gridPilot) publish(waves ...desired.Snapshot) {
	g.t.Helper()
	g.publishWith(g.reconciler(), waves...)
}

func (g *gridPilot) publishWith(r *reconciler.Reconciler, waves ...desired.Snapshot) tree.PilotPlace {
	g.t.Helper()
	place := g.place(waves...)
	_, given, err := r.PassWithPilots(g.t.Context(), []tree.PilotPlace{place})
	if err != nil {
		g.t.Fatal(err)
	}
	return given[0]
}

func (g *gridPilot) place(waves ...desired.Snapshot) tree.PilotPlace {
	place := tree.PilotPlace{Name: "cream", State: "called"}
	for subject := range tree.PilotSnapshots(g.pilot) {
		place.Snapshots = append(place.Snapshots, subject)
	}
	slices.Sort(place.Snapshots)
	for _, s := range waves {
		subject := ""
		if s != nil {
			subject = s.Subject()
		}
		place.Waves = append(place.Waves, subject)
	}
	return place
}

// current is a file of the published tree.
func (g *gridPilot) current(name string) string {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.root, "current", name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

func snapPath(s desired.Snapshot) string {
	return "repo/pilots/cream/snap/" + strings.TrimPrefix(s.Subject(), "sha256:")
}

func TestRepositoriesOfPilotsAreServed(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	g.publish(first, nil)
	at := snapPath(first) + "/" + gridBranch + "/"
	for file, b := range g.packages {
		directory := desired.ReleaseRPMs
		if strings.HasPrefix(file, "ext-lib") {
			directory = desired.ExternalRPMs
		}
		if g.current(at+directory+"/"+file) != string(b) {
			t.Errorf("%s differs", file)
		}
	}
	for _, directory := range desired.RPMDirectories {
		for _, file := range []string{"repomd.xml", "repomd.xml.asc", "primary.xml.gz", "filelists.xml.gz", "other.xml.gz"} {
			g.current(at + directory + "/repodata/" + file)
		}
		want := g.server.URL + "/" + at + directory + "/\n"
		if got := g.current("repo/pilots/cream/wave-1/" + gridBranch + "/" + directory + ".mirrorlist"); got != want {
			t.Errorf("wave 1 gets %s from %q, want %q", directory, got, want)
		}
		want = g.server.URL + "/repo/pilots/cream/snap/none/\n"
		if got := g.current("repo/pilots/cream/wave-2/" + gridBranch + "/" + directory + ".mirrorlist"); got != want {
			t.Errorf("wave 2 gets %s from %q, want %q", directory, got, want)
		}
	}
	pilot, plain := g.current("repo/pilots/cream/wave-1/"+gridBranch+"/pilot-node.repo"), g.current("repo/pilots/cream/wave-1/"+gridBranch+"/plain-node.repo")
	if strings.Count(pilot, "[pilot-cream-") != 4 || strings.Count(plain, "[pilot-cream-") != 3 || strings.Contains(plain, "pilot-updates") {
		t.Errorf("pilot nodes:\n%s\nplain nodes:\n%s", pilot, plain)
	}
	for _, line := range []string{"enabled=1", "gpgcheck=1", "repo_gpgcheck=1", "skip_if_unavailable=0", "metadata_expire=900"} {
		if strings.Count(pilot, "\n"+line+"\n") != 4 {
			t.Errorf("no %s in\n%s", line, pilot)
		}
	}
	if off := g.current("repo/pilots/cream/wave-2/" + gridBranch + "/pilot-node.repo"); strings.Count(off, "\nenabled=0\n") != 4 || !strings.Contains(off, "distro-sync") {
		t.Errorf("a wave that gets nothing is told\n%s", off)
	}
	public, err := keyOf(t, pilotKey).PublicArmored()
	if err != nil || g.current("repo/keys/pomona.asc") != string(public) {
		t.Errorf("the public key differs: %v", err)
	}
	if g.current("repo/keys/packages-packager.asc") == "" {
		t.Error("no key of the packager")
	}
	for file, want := range map[string]string{
		at + "RPMS.Release/pilot-svc-1.0-1.noarch.rpm": "application/x-rpm", at + "RPMS.Release/repodata/primary.xml.gz": "application/gzip",
		"repo/pilots/cream/wave-1/" + gridBranch + "/pilot-node.repo": "text/plain; charset=utf-8", "repo/keys/pomona.asc": "text/plain; charset=utf-8",
		"repo/pilots/cream/wave-1/" + gridBranch + "/RPMS.Release.mirrorlist": "text/plain; charset=utf-8",
	} {
		resp, err := http.Get(g.server.URL + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() // not wanted
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %d, %s", file, resp.StatusCode, got)
		}
	}
}

// TestNothingIsReadOfRepositoriesThatStay makes passes without any package at hand.
func TestNothingIsReadOfRepositoriesThatStay(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	g.publish(first)
	before := g.current("index")
	for _, dir := range []string{".pomona/blobs", ".pomona/cache"} {
		if err := os.RemoveAll(filepath.Join(g.root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	r := g.reconciler()
	r.Payloads, r.Packages = nil, nil
	rep, given, err := r.PassWithPilots(t.Context(), []tree.PilotPlace{g.place(first)})
	if err != nil || !rep.Plan.Empty() || rep.Built > 0 || given[0].Withheld != "" {
		t.Errorf("%v: built %d, %+v, withheld %q", err, rep.Built, rep.Plan.Publish, given[0].Withheld)
	}
	if g.current("index") != before {
		t.Error("the index differs")
	}
}

// TestTheTreeOfPilotsIsTheSameWithoutTheirKey plans without the key what was published with it, and publishes with another one.
func TestTheTreeOfPilotsIsTheSameWithoutTheirKey(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	g.publish(first)
	signature := g.current(snapPath(first) + "/" + gridBranch + "/RPMS.Release/repodata/repomd.xml.asc")
	r := g.reconciler()
	r.PilotKey = nil
	rep, given, err := r.PassWithPilots(t.Context(), []tree.PilotPlace{g.place(first)})
	if err != nil || !rep.Plan.Empty() || given[0].Withheld != "" {
		t.Errorf("without the key: %v, %+v, withheld %q", err, rep.Plan.Publish, given[0].Withheld)
	}
	r.PilotKey = keyOf(t, strangerKey)
	rep, _, err = r.PassWithPilots(t.Context(), []tree.PilotPlace{g.place(first)})
	if err != nil || rep.Plan.Publish == nil || strings.Join(rep.Plan.Publish.Reasons, "") != "another key signs repositories of pilots" {
		t.Errorf("another key: %v, %+v", err, rep.Plan.Publish)
	}
	if again := g.current(snapPath(first) + "/" + gridBranch + "/RPMS.Release/repodata/repomd.xml.asc"); again == signature {
		t.Error("the new key has not signed")
	}
}

func TestAPilotIsWithheldAlone(t *testing.T) {
	for _, c := range []struct {
		name, why string
		breaks    func(*testing.T, *gridPilot, *reconciler.Reconciler)
	}{
		{"no key", "no key signs its repositories", func(_ *testing.T, _ *gridPilot, r *reconciler.Reconciler) { r.PilotKey = nil }},
		{"package gone", "the blob store has no such file", func(t *testing.T, g *gridPilot, _ *reconciler.Reconciler) {
			p := g.pilot.Branches[gridBranch][desired.ReleaseRPMs][0]
			d, err := artifact.ParseDigest(p.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(g.root, fetch.Blobs, store.Path(d))); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGridPilot(t)
			r := g.reconciler()
			c.breaks(t, g, r)
			place := g.publishWith(r, g.pilot.Snapshot())
			if !strings.Contains(place.Withheld, c.why) || len(place.Snapshots) > 0 {
				t.Errorf("withheld: %q, %v", place.Withheld, place.Snapshots)
			}
			g.current("fecs/kgp2cu01/boot.manifest")
			if _, err := os.Stat(filepath.Join(g.root, "current/repo")); err == nil {
				t.Error("it is served")
			}
		})
	}
}

// TestAPilotWhosePackageIsLostIsWithheldAlone loses a published package between scrubs, and nobody has it any more.
func TestAPilotWhosePackageIsLostIsWithheldAlone(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	g.publish(first)
	d, err := artifact.ParseDigest(g.pilot.Branches[gridBranch][desired.ReleaseRPMs][0].SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(g.root, fetch.Blobs, store.Path(d))), os.Remove(filepath.Join(g.root, store.Path(d)))); err != nil {
		t.Fatal(err)
	}
	place, err := g.trusting(g.reconciler(), first)
	if err != nil || !strings.Contains(place.Withheld, "the blob store has no such file") {
		t.Errorf("%v, withheld: %q", err, place.Withheld)
	}
	g.current("fecs/kgp2cu01/boot.manifest")
}

// TestAServerThatDripsHoldsUpItsPilotAlone: whoever waits for it says so, and the pass publishes all else.
func TestAServerThatDripsHoldsUpItsPilotAlone(t *testing.T) {
	defer reconciler.PilotWaits(reconciler.PilotWaits(10 * time.Millisecond))
	release := make(chan bool)
	slow := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("drip"))
		w.(http.Flusher).Flush()
		<-release
	}))
	defer slow.Close()
	defer close(release)
	g := newGridPilot(t)
	first, b := g.pilot.Snapshot(), packageFile(t, "drip", "1.0", "", keyOf(t, packagerKey))
	drip := desired.RPM{File: "drip-1.0-1.noarch.rpm", SHA256: artifact.Sum(b).String(), URL: slow.URL + "/drip-1.0-1.noarch.rpm"}
	drips := desired.Pilot{Branches: map[string]desired.RPMBranch{gridBranch: {desired.ReleaseRPMs: {drip}}}}.Snapshot().Subject()
	g.write("drips.cue", fmt.Sprintf(`package site

pilots: drips: {
	scope: "grid-service"
	service: "LFC"
	description: "A catalogue of files, whose packages come from a server that is slow"
	owner: "ann@example.org"
	expires: "2027-06-30"
	success: files: description: "Ten million files are found"
	branches: %q: {"RPMS.Release": [{file: %q, sha256: %q, url: %q}], "RPMS.externals": [], "RPMS.pilot_updates": [], "RPMS.production_updates": []}
}
`, gridBranch, drip.File, drip.SHA256, drip.URL))
	g.commit("drips.cue", "slow", "slow")
	pool := x509.NewCertPool()
	pool.AddCert(slow.Certificate())
	r := g.reconciler()
	r.Payloads = fetch.New(fetch.Options{Cache: filepath.Join(g.root, ".pomona/cache"), Root: g.root, Remote: remote.New(remote.Options{TLS: &tls.Config{RootCAs: pool}})})
	_, given, err := r.PassWithPilots(t.Context(), []tree.PilotPlace{g.place(first), {Name: "drips", State: "called", Snapshots: []string{drips}, Waves: []string{drips}}})
	if err != nil {
		t.Fatal(err)
	}
	if given[0].Withheld != "" || g.current(snapPath(first)+"/"+gridBranch+"/RPMS.Release/pilot-svc-1.0-1.noarch.rpm") == "" {
		t.Errorf("the other pilot is %+v", given[0])
	}
	if !strings.Contains(given[1].Withheld, drip.File+": fetch payload: it is still being fetched, and nobody waits for it") || len(given[1].Snapshots) > 0 {
		t.Errorf("the pilot that waits is %+v", given[1])
	}
	g.current("fecs/kgp2cu01/boot.manifest")
}

// trusting is a pass that does not look whether objects are there.
func (g *gridPilot) trusting(r *reconciler.Reconciler, waves ...desired.Snapshot) (tree.PilotPlace, error) {
	_, given, err := r.PassWithPilotsTrusting(g.t.Context(), []tree.PilotPlace{g.place(waves...)})
	if err != nil {
		return tree.PilotPlace{}, err
	}
	return given[0], nil
}

// TestSnapshotsStayAsLongAsAGenerationNamesThem prunes again and again.
func TestSnapshotsStayAsLongAsAGenerationNamesThem(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	second := g.update("u1", desired.UpdateOfPilot, first, g.add("pilot-svc", "1.1", "", keyOf(t, packagerKey)))
	file := "/" + gridBranch + "/RPMS.pilot_updates/pilot-svc-1.1-1.noarch.rpm"
	for i := range 6 {
		at := now.Add(time.Duration(i) * 48 * time.Hour)
		r := g.reconciler()
		r.Now = func() time.Time { return at }
		g.publishWith(r, []desired.Snapshot{first, second}[i%2])
		if g.current(snapPath(second)+file) != string(g.packages["pilot-svc-1.1-1.noarch.rpm"]) {
			t.Fatal("a package of a snapshot is gone")
		}
	}
}

// TestASnapshotStaysThoughNobodyStatesIt any more: its branch is gone, and its packages from wherever they came.
func TestASnapshotStaysThoughNobodyStatesIt(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	second := g.update("u1", desired.UpdateOfPilot, first, g.add("pilot-svc", "1.1", "", keyOf(t, packagerKey)))
	g.publish(first, second)
	place := g.place(first, second)
	served := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		for _, f := range observeRoot(t, g.root).Index.Folders {
			if strings.HasPrefix(f.Path, "repo/pilots/") {
				out[f.Path] = f.Folder.String()
			}
		}
		return out
	}
	before := served()
	place.Deployed = &tree.PilotDeployed{Branches: g.pilot.Branches, Updates: g.pilot.Updates}
	g.pilot.Updates = map[string]desired.PilotUpdate{}
	g.pilot.Branches = map[string]desired.RPMBranch{"SL10/x86_64": {desired.ReleaseRPMs: {g.add("pilot-svc", "2.0", "", keyOf(t, packagerKey))}}}
	g.state("")
	if err := os.RemoveAll(filepath.Join(g.root, fetch.Blobs)); err != nil {
		t.Fatal(err)
	}
	for i := range 4 { // until nothing else has it
		r := g.reconciler()
		r.Now = func() time.Time { return now.Add(time.Duration(i) * 48 * time.Hour) }
		_, given, err := r.PassWithPilots(t.Context(), []tree.PilotPlace{place})
		if err != nil || given[0].Withheld != "" {
			t.Fatalf("%v, withheld %q", err, given[0].Withheld)
		}
		if diff := cmp.Diff(before, served()); diff != "" {
			t.Fatalf("what is served differs (-before +now):\n%s", diff)
		}
		if file := "/" + gridBranch + "/RPMS.pilot_updates/pilot-svc-1.1-1.noarch.rpm"; g.current(snapPath(second)+file) != string(g.packages["pilot-svc-1.1-1.noarch.rpm"]) {
			t.Fatal("a package is gone")
		}
	}
	r := g.reconciler()
	r.PilotKey = nil
	if _, given, err := r.PassWithPilots(t.Context(), []tree.PilotPlace{place}); err != nil || given[0].Withheld != "" {
		t.Errorf("without the key: %v, withheld %q", err, given[0].Withheld)
	}
}

// dnf is a client with folders of its own, as the chapter on pilots has it.
type dnf struct {
	t    *testing.T
	dir  string
	conf string
}

func newDNF(t *testing.T) dnf {
	t.Helper()
	for _, name := range []string{"dnf", "rpm"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", name)
			}
			t.Skipf("SKIPPED: %s is not installed", name)
		}
	}
	d := dnf{t: t, dir: t.TempDir()}
	d.conf = filepath.Join(d.dir, "dnf.conf")
	conf := fmt.Sprintf("[main]\nreposdir=%[1]s/repos\ncachedir=%[1]s/cache\npersistdir=%[1]s/persist\nlogdir=%[1]s\nplugins=1\nkeepcache=0\nassumeyes=1\n", d.dir)
	if err := os.WriteFile(d.conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.dir, "repos"), 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// uses puts a .repo file in place.
func (d dnf) uses(file string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "repos/pilot.repo"), []byte(file), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d dnf) try(args ...string) (string, error) {
	args = append([]string{"-c", d.conf, "--releasever=9", "--forcearch=x86_64", "--installroot=" + d.dir + "/root", "--refresh",
		"--disableplugin=*", "--enableplugin=repoclosure,reposync"}, args...)
	c := exec.Command("dnf", args...)
	c.Env = append(os.Environ(), "HOME="+d.dir, "LC_ALL=C.UTF-8")
	out, err := c.CombinedOutput()
	return string(out), err
}

func (d dnf) run(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("dnf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// has is the version of a package that is installed.
func (d dnf) has(name string) string {
	d.t.Helper()
	c := exec.Command("rpm", "--root", d.dir+"/root", "-q", "--qf", "%{version}", name)
	c.Env = append(os.Environ(), "HOME="+d.dir) // Debian's rpm has its database there
	out, err := c.CombinedOutput()
	if err != nil {
		return "none"
	}
	return string(out)
}

// TestDnfFollowsAPilot installs, upgrades and goes back, with every signature checked.
func TestDnfFollowsAPilot(t *testing.T) {
	g, d := newGridPilot(t), newDNF(t)
	first := g.pilot.Snapshot()
	second := g.update("u1", desired.UpdateOfPilot, first, g.add("pilot-svc", "1.1", "ext-lib >= 1.0", keyOf(t, packagerKey)))
	g.publish(first, nil)
	wave := "repo/pilots/cream/wave-1/" + gridBranch + "/"
	d.uses(g.current(wave + "pilot-node.repo"))
	d.run("repoclosure")
	d.run("install", "pilot-svc")
	if got := d.has("pilot-svc"); got != "1.0" {
		t.Fatalf("installed %s", got)
	}
	g.publish(second, nil)
	d.run("upgrade")
	if got := d.has("pilot-svc"); got != "1.1" {
		t.Fatalf("upgraded to %s", got)
	}
	g.publish(first, nil)
	d.run("upgrade")
	if got := d.has("pilot-svc"); got != "1.1" {
		t.Errorf("upgrade alone goes back to %s", got)
	}
	d.run("distro-sync")
	if got := d.has("pilot-svc"); got != "1.0" {
		t.Errorf("distro-sync goes to %s", got)
	}
	g.publish(second, nil)
	d.uses(g.current(wave + "plain-node.repo"))
	d.run("upgrade")
	if got := d.has("pilot-svc"); got != "1.0" {
		t.Errorf("a plain node has the pilot's update, %s", got)
	}
	d.uses(g.current(wave + "pilot-node.repo"))
	g.publish(nil, nil)
	d.run("upgrade") // the file that a node has still works
	mirrored := filepath.Join(d.dir, "mirror")
	g.publish(second, nil)
	d.run("reposync", "--download-metadata", "--repoid=pilot-cream-release", "-p", mirrored)
	for _, file := range []string{"repodata/repomd.xml", "pilot-svc-1.0-1.noarch.rpm"} {
		b, err := os.ReadFile(filepath.Join(mirrored, "pilot-cream-release", file))
		if err != nil || string(b) != g.current(snapPath(second)+"/"+gridBranch+"/RPMS.Release/"+file) {
			t.Errorf("the mirror's %s differs: %v", file, err)
		}
	}
}

// TestDnfRefusesWhatNobodySigned has a package without a signature, and repodata that a stranger signed.
func TestDnfRefusesWhatNobodySigned(t *testing.T) {
	g, d := newGridPilot(t), newDNF(t)
	g.pilot.Branches[gridBranch][desired.ReleaseRPMs] = append(g.pilot.Branches[gridBranch][desired.ReleaseRPMs], g.add("unsigned", "1.0", "", nil))
	g.state("")
	g.publish(g.pilot.Snapshot())
	file := g.current("repo/pilots/cream/wave-1/" + gridBranch + "/pilot-node.repo")
	d.uses(file)
	d.run("install", "pilot-svc")
	if out, err := d.try("install", "unsigned"); err == nil || d.has("unsigned") != "none" {
		t.Errorf("installed what nobody signed: %s", out)
	}
	known, err := keyOf(t, pilotKey).PublicArmored()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(d.dir, "known.asc")
	if err := os.WriteFile(own, known, 0o644); err != nil {
		t.Fatal(err)
	}
	r := g.reconciler()
	r.PilotKey = keyOf(t, strangerKey)
	g.publishWith(r, g.pilot.Snapshot())
	d.uses(strings.ReplaceAll(file, g.server.URL+"/repo/keys/pomona.asc", "file://"+own))
	if out, err := d.try("repoquery"); err == nil {
		t.Errorf("believed a stranger's key: %s", out)
	}
}

func TestFactsOfPackages(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	newer := g.update("newer", desired.UpdateOfPilot, first, g.add("pilot-svc", "1.2", "other-lib", keyOf(t, strangerKey)))
	masked := g.update("security", desired.ProductionUpdate, newer, g.add("pilot-svc", "1.0.1", "", keyOf(t, packagerKey)))
	r := g.reconciler()
	f, err := r.PilotFacts(t.Context(), "cream")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Unmet[first.Subject()]; got == nil || len(got) > 0 {
		t.Errorf("the first release lacks %v", got)
	}
	if _, known := f.Unmet[newer.Subject()]; known {
		t.Error("it is known what nodes have that nobody described")
	}
	if why := f.Signed[first.Subject()]; why != "" {
		t.Errorf("the first release: %s", why)
	}
	if why := f.Signed[masked.Subject()]; !strings.Contains(why, "pilot-svc-1.2") || !strings.Contains(why, "nobody who is trusted has signed it") {
		t.Errorf("a stranger signed: %q", why)
	}
	if got := fmt.Sprint(f.Masked); got != "map[security:[pilot-svc-1.0.1-1.noarch of SL9/x86_64 behind pilot-svc-1.2-1.noarch]]" {
		t.Errorf("masked: %s", got)
	}
	r.Payloads = nil // whatever is asked again is known
	if again, err := r.PilotFacts(t.Context(), "cream"); err != nil || fmt.Sprint(again) != fmt.Sprint(f) {
		t.Errorf("asked again: %v, %v", again, err)
	}
}

// TestCommandsSeeWhoSignedPackages as the service does, if they are told where it is.
func TestCommandsSeeWhoSignedPackages(t *testing.T) {
	for by, key := range map[string]func() (*rpm.Key, error){"the packager": packagerKey, "a stranger": strangerKey} {
		g := newGridPilot(t)
		g.pilot.Branches[gridBranch][desired.ExternalRPMs] = []desired.RPM{g.add("ext-lib", "1.1", "", keyOf(t, key))}
		g.state("\tticket: \"https://tickets.example.org/1\"\n\ttracker: \"https://tickets.example.org/2\"\n\troles: {coordinator: \"cora@example.org\", developer: \"dave@example.org\", authoriser: \"anna@example.org\", testers: [\"tess@example.org\"]}\n")
		r := g.reconciler()
		if err := os.MkdirAll(filepath.Join(g.root, ".pomona"), 0o700); err != nil {
			t.Fatal(err)
		}
		records := reconciler.NewRecords(g.root, r.Log)
		if err := errors.Join(records.Use(t.Context(), func(*ledger.Ledger) error { return nil }), records.Close()); err != nil {
			t.Fatal(err)
		}
		for _, known := range []*reconciler.Records{nil, reconciler.ReadRecords(g.root, r.Log)} {
			a := &reconciler.PilotAuthor{Author: reconciler.Author{Site: g.dir, Loader: load.New(load.Options{Worker: []string{os.Args[0], "eval-worker"}}), Log: r.Log, Now: r.Now},
				By: "cora@example.org", Dry: true, Known: known, Packages: r.Packages, Payloads: r.Payloads}
			said, err := a.Say(t.Context(), "cream", reconciler.RecordPilot{Record: desired.PilotRecord{Kind: desired.RecordFreeze}})
			if err != nil {
				t.Fatal(err)
			}
			next := ""
			for _, g := range said.Next {
				if g.Name == "signatures" && g.Verdict == plan.GateFail {
					next = g.Do
				}
			}
			if wrong := by == "a stranger" && known != nil; wrong != strings.Contains(next, "sign them (rpmsign --addsign)") {
				t.Errorf("signed by %s, with a ledger %t: next is %q; %v, %v", by, known != nil, next, said.Next, said.Doubts)
			}
			if known == nil {
				continue
			}
			a.Payloads, a.Packages = nil, nil
			said, err = a.Say(t.Context(), "cream", reconciler.RecordPilot{Record: desired.PilotRecord{Kind: desired.RecordFreeze, Closure: &desired.RPMClosure{}}})
			if err != nil || !strings.Contains(strings.Join(said.Doubts, "\n"), "what its packages say is not known here: ") {
				t.Errorf("packages that cannot be read: %q, %v", said.Doubts, err)
			}
		}
	}
}

func TestPackagesAreCheckedBeforeTheMerge(t *testing.T) {
	g := newGridPilot(t)
	release := g.pilot.Branches[gridBranch][desired.ReleaseRPMs]
	text, _, err := reconciler.AddBlob(t.Context(), g.root, strings.NewReader("no package"))
	if err != nil {
		t.Fatal(err)
	}
	misnamed := release[0]
	misnamed.File = "other-1.0-1.noarch.rpm"
	again := g.add("ext-lib", "1.0", "pilot-svc", keyOf(t, packagerKey)) // another package of that name and version
	g.pilot.Branches[gridBranch][desired.ReleaseRPMs] = append(release, misnamed, desired.RPM{File: "text-1-1.noarch.rpm", SHA256: text.String()},
		desired.RPM{File: "gone-1-1.noarch.rpm", SHA256: strings.Repeat("0", 64)})
	g.pilot.Branches[gridBranch][desired.ProductionUpdatesRPMs] = []desired.RPM{again}
	g.state("")
	r := g.reconciler()
	commit, err := r.Repo.Resolve("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	files, err := r.Repo.Files(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	_, problems, err := reconciler.Validate(t.Context(), files, load.New(load.Options{Worker: []string{os.Args[0], "eval-worker"}}), nil, r.Payloads, now)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(problems)
	for _, want := range []string{
		"call it pilot-svc-1.0-1.noarch.rpm", "text-1-1.noarch.rpm is no RPM package", "the blob store has no such file", "is another one in RPMS.externals",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing is said of %q in %s", want, all)
		}
	}
	for _, p := range problems {
		if p.Line == 0 {
			t.Errorf("nobody knows where: %s", p)
		}
	}
}

func TestMirrorsAreComparedByDigest(t *testing.T) {
	g := newGridPilot(t)
	first := g.pilot.Snapshot()
	g.publish(first)
	mirrored := t.TempDir()
	if out, err := exec.Command("cp", "-rL", filepath.Join(g.root, "current", snapPath(first))+"/.", mirrored).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	h := httptest.NewServer(http.FileServer(http.Dir(mirrored)))
	t.Cleanup(h.Close)
	check := func(want string) {
		t.Helper()
		found, err := reconciler.CheckMirror(t.Context(), g.pilot, "", h.URL)
		if err != nil || fmt.Sprint(found) != want {
			t.Errorf("%v: %v, want %s", err, found, want)
		}
	}
	check("[]")
	file := filepath.Join(mirrored, gridBranch, "RPMS.externals/ext-lib-1.0-1.noarch.rpm")
	at := gridBranch + "/RPMS.externals/ext-lib-1.0-1.noarch.rpm"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1]++
	if err := errors.Join(os.Remove(file), os.WriteFile(file, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	if found, err := reconciler.CheckMirror(t.Context(), g.pilot, "", h.URL); err != nil || len(found) != 1 || found[0].Path != at || found[0].What != "package differs" {
		t.Errorf("a changed package: %v, %v", found, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if found, err := reconciler.CheckMirror(t.Context(), g.pilot, "", h.URL); err != nil || len(found) != 1 || found[0].What != "missing" {
		t.Errorf("a missing package: %v, %v", found, err)
	}
	if err := os.RemoveAll(filepath.Join(mirrored, gridBranch, "RPMS.Release/repodata")); err != nil {
		t.Fatal(err)
	}
	if found, err := reconciler.CheckMirror(t.Context(), g.pilot, "", h.URL); err != nil || len(found) != 2 {
		t.Errorf("no repodata: %v, %v", found, err)
	}
}

// TestAComparisonShowsWhatSitesGet, without any key of pilots, and reads nothing of what stays.
func TestAComparisonShowsWhatSitesGet(t *testing.T) {
	g := newGridPilot(t)
	g.state(`	ticket: "https://tickets.example.org/1", tracker: "https://tickets.example.org/2"
	impact: {services: ["CE"], resources: "a node"}
	roles: {coordinator: "cora@example.org", developer: "dave@example.org", authoriser: "anna@example.org", testers: ["tess@example.org"]}
	rollout: waves: [{}, {}]
	sites: {cern: contact: "kim@example.org", fnal: {contact: "liz@example.org", wave: 2}}
`)
	records, subject, at := "", g.pilot.Snapshot().Subject(), now.Add(-100*time.Hour)
	record := func(by, kind, fields string) {
		at = at.Add(time.Minute)
		records += fmt.Sprintf("\trecords: %q: {kind: %q, by: %q, at: %q, %s}\n", kind, kind, by, at.UTC().Format(time.RFC3339), fields)
	}
	about := fmt.Sprintf("subject: %q", subject)
	stated, problems, err := reconciler.Validate(t.Context(), worktree(t, g.dir), loader, nil, nil, now)
	if err != nil || len(problems.Blocking()) > 0 {
		t.Fatal(problems, err)
	}
	agreed := stated.Pilots["cream"].Agreement("ann@example.org", "")
	record("ann@example.org", "agreement", fmt.Sprintf("terms: %q, owner: %q, coordinator: %q, expires: %q", agreed.Terms, agreed.Owner, agreed.Coordinator, agreed.Expires))
	record("cora@example.org", "freeze", about+", closure: exit: 0")
	var checks []string
	for _, c := range desired.PilotChecks {
		checks = append(checks, fmt.Sprintf(`%q: verdict: "pass"`, c))
	}
	record("tess@example.org", "report", about+`, compat: "new-service", checks: {`+strings.Join(checks, ", ")+"}")
	record("anna@example.org", "authorisation", about+`, decision: "ok"`)
	record("dave@example.org", "notes", about+`, text: "takes more jobs"`)
	record("anna@example.org", "mirror", about+`, location: "https://mirror.example.org/cream"`)
	record("cora@example.org", "call", fmt.Sprintf("closes: %q", now.Add(-48*time.Hour).Format(time.DateOnly)))
	record("kim@example.org", "join", `site: "cern", answer: "interested"`)
	g.site = g.grow("pilots.cue", "\trollout: waves", records+"\trollout: waves")
	r := g.reconciler()
	r.PilotKey, r.Records = nil, nil
	rep, err := r.Compare(t.Context(), "HEAD~1")
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Plan.Pilots) != 1 {
		t.Fatalf("pilots are %+v", rep.Plan.Pilots)
	}
	c := rep.Plan.Pilots[0]
	want := []plan.PilotGift{{Wave: 1, To: []string{"cern"}, What: "packages", Now: subject}}
	if d := cmp.Diff(want, c.Gives); d != "" || c.From != "requested" || c.Withheld != "" {
		t.Errorf("the pilot is %s → %s, withheld: %q; gifts (-want +got):\n%s\n%v", c.From, c.To, c.Withheld, d, c.Lines())
	}
	if !slices.ContainsFunc(rep.Plan.Changes, func(c plan.Change) bool { return strings.HasPrefix(c.Path, "repo/pilots/cream/wave-1") }) {
		t.Errorf("changes are %+v", rep.Plan.Changes)
	}
	g.site = g.grow("pilots.cue", gridBranch, "SL10/x86_64")
	if rep, err = g.reconciler().Compare(t.Context(), "HEAD~1"); err != nil || len(rep.Plan.Pilots) != 1 {
		t.Fatalf("%v: %+v", err, rep.Plan.Pilots)
	}
	if c := rep.Plan.Pilots[0]; len(c.Gives) > 0 || c.From != c.To || !strings.HasPrefix(c.Withheld, "its branches are not what is deployed") {
		t.Errorf("its branches are others, and it is %s → %s, withheld: %q; gifts %+v", c.From, c.To, c.Withheld, c.Gives)
	}
}
