package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// gridHouse is a house with a pilot of sites, grid-1, which everybody brings further by commands alone, as of days ago.
type gridHouse struct {
	*house
	packager openpgp.EntityList
	sites    []string // in the order of their waves; the contact of each is called like it
}

// gridPeople are those of the pilot, beside contacts of sites.
var gridPeople = []string{"owner", "cora", "dave", "anna", "tess"}

func newGridHouse(t *testing.T, sites ...string) *gridHouse {
	t.Helper()
	g := &gridHouse{house: newHouse(t, append(slices.Clone(gridPeople), sites...)...), sites: sites}
	must(t, "keygen", "--openpgp", g.sayers.path("pilots"))
	must(t, "keygen", "--openpgp", g.sayers.path("packager"))
	var err error
	if g.packager, err = openpgp.ReadArmoredKeyRing(strings.NewReader(g.read("packager.sec"))); err != nil {
		t.Fatal(err)
	}
	g.pushes(map[string]string{"keys/packager.asc": g.read("packager.asc"),
		"packages.cue": fmt.Sprintf("package site\n\nsite: packages: {servers: [\"http://%s\"], keys: packager: file: \"keys/packager.asc\"}\n", g.listen)})
	g.sayers.write("notes.md", "It takes *more* jobs.\n")
	return g
}

func (g *gridHouse) read(name string) string {
	g.t.Helper()
	b, err := os.ReadFile(g.sayers.path(name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

// packs makes a signed package in a folder of packages.
func (g *gridHouse) packs(folder, name, version, requires string) {
	g.t.Helper()
	g.sayers.write(filepath.Join(folder, fmt.Sprintf("%s-%s-1.noarch.rpm", name, version)), string(signedRPM(g.t, g.packager, name, version, requires)))
}

// serves starts the service, whose pilots one key signs.
func (g *gridHouse) serves() {
	g.t.Helper()
	g.house.serves(fmt.Sprintf("\tpilotKey: %q", g.sayers.path("pilots.sec")))
}

// asked asks for the pilot 60 days ago, and staffs it. More is said of who does what.
func (g *gridHouse) asked(more ...string) {
	g.t.Helper()
	g.say("owner", 60, "request", "--scope", "grid-service", "--service", "CREAM", "--ticket", "https://tickets.example.org/1", "--expires", g.day(180),
		"--description", "a computing element that takes jobs from everywhere, before all get it", "--success", "jobs=ten thousand jobs in a week end as they should")
	words := []string{"staff", "--coordinator", "cora@example.org", "--developer", "dave@example.org", "--authoriser", "anna@example.org", "--tester", "tess@example.org",
		"--tracker", "https://tickets.example.org/2", "--affects", "CE", "--needs", "a node of eight cores", "--wave", "soak=1d"}
	for _, site := range g.sites {
		words = append(words, "--participant", fmt.Sprintf("%s=%[1]s@example.org:1", site))
	}
	g.say("owner", 59, append(words, more...)...)
}

// packaged adds what is in folder packages, 58 days ago.
func (g *gridHouse) packaged() {
	g.t.Helper()
	g.say("dave", 58, "add-packages", g.sayers.path("packages"), "--root", g.root)
}

// mirrored brings it from its packages, 57 days ago, to where sites get it, 52 days ago.
func (g *gridHouse) mirrored() {
	g.t.Helper()
	g.say("cora", 57, "freeze", "--root", g.root)
	g.say("tess", 56, "report", "--compat", "new-service", "--check", "all=pass")
	g.say("anna", 55, "authorise")
	g.say("dave", 54, "notes", g.sayers.path("notes.md"))
	g.say("anna", 52, "mirror", "http://"+g.listen+"/repo/pilots/grid-1", "--on-trust")
}

// joined has some sites take part, 50 days ago.
func (g *gridHouse) joined() {
	g.t.Helper()
	g.say("cora", 51, "call", "--closes", g.day(-45))
	for _, site := range g.sites {
		g.say(site, 50, "join", site, "--answer", "interested")
	}
}

// TestAPilotOfSitesIsPromotedByCommands alone: its sites install it, its coordinator measures it, cannot close it before it has soaked, and waives that.
func TestAPilotOfSitesIsPromotedByCommands(t *testing.T) {
	t.Parallel()
	g := newGridHouse(t, "kim", "liz")
	g.packs("packages/SL9/x86_64/RPMS.Release", "ce", "1.0", "")
	g.asked()
	g.packaged()
	g.mirrored()
	g.joined()
	g.serves()
	shows := func(what string) {
		t.Helper()
		out := ""
		defer func() {
			if t.Failed() {
				t.Log(out)
			}
		}()
		eventually(t, what, func() bool { out = must(t, "pilot", "grid-1", "--root", g.root); return strings.Contains(out, what) })
	}
	shows("next        deployed: kim@example.org or liz@example.org: pomona pilot grid-1 deploy SITE installed (0 of 2 run it, 2 must)")
	if _, why, code := g.tries("cora", "grid-1", "criterion", "jobs", "yes", "--root", g.root); code == 0 || !strings.Contains(why, "no site runs pilot grid-1") {
		t.Errorf("it is measured before anybody runs it: exit code %d\n%s", code, why)
	}
	g.tell("kim", "grid-1", "deploy", "kim", "installed", "--root", g.root)
	g.tell("cora", "grid-1", "deploy", "liz", "installed") // for one who cannot commit
	shows("pilot grid-1: published")
	g.tell("cora", "grid-1", "criterion", "jobs", "yes", "--root", g.root)
	shows("waits       closed: soak: wave 1 has to run it until ")
	if _, why, code := g.tries("cora", "grid-1", "close", "promoted", "--root", g.root); code == 0 || !strings.Contains(why, "soak: wave 1 has to run it until ") {
		t.Errorf("it is promoted before it has soaked: exit code %d\n%s", code, why)
	}
	g.tell("cora", "grid-1", "waive", "soak", "--reason", "both sites have run it for weeks before", "--expires", g.day(10), "--root", g.root)
	shows("next        closed: cora@example.org: pomona pilot grid-1 close promoted")
	g.tell("cora", "grid-1", "close", "promoted", "--reason", "all sites are to have it", "--root", g.root)
	shows("next        closed: cora@example.org: put its packages where all sites get theirs, then remove the pilot")
	if why := g.pilot("grid-1").Why; why != "promoted: all sites are to have it" {
		t.Errorf("it is closed: %q", why)
	}
}
