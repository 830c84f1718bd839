package desired_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestCheckReferences(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"unknown platform", func(s *state) { s.fec("kgp2cu01", func(f *desired.FEC) { f.Platform = "x87" }) },
			`fecs.kgp2cu01.platform: unknown platform "x87"; did you mean "x86"?`},
		{"unknown platform, none near", func(s *state) { s.fec("kgp2cu01", func(f *desired.FEC) { f.Platform = "sparc" }) },
			`fecs.kgp2cu01.platform: unknown platform "sparc"; declare it in site.platforms`},
		{"unknown and repeated groups", func(s *state) {
			s.fec("kgp2cu02", func(f *desired.FEC) { f.Groups = []string{"rings", "ring", "ring"} })
		}, `fecs.kgp2cu02.groups[0]: unknown group "rings"; did you mean "ring"?
			fecs.kgp2cu02.groups[2]: group "ring" comes twice; remove one of them`},
		{"groups of restarts", func(s *state) {
			s.Settings.Restarts = desired.Restarts{Order: []string{"rings", "ring", "ring"}, Groups: map[string]desired.Pace{"rnig": {}}}
		}, `site.restarts.groups.rnig: unknown group "rnig"; did you mean "ring"?
			site.restarts.order[0]: unknown group "rings"; did you mean "ring"?
			site.restarts.order[2]: group "ring" comes twice; remove one of them`},
		{"unknown monitoring group", func(s *state) { s.fec("kgp2cu02", func(f *desired.FEC) { f.Monitoring.Groups = []string{"linus"} }) },
			`fecs.kgp2cu02.monitoring.groups[0]: unknown monitoring group "linus"; did you mean "linux"?`},
		{"service in the place of the groups", func(s *state) {
			s.FECs["kgp2cu02"].Monitoring.Services["monitoring_groups"] = desired.MonitorService{Check: "ping"}
		},
			`fecs.kgp2cu02.monitoring.services.monitoring_groups: a service cannot be named "monitoring_groups": its file would be that of the groups; give it another name`},
		{"service in the place of Pomona's own", func(s *state) {
			s.FECs["kgp2cu02"].Monitoring.Services["pomona-release"] = desired.MonitorService{Check: "ping"}
		}, `fecs.kgp2cu02.monitoring.services."pomona-release": a service cannot be named "pomona-release": Pomona has one of that name; give it another name`},
		{"services that say too little", func(s *state) {
			services := s.FECs["kgp2cu02"].Monitoring.Services
			services["a"], services["b"] = desired.MonitorService{Check: "tcp"}, desired.MonitorService{Check: "process"}
			services["c"] = desired.MonitorService{Check: "metrics", Port: 9100, Target: "m"}
		}, `fecs.kgp2cu02.monitoring.services.a: a check of tcp needs a port; give port
			fecs.kgp2cu02.monitoring.services.b: a check of process needs a name; give target
			fecs.kgp2cu02.monitoring.services.c.target: "m" is no path; begin it with /`},
		{"unknown software", func(s *state) { s.FECs["kgp2cu02"].Software["timin"] = desired.Pin{Version: "1.0"} },
			`fecs.kgp2cu02.software.timin: unknown software "timin"; did you mean "timing"?`},
		{"unknown version", func(s *state) { s.pin(desired.Pin{Version: "3.1.1"}) },
			`fecs.kgp2cu02.software.bpm.version: unknown version "3.1.1" of "bpm"; did you mean "3.1.0"?`},
		{"unknown configuration", func(s *state) { s.FECs["kgp2cu02"].Configuration["orbits"] = "1.0" },
			`fecs.kgp2cu02.configuration.orbits: unknown configuration "orbits"; did you mean "orbit"?`},
		{"unknown version of configuration", func(s *state) { s.FECs["kgp2cu02"].Configuration["orbit"] = "7.0" },
			`fecs.kgp2cu02.configuration.orbit: unknown version "7.0" of "orbit"; did you mean "1.0"?`},
		{"configuration of another FEC", func(s *state) {
			s.fec("kgp2cu01", func(f *desired.FEC) { f.Configuration = map[string]string{"gains": "2.0"} })
		},
			`fecs.kgp2cu01.configuration.gains: configuration "gains" belongs to FEC "kgp2cu02"; use an item of this FEC's own, or remove fec from the item to share it`},
		{"no payload for the platform", func(s *state) {
			s.release("timing", "1.0-rc1", desired.Release{Payload: map[string]desired.Payload{"x86": {Folder: "payload/timing", Install: "/opt/timing"}}})
		},
			`fecs.kgp2cu02.software.timing.version: timing 1.0-rc1 has no payload for platform "ppc"; add one in software.timing.versions."1.0-rc1".payload, or pin another version`},
		{"software of a campaign", func(s *state) { s.Campaigns["lattice"].Software["timing"] = "1.0" },
			`campaigns.lattice.software.timing: unknown version "1.0" of "timing"; use one that is declared: 1.0-rc1`},
		{"unknown stage and prerequisite", func(s *state) {
			s.stage("merge", func(g *desired.Stage) { g.Needs = map[string]desired.Need{"trak": {}} })
			s.Prerequisites["fesa"] = validPrerequisite("fesa", "yml")
		}, `campaigns.lattice.stages.merge.needs.trak: unknown stage "trak"; did you mean "track"?
			prerequisites.fesa.needs[0]: unknown prerequisite "yml"; did you mean "xml"?`},
	})
}

func TestCheckNames(t *testing.T) {
	runCheckCases(t, []checkCase{
		{"host of two FECs", func(s *state) { s.fec("kgp2cu01", func(f *desired.FEC) { f.Host = "scuxl0002.acc.example.org" }) },
			`fecs.kgp2cu02.host: host "scuxl0002.acc.example.org" is also that of FEC "kgp2cu01"; correct one of them`},
		{"host named as another FEC", func(s *state) { s.fec("kgp2cu01", func(f *desired.FEC) { f.Host = "kgp2cu02" }) },
			`fecs.kgp2cu01.host: host "kgp2cu02" has the name of another FEC: both would be served as fecs/kgp2cu02; correct the host name, or the other FEC's nomenclature`},
		{"reserved host", func(s *state) { s.fec("kgp2cu01", func(f *desired.FEC) { f.Host = "global" }) },
			`fecs.kgp2cu01.host: a host cannot be named "global": its folder would be that of the global scripts; use its host name`},
		{"reserved FEC", func(s *state) { s.FECs["global"] = desired.FEC{Host: "scuxl0009", Platform: "ppc"} },
			`fecs.global: a FEC cannot be named "global": its folder would be that of the global scripts; use its nomenclature`},
		{"one file name for two archives", func(s *state) {
			s.Software["demo"] = desired.Software{Versions: map[string]desired.Release{"1.0-2.0": anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/a"})}}
			s.Software["demo-1.0"] = desired.Software{Versions: map[string]desired.Release{"2.0": anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/b"})}}
			s.FECs["kgp2cu01"].Software["demo"] = desired.Pin{Version: "1.0-2.0"}
			s.FECs["kgp2cu01"].Software["demo-1.0"] = desired.Pin{Version: "2.0"}
		}, `fecs.kgp2cu01.software."demo-1.0": demo 1.0-2.0 and demo-1.0 2.0 would both be served as demo-1.0-2.0.tar.zst; rename one of them`},
		{"one name in another format", func(s *state) {
			s.Software["demo"] = desired.Software{Versions: map[string]desired.Release{"1.0-2.0": anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/a"})}}
			s.Software["demo-1.0"] = desired.Software{Versions: map[string]desired.Release{"2.0": anyPayload(desired.Payload{Folder: "payload/timing", Install: "/opt/b", Format: artifact.Xz})}}
			s.FECs["kgp2cu01"].Software["demo"] = desired.Pin{Version: "1.0-2.0"}
			s.FECs["kgp2cu01"].Software["demo-1.0"] = desired.Pin{Version: "2.0"}
		}, ``},
	})
}

func TestCheckPermissions(t *testing.T) {
	yes, no := true, false
	dev := func(p desired.Pin) func(*state) {
		return func(s *state) {
			p.Version = "dev"
			s.FECs["kgp2cu03"].Software["bpm"] = p
		}
	}
	runCheckCases(t, []checkCase{
		{"not started", dev(desired.Pin{}), ``},
		{"not started, in words", dev(desired.Pin{Start: &no}), ``},
		{"started for ever", dev(desired.Pin{Start: &yes}),
			`fecs.kgp2cu03.software.bpm: bpm dev is a development release, and starting it needs until and reason; until is the last day on which it is started, and reason says why`},
		{"started without a reason", dev(desired.Pin{Start: &yes, Until: "2026-06-01"}),
			`fecs.kgp2cu03.software.bpm: bpm dev is a development release, and starting it needs reason; until is the last day on which it is started, and reason says why`},
		{"passed", dev(desired.Pin{Start: &yes, Until: "2026-05-03", Reason: "test"}),
			`warning: fecs.kgp2cu03.software.bpm.until: bpm dev is not started any more: its permission ended with 2026-05-03; pin a production version, or give a later day`},
		{"a year ahead", dev(desired.Pin{Start: &yes, Until: "2027-05-04", Reason: "test"}), ``},
		{"more than a year ahead", dev(desired.Pin{Start: &yes, Until: "2027-05-05", Reason: "test"}),
			`fecs.kgp2cu03.software.bpm.until: the permission to start bpm dev ends on 2027-05-05, more than a year ahead; give a day within a year, and renew it then`},
		{"permission without start", dev(desired.Pin{Until: "2026-06-01", Reason: "test"}),
			`warning: fecs.kgp2cu03.software.bpm: until and reason do nothing: bpm dev is not started; add start: true, or remove them`},
		{"permission of a production release", func(s *state) { s.pin(desired.Pin{Version: "3.1.0", Until: "2026-06-01"}) },
			`fecs.kgp2cu02.software.bpm: until and reason are for development releases, and bpm 3.1.0 is a production release; remove them`},
		{"reason of a production release", func(s *state) { s.pin(desired.Pin{Version: "3.1.0", Reason: "test"}) },
			`fecs.kgp2cu02.software.bpm: until and reason are for development releases, and bpm 3.1.0 is a production release; remove them`},
		{"numbered development release", func(s *state) {
			r := s.Software["bpm"].Versions["3.1.0"]
			r.Channel = "dev"
			s.release("bpm", "3.1.0", r)
			s.pin(desired.Pin{Version: "3.1.0", Start: &yes})
		},
			`fecs.kgp2cu02.software.bpm: bpm 3.1.0 is a development release, and starting it needs until and reason; until is the last day on which it is started, and reason says why`},
		{"production release named dev", func(s *state) {
			r := s.Software["bpm"].Versions["dev"]
			r.Channel = "production"
			s.release("bpm", "dev", r)
			s.FECs["kgp2cu03"].Software["bpm"] = desired.Pin{Version: "dev"}
		}, `software.bpm.versions.dev.channel: version dev cannot be in channel production; remove channel, or give the release a number`},
	})
}

func TestCheckInit(t *testing.T) {
	scripts := func(names ...string) func(*state) {
		return func(s *state) {
			for _, name := range names {
				s.FECs["kgp2cu02"].Init[name] = desired.Init{Global: "10-env"}
			}
		}
	}
	runCheckCases(t, []checkCase{
		{"script from nowhere", func(s *state) { s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{} },
			`fecs.kgp2cu02.init."30-x": neither global nor file is set; set one of them`},
		{"script from two places", func(s *state) {
			s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{Global: "10-env", File: "scripts/env.sh"}
		},
			`fecs.kgp2cu02.init."30-x": both global and file are set; remove one of them`},
		{"unknown global script", func(s *state) { s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{Global: "10-en"} },
			`fecs.kgp2cu02.init."30-x".global: unknown global script "10-en"; did you mean "10-env"?`},
		{"missing file", func(s *state) { s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{File: "scripts/bpn.sh"} },
			`fecs.kgp2cu02.init."30-x".file: this commit has no file "scripts/bpn.sh"; did you mean "scripts/bpm.sh"?`},
		{"missing file of a global script", func(s *state) { s.Settings.Scripts["20-x"] = desired.GlobalScript{File: "env.sh"} },
			`site.scripts."20-x".file: this commit has no file "env.sh"; commit it`},
		{"link", func(s *state) { s.files[len(s.files)-1].Mode = artifact.Link },
			`site.scripts."10-env".file: "scripts/env.sh" is a symbolic link, not a file; commit the file itself`},
		{"executable", func(s *state) { s.files[len(s.files)-1].Mode = artifact.Executable }, ``},
		{"starts what does not run", func(s *state) {
			s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{Global: "10-env", Starts: "bpms"}
			s.FECs["kgp2cu02"].Init["40-x"] = desired.Init{Global: "10-env", Starts: "orbit"}
		}, `fecs.kgp2cu02.init."30-x".starts: this FEC does not run "bpms"; did you mean "bpm"?
			fecs.kgp2cu02.init."40-x".starts: this FEC does not run "orbit"; add it to fecs.kgp2cu02.software`},
		{"starts twice", func(s *state) { s.FECs["kgp2cu02"].Init["30-x"] = desired.Init{Global: "10-env", Starts: "bpm"} },
			`warning: fecs.kgp2cu02.init."30-x".starts: 20-bpm also starts "bpm"; let one script start it`},
		{"dashes decide the order", scripts("30-a-b", "30-aa"),
			`fecs.kgp2cu02.init."30-aa": 30-a-b and 30-aa sort differently where a locale passes over dashes; give them different numbers`},
		{"dashes alone differ", scripts("30-a-b", "30-ab"),
			`fecs.kgp2cu02.init."30-ab": 30-a-b and 30-ab sort differently where a locale passes over dashes; give them different numbers`},
		{"dashes decide nothing", scripts("30-a-b", "30-a-c", "30-b-a", "31-a-a"), ``},
	})
}

func TestCheckPlaces(t *testing.T) {
	install := func(software, path string) func(*state) {
		return func(s *state) {
			s.Software["other"] = desired.Software{Versions: map[string]desired.Release{"1.0": anyPayload(desired.Payload{Folder: "payload/timing", Install: path})}}
			s.FECs["kgp2cu02"].Software["other"] = desired.Pin{Version: "1.0"}
		}
	}
	configure := func(path string) func(*state) {
		return func(s *state) {
			s.Configuration["gains"].Versions["2.0"] = desired.ConfigurationVersion{Payload: desired.Payload{Folder: "conf/gains", Install: path}}
		}
	}
	persist := func(path string) func(*state) {
		return func(s *state) { s.FECs["kgp2cu02"].Persistence["more"] = desired.Persistence{Path: path, Schema: "v1"} }
	}
	runCheckCases(t, []checkCase{
		{"one path for two", install("other", "/opt/timing"),
			`fecs.kgp2cu02.software.timing: software timing and software other are both at /opt/timing; give each a path of its own`},
		{"software in software", install("other", "/opt/timing/other"),
			`fecs.kgp2cu02.software.other: software other at /opt/timing/other lies in software timing at /opt/timing; choose paths that do not lie in each other`},
		{"software around software", install("other", "/opt/fesa/bpm"),
			`fecs.kgp2cu02.software.bpm: software bpm at /opt/fesa/bpm/3.1.0 lies in software other at /opt/fesa/bpm; choose paths that do not lie in each other`},
		{"neighbours with like names", install("other", "/opt/timing-1"), ``},
		{"configuration in software", configure("/opt/timing/instance"), ``},
		{"configuration at software", configure("/opt/timing"),
			`fecs.kgp2cu02.configuration.gains: configuration gains and software timing are both at /opt/timing; give each a path of its own`},
		{"configuration in configuration", configure("/opt/fesa/bpm/3.1.0/instance/gains"),
			`fecs.kgp2cu02.configuration.gains: configuration gains at /opt/fesa/bpm/3.1.0/instance/gains lies in configuration orbit at /opt/fesa/bpm/3.1.0/instance; choose paths that do not lie in each other`},
		{"configuration on a folder of software", configure("/opt/fesa/bpm/3.1.0/bin"),
			`fecs.kgp2cu02.configuration.gains: configuration gains at /opt/fesa/bpm/3.1.0/bin lies in software bpm at /opt/fesa/bpm/3.1.0; choose a path below it that payload/bpm/3.1 itself leaves free`},
		{"configuration below a file of software", configure("/opt/fesa/bpm/3.1.0/lib/gains"),
			`fecs.kgp2cu02.configuration.gains: configuration gains at /opt/fesa/bpm/3.1.0/lib/gains lies in software bpm at /opt/fesa/bpm/3.1.0; choose a path below it that payload/bpm/3.1 itself leaves free`},
		{"configuration around software", configure("/opt/fesa"),
			`fecs.kgp2cu02.persistence.offsets: persistence offsets at /opt/fesa/data lies in configuration gains at /opt/fesa; choose paths that do not lie in each other
			fecs.kgp2cu02.software.bpm: software bpm at /opt/fesa/bpm/3.1.0 lies in configuration gains at /opt/fesa; choose paths that do not lie in each other`},
		{"one path for data of two", persist("/opt/fesa/data"),
			`fecs.kgp2cu02.persistence.offsets: persistence offsets and persistence more are both at /opt/fesa/data; give each a path of its own`},
		{"data in data", persist("/opt/fesa/data/more"),
			`fecs.kgp2cu02.persistence.more: persistence more at /opt/fesa/data/more lies in persistence offsets at /opt/fesa/data; choose paths that do not lie in each other`},
		{"data in software", persist("/opt/timing/data"),
			`fecs.kgp2cu02.persistence.more: persistence more at /opt/timing/data lies in software timing at /opt/timing; choose paths that do not lie in each other`},
		{"data around software", persist("/opt/fesa/bpm"),
			`fecs.kgp2cu02.software.bpm: software bpm at /opt/fesa/bpm/3.1.0 lies in persistence more at /opt/fesa/bpm; choose paths that do not lie in each other`},
		{"data elsewhere", persist("/etc/fesa"),
			`fecs.kgp2cu02.persistence.more.path: "/etc/fesa" does not lie below /opt; choose a path below that, or add its first parts to site.installPrefixes`},
	})
}
