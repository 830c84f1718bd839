package tree_test

import (
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// TestALayoutThatRemembersLaysOutTheSame holds a Layout to Of while anything of a site changes, also back, and also with parts
// that are missing.
func TestALayoutThatRemembersLaysOutTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var layout tree.Layout
		w := originWanted(originSite())
		start := true
		w.Site.FECs["b"].Software["bpm"] = desired.Pin{Version: "1.0", Start: &start, Until: "2027-01-31"}
		r := w.Site.Software["bpm"].Versions["1.0"]
		r.Channel = desired.Dev
		w.Site.Software["bpm"].Versions["1.0"] = r
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			w.Site, w.Parts = copySite(w.Site), maps.Clone(w.Parts)
			change(t, &w)
			want, err1 := tree.Of(w)
			got, err2 := layout.Of(w)
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("%v, and %v with what is remembered", err1, err2)
			}
			if err1 == nil && !reflect.DeepEqual(want, got) {
				t.Fatalf("laid out %+v, want %+v", got, want)
			}
		}
	})
}

// copySite is a site whose maps of the first level are its own.
func copySite(s desired.Site) desired.Site {
	s.FECs, s.Software, s.Configuration = maps.Clone(s.FECs), maps.Clone(s.Software), maps.Clone(s.Configuration)
	s.Settings.Scripts = maps.Clone(s.Settings.Scripts)
	return s
}

// change changes one thing of what is wanted.
func change(t *rapid.T, w *tree.Wanted) {
	fec := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "fec")
	f := w.Site.FECs[fec]
	digest := func() artifact.Digest {
		return artifact.Sum([]byte(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "content")))
	}
	switch rapid.SampledFrom([]string{"nothing", "host", "pin", "platform", "persistence", "monitoring", "init", "remove", "scripts", "part", "missing", "expired", "name", "software", "global"}).Draw(t, "what") {
	case "host":
		f.Host = rapid.SampledFrom([]string{"host-1", "host-2"}).Draw(t, "host") + fec
		w.Site.FECs[fec] = f
	case "pin":
		f.Software = map[string]desired.Pin{"bpm": {Version: rapid.SampledFrom([]string{"1.0", "2.0"}).Draw(t, "version")}}
		w.Site.FECs[fec] = f
	case "platform":
		f.Platform = rapid.SampledFrom([]string{"ppc", "x86"}).Draw(t, "platform")
		w.Site.FECs[fec] = f
	case "persistence":
		f.Persistence = map[string]desired.Persistence{"more": {Path: "/opt/more"}}
		w.Site.FECs[fec] = f
	case "monitoring":
		f.Monitoring.Groups = []string{rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group")}
		w.Site.FECs[fec] = f
	case "init":
		f.Init = map[string]desired.Init{"10-env": {Global: "env", Starts: rapid.SampledFrom([]string{"", "bpm"}).Draw(t, "starts")}}
		w.Site.FECs[fec] = f
		w.Parts[tree.Part{Kind: tree.ScriptsPart, Name: fec}] = artifact.Artifact{Digest: digest(), Format: artifact.Gzip}
	case "remove":
		delete(w.Site.FECs, fec)
	case "scripts":
		w.Parts[tree.Part{Kind: tree.ScriptsPart, Name: "a"}] = artifact.Artifact{Digest: digest(), Format: artifact.Gzip}
	case "part":
		for p, a := range w.Parts {
			if p.Kind == tree.SoftwarePart && p.Version == "1.0" {
				a.Digest = digest()
				w.Parts[p] = a
			}
		}
	case "missing":
		delete(w.Parts, tree.Part{Kind: tree.ScriptPart, Name: "scripts/own"})
	case "expired":
		w.Expired = map[string]bool{tree.StartPermission(fec, "bpm"): rapid.Bool().Draw(t, "expired")}
	case "name":
		w.Site.Settings.Name = rapid.SampledFrom([]string{"test", "other"}).Draw(t, "name")
	case "software":
		s := w.Site.Software["bpm"]
		s.Versions = maps.Clone(s.Versions)
		r := s.Versions["1.0"]
		r.Channel = rapid.SampledFrom([]string{"", desired.Dev}).Draw(t, "channel")
		s.Versions["1.0"] = r
		w.Site.Software["bpm"] = s
	case "global":
		w.Site.Settings.Scripts["env"] = desired.GlobalScript{File: rapid.SampledFrom([]string{"scripts/env", "scripts/own"}).Draw(t, "file")}
	}
}
