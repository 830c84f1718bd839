package reconciler

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// fakeBuilder puts programs into the path that do as a script says.
func fakeBuilder(t *testing.T, buildah string) *Trier {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("clean machines need root")
	}
	bin := t.TempDir()
	for name, script := range map[string]string{"mmdebstrap": `touch "$5"`, "crun": "", "buildah": buildah} {
		if err := os.WriteFile(bin+"/"+name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return &Trier{Folder: t.TempDir(), Output: &bytes.Buffer{}, Now: func() time.Time { return time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC) }}
}

func triedSite() desired.Site {
	distro := func(v string) desired.Source {
		return desired.Source{Distro: &desired.DistroPackage{Package: "xml", Candidate: v, AsOf: "2026-05-01"}}
	}
	return desired.Site{
		Settings: desired.Settings{Name: "test", Systems: map[string]desired.System{"debian12": {Family: desired.Debian, Release: "bookworm"}, "mac": {Family: desired.MacOS}}},
		Prerequisites: map[string]desired.Prerequisite{"xml": {
			Recommended: "2", Previous: "1", Supported: []string{"2", "1"}, Verify: []desired.Probe{{Run: []string{"true"}}},
			Systems: map[string]desired.Provision{"debian12": {Source: distro("2"), Others: map[string]desired.Source{"1": distro("1")}}},
		}},
	}
}

// TestEachJobCountsByItsOwnEnd has stages end as a builder's do.
func TestEachJobCountsByItsOwnEnd(t *testing.T) {
	const stage = `while [ $# -gt 1 ]; do [ "$1" = --target ] && stage=$2; shift; done; case ${stage:-none} in none) exit 0;; again) echo changed=0;; esac`
	for _, c := range []struct {
		name, builder string
		verdicts      string // of version 2, upgraded from 1, and of 1
	}{
		{"all well", stage, "pass pass"},
		{"probes fail", stage + "\n" + `[ $stage != verify ] || { echo 'building at STEP "RUN /prerequisites/verify.sh": exit status 1'; exit 1; }`, "fail fail"},
		{"the upgrade fails", stage + "\n" + `[ $stage != upgrade ] || { echo 'building at STEP "RUN /prerequisites/install.sh": exit status 100'; exit 100; }`, "fail pass"},
		{"the builder fails", stage + "\n" + `[ $stage != install ] || { echo 'no space left on device'; exit 125; }`, "inconclusive inconclusive"},
		{"it says nothing", strings.ReplaceAll(stage, "echo changed=0", ":"), "inconclusive inconclusive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tried, err := fakeBuilder(t, c.builder).Try(t.Context(), triedSite(), "debian12", nil)
			if err != nil || len(tried) != 2 {
				t.Fatalf("%d records, %v", len(tried), err)
			}
			var got []string
			for i, from := range []string{"1", ""} {
				verdict, _ := plan.TrialVerdict(tried[i].Record.Jobs, from)
				got = append(got, string(verdict))
			}
			if strings.Join(got, " ") != c.verdicts || tried[0].Record.Version != "2" || tried[0].Of == "" {
				t.Errorf("%+v: %v, want %s", tried, got, c.verdicts)
			}
		})
	}
}

func TestWithoutBuilderNothingIsTried(t *testing.T) {
	trier := fakeBuilder(t, "exit 1")
	_, err := trier.Try(t.Context(), triedSite(), "mac", nil)
	if none := (*NoBuilderError)(nil); !errors.As(err, &none) || !strings.Contains(err.Error(), "macos runs in no container; nothing was tested") {
		t.Errorf("of macos: %v", err)
	}
	site := triedSite()
	site.Settings.Systems["rocky9"] = desired.System{Family: "rhel", Image: "rockylinux:9"}
	site.Prerequisites["xml"].Systems["rocky9"] = site.Prerequisites["xml"].Systems["debian12"]
	away := fakeBuilder(t, `case "$*" in *pull*) echo 'no such host'; exit 125;; esac`)
	_, err = away.Try(t.Context(), site, "rocky9", nil)
	if none := (*NoBuilderError)(nil); !errors.As(err, &none) || !strings.Contains(err.Error(), "image rockylinux:9 cannot be pulled: no such host; nothing was tested") {
		t.Errorf("without an image: %v", err)
	}
	t.Setenv("PATH", "/nonexistent")
	if _, err = trier.Try(t.Context(), triedSite(), "debian12", nil); err == nil || !strings.Contains(err.Error(), "mmdebstrap is not installed") {
		t.Errorf("without programs: %v", err)
	}
	if _, err = trier.Try(t.Context(), triedSite(), "debain12", nil); err == nil || !strings.Contains(err.Error(), `did you mean "debian12"?`) {
		t.Errorf("of an unknown system: %v", err)
	}
}
