package desired_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// xml changes a prerequisite, and its provision on debian12.
func xml(change func(p *desired.Prerequisite, v *desired.Provision)) func(*state) {
	return func(s *state) {
		p := s.Prerequisites["xml"]
		v := p.Systems["debian12"]
		change(&p, &v)
		if _, ok := p.Systems["debian12"]; ok {
			p.Systems["debian12"] = v
		}
		s.Prerequisites["xml"] = p
	}
}

func pypi(version string) *desired.LanguagePackage {
	return &desired.LanguagePackage{Package: "lxml", Version: version, SHA256: []string{"00"}}
}

func vendor() *desired.VendorPackage {
	return &desired.VendorPackage{Package: "libxml2", URL: "https://xml.example.org/apt", Key: "https://xml.example.org/key.asc", KeyFingerprint: "00"}
}

func exception(provider, expires string) *desired.Exception {
	return &desired.Exception{Provider: provider, Reason: "the distribution's crashes with our files", By: "ada@example.org", Expires: expires}
}

func TestCheckPrerequisites(t *testing.T) {
	type P = *desired.Prerequisite
	type V = *desired.Provision
	runCheckCases(t, []checkCase{
		{"unknown system", xml(func(p P, v V) { p.Systems["debain12"] = *v }),
			`prerequisites.xml.systems.debain12: unknown system "debain12"; did you mean "debian12"?`},
		{"no system", func(s *state) {
			xml(func(p P, _ V) { p.Systems, p.Needs = nil, nil })(s)
			p := s.Settings.Platforms["x86"]
			p.Provides, p.System = nil, ""
			s.Settings.Platforms["x86"] = p
			delete(s.Prerequisites, "fesa")
			delete(s.Settings.Systems, "debian12")
		}, `prerequisites.xml.systems: no system has it: nothing would be rendered; say where it comes from, on one of site.systems at least`},
		{"recommended and not supported", xml(func(p P, v V) { p.Recommended, v.Version = "2.8", "2.9" }),
			`prerequisites.xml.recommended: version "2.8" is recommended but not supported; did you mean "2.9"?`},
		{"recommended before and now", xml(func(p P, _ V) { p.Previous = "2.9" }),
			`prerequisites.xml.previous: version "2.9" cannot have been recommended before: it is now; name the one before, or remove it`},
		{"supported twice", xml(func(p P, _ V) { p.Supported = append(p.Supported, "2.9") }),
			`prerequisites.xml.supported[1]: version "2.9" comes twice; remove one of them`},
		{"supported nowhere", xml(func(p P, _ V) { p.Supported = append(p.Supported, "3.0") }),
			`prerequisites.xml.supported[1]: version "3.0" is supported, and no system has it; say under others where a system gets it, or support it no more`},
		{"version of a system", xml(func(_ P, v V) { v.Version = "2.8" }),
			`prerequisites.xml.supported[0]: version "2.9" is supported, and no system has it; say under others where a system gets it, or support it no more
			prerequisites.xml.systems.debian12.distro.candidate: system "debian12" has 1:2.9.14+dfsg-1 of it, which is not version "2.8"; say in version which of supported that is
			prerequisites.xml.systems.debian12.version: version "2.8" is not supported; did you mean "2.9"?`},
		{"others that are not supported", xml(func(_ P, v V) {
			v.Others = map[string]desired.Source{"2.8": {Distro: &desired.DistroPackage{Candidate: "2.8", AsOf: "2026-05-01"}}}
		}),
			`prerequisites.xml.systems.debian12.others."2.8": version "2.8" is not supported; did you mean "2.9"?`},
		{"the one before is another", xml(func(p P, v V) {
			p.Previous, v.Others = "2.8", map[string]desired.Source{"2.8": {Distro: &desired.DistroPackage{Candidate: "2.8", AsOf: "2026-05-01"}}}
		}), ``},
		{"others that are the same", xml(func(_ P, v V) { v.Others = map[string]desired.Source{"2.9": {}} }),
			`prerequisites.xml.systems.debian12.others."2.9": version "2.9" is what this system gets by itself; remove it here`},
		{"another version than the distribution has", xml(func(_ P, v V) { v.Distro.Candidate = "2.90-1" }),
			`prerequisites.xml.systems.debian12.distro.candidate: system "debian12" has 2.90-1 of it, which is not version "2.9"; say in version which of supported that is`},
		{"nowhere", xml(func(_ P, v V) { v.Distro = nil }),
			`prerequisites.xml.systems.debian12: it comes from nowhere; give distro, or language of a python module that the distribution does not have`},
		{"language of no python module", xml(func(_ P, v V) { v.Language = pypi("2.9") }),
			`prerequisites.xml.systems.debian12.language: ecosystem "system" has no index of its own; give distro, or an exception with vendorRepo or artifact`},
		{"both of a python module", xml(func(p P, v V) { p.Ecosystem, v.Language = "python", pypi("2.9") }), ``},
		{"language of a python module", xml(func(p P, v V) { p.Ecosystem, v.Distro, v.Language = "python", nil, pypi("2.9") }), ``},
		{"language of another version", xml(func(p P, v V) { p.Ecosystem, v.Distro, v.Language = "python", nil, pypi("2.8") }),
			`prerequisites.xml.systems.debian12.language.version: 2.8 is not version "2.9"; say in version which of supported that is`},
		{"vendor without exception", xml(func(_ P, v V) { v.Distro, v.VendorRepo = nil, vendor() }),
			`prerequisites.xml.systems.debian12: neither the distribution nor the language provides it: that needs an exception; add exception: with provider, reason, by and expires`},
		{"vendor by exception", xml(func(_ P, v V) { v.VendorRepo, v.Exception = vendor(), exception("vendor-repo", "2026-06-01") }), ``},
		{"vendor by exception, as the distribution has another version", xml(func(_ P, v V) {
			v.Distro.Candidate, v.VendorRepo, v.Exception = "2.8-1", vendor(), exception("vendor-repo", "2026-06-01")
		}), ``},
		{"language by exception, and its version is another", xml(func(p P, v V) {
			p.Ecosystem, v.Distro.Candidate, v.Language, v.Exception = "python", "2.8-1", pypi("2.7"), exception("language", "2026-06-01")
		}), `prerequisites.xml.systems.debian12.language.version: 2.7 is not version "2.9"; say in version which of supported that is`},
		{"exception for what is not there", xml(func(_ P, v V) { v.Exception = exception("vendor-repo", "2026-06-01") }),
			`prerequisites.xml.systems.debian12.exception.provider: system "debian12" has no vendorRepo of it; give that, or another provider`},
		{"exception that is none", xml(func(p P, v V) {
			p.Ecosystem, v.Distro, v.Language, v.Exception = "python", nil, pypi("2.9"), exception("language", "2026-06-01")
		}), `prerequisites.xml.systems.debian12.exception.provider: language is no exception: it would be taken anyway; remove the exception`},
		{"exception that ended", xml(func(_ P, v V) { v.VendorRepo, v.Exception = vendor(), exception("vendor-repo", "2026-05-03") }),
			`warning: prerequisites.xml.systems.debian12.exception.expires: this exception ended with 2026-05-03; do without it, or give a later day`},
		{"exception for ever", xml(func(_ P, v V) { v.VendorRepo, v.Exception = vendor(), exception("vendor-repo", "2036-05-03") }),
			`prerequisites.xml.systems.debian12.exception.expires: the exception ends on 2036-05-03, more than a year ahead; give a day within a year, and renew it then`},
		{"stale fact", xml(func(_ P, v V) { v.Distro.AsOf = "2025-11-01" }),
			`warning: prerequisites.xml.systems.debian12.distro.asOf: that system "debian12" has 1:2.9.14+dfsg-1 is known since 2025-11-01, and nobody has looked again; ask its index (apt-cache policy, dnf repoquery), and give today's date`},
		{"fact of the future", xml(func(_ P, v V) { v.Distro.AsOf = "2026-05-06" }),
			`prerequisites.xml.systems.debian12.distro.asOf: 2026-05-06 has not been yet; say when the index was asked`},
		{"probe in two ways", xml(func(p P, _ V) { p.Verify = []desired.Probe{{Run: []string{"a"}, Shell: "a"}, {Expect: "x"}} }),
			`prerequisites.xml.verify[0]: a probe is run in one way; give run, a program and its arguments, or shell, a line for sh
			prerequisites.xml.verify[1]: a probe is run in one way; give run, a program and its arguments, or shell, a line for sh`},
		{"system of nothing", func(s *state) { s.Settings.Systems["rocky9"] = desired.System{Family: desired.RHEL, Release: "9"} },
			`site.systems.rocky9: no prerequisite is provided on system "rocky9": nothing would be rendered; say what it gets in prerequisites, or remove it`},
		{"system of a reserved name", func(s *state) {
			s.Settings.Systems["docs"] = desired.System{Family: desired.RHEL, Release: "9"}
			xml(func(p P, v V) { p.Systems["docs"] = *v })(s)
		}, `site.systems.docs: a system cannot be named "docs": its folder would be that of others; give it another name`},
		{"one role of two", func(s *state) {
			s.Prerequisites["x-m"], s.Prerequisites["x.m"] = validPrerequisite("a"), validPrerequisite("b")
		},
			`prerequisites."x.m": "x.m" and "x-m" would have one Ansible role, x_m; rename one of them`},
		{"needs what a system does not get", func(s *state) {
			s.Settings.Systems["rocky9"] = desired.System{Family: desired.RHEL, Release: "9"}
			f := s.Prerequisites["fesa"]
			f.Systems["rocky9"] = f.Systems["debian12"]
		}, `prerequisites.fesa.needs[0]: system "rocky9" does not get "xml", which is needed there; add prerequisites.xml.systems.rocky9`},
		{"vendor on macos", func(s *state) {
			s.Settings.Systems["mac"] = desired.System{Family: desired.MacOS, Release: "15"}
			xml(func(p P, v V) {
				p.Systems["mac"] = desired.Provision{Source: desired.Source{VendorRepo: vendor()}, Exception: exception("vendor-repo", "2026-06-01")}
			})(s)
		}, `prerequisites.xml.systems.mac.vendorRepo: macos knows no such repositories; give distro, which is a formula, or artifact`},
	})
}

func TestCheckProvides(t *testing.T) {
	needs := func(s *state, software, version string, needs ...string) {
		r := s.Software[software].Versions[version]
		r.Needs = needs
		s.release(software, version, r)
	}
	provides := func(s *state, provides ...string) {
		p := s.Settings.Platforms["x86"]
		p.Provides = provides
		s.Settings.Platforms["x86"] = p
	}
	runCheckCases(t, []checkCase{
		{"release needs what nobody knows", func(s *state) { s.Pilots = nil; needs(s, "bpm", "3.0.0", "xmk") },
			`software.bpm.versions."3.0.0".needs[0]: unknown prerequisite "xmk"; did you mean "xml"?`},
		{"platform provides what nobody knows", func(s *state) { provides(s, "fesa", "xml", "xmk") },
			`site.platforms.x86.provides[2]: unknown prerequisite "xmk"; did you mean "xml"?`},
		{"platform of no system", func(s *state) {
			p := s.Settings.Platforms["x86"]
			p.System = "debian"
			s.Settings.Platforms["x86"] = p
		}, `site.platforms.x86.system: unknown system "debian"; did you mean "debian12"?`},
		{"platform without what it provides needs", func(s *state) { provides(s, "fesa") },
			`site.platforms.x86.provides[0]: prerequisite "fesa" needs "xml", which is not provided here; add "xml"`},
		{"platform whose system does not have it", func(s *state) {
			s.Settings.Systems["rocky9"] = desired.System{Family: desired.RHEL, Release: "9"}
			delete(s.Prerequisites, "fesa")
			other := validPrerequisite("other")
			other.Systems["rocky9"] = other.Systems["debian12"]
			s.Prerequisites["other"] = other
			p := s.Settings.Platforms["x86"]
			p.System, p.Provides = "rocky9", []string{"xml"}
			s.Settings.Platforms["x86"] = p
		}, `site.platforms.x86.provides[0]: platform "x86" is system "rocky9", where nobody provides "xml"; add prerequisites.xml.systems.rocky9, or remove it here`},
		{"FEC whose platform has it", func(s *state) {
			needs(s, "bpm", "3.1.0", "xml")
			p := s.Settings.Platforms["ppc"]
			p.Provides = []string{"xml"}
			s.Settings.Platforms["ppc"] = p
		}, ``},
		{"FEC whose platform does not", func(s *state) { needs(s, "bpm", "3.1.0", "xml") },
			`fecs.kgp2cu02.software.bpm.version: bpm 3.1.0 needs prerequisite "xml", which platform "ppc" does not provide; add "xml" to site.platforms.ppc.provides if it is there`},
		{"FEC that needs a word misspelt", func(s *state) {
			needs(s, "bpm", "3.1.0", "xmk")
			s.fec("kgp2cu02", func(f *desired.FEC) {
				f.Software["bpm"] = desired.Pin{Version: "3.0.0"}
				delete(f.Configuration, "orbit")
			})
		}, `fecs.kgp2cu01.software.bpm.version: bpm 3.1.0 needs prerequisite "xmk", which platform "x86" does not provide; did you mean "xml"?
			software.bpm.versions."3.1.0".needs[0]: unknown prerequisite "xmk"; did you mean "xml"?`},
		{"campaign whose profile does not", func(s *state) {
			needs(s, "timing", "1.0-rc1", "xml")
			s.fec("kgp2cu02", func(f *desired.FEC) { delete(f.Software, "timing") })
		}, `campaigns.lattice.software.timing: timing 1.0-rc1 needs prerequisite "xml", which profile "local" does not provide; add "xml" to site.profiles.local.provides if it is there`},
		{"campaign whose profile does", func(s *state) {
			needs(s, "timing", "1.0-rc1", "xml")
			s.fec("kgp2cu02", func(f *desired.FEC) { delete(f.Software, "timing") })
			s.Settings.Profiles = map[string]desired.Profile{"local": {Engine: "local", Provides: []string{"xml"}}}
		}, ``},
		{"job of a campaign whose profile does not", func(s *state) {
			needs(s, "timing", "1.0-rc1", "xml")
			s.fec("kgp2cu02", func(f *desired.FEC) { delete(f.Software, "timing") })
			s.Settings.Profiles = map[string]desired.Profile{"local": {Engine: "local", Provides: []string{"xml"}}, "grid": {Engine: "slurm"}}
			s.stage("merge", func(g *desired.Stage) {
				job := *g.Job
				job.Software, g.Job, g.Profile = map[string]string{"timing": "1.0-rc1"}, &job, "grid"
			})
		}, `campaigns.lattice.software.timing: timing 1.0-rc1 needs prerequisite "xml", which profile "grid" does not provide; add "xml" to site.profiles.grid.provides if it is there
			campaigns.lattice.stages.merge.job.software.timing: timing 1.0-rc1 needs prerequisite "xml", which profile "grid" does not provide; add "xml" to site.profiles.grid.provides if it is there`},
		{"profile provides what nobody knows", func(s *state) {
			s.Settings.Profiles = map[string]desired.Profile{"local": {Engine: "local", Provides: []string{"xmk"}}}
		}, `site.profiles.local.provides[0]: unknown prerequisite "xmk"; did you mean "xml"?`},
	})
}

func TestCheckRecords(t *testing.T) {
	records := func(r desired.PrerequisiteRecord) func(*state) {
		r.Subject, r.By = "sha256:00", "bo@example.org"
		if r.At == "" {
			r.At = "2026-05-04T11:00:00Z"
		}
		return xml(func(p *desired.Prerequisite, _ *desired.Provision) {
			p.Records = map[string]desired.PrerequisiteRecord{"r": r}
		})
	}
	trial := desired.PrerequisiteRecord{Kind: "trial", System: "gone", Version: "2.9", Jobs: desired.TrialJobs{Install: &desired.JobResult{}, Upgrade: &desired.JobResult{From: "2.8"}}}
	with := func(change func(*desired.PrerequisiteRecord)) desired.PrerequisiteRecord {
		r := trial
		change(&r)
		return r
	}
	runCheckCases(t, []checkCase{
		{"trial", records(trial), ``},
		{"review", records(desired.PrerequisiteRecord{Kind: "review", Verdict: "pass"}), ``},
		{"of the future", records(with(func(r *desired.PrerequisiteRecord) { r.At = "2026-05-04T13:00:00Z" })),
			`prerequisites.xml.records.r.at: this record is of 2026-05-04T13:00:00Z, which has not been yet; say when it was`},
		{"an aggregate colour", records(with(func(r *desired.PrerequisiteRecord) { r.Verdict = "pass" })),
			`prerequisites.xml.records.r.verdict: a trial has no verdict of its own: what each job said counts; remove it`},
		{"trial of nothing", records(with(func(r *desired.PrerequisiteRecord) { r.Jobs, r.System = desired.TrialJobs{}, "" })),
			`prerequisites.xml.records.r: a record of kind trial says no jobs; add jobs
			prerequisites.xml.records.r: a record of kind trial says no system; add system`},
		{"upgrade from nowhere", records(with(func(r *desired.PrerequisiteRecord) { r.Jobs.Upgrade = &desired.JobResult{} })),
			`prerequisites.xml.records.r.jobs.upgrade: from is where an upgrade begins; give it there alone`},
		{"review with jobs", records(desired.PrerequisiteRecord{Kind: "review", Verdict: "pass", Jobs: trial.Jobs}),
			`prerequisites.xml.records.r.jobs: a record of kind review has no jobs; remove it`},
		{"review that says nothing", records(desired.PrerequisiteRecord{Kind: "review"}),
			`prerequisites.xml.records.r: a record of kind review says no verdict; add verdict`},
		{"failure without reason", records(desired.PrerequisiteRecord{Kind: "integration", Verdict: "fail"}),
			`prerequisites.xml.records.r: this record gives no reason; add reason`},
	})
}
