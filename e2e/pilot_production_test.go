package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// updates has everybody say what brings an update to sites, as of days ago and the days before; the folder has its packages.
func (g *gridHouse) updates(name, folder string, days int, words ...string) {
	g.t.Helper()
	g.say("dave", days, append([]string{"update", name, "add", "--packages", g.sayers.path(folder), "--root", g.root}, words...)...)
	for _, step := range [][]string{
		{"cora", "approve"}, {"cora", "freeze", "--root", g.root}, {"tess", "report", "--compat", "backward-compatible", "--check", "all=pass"}, {"dave", "notes", g.sayers.path("notes.md")},
		{"anna", "mirror", "http://" + g.listen + "/repo/pilots/grid-1", "--on-trust"},
	} {
		g.say(step[0], days, append([]string{"update", name}, step[1:]...)...)
	}
}

// file is what is served at a path; empty: nothing.
func (g *gridHouse) file(path string) string {
	g.t.Helper()
	if get("http://"+g.listen+"/"+path) != 200 {
		return ""
	}
	return string(download(g.t, "http://"+g.listen+"/"+path))
}

// TestProductionUpdatesReachAllNodes of sites, whether they take part in a pilot or not: what fixes a library does. One that nodes of the pilot would
// never be offered, since they have a higher version already, reaches nobody.
func TestProductionUpdatesReachAllNodes(t *testing.T) {
	t.Parallel()
	debian(t, "dnf", "dnf")
	debian(t, "rpm", "rpm")
	g := newGridHouse(t, "cern")
	g.packs("packages/SL9/x86_64/RPMS.Release", "pilot-svc", "1.0", "ext-lib >= 1.0")
	g.packs("packages/SL9/x86_64/RPMS.externals", "ext-lib", "1.0", "")
	g.asked()
	g.packaged()
	g.mirrored()
	g.joined()
	g.serves()
	wave := "repo/pilots/grid-1/wave-1/" + gridBranch + "/"
	eventually(t, "the first wave is open", func() bool { return strings.Contains(g.file(wave+"pilot-node.repo"), "\nenabled=1\n") })
	node, plain := newGridNode(t), newGridNode(t)
	node.uses(g.file(wave + "pilot-node.repo"))
	plain.uses(g.file(wave + "plain-node.repo"))
	has := func(when, svcOfNode, svcOfPlain, lib string) {
		t.Helper()
		got := fmt.Sprint(node.has("pilot-svc"), plain.has("pilot-svc"), node.has("ext-lib"), plain.has("ext-lib"))
		if want := fmt.Sprint(svcOfNode, svcOfPlain, lib, lib); got != want {
			t.Errorf("%s: nodes have %s, want %s", when, got, want)
		}
	}
	for _, n := range []gridNode{node, plain} {
		n.dnf("install", "pilot-svc")
	}
	has("first", "1.0", "1.0", "1.0")
	serves := func(list, file string) func() bool {
		return func() bool {
			at := strings.TrimSpace(g.file(wave + list + ".mirrorlist"))
			return at != "" && get(strings.TrimSuffix(at, "/")+"/"+file) == 200
		}
	}
	upgraded := func() {
		for _, n := range []gridNode{node, plain} {
			n.dnf("upgrade")
		}
	}

	g.packs("newer/SL9/x86_64", "pilot-svc", "1.2", "ext-lib >= 1.0")
	g.updates("newer", "newer", 40, "--kind", "pilot", "--reason", "enhancement")
	eventually(t, "the update of the pilot is served", serves("RPMS.pilot_updates", "pilot-svc-1.2-1.noarch.rpm"))
	upgraded()
	has("after an update of the pilot", "1.2", "1.0", "1.0")

	g.packs("fix/SL9/x86_64", "ext-lib", "1.1", "")
	g.updates("fix", "fix", 30, "--kind", "production", "--reason", "security", "--advisory", "ADV-2026-1")
	eventually(t, "the update of production is served", serves("RPMS.production_updates", "ext-lib-1.1-1.noarch.rpm"))
	upgraded()
	has("after one of production", "1.2", "1.0", "1.1")

	// Higher than what plain nodes have, lower than what the pilot's have.
	g.packs("masked/SL9/x86_64", "pilot-svc", "1.1", "ext-lib >= 1.0")
	g.updates("masked", "masked", 20, "--kind", "production", "--reason", "bugfix")
	eventually(t, "it is known why it goes no further", func() bool {
		out := must(t, "pilot", "grid-1", "--root", g.root)
		return strings.Contains(out, "masked") && strings.Contains(string(download(t, "http://"+g.listen+"/-/pilots/grid-1/excuses.json")), "pilot-svc-1.2-1")
	})
	g.dies()
	if serves("RPMS.production_updates", "pilot-svc-1.1-1.noarch.rpm")() || !serves("RPMS.production_updates", "ext-lib-1.1-1.noarch.rpm")() {
		t.Error("what would be masked is served")
	}
	upgraded()
	has("after one that would be masked", "1.2", "1.0", "1.1")
}
