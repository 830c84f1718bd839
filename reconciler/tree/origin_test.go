package tree_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func originSite() desired.Site {
	payload := func(folder string) map[string]desired.Payload {
		return map[string]desired.Payload{"any": {Folder: folder, Install: "/opt/x"}}
	}
	return desired.Site{
		Settings: desired.Settings{
			Name:      "test",
			Platforms: map[string]desired.Platform{"ppc": {}, "x86": {Format: artifact.Zstd}},
			Scripts:   map[string]desired.GlobalScript{"env": {File: "scripts/env"}},
		},
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{
			"1.0": {Payload: payload("bpm/1.0")},
			"2.0": {Payload: map[string]desired.Payload{"ppc": {Archive: "bpm.tar.xz", Install: "/opt/x"}}},
		}}},
		Configuration: map[string]desired.Configuration{
			"table": {Versions: map[string]desired.ConfigurationVersion{"1": {Payload: desired.Payload{Folder: "table", Install: "/opt/t"}}}},
			"own":   {FEC: "a", Versions: map[string]desired.ConfigurationVersion{"1": {Payload: desired.Payload{Folder: "own", Install: "/opt/o"}}}},
		},
		FECs: map[string]desired.FEC{
			"a": {
				Host: "host-a", Platform: "ppc", Software: map[string]desired.Pin{"bpm": {Version: "2.0"}},
				Configuration: map[string]string{"table": "1", "own": "1"},
				Init:          map[string]desired.Init{"10-env": {Global: "env"}, "20-own": {File: "scripts/own"}},
				Persistence:   map[string]desired.Persistence{"orbit": {Path: "/opt/data"}},
				Monitoring:    desired.Monitoring{Groups: []string{"g"}, Services: map[string]desired.MonitorService{"ping": {Check: "ping"}}},
			},
			"b": {Host: "b", Platform: "x86", Software: map[string]desired.Pin{"bpm": {Version: "1.0"}}},
		},
	}
}

// originWanted is that site with everything that it needs.
func originWanted(s desired.Site) tree.Wanted {
	releases := map[string][]string{"bpm": {"1.0", "2.0"}}
	parts := map[tree.Part]artifact.Artifact{}
	add := func(p tree.Part) {
		a := artifact.Artifact{Digest: digest(p.String()), Size: 1, Format: artifact.Gzip}
		if p.Kind == tree.SoftwarePart || p.Kind == tree.ConfigurationPart {
			a.SBOM, a.Bill = digest("sbom of "+p.String()), 1
		}
		parts[p] = a
	}
	for _, v := range releases["bpm"] {
		for p := range tree.SoftwareParts(s, "bpm", v) {
			add(p)
		}
	}
	for _, name := range []string{"table", "own"} {
		for p := range tree.ConfigurationParts(s, name, "1") {
			add(p)
		}
	}
	for _, file := range []string{"scripts/env", "scripts/own"} {
		add(tree.Part{Kind: tree.ScriptPart, Name: file})
	}
	add(tree.Part{Kind: tree.ScriptsPart, Name: "a"})
	return tree.Wanted{Site: s, Releases: releases, Parts: parts, Client: []byte("#!/bin/sh\n"), Command: []byte("#!/bin/sh\n")}
}

// TestEveryPathHasAnOrigin holds origins to what is laid out: each path of a tree has one, and nothing else has.
func TestEveryPathHasAnOrigin(t *testing.T) {
	s := originSite()
	w := originWanted(s)
	laidOut, err := tree.Of(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range laidOut.Folders {
		origins := tree.Origins(s, w.Releases, f.Path)
		var want, got []string
		nodes, _ := f.Sealed(nil)
		if f.Manifest != nil {
			nodes, _ = f.Sealed([]byte("m"))
		}
		for _, n := range nodes {
			want = append(want, f.Path+"/"+n.Path)
		}
		for path, o := range origins {
			if o.What == "" || len(o.Sources) == 0 {
				t.Errorf("%s has the origin %+v", path, o)
			}
			for _, s := range o.Sources {
				if s.Role == "" || (s.Path == "") == (s.File == "") {
					t.Errorf("%s comes from %+v", path, s)
				}
			}
			isFolder := slices.ContainsFunc(slices.Collect(maps.Keys(origins)), func(p string) bool { return len(p) > len(path) && p[:len(path)+1] == path+"/" })
			if !isFolder {
				got = append(got, path)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-laid out +explained):\n%s", f.Path, d)
		}
	}
	for _, l := range laidOut.Links {
		if o := tree.Origins(s, w.Releases, l.Path)[l.Path]; o.What != "link to FEC a, by its host name" {
			t.Errorf("%s has the origin %+v", l.Path, o)
		}
		if o := tree.Origins(s, w.Releases, l.Path)[l.Path+"/boot.manifest"]; o.Sources[0].Path != "fecs.a.host" {
			t.Errorf("%s/boot.manifest has the origin %+v", l.Path, o)
		}
	}
}

func TestOriginOfAnArchive(t *testing.T) {
	o := tree.Origins(originSite(), nil, "fecs/a/software")["fecs/a/software/bpm-2.0-ppc.tar.xz"]
	want := tree.Origin{What: "archive of bpm 2.0 for FEC a", Sources: []tree.Source{
		{Role: "pinned version", Path: "fecs.a.software.bpm.version"},
		{Role: "payload", Path: `software.bpm.versions."2.0".payload.ppc`},
		{Role: "content", File: "bpm.tar.xz"},
	}}
	if d := cmp.Diff(want, o); d != "" {
		t.Errorf("origin (-want +got):\n%s", d)
	}
	for _, path := range []string{"fecs/nobody", "software/none/1", "configuration/own/1", "objects", "", "fecs", "data/b"} {
		if o := tree.Origins(originSite(), nil, path); len(o) > 0 {
			t.Errorf("%q has the origins %v", path, o)
		}
	}
}
