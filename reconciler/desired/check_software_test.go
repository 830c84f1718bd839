package desired_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestCheckPayloads(t *testing.T) {
	timing := func(p desired.Payload) func(*state) {
		return func(s *state) {
			if p.Install == "" {
				p.Install = "/opt/timing"
			}
			s.release("timing", "1.0-rc1", anyPayload(p))
		}
	}
	runCheckCases(t, []checkCase{
		{"outside the prefixes", timing(desired.Payload{Folder: "payload/timing", Install: "/usr/bin"}),
			`software.timing.versions."1.0-rc1".payload.any.install: "/usr/bin" does not lie below /opt; choose a path below that, or add its first parts to site.installPrefixes`},
		{"at the prefix itself", timing(desired.Payload{Folder: "payload/timing", Install: "/opt"}),
			`fecs.kgp2cu02.persistence.offsets: persistence offsets at /opt/fesa/data lies in software timing at /opt; choose paths that do not lie in each other
			fecs.kgp2cu02.software.bpm: software bpm at /opt/fesa/bpm/3.1.0 lies in software timing at /opt; choose paths that do not lie in each other
			software.timing.versions."1.0-rc1".payload.any.install: "/opt" does not lie below /opt; choose a path below that, or add its first parts to site.installPrefixes`},
		{"beside the prefix", timing(desired.Payload{Folder: "payload/timing", Install: "/opt2/timing"}),
			`software.timing.versions."1.0-rc1".payload.any.install: "/opt2/timing" does not lie below /opt; choose a path below that, or add its first parts to site.installPrefixes`},
		{"another prefix", func(s *state) {
			s.Settings.InstallPrefixes = []string{"/srv/a", "/opt"}
			timing(desired.Payload{Folder: "payload/timing", Install: "/srv/a/timing"})(s)
		}, ``},
		{"payload from nowhere", timing(desired.Payload{}),
			`software.timing.versions."1.0-rc1".payload.any: comes from nowhere; set folder or archive, https, blob or oci`},
		{"missing folder", timing(desired.Payload{Folder: "payload/timin"}),
			`software.timing.versions."1.0-rc1".payload.any.folder: this commit has no folder "payload/timin", or nothing is in it; did you mean "payload/timing"?`},
		{"missing folder on the way", timing(desired.Payload{Folder: "paylod/timing"}),
			`software.timing.versions."1.0-rc1".payload.any.folder: this commit has no folder "paylod/timing", or nothing is in it; did you mean "payload/timing"?`},
		{"missing folder, none near", timing(desired.Payload{Folder: "rf"}),
			`software.timing.versions."1.0-rc1".payload.any.folder: this commit has no folder "rf", or nothing is in it; commit its files`},
		{"file in the place of a folder", timing(desired.Payload{Folder: "payload/timing/timing"}),
			`software.timing.versions."1.0-rc1".payload.any.folder: "payload/timing/timing" is a file, not a folder; name the folder that holds what is to be packed`},
		{"submodule in the place of a folder", func(s *state) {
			s.files[0].Path, s.files[0].Mode = "aaa", artifact.Module
			s.Configuration["gains"].Versions["2.0"] = desired.ConfigurationVersion{Payload: desired.Payload{Folder: "aaa", Install: "/opt/gains"}}
		},
			`configuration.gains.versions."2.0".payload.folder: "aaa" is a submodule, not a folder; name the folder that holds what is to be packed`},
		{"missing archive", timing(desired.Payload{Archive: "payload/bpm-3.2.tar.gz"}),
			`software.timing.versions."1.0-rc1".payload.any.archive: this commit has no file "payload/bpm-3.2.tar.gz"; did you mean "payload/bpm-3.1.tar.xz"?`},
		{"folder in the place of an archive", timing(desired.Payload{Archive: "payload/timing"}),
			`software.timing.versions."1.0-rc1".payload.any.archive: "payload/timing" is a folder, not a file; name a file in it
			software.timing.versions."1.0-rc1".payload.any.archive: unknown archive name "payload/timing": want .tar.gz, .tgz, .tar.xz or .tar.zst; rename it, or give its content as a folder`},
		{"unknown archive name", func(s *state) {
			timing(desired.Payload{Archive: "timing.zip"})(s)
			s.files = append(s.files, artifact.File{Path: "timing.zip"})
		},
			`software.timing.versions."1.0-rc1".payload.any.archive: unknown archive name "timing.zip": want .tar.gz, .tgz, .tar.xz or .tar.zst; rename it, or give its content as a folder`},
		{"format against the archive's name", func(s *state) {
			timing(desired.Payload{Archive: "timing.tgz", Format: artifact.Xz})(s)
			s.files = append(s.files, artifact.File{Path: "timing.tgz"})
		},
			`software.timing.versions."1.0-rc1".payload.any.format: "timing.tgz" is a gzip archive by its name, not xz; remove format: the name says it`},
		{"format of the archive's name", func(s *state) {
			timing(desired.Payload{Archive: "timing.tgz", Format: artifact.Gzip})(s)
			s.files = append(s.files, artifact.File{Path: "timing.tgz"})
		}, ``},
		{"two places", timing(desired.Payload{Folder: "payload/timing", HTTPS: desired.Download{URL: "https://a/b.tgz", SHA256: "x"}}),
			`software.timing.versions."1.0-rc1".payload.any: comes from more than one place: folder and https; keep one of them`},
		{"three places", timing(desired.Payload{Blob: desired.Blob{SHA256: "x"}, OCI: desired.Image{Image: "a/b"}, Folder: "payload/timing"}),
			`software.timing.versions."1.0-rc1".payload.any: comes from more than one place: folder and blob and oci; keep one of them`},
		{"a repository and nothing in it", timing(desired.Payload{Git: desired.GitCommit{URL: "https://a/b"}}),
			`software.timing.versions."1.0-rc1".payload.any: names a repository, but nothing in it; add folder or archive: a path in that repository`},
		{"a repository and a blob", timing(desired.Payload{Git: desired.GitCommit{URL: "https://a/b"}, Blob: desired.Blob{SHA256: "x"}}),
			`software.timing.versions."1.0-rc1".payload.any: names a repository, but nothing in it; add folder or archive: a path in that repository`},
		{"a folder of another repository is not looked for here", timing(desired.Payload{Git: desired.GitCommit{URL: "https://a/b"}, Folder: "nowhere"}), ``},
		{"an archive of another repository is not looked for here", timing(desired.Payload{Git: desired.GitCommit{URL: "https://a/b"}, Archive: "no.tgz"}), ``},
		{"an address without a format", timing(desired.Payload{HTTPS: desired.Download{URL: "https://a/b"}}),
			`software.timing.versions."1.0-rc1".payload.any.https.url: the address does not say how the archive is compressed; add format: gzip, xz or zstd`},
		{"an address and its format", timing(desired.Payload{HTTPS: desired.Download{URL: "https://a/b"}, Format: artifact.Gzip}), ``},
		{"an address against the format", timing(desired.Payload{HTTPS: desired.Download{URL: "https://a/b.tgz"}, Format: artifact.Xz}),
			`software.timing.versions."1.0-rc1".payload.any.format: "https://a/b.tgz" is a gzip archive by its name, not xz; remove format: the name says it`},
		{"a blob is gzip unless it says otherwise", timing(desired.Payload{Blob: desired.Blob{SHA256: "x"}}), ``},
		{"payload of an unknown platform", func(s *state) {
			s.Software["bpm"].Versions["3.0.0"].Payload["x68"] = desired.Payload{Folder: "payload/bpm/3.0", Install: "/opt/bpm"}
		}, `software.bpm.versions."3.0.0".payload.x68: unknown platform "x68"; did you mean "x86"?`},
	})
}

func TestCheckFormats(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"format for all, of one that cannot", func(s *state) {
			s.release("timing", "1.0-rc1", anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/timing", Format: artifact.Xz}))
		},
			`fecs.kgp2cu02.software.timing: platform "ppc" cannot unpack timing 1.0-rc1, which is compressed with xz; offer a format that it unpacks (gzip), or add xz to site.platforms.ppc.unpack if it does unpack that`},
		{"archive for all, of one that cannot", func(s *state) {
			s.FECs["kgp2cu02"].Software["timing"] = desired.Pin{Version: "1.0-rc1"}
			s.release("timing", "1.0-rc1", anyPayload(desired.Payload{Archive: "payload/bpm-3.1.tar.xz", Install: "/opt/timing"}))
		},
			`fecs.kgp2cu02.software.timing: platform "ppc" cannot unpack timing 1.0-rc1, which is compressed with xz; offer a format that it unpacks (gzip), or add xz to site.platforms.ppc.unpack if it does unpack that`},
		{"format of the platform's own payload, once", func(s *state) {
			s.release("timing", "1.0-rc1", desired.Release{Payload: map[string]desired.Payload{
				"ppc": {Folder: "payload/timing", Install: "/opt/timing", Format: artifact.Zstd},
			}})
		},
			`software.timing.versions."1.0-rc1".payload.ppc: platform "ppc" cannot unpack timing 1.0-rc1, which is compressed with zstd; offer a format that it unpacks (gzip), or add zstd to site.platforms.ppc.unpack if it does unpack that`},
		{"blob for all, of one that cannot", func(s *state) {
			s.release("timing", "1.0-rc1", anyPayload(desired.Payload{Blob: desired.Blob{SHA256: "x"}, Install: "/opt/timing", Format: artifact.Zstd}))
		},
			`fecs.kgp2cu02.software.timing: platform "ppc" cannot unpack timing 1.0-rc1, which is compressed with zstd; offer a format that it unpacks (gzip), or add zstd to site.platforms.ppc.unpack if it does unpack that`},
		{"configuration", func(s *state) {
			s.Configuration["gains"].Versions["2.0"] = desired.ConfigurationVersion{Payload: desired.Payload{Folder: "conf/gains", Install: "/opt/gains", Format: artifact.Zstd}}
		},
			`fecs.kgp2cu02.configuration.gains: platform "ppc" cannot unpack gains 2.0, which is compressed with zstd; offer a format that it unpacks (gzip), or add zstd to site.platforms.ppc.unpack if it does unpack that`},
		{"format that no such FEC gets", func(s *state) {
			s.Pilots = nil
			s.release("bpm", "3.0.0", anyPayload(desired.Payload{Folder: "payload/bpm/3.0", Install: "/opt/fesa/bpm/3.0.0", Format: artifact.Zstd}))
		}, ``},
		{"a platform's format", func(s *state) {
			p := s.Settings.Platforms["ppc"]
			p.Format = artifact.Xz
			s.Settings.Platforms["ppc"] = p
		}, `site.platforms.ppc.format: platform "ppc" does not unpack xz, the format that is built for it; set format to one that it unpacks: gzip`},
		{"a platform's default", func(s *state) {
			p := s.Settings.Platforms["x86"]
			p.Format, p.Unpack = "", []artifact.Format{artifact.Xz, artifact.Zstd}
			s.Settings.Platforms["x86"] = p
		},
			`site.platforms.x86.unpack: platform "x86" does not unpack gzip, the format that is built for it by default; set format to one that it unpacks: xz, zstd`},
		{"a platform named any", func(s *state) { s.Settings.Platforms["any"] = s.Settings.Platforms["ppc"] },
			`site.platforms.any: a platform cannot be named "any": that serves every platform that a release does not name; give it another name`},
	})
}

func TestCheckVersions(t *testing.T) {
	again := anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/timing"})
	runCheckCases(t, []checkCase{
		{"malformed", func(s *state) { s.release("timing", "1.0-01", again) },
			`software.timing.versions."1.0-01": malformed version "1.0-01": want a pre-release such as rc1 or rc.1: version segment starts with 0; rename it`},
		{"two spellings", func(s *state) {
			s.release("timing", "1.1", again)
			s.release("timing", "1.1.0", again)
		}, `software.timing.versions."1.1.0": 1.1 and 1.1.0 are the same version; keep one of them`},
		{"two spellings of configuration", func(s *state) {
			s.Configuration["gains"].Versions["2.0.0"] = s.Configuration["gains"].Versions["2.0"]
		}, `configuration.gains.versions."2.0.0": 2.0 and 2.0.0 are the same version; keep one of them`},
	})
}

func TestCheckConfiguration(t *testing.T) {
	fits := func(software, constraint string) func(*state) {
		return func(s *state) { s.Configuration["orbit"].Versions["1.0"].For[software] = constraint }
	}
	runCheckCases(t, []checkCase{
		{"unknown software", fits("bpn", "1.0"), `configuration.orbit.versions."1.0".for.bpn: unknown software "bpn"; did you mean "bpm"?`},
		{"unknown FEC", func(s *state) {
			s.Configuration["orbit"] = desired.Configuration{FEC: "kgp2cu04", Versions: s.Configuration["orbit"].Versions}
		}, `configuration.orbit.fec: unknown FEC "kgp2cu04"; did you mean "kgp2cu01"?
			fecs.kgp2cu02.configuration.orbit: configuration "orbit" belongs to FEC "kgp2cu04"; use an item of this FEC's own, or remove fec from the item to share it`},
		{"malformed constraint", fits("bpm", ">=3.x"),
			`configuration.orbit.versions."1.0".for.bpm: malformed constraint ">=3.x": want dev or comparisons such as >=3.1 <4, and || between alternatives; for instance ">=3.1 <4 || dev"`},
		{"does not fit", fits("bpm", ">=3.2"),
			`fecs.kgp2cu02.configuration.orbit: orbit 1.0 is for bpm >=3.2, and this FEC runs 3.1.0; pin another version of bpm, or add a version of orbit that fits`},
		{"does not fit, another version does", func(s *state) {
			s.Configuration["orbit"].Versions["0.9"] = desired.ConfigurationVersion{For: map[string]string{"bpm": "<4"}, Payload: s.Configuration["orbit"].Versions["1.0"].Payload}
			fits("bpm", ">=3.2")(s)
		},
			`fecs.kgp2cu02.configuration.orbit: orbit 1.0 is for bpm >=3.2, and this FEC runs 3.1.0; use orbit 0.9, which fits, or pin another version of bpm`},
		{"each of its software must fit", fits("timing", ">=1.0"),
			`fecs.kgp2cu02.configuration.orbit: orbit 1.0 is for timing >=1.0, and this FEC runs 1.0-rc1; pin another version of timing, or add a version of orbit that fits`},
		{"pre-release named", fits("timing", ">=1.0-rc1"), ``},
		{"for software that is not there", func(s *state) {
			s.fec("kgp2cu02", func(f *desired.FEC) { f.Init = nil })
			delete(s.FECs["kgp2cu02"].Software, "bpm")
		},
			`fecs.kgp2cu02.configuration.orbit: orbit 1.0 is for bpm, and this FEC runs none of it; add the software to the FEC, or remove the configuration`},
	})
}

func TestCheckManifestLife(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"a day", func(s *state) { s.Settings.Boot.ManifestLife = "24h" }, ""},
		{"less than a day", func(s *state) { s.Settings.Boot.ManifestLife = "23h" },
			`site.boot.manifestLife: manifests that live 23h0m0s would be renewed all the time; let them live at least 1d`},
	})
}

func TestCheckRetention(t *testing.T) {
	fourth := func(s *state) {
		for _, v := range []string{"3.2.0", "3.10.0"} {
			s.release("bpm", v, anyPayload(desired.Payload{Folder: "payload/bpm/3.0", Install: "/opt/fesa/bpm/" + v}))
			s.FECs["fec-"+v[2:3]] = desired.FEC{Host: "host-" + v[2:3], Platform: "x86", Software: map[string]desired.Pin{"bpm": {Version: v}}}
		}
	}
	runCheckCases(t, []checkCase{
		{"a fourth", fourth,
			`software.bpm: 4 production versions of "bpm" are in use and at most 3 may be: 3.0.0 by pilots."orbit-display"; 3.1.0 by fecs.kgp2cu01, fecs.kgp2cu02; 3.2.0 by fecs."fec-2"; 3.10.0 by fecs."fec-1"; move what names 3.0.0 to a newer version, or raise site.retention.production`},
		{"a fourth, by policy", func(s *state) { fourth(s); s.Settings.Retention.ExtraNamed = "warning" },
			`warning: software.bpm: 4 production versions of "bpm" are in use and at most 3 may be: 3.0.0 by pilots."orbit-display"; 3.1.0 by fecs.kgp2cu01, fecs.kgp2cu02; 3.2.0 by fecs."fec-2"; 3.10.0 by fecs."fec-1"; move what names 3.0.0 to a newer version, or raise site.retention.production`},
		{"a fourth of four", func(s *state) { fourth(s); s.Settings.Retention.Production = 4 }, ``},
		{"a fourth that nothing names", func(s *state) { fourth(s); delete(s.FECs, "fec-2") }, ``},
	})
}

func TestCheckCycles(t *testing.T) {
	stages := func(needs map[string][]string) func(*state) {
		return func(s *state) {
			m := map[string]desired.Stage{}
			for name, n := range needs {
				stage := desired.Stage{Type: desired.GeneratorStage, Needs: map[string]desired.Need{}, Job: &desired.Job{Argv: []string{"x"}}}
				for _, other := range n {
					stage.Needs[other] = desired.Need{}
				}
				m[name] = stage
			}
			s.Campaigns["lattice"] = desired.Campaign{Stages: m}
		}
	}
	runCheckCases(t, []checkCase{
		{"itself", stages(map[string][]string{"a": {"a"}}), `campaigns.lattice.stages.a.needs.a: stage "a" needs itself; remove it; to have a stage's outputs worked on again, use loop`},
		{"all around", stages(map[string][]string{"a": {"c"}, "b": {"a"}, "c": {"b"}, "d": {"a"}}),
			`campaigns.lattice.stages.b.needs.a: stages need each other: a needs c needs b needs a; remove one of these needs; to have a stage's outputs worked on again, use loop
			campaigns.lattice.stages.d: stage "d" is never reached: what it needs needs itself; break that circle`},
		{"two that share a stage", stages(map[string][]string{"a": {"b"}, "b": {"a", "c"}, "c": {"b"}}),
			`campaigns.lattice.stages.b.needs.a: stages need each other: a needs b needs a; remove one of these needs; to have a stage's outputs worked on again, use loop
			campaigns.lattice.stages.c.needs.b: stages need each other: b needs c needs b; remove one of these needs; to have a stage's outputs worked on again, use loop`},
		{"two ways to one stage", stages(map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": {}}), ``},
		{"prerequisites", func(s *state) {
			s.Prerequisites["xml"] = validPrerequisite("libxml2", "fesa")
		}, `prerequisites.xml.needs[0]: prerequisites need each other: fesa needs xml needs fesa; remove one of these needs`},
	})
}
