package desired_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// validSite uses every field that a check looks at, and has no problem on the files of validFiles at noon.
func validSite() desired.Site {
	start := true
	return desired.Site{
		Settings: desired.Settings{
			Name: "ring",
			Platforms: map[string]desired.Platform{
				"ppc": {Arch: "ppc", OS: "yocto", Unpack: []artifact.Format{artifact.Gzip}},
				"x86": {Arch: "x86_64", OS: "debian", Unpack: []artifact.Format{artifact.Gzip, artifact.Xz, artifact.Zstd}, Format: artifact.Zstd, System: "debian12", Provides: []string{"fesa", "xml"}},
			},
			Systems:          map[string]desired.System{"debian12": {Family: desired.Debian, Release: "bookworm"}},
			Groups:           map[string]desired.Group{"display": {}, "injector": {}, "ring": {}},
			MonitoringGroups: map[string]desired.Group{"linux": {}},
			Boot:             desired.Boot{Servers: []string{"http://boot.example.org"}},
			Scripts:          map[string]desired.GlobalScript{"10-env": {File: "scripts/env.sh"}},
		},
		Software: map[string]desired.Software{
			"bpm": {Versions: map[string]desired.Release{
				"3.0.0": {Payload: map[string]desired.Payload{"any": {Folder: "payload/bpm/3.0", Install: "/opt/fesa/bpm/3.0.0"}}},
				"3.1.0": {Payload: map[string]desired.Payload{
					"ppc": {Folder: "payload/bpm/3.1", Install: "/opt/fesa/bpm/3.1.0"},
					"any": {Archive: "payload/bpm-3.1.tar.xz", Install: "/opt/fesa/bpm/3.1.0"},
				}},
				"dev": {Payload: map[string]desired.Payload{"ppc": {Folder: "payload/bpm/3.1", Install: "/opt/fesa/bpm/dev"}}},
			}},
			"timing": {Versions: map[string]desired.Release{
				"1.0-rc1": {Payload: map[string]desired.Payload{"any": {Folder: "payload/timing", Install: "/opt/timing"}}},
			}},
		},
		Configuration: map[string]desired.Configuration{
			"orbit": {Versions: map[string]desired.ConfigurationVersion{
				"1.0": {For: map[string]string{"bpm": ">=3.1 <4 || dev"}, Payload: desired.Payload{Folder: "conf/orbit", Install: "/opt/fesa/bpm/3.1.0/instance"}},
			}},
			"gains": {FEC: "kgp2cu02", Versions: map[string]desired.ConfigurationVersion{
				"2.0": {For: map[string]string{}, Payload: desired.Payload{Folder: "conf/gains", Install: "/opt/gains"}},
			}},
		},
		FECs: map[string]desired.FEC{
			"kgp2cu01": {Host: "scuxl0001", Platform: "x86", Software: map[string]desired.Pin{"bpm": {Version: "3.1.0"}}},
			"kgp2cu02": {
				Host: "scuxl0002.acc.example.org", Platform: "ppc", Groups: []string{"injector", "ring"},
				Software:      map[string]desired.Pin{"bpm": {Version: "3.1.0"}, "timing": {Version: "1.0-rc1"}},
				Configuration: map[string]string{"orbit": "1.0", "gains": "2.0"},
				Init: map[string]desired.Init{
					"10-env": {Global: "10-env"},
					"20-bpm": {File: "scripts/bpm.sh", Starts: "bpm"},
				},
				Persistence: map[string]desired.Persistence{"offsets": {Path: "/opt/fesa/data", Schema: "v1"}},
				Monitoring: desired.Monitoring{Groups: []string{"linux"}, Services: map[string]desired.MonitorService{
					"alive": {Check: "ping"},
				}},
			},
			"kgp2cu03": {Host: "kgp2cu03", Platform: "ppc", Groups: []string{"display"}, Software: map[string]desired.Pin{
				"bpm": {Version: "dev", Start: &start, Until: "2026-05-04", Reason: "test of the new orbit display"},
			}},
		},
		Pilots:    map[string]desired.Pilot{"orbit-display": requestedPilot()},
		Campaigns: map[string]desired.Campaign{"lattice": validCampaign()},
		Prerequisites: map[string]desired.Prerequisite{
			"xml":  validPrerequisite("libxml2"),
			"fesa": validPrerequisite("fesa", "xml"),
		},
	}
}

// validPrerequisite comes from the distribution.
func validPrerequisite(name string, needs ...string) desired.Prerequisite {
	return desired.Prerequisite{
		Description: name, Responsible: "ada@example.org", Ecosystem: "system", Recommended: "2.9", Supported: []string{"2.9"},
		Systems: map[string]desired.Provision{"debian12": {Source: desired.Source{Distro: &desired.DistroPackage{Package: name, Candidate: "1:2.9.14+dfsg-1", AsOf: "2026-05-01"}}}},
		Verify:  []desired.Probe{{Run: []string{name, "--version"}}}, Needs: needs,
	}
}

// validCampaign uses every field of campaigns that a check looks at.
func validCampaign() desired.Campaign {
	return desired.Campaign{
		Software: map[string]string{"timing": "1.0-rc1"},
		Params:   desired.Params{"energy": "8.5"},
		Profile:  "local",
		Stages: map[string]desired.Stage{
			"track": {
				Input: &desired.Input{Files: []string{"a", "b"}},
				Split: &desired.Split{Type: desired.FilesSplit, N: 1},
				Job: &desired.Job{
					Argv:    []string{"track", "${params.energy}", "--for=${slice}/${attempt}", "${inputs}", "${outputs}", "${software.timing}", "$HOME ${"},
					Outputs: map[string]desired.Output{"hits": {Pattern: "*.hits"}, "log": {Pattern: "log.txt", PerInput: new(int)}},
				},
				Recoveries: []desired.Recovery{{Select: "missing-output"}},
			},
			"look": {Type: desired.ApprovalStage, Needs: map[string]desired.Need{"track": {}}},
			"merge": {
				Needs: map[string]desired.Need{"look": {Join: "all"}}, Job: &desired.Job{Argv: []string{"merge"}, Outputs: map[string]desired.Output{"all": {Pattern: "all"}}},
			},
		},
		Approvals: []desired.Approval{{Digest: "sha256:00"}, {Stage: "look", Digest: "sha256:00"}},
		Schedule:  &desired.Schedule{Cron: "30 6 * * 1-5", TimeZone: "Europe/Berlin"},
		Loop:      &desired.Loop{Stage: "merge", Max: 2},
	}
}

func validFiles() artifact.Files {
	return filesOf(
		"conf/gains/k1", "conf/orbit/instance.xml", "payload/bpm-3.1.tar.xz", "payload/bpm/3.0/bpm", "payload/bpm/3.1/bin/bpm",
		"payload/bpm/3.1/lib", "payload/timing/timing", "scripts/bpm.sh", "scripts/env.sh",
	)
}

func filesOf(paths ...string) artifact.Files {
	var fs artifact.Files
	for _, p := range slices.Sorted(slices.Values(paths)) {
		fs = append(fs, artifact.File{Path: p, Size: 1})
	}
	return fs
}

// state is a site and its files, for a case to break. The short names are there for the cases' sake.
type state struct {
	desired.Site
	files artifact.Files
}

func (s *state) fec(name string, change func(*desired.FEC)) {
	f := s.FECs[name]
	change(&f)
	s.FECs[name] = f
}

func (s *state) pin(p desired.Pin) { s.FECs["kgp2cu02"].Software["bpm"] = p }

func (s *state) release(software, version string, r desired.Release) {
	s.Software[software].Versions[version] = r
}

// anyPayload is a release for all platforms.
func anyPayload(p desired.Payload) desired.Release {
	return desired.Release{Payload: map[string]desired.Payload{"any": p}}
}

// checkCase changes a valid site; want are the problems that it has then, one a line, and none when the change is fine.
type checkCase struct {
	name   string
	change func(*state)
	want   string
}

func runCheckCases(t *testing.T, cases []checkCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := state{validSite(), validFiles()}
			c.change(&s)
			got := desired.Check(s.Site, s.files, noon)
			var want []string
			for line := range strings.Lines(c.want) {
				want = append(want, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(strings.Join(want, "\n"), got.Error()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, p := range got {
				if p.Path == "" || p.Advice == "" {
					t.Errorf("%v has no path or no advice", p)
				}
			}
		})
	}
}

func TestCheckValidSite(t *testing.T) {
	if ps := desired.Check(validSite(), validFiles(), noon); len(ps) > 0 {
		t.Errorf("a valid site has problems:\n%v", ps)
	}
	if ps := desired.Check(desired.Site{}, nil, noon); len(ps) > 0 {
		t.Errorf("an empty site has problems:\n%v", ps)
	}
}
