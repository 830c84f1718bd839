package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// small is a site with software of every need, shared and own configuration, and scripts of every kind: bpm needs a
// restart, tools nothing, and psc, which says nothing, a reboot.
func small() desired.Site {
	release := func(versions ...string) map[string]desired.Release {
		out := map[string]desired.Release{}
		for _, v := range versions {
			out[v] = desired.Release{Payload: map[string]desired.Payload{desired.AnyPlatform: {Folder: "f", Install: "/opt/x"}}}
		}
		return out
	}
	fits := func(software ...string) map[string]desired.ConfigurationVersion {
		cv := desired.ConfigurationVersion{For: map[string]string{}}
		for _, s := range software {
			cv.For[s] = ">=1"
		}
		return map[string]desired.ConfigurationVersion{"1.0": cv, "1.1": cv}
	}
	fec := func(host, group string) desired.FEC {
		return desired.FEC{
			Host: host, Platform: "ppc", Groups: []string{group},
			Software:      map[string]desired.Pin{"bpm": {Version: "1.0"}},
			Configuration: map[string]string{"orbit": "1.0"},
			Init:          map[string]desired.Init{"10-env": {Global: "10-env"}, "50-bpm": {File: "scripts/bpm", Starts: "bpm"}},
		}
	}
	return desired.Site{
		Settings: desired.Settings{
			Name: "test", Platforms: map[string]desired.Platform{"ppc": {}},
			Scripts: map[string]desired.GlobalScript{"10-env": {File: "scripts/env"}, "20-dbus": {File: "scripts/dbus"}},
			Boot:    desired.Boot{Servers: []string{"http://a"}},
		},
		Software: map[string]desired.Software{
			"bpm":   {OnUpdate: desired.Restart, Versions: release("1.0", "1.1")},
			"psc":   {Versions: release("1.0", "1.1")},
			"tools": {OnUpdate: desired.Nothing, Versions: release("1.0", "1.1")},
		},
		Configuration: map[string]desired.Configuration{
			"orbit": {Versions: fits("bpm")}, "supply": {Versions: fits("psc")}, "table": {Versions: fits("tools")}, "misc": {Versions: fits()},
			"own": {FEC: "a1", Versions: fits("bpm")},
		},
		FECs: map[string]desired.FEC{"a1": fec("hosta1", "a"), "a2": fec("hosta2", "a"), "b1": fec("hostb1", "b")},
	}
}

// lay lays out a site's tree. The content of each part is its name, and another one if edited names it: a script by its
// file, software and configuration by "bpm 1.0".
func lay(t testing.TB, s desired.Site, edited ...string) plan.Want {
	t.Helper()
	releases := plan.Releases(plan.Retain(s))
	content := func(part string) string {
		if slices.Contains(edited, part) {
			part += " edited"
		}
		return part
	}
	parts := map[tree.Part]artifact.Artifact{}
	for _, n := range plan.Needs(s, releases) {
		a := artifact.Artifact{Format: artifact.Gzip, Size: 1_000_000, Digest: digest(n.Part.Kind + content(n.Part.Name+" "+n.Part.Version))}
		switch n.Part.Kind {
		case tree.ScriptPart:
			a.Size, a.Digest = 100, digest("script"+content(n.Part.Name))
		case tree.ScriptsPart:
			var all []string
			for name, file := range n.Scripts {
				all = append(all, name+" "+content(file))
			}
			slices.Sort(all)
			a.Size, a.Digest = 2000, digest(strings.Join(all, "\n"))
		}
		parts[n.Part] = a
	}
	client := []byte(fmt.Sprint(s.Settings.Boot.Servers))
	made, err := tree.Of(tree.Wanted{Site: s, Releases: releases, Parts: parts, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Want{Commit: strings.Repeat("2", 40), GitTree: strings.Repeat("3", 40), Tree: made, Site: s, Keys: []string{"k"}}
}

// edit is the small site with one FEC changed.
func edit(fec string, change func(*desired.FEC)) desired.Site {
	s := small()
	f := s.FECs[fec]
	change(&f)
	s.FECs[fec] = f
	return s
}

// from is the plan of a commit against the small site as it is.
func from(t testing.TB, want plan.Want) plan.Plan {
	t.Helper()
	base := lay(t, small())
	base.Commit = strings.Repeat("1", 40)
	return plan.Compare(want, base)
}
