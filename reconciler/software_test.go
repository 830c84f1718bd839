package reconciler_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// software is bpm as people see it. Its counts are those of all software.
func (f *follower) software() (report.Software, map[string]report.SoftwareVersion) {
	f.t.Helper()
	s, err := f.Software(f.t.Context(), "bpm")
	must(f.t, err)
	all, err := f.AllSoftware(f.t.Context())
	must(f.t, err)
	by := map[string]report.SoftwareVersion{}
	for _, v := range s.Versions {
		by[v.Version] = v
	}
	if len(all.Software) != 1 || all.Of != len(s.Versions) {
		f.t.Fatalf("all software: %+v", all)
	}
	for _, v := range all.Software[0].Versions {
		of := by[v.Version]
		if of.Wanted != v.Wanted || of.Published != v.Published || of.Running != v.Running || of.Fate() != v.Fate() {
			f.t.Errorf("among all %+v, by itself %+v", v, of)
		}
	}
	return s, by
}

func counts(t *testing.T, v report.SoftwareVersion, wanted, published, running int, fate string) {
	t.Helper()
	if v.Wanted != wanted || v.Published != published || v.Running != running || !strings.Contains(v.Fate(), fate) {
		t.Errorf("%s: %d wanted, %d published, %d running, %q; want %d, %d, %d, %q", v.Version, v.Wanted, v.Published, v.Running, v.Fate(), wanted, published, running, fate)
	}
}

func TestWhoWantsGetsAndRunsWhichVersion(t *testing.T) {
	f := newFollower(t)
	f.Served = &reconciler.PublishedSite{}
	f.pass()
	first := f.fec("kgp2cu02").Published
	f.said(running(first.Serial, "token", f.Now()))
	s, of := f.software()
	counts(t, of["1.0.0"], 1, 1, 0, "stays: named by fecs.kgp2cu01")
	counts(t, of["1.1.0"], 1, 1, 1, "stays: named by fecs.kgp2cu02")
	counts(t, of["dev"], 1, 1, 0, "stays")
	if v := of["1.1.0"]; v.First == nil || v.First.Generation != 1 || v.First.Commit != f.head() || v.First.Author == "" || v.Channel != "production" || of["dev"].Channel != "dev" {
		t.Errorf("%+v", v)
	}
	if len(s.FECs) != 3 || s.FECs[0].Known || !s.FECs[1].Known || s.FECs[0].Differs || s.FECs[1].Differs {
		t.Errorf("%+v", s.FECs)
	}
	a := of["1.1.0"].Artifacts
	if len(a) != 2 || !strings.HasPrefix(a[0].Path, "software/bpm/1.1.0/bpm-1.1.0") || a[0].Bill != a[0].Path+".cdx.json" {
		t.Fatalf("%+v", a)
	}
	b, err := os.ReadFile(filepath.Join(f.Root, "current", a[0].Path))
	if must(t, err); artifact.Sum(b) != a[0].Digest || int64(len(b)) != a[0].Size {
		t.Errorf("%s has %d bytes, said to be %+v", a[0].Path, len(b), a[0])
	}

	// Another version is wanted, then published, and not booted yet.
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	s, of = f.software()
	counts(t, of["1.0.0"], 2, 1, 0, "named by fecs.kgp2cu01, fecs.kgp2cu02")
	counts(t, of["1.1.0"], 0, 1, 1, "stays: one of the 3 newest")
	if x := s.FECs[1]; !x.Differs || x.Wanted != "1.0.0" || x.Published != "1.1.0" || x.Running != "1.1.0" {
		t.Errorf("%+v", x)
	}
	f.later(time.Hour)
	f.pass()
	s, of = f.software()
	counts(t, of["1.0.0"], 2, 2, 0, "stays")
	counts(t, of["1.1.0"], 0, 0, 1, "stays")
	if x := s.FECs[1]; !x.Differs || x.Published != "1.0.0" || x.Running != "1.1.0" || !x.Known {
		t.Errorf("%+v", x)
	}

	// It is declared no more: it goes with the next pass, and then with the last generation that has it.
	f.change("software/bpm.cue", `"1.1.0": payload: any: {folder: "payload/bpm/1.1.0", install: "/opt/bpm/1.1.0"}`, "")
	_, of = f.software()
	counts(t, of["1.1.0"], 0, 0, 1, "goes with the next pass: nothing declares it; generation 2 has it (current), which goes once 10 more have been published")
	f.later(time.Hour)
	f.pass()
	_, of = f.software()
	counts(t, of["1.1.0"], 0, 0, 1, "not in the tree: nothing declares it; generation 2 has it (previous), which goes once 9 more have been published and from 2026-11-22 14:00 UTC on; kept for those FECs that said last that they run it")
	if v := of["1.1.0"]; v.InTree || v.First != nil || len(v.Artifacts) != 0 || len(v.Generations) != 2 {
		t.Errorf("%+v", v)
	}

	// What the branch wants cannot be read.
	f.change("site.cue", "name:", "nmae:")
	s, of = f.software()
	counts(t, of["1.0.0"], 0, 2, 0, "stays")
	if slices.ContainsFunc(s.Versions, func(v report.SoftwareVersion) bool { return !v.WantedUnknown || v.Is(report.VersionUnused) }) {
		t.Errorf("%+v", s.Versions)
	}
	if s.Unread == "" || s.FECs[0].Differs {
		t.Errorf("unread %q: %+v", s.Unread, s.FECs)
	}
	var text bytes.Buffer
	if must(t, s.Text(&text)); !strings.Contains(text.String(), "what is wanted is not known") || !regexp.MustCompile(`bpm +1\.0\.0 +production +not known +2 +0 `).MatchString(text.String()) ||
		!s.Matrix().WantedUnknown {
		t.Error(text.String())
	}
}

// TestTheOldestOfTheNewestGoesNext: the next production version takes its place, unless something names it.
func TestTheOldestOfTheNewestGoesNext(t *testing.T) {
	f := newFollower(t)
	release := func(version string) {
		f.change("payload/bpm/"+version+"/bin/bpm", "", "#!/bin/sh\necho "+version+"\n")
		f.change("software/bpm.cue", "\tdev: payload", "\t\""+version+`": payload: any: {folder: "payload/bpm/`+version+`", install: "/opt/bpm/`+version+"\"}\n\tdev: payload")
	}
	release("1.2.0")
	release("1.3.0")
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.3.0"`)
	f.pass()
	_, of := f.software()
	counts(t, of["1.0.0"], 1, 1, 0, "stays: named by fecs.kgp2cu01")
	counts(t, of["1.1.0"], 0, 0, 0, "stays until the next production version comes: one of the 3 newest production versions")
	if of["1.2.0"].Next || of["1.0.0"].Next || of["dev"].Next {
		t.Errorf("%+v", of)
	}
	release("1.4.0")
	_, of = f.software()
	counts(t, of["1.4.0"], 0, 0, 0, "comes with the next pass")
	counts(t, of["1.1.0"], 0, 0, 0, "goes with the next pass: named by nothing and older than the 3 newest")
	f.pass()
	if _, of = f.software(); of["1.1.0"].InTree || !of["1.4.0"].InTree {
		t.Errorf("%+v", of)
	}
}

func TestBillOfAReleaseThatIsPublished(t *testing.T) {
	f := newFollower(t)
	f.pass()
	_, of := f.software()
	for _, a := range of["1.0.0"].Artifacts {
		b, err := f.Bill(t.Context(), "bpm", "1.0.0", a.File)
		var bill report.Bill
		if must(t, err, json.Unmarshal(b, &bill)); artifact.Sum(b) != a.SBOM || bill.Metadata.Component.Digest() != a.Digest.String() || len(bill.Components) != 1 || bill.Components[0].Name != "/opt/bpm/1.0.0/bin/bpm" {
			t.Errorf("%s: %+v", a.File, bill)
		}
	}
	for _, name := range [][3]string{{"none", "1.0.0", ""}, {"bpm", "9.9.9", ""}, {"bpm", "1.0.0", "../1.1.0/bpm-1.1.0.tar.gz"}, {"../fecs", "kgp2cu01", ""}, {"bpm", "../bpm/1.0.0", ""}} {
		if b, err := f.Bill(t.Context(), name[0], name[1], name[2]); !errors.Is(err, reconciler.ErrNoSoftware) {
			t.Errorf("%q: %.80s, %v", name, b, err)
		}
	}
	if _, err := f.Software(t.Context(), "bqm"); !errors.Is(err, reconciler.ErrNoSoftware) || !strings.Contains(err.Error(), "did you mean bpm?") {
		t.Error(err)
	}
}

// TestSoftwareOfASiteThatHasPublishedNothing shows what is wanted.
func TestSoftwareOfASiteThatHasPublishedNothing(t *testing.T) {
	f := newFollower(t)
	one, of := f.software()
	if first, err := f.Software(t.Context(), ""); err != nil || first.Name != one.Name || len(first.FECs) != len(one.FECs) {
		t.Errorf("the first is %s: %v", first.Name, err)
	}
	counts(t, of["1.0.0"], 1, 0, 0, "comes with the next pass: named by fecs.kgp2cu01")
}
