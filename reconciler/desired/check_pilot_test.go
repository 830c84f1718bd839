package desired_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// requestedPilot offers a release to FECs, and nobody has done anything about it yet.
func requestedPilot() desired.Pilot {
	return desired.Pilot{
		Scope: desired.PilotOfFECs, Description: "the averaging of before, on one FEC and then on another", Owner: "ann@example.org",
		Software: "bpm", Version: "3.0.0", Expires: "2026-05-04", Success: map[string]desired.Criterion{"noise": {Description: "scatters by less than 20 micrometres"}},
		Rollout: &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"kgp2cu01"}}, {Groups: []string{"display"}}}},
	}
}

// step is a record of a pilot that goes well.
type step struct {
	name string
	desired.PilotRecord
}

// at is the morning of a day of April.
func at(day int) string { return fmt.Sprintf("2026-04-%02dT08:00:00Z", day) }

func passed(except ...string) map[string]desired.CheckResult {
	checks := map[string]desired.CheckResult{}
	for _, check := range desired.PilotChecks {
		if !slices.Contains(except, check) {
			checks[check] = desired.CheckResult{Verdict: "pass"}
		}
	}
	return checks
}

func rpm(file string) desired.RPM {
	return desired.RPM{File: file, SHA256: strings.Repeat(fmt.Sprintf("%02x", len(file)), 32)}
}

// servicePilot is a pilot of a grid service that makes use of everything, without its records; and these.
func servicePilot() (desired.Pilot, []step) {
	p := desired.Pilot{
		Scope: desired.PilotOfSites, Description: "a computing element that accepts jobs as text, on two sites before all", Owner: "vo@example.org",
		Ticket: "https://tickets.example.org/119", Expires: "2026-09-30", Success: map[string]desired.Criterion{"jobs": {Description: "nine of ten jobs end as they should"}},
		Tracker: "https://tracker.example.org/compute", Service: "compute",
		Roles:   &desired.PilotRoles{Coordinator: "carol@example.org", Developer: "dave@example.org", Authoriser: "sam@example.org", Testers: []string{"tom@example.org", "tina@example.org"}},
		Rollout: &desired.Rollout{Minimum: 2, Waves: []desired.PilotWave{{Soak: "2d"}, {Success: "50%", MaxFailures: 1}}},
		Branches: map[string]desired.RPMBranch{"SL9/x86_64": {
			desired.ReleaseRPMs: {rpm("compute-1.0-1.x86_64.rpm")}, desired.ExternalRPMs: {rpm("text-2.0-1.noarch.rpm")}, desired.PilotUpdateRPMs: nil, desired.ProductionUpdatesRPMs: nil,
		}},
		Sites:   map[string]desired.PilotSite{"north": {Contact: "nora@example.org"}, "south": {Contact: "susan@example.org", Wave: 2}},
		InfoSys: &desired.InfoSys{Type: "org.example.compute", QualityLevel: "pre-production"},
	}
	p.Updates = map[string]desired.PilotUpdate{"fix": {
		Kind: desired.UpdateOfPilot, Reason: desired.SecurityUpdate, Advisory: "EX-2026-1", Base: p.Snapshot().Subject(), Compat: desired.BreakingUpdate, Test: desired.SkippedTest,
		Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("compute-1.0-2.x86_64.rpm")}},
	}}
	first, fixed := p.Snapshot().Subject(), p.Snapshot().With(p.Updates["fix"]).Subject()
	p.Updates["more"] = desired.PilotUpdate{Kind: desired.ProductionUpdate, Reason: "bugfix", Base: fixed, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("text-2.0-10.noarch.rpm")}}}
	carol, nora := "carol@example.org", "nora@example.org"
	report := passed("docs")
	report["docs"] = desired.CheckResult{Verdict: "waived"}
	return p, []step{
		{"untested", desired.PilotRecord{Kind: desired.RecordWaiver, By: "tom@example.org", At: at(1), Check: desired.TestOfUpdate, Update: "fix", Subject: fixed, Expires: "2026-05-01", Reason: "nothing but one text changes"}},
		{"freeze", desired.PilotRecord{Kind: desired.RecordFreeze, By: carol, At: at(2), Subject: first, Closure: &desired.RPMClosure{}}},
		{"docs-later", desired.PilotRecord{Kind: desired.RecordWaiver, By: carol, At: at(3), Check: "docs", Subject: first, Expires: "2026-04-20", Reason: "the documentation comes with the notes"}},
		{"report", desired.PilotRecord{Kind: desired.RecordReport, By: "tom@example.org", At: at(3), Subject: first, Compat: "new-service", Checks: report}},
		{"authorise", desired.PilotRecord{Kind: desired.RecordAuthorisation, By: "sam@example.org", At: at(4), Subject: first, Decision: "ok"}},
		{"notes", desired.PilotRecord{Kind: desired.RecordNotes, By: "dave@example.org", At: at(5), Subject: first, Text: "# 1.0"}},
		{"mirror", desired.PilotRecord{Kind: desired.RecordMirror, By: carol, At: at(6), Subject: first, Location: "https://mirror.example.org/compute"}},
		{"call", desired.PilotRecord{Kind: desired.RecordCall, By: carol, At: at(7), Closes: "2026-04-08"}},
		{"join-north", desired.PilotRecord{Kind: desired.RecordJoin, By: nora, At: at(8), Site: "north", Answer: "interested"}},
		{"installed", desired.PilotRecord{Kind: desired.RecordDeployment, By: nora, At: at(8), Site: "north", State: "installed", Subject: first}},
		{"resources", desired.PilotRecord{Kind: desired.RecordResources, By: nora, At: at(9), Site: "north", Resources: &desired.SiteResources{Nodes: 1, Cores: 8}}},
		{"slow", desired.PilotRecord{Kind: desired.RecordProblem, By: nora, At: at(10), Site: "north", Subject: first, Problem: "slow", Category: "functional", Severity: "blocker", Status: "open", Text: "it takes a minute"}},
		{"stop", desired.PilotRecord{Kind: desired.RecordHalt, By: nora, At: at(10), Reason: "the site's users wait a minute", Subject: first}},
		{"approve-fix", desired.PilotRecord{Kind: desired.RecordApproval, By: carol, At: at(11), Update: "fix", Subject: fixed}},
		{"freeze-fix", desired.PilotRecord{Kind: desired.RecordFreeze, By: carol, At: at(11), Update: "fix", Subject: fixed}},
		{"authorise-fix", desired.PilotRecord{Kind: desired.RecordAuthorisation, By: "sam@example.org", At: at(12), Update: "fix", Subject: fixed, Decision: "ok"}},
		{"notes-fix", desired.PilotRecord{Kind: desired.RecordNotes, By: carol, At: at(12), Update: "fix", Subject: fixed, Text: "# 1.0-2", Migration: "restart it"}},
		{"mirror-fix", desired.PilotRecord{Kind: desired.RecordMirror, By: carol, At: at(13), Update: "fix", Subject: fixed}},
		{"resume", desired.PilotRecord{Kind: desired.RecordResume, By: carol, At: at(13), Update: "fix"}},
		{"fixed", desired.PilotRecord{Kind: desired.RecordProblem, By: nora, At: at(14), Site: "north", Problem: "slow", Category: "functional", Severity: "blocker", Status: "fixed", FixedIn: "fix", Text: "a second"}},
		{"reject-more", desired.PilotRecord{Kind: desired.RecordRejection, By: carol, At: at(15), Update: "more", Reason: "it comes with the next release"}},
		{"like", desired.PilotRecord{Kind: desired.RecordFeedback, By: "uwe@example.org", At: at(16), Rating: 5, Text: "good"}},
		{"jobs", desired.PilotRecord{Kind: desired.RecordCriterion, By: carol, At: at(17), Criterion: "jobs", Met: "yes", Subject: fixed}},
		{"end", desired.PilotRecord{Kind: desired.RecordClosure, By: carol, At: at(18), Outcome: "promoted"}},
	}
}

// fecPilot is a pilot of FECs that makes use of everything, without its records; and these.
func fecPilot() (desired.Pilot, []step) {
	p := requestedPilot()
	p.Expires, p.Ticket, p.Urgency = "2026-06-30", "https://tickets.example.org/118", desired.FastUrgency
	p.Roles = &desired.PilotRoles{Coordinator: "carol@example.org", Developer: "dave@example.org", Authoriser: "sam@example.org"}
	p.Rollout.Minimum = 2
	files := validFiles()
	subject, _ := desired.ReleaseSubject(validSite(), files, "bpm", "3.0.0")
	return p, []step{
		{"freeze", desired.PilotRecord{Kind: desired.RecordFreeze, By: "carol@example.org", At: at(2), Subject: subject}},
		{"report", desired.PilotRecord{Kind: desired.RecordReport, By: "carol@example.org", At: at(3), Subject: subject, Compat: "backward-compatible", Checks: map[string]desired.CheckResult{
			"docs": {Verdict: "pass"}, "dependencies": {Verdict: "pass"}}}},
		{"authorise", desired.PilotRecord{Kind: desired.RecordAuthorisation, By: "sam@example.org", At: at(4), Subject: subject, Decision: "ok"}},
		{"notes", desired.PilotRecord{Kind: desired.RecordNotes, By: "carol@example.org", At: at(5), Subject: subject, Text: "# 3.0"}},
		{"worse", desired.PilotRecord{Kind: desired.RecordProblem, By: "ann@example.org", At: at(6), Problem: "worse", Category: "functional", Severity: "major", Status: "fixed", FixedIn: "3.1.0", Text: "it scatters"}},
		{"no", desired.PilotRecord{Kind: desired.RecordCriterion, By: "carol@example.org", At: at(7), Criterion: "noise", Met: "no", Subject: subject}},
		{"end", desired.PilotRecord{Kind: desired.RecordClosure, By: "ann@example.org", At: at(8), Outcome: "withdrawn", Reason: "the version after it is better"}},
	}
}

// upTo is a pilot with its first records.
func upTo(p desired.Pilot, steps []step) desired.Pilot {
	p.Records = map[string]desired.PilotRecord{}
	for _, s := range steps {
		p.Records[s.name] = s.PilotRecord
	}
	return p
}

func TestPilotsAreValidAtEveryStage(t *testing.T) {
	for what, make := range map[string]func() (desired.Pilot, []step){"service": servicePilot, "FECs": fecPilot} {
		p, steps := make()
		for i := range len(steps) + 1 {
			s := validSite()
			q := upTo(p, steps[:i])
			if i == 0 { // the test of an update is waived together with its declaration
				q.Updates = nil
			}
			s.Pilots = map[string]desired.Pilot{"p": q}
			if ps := desired.Check(s, validFiles(), noon); len(ps) > 0 {
				t.Errorf("%s after %d records:\n%v", what, i, ps)
			}
		}
	}
}

// pilotCase changes a valid pilot, which is named p and there alone.
type pilotCase struct {
	name   string
	change func(*desired.Pilot)
	want   string
}

func runPilotCases(t *testing.T, make func() (desired.Pilot, []step), cases []pilotCase) {
	t.Helper()
	var checks []checkCase
	for _, c := range cases {
		checks = append(checks, checkCase{c.name, func(s *state) {
			p := upTo(make())
			c.change(&p)
			s.Pilots = map[string]desired.Pilot{"p": p}
		}, c.want})
	}
	runCheckCases(t, checks)
}

// record changes a record.
func record(name string, change func(*desired.PilotRecord)) func(*desired.Pilot) {
	return func(p *desired.Pilot) {
		r := p.Records[name]
		change(&r)
		p.Records[name] = r
	}
}

// without removes records, so that a pilot is not further than it was before them.
func without(names ...string) func(*desired.Pilot) {
	return func(p *desired.Pilot) {
		for _, name := range names {
			delete(p.Records, name)
		}
	}
}

// open has a service's pilot not ended yet.
func open(changes ...func(*desired.Pilot)) func(*desired.Pilot) {
	return func(p *desired.Pilot) {
		delete(p.Records, "end")
		for _, change := range changes {
			change(p)
		}
	}
}

func update(name string, change func(*desired.PilotUpdate)) func(*desired.Pilot) {
	return func(p *desired.Pilot) {
		u := p.Updates[name]
		change(&u)
		p.Updates[name] = u
	}
}

func TestPilotDeclaration(t *testing.T) {
	runPilotCases(t, servicePilot, []pilotCase{
		{"fields of the other scope", func(p *desired.Pilot) { p.Software, p.Version = "bpm", "3.0.0" },
			`pilots.p.software: a pilot of a grid service has no software; remove it, or correct scope
			pilots.p.version: a pilot of a grid service has no version; remove it, or correct scope`},
		{"no service", func(p *desired.Pilot) { p.Service = "" }, `pilots.p: a pilot of a grid service needs service; add it`},
		{"waves of FECs", func(p *desired.Pilot) {
			p.Rollout.Waves[0].FECs, p.Rollout.Waves[1].Groups = []string{"kgp2cu01"}, []string{"ring"}
		},
			`pilots.p.rollout.waves[0].fecs: a pilot of a grid service has no fecs; remove it: each of sites says its wave
			pilots.p.rollout.waves[1].groups: a pilot of a grid service has no groups; remove it: each of sites says its wave`},
		{"ended", open(func(p *desired.Pilot) { p.Expires = "2026-05-03" }),
			`warning: pilots.p.expires: this pilot ended with 2026-05-03; conclude it and remove it, or give a later day`},
		{"ended and closed", func(p *desired.Pilot) { p.Expires = "2026-05-03" }, ``},
		{"two years", func(p *desired.Pilot) { p.Expires = "2028-05-04" }, ``},
		{"forever", func(p *desired.Pilot) { p.Expires = "2028-05-05" },
			`pilots.p.expires: the pilot ends on 2028-05-05, more than two years ahead; give a day within two years, and renew it then`},
		{"no criteria", open(without("jobs"), func(p *desired.Pilot) { p.Success = nil }),
			`pilots.p.success: nothing says when this pilot has succeeded; add a criterion: what is measured, and what it must be`},
		{"no ticket", func(p *desired.Pilot) { p.Ticket = "" }, `pilots.p.scope: work on this pilot has begun, and it has no ticket; give the address of its request in ticket`},
		{"no wave", func(p *desired.Pilot) { p.Sites["south"] = desired.PilotSite{Contact: "susan@example.org", Wave: 3} },
			`warning: pilots.p.rollout.waves[1]: no site is in wave 2; give a site that wave, or remove it
			pilots.p.sites.south.wave: there is no wave 3: rollout has 2; give another one, or add a wave to rollout.waves`},
		{"no rollout", func(p *desired.Pilot) { p.Rollout = nil },
			`pilots.p.sites.south.wave: there is no wave 2: all sites get it at once; give another one, or add a wave to rollout.waves`},
		{"minimum", open(func(p *desired.Pilot) { p.Rollout.Minimum = 3 }), `pilots.p.rollout.minimum: 3 sites must run it, and 2 can; lower it, or name more`},
		{"nothing is enough", func(p *desired.Pilot) { p.Rollout.Waves[1].Success = "0%" }, `pilots.p.rollout.waves[1].success: nothing would be enough; give at least 1%`},
		{"package twice", func(p *desired.Pilot) {
			p.Branches["SL8/x86_64"] = desired.RPMBranch{desired.ReleaseRPMs: {rpm("a.rpm"), rpm("a.rpm")}}
			delete(p.Records, "end")
			clear(p.Records)
			p.Updates = nil
		}, `pilots.p.branches."SL8/x86_64"."RPMS.Release"[1].file: package "a.rpm" comes twice; remove one of them`},
		{"package of two kinds", func(p *desired.Pilot) {
			p.Branches["SL8/x86_64"] = desired.RPMBranch{desired.ReleaseRPMs: {rpm("a.rpm")}, desired.ExternalRPMs: {{File: "a.rpm", SHA256: "00"}}, desired.PilotUpdateRPMs: {rpm("a.rpm")}}
			clear(p.Records)
			p.Updates = nil
		}, `pilots.p.branches."SL8/x86_64"."RPMS.externals"[0].sha256: package "a.rpm" is another one in RPMS.Release; give both one digest, or one of them another release number
			pilots.p.branches."SL8/x86_64"."RPMS.pilot_updates"[0].sha256: package "a.rpm" is another one in RPMS.Release; give both one digest, or one of them another release number`},
		{"too many packages", func(p *desired.Pilot) {
			p.Updates = nil
			clear(p.Records)
			var many []desired.RPM
			for i := range 20_001 {
				many = append(many, desired.RPM{File: fmt.Sprint(i)})
			}
			p.Branches["SL9/x86_64"][desired.ReleaseRPMs] = many
		}, `pilots.p.branches: there are 20002 packages; keep at most 20000`},
	})
}

func TestPilotRoles(t *testing.T) {
	roles := func(change func(*desired.PilotRoles)) func(*desired.Pilot) {
		return func(p *desired.Pilot) { clear(p.Records); p.Updates = nil; change(p.Roles) }
	}
	runPilotCases(t, servicePilot, []pilotCase{
		{"tester develops", roles(func(r *desired.PilotRoles) { r.Testers[1] = "dave" }),
			`pilots.p.roles.testers[1]: dave develops this pilot, and cannot test it; name somebody else`},
		{"authoriser develops", roles(func(r *desired.PilotRoles) { r.Authoriser = "Dave <dave@example.org>" }),
			`pilots.p.roles.authoriser: Dave <dave@example.org> develops this pilot, and cannot authorise it; name somebody else`},
		{"authoriser tests", roles(func(r *desired.PilotRoles) { r.Testers[0] = "sam@example.org" }),
			`pilots.p.roles.testers[0]: sam@example.org authorises this pilot, and cannot test it; name somebody else`},
		{"tester twice", roles(func(r *desired.PilotRoles) { r.Testers[1] = "tom@example.org" }), `pilots.p.roles.testers[1]: tom@example.org comes twice; remove one of them`},
		{"nobody tests", roles(func(r *desired.PilotRoles) { r.Testers = nil }), `pilots.p.roles: nobody tests this pilot; name testers, or let it do without: urgency: "fast"`},
		{"nobody tests what is fast", func(p *desired.Pilot) {
			clear(p.Records)
			p.Updates, p.Roles.Testers, p.Urgency = nil, nil, desired.FastUrgency
		}, ``},
		{"records without roles", func(p *desired.Pilot) { p.Roles = nil },
			`pilots.p.records.untested: this is a record of kind waiver, and nobody has a role in this pilot; add roles: who coordinates, develops, authorises and tests it`},
		{"feedback without roles", func(p *desired.Pilot) {
			p.Roles, p.Updates = nil, nil
			maps.DeleteFunc(p.Records, func(name string, _ desired.PilotRecord) bool { return name != "like" })
		}, ``},
	})
}

func TestPilotUpdates(t *testing.T) {
	p, _ := servicePilot()
	first, fixed := p.Snapshot().Subject(), p.Snapshot().With(p.Updates["fix"]).Subject()
	runPilotCases(t, servicePilot, []pilotCase{
		{"advisory", update("fix", func(u *desired.PilotUpdate) { u.Advisory = "" }),
			`pilots.p.updates.fix: a security update needs an advisory; say in advisory which one: participants are told of it`},
		{"skipped", open(without("untested")),
			`warning: pilots.p.updates.fix.test: the test of this update is skipped, and no waiver says why; its authoriser or a tester does: pomona pilot p update fix waive test; or have it tested`},
		{"skipped, and ended", without("untested"), ``},
		{"base", open(update("more", func(u *desired.PilotUpdate) { u.Base = "sha256:00" })),
			`pilots.p.updates.more.base: no packages of this pilot have this digest; the last ones mirrored, to which an update adds, have ` + fixed},
		{"base before anything is mirrored", open(without("mirror-fix"), update("more", func(u *desired.PilotUpdate) { u.Base = "sha256:00" })),
			`pilots.p.updates.more.base: no packages of this pilot have this digest; the last ones mirrored, to which an update adds, have ` + first},
		{"superseded", open(func(p *desired.Pilot) {
			p.Updates["late"] = desired.PilotUpdate{Kind: desired.UpdateOfPilot, Reason: "bugfix", Base: first, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("b.rpm")}}}
		}), ``},
		{"branch", update("more", func(u *desired.PilotUpdate) { u.Packages = map[string][]desired.RPM{"SL9/x86-64": {rpm("b.rpm")}} }),
			`pilots.p.updates.more.packages."SL9/x86-64": unknown branch "SL9/x86-64"; did you mean "SL9/x86_64"?`},
		{"there already", update("more", func(u *desired.PilotUpdate) {
			u.Kind, u.Packages["SL9/x86_64"] = desired.UpdateOfPilot, []desired.RPM{{File: "compute-1.0-2.x86_64.rpm", SHA256: "00"}}
		}), `pilots.p.updates.more.packages."SL9/x86_64"[0].file: package "compute-1.0-2.x86_64.rpm" is in RPMS.pilot_updates already; remove it: an update only adds, and a new package has a new release number`},
		{"another one elsewhere", update("more", func(u *desired.PilotUpdate) {
			u.Packages["SL9/x86_64"] = []desired.RPM{{File: "compute-1.0-2.x86_64.rpm", SHA256: "00"}, rpm("c.rpm"), rpm("c.rpm")}
		}), `pilots.p.updates.more.packages."SL9/x86_64"[0].sha256: package "compute-1.0-2.x86_64.rpm" is another one in RPMS.pilot_updates; give both one digest, or one of them another release number
			pilots.p.updates.more.packages."SL9/x86_64"[2].file: package "c.rpm" comes twice; remove one of them`},
		{"the same one elsewhere", update("more", func(u *desired.PilotUpdate) {
			u.Packages["SL9/x86_64"] = []desired.RPM{rpm("compute-1.0-2.x86_64.rpm")}
		}), ``},
		{"two in flight", open(without("reject-more"), func(p *desired.Pilot) {
			p.Updates["other"] = desired.PilotUpdate{Kind: desired.ProductionUpdate, Reason: "bugfix", Base: fixed, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("b.rpm")}}}
		}), `pilots.p.updates.other: update "more" is on its way into RPMS.production_updates too; reject one of them, or base this one on what the other makes: ` +
			p.Snapshot().With(p.Updates["fix"]).With(p.Updates["more"]).Subject()},
		{"two in flight, one rejected", open(func(p *desired.Pilot) {
			p.Updates["other"] = desired.PilotUpdate{Kind: desired.ProductionUpdate, Reason: "bugfix", Base: fixed, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("b.rpm")}}}
		}), ``},
		{"two in flight to two directories", open(without("reject-more"), func(p *desired.Pilot) {
			p.Updates["other"] = desired.PilotUpdate{Kind: desired.UpdateOfPilot, Reason: "bugfix", Base: fixed, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("b.rpm")}}}
		}), ``},
		{"migration", record("notes-fix", func(r *desired.PilotRecord) { r.Migration = "" }),
			`pilots.p.records."notes-fix": what these notes are about breaks what there was, and they do not say how to migrate; record notes with migration`},
		{"what was frozen changed", open(func(p *desired.Pilot) {
			p.Updates = nil
			maps.DeleteFunc(p.Records, func(_ string, r desired.PilotRecord) bool { return r.Update != "" || r.FixedIn != "" })
			p.Branches["SL9/x86_64"][desired.ReleaseRPMs] = []desired.RPM{rpm("compute-1.0-10.x86_64.rpm")}
		}), `warning: pilots.p.branches: this is not what record "freeze" froze: what was recorded of that does not count any more; put it back as it was, or freeze it again`},
		{"what was frozen of an update changed", open(without("reject-more"), update("fix", func(u *desired.PilotUpdate) {
			u.Packages["SL9/x86_64"] = []desired.RPM{rpm("compute-1.0-20.x86_64.rpm")}
		}),
			func(p *desired.Pilot) { delete(p.Updates, "more") }),
			`warning: pilots.p.updates.fix: this is not what record "freeze-fix" froze: what was recorded of that does not count any more; put it back as it was, or freeze it again
			warning: pilots.p.updates.fix.test: the test of this update is skipped, and no waiver says why; its authoriser or a tester does: pomona pilot p update fix waive test; or have it tested`},
		{"too many", func(p *desired.Pilot) {
			clear(p.Records)
			for i := range 201 {
				p.Updates[fmt.Sprint(i)] = desired.PilotUpdate{}
			}
		}, `pilots.p.updates: there are 203 updates; keep at most 200: end this pilot, and begin another with what there is`},
	})
}

func TestPilotRecords(t *testing.T) {
	add := func(r desired.PilotRecord) func(*desired.Pilot) {
		return func(p *desired.Pilot) {
			r.By, r.At = "nora@example.org", "2026-04-30T08:00:00Z"
			p.Records["new"] = r
		}
	}
	runPilotCases(t, servicePilot, []pilotCase{
		{"a freeze without subject", record("freeze", func(r *desired.PilotRecord) { r.Subject = "" }), `pilots.p.records.freeze: a record of kind freeze needs subject; add the digest that pomona pilot p shows: it counts for nothing else`},
		{"a freeze of a site", record("freeze", func(r *desired.PilotRecord) { r.Site = "north" }), `pilots.p.records.freeze.site: a record of kind freeze has no site; remove it`},
		{"an answer that says nothing", add(desired.PilotRecord{Kind: desired.RecordJoin, Site: "south"}), `pilots.p.records.new: a record of kind join needs answer; add it`},
		{"a call without end", record("call", func(r *desired.PilotRecord) { r.Closes = "" }), `pilots.p.records.call: a record of kind call needs closes; add it`},
		{"a call that is over", record("call", func(r *desired.PilotRecord) { r.Closes = "2026-04-06" }),
			`pilots.p.records.call.closes: the call ends on 2026-04-06, before it begins on 2026-04-07; give a later day`},
		{"a call for longer than the pilot", record("call", func(r *desired.PilotRecord) { r.Closes = "2026-10-01" }),
			`warning: pilots.p.records.call.closes: the call closes on 2026-10-01, and the pilot ends with 2026-09-30; let the pilot last longer`},
		{"the future", record("like", func(r *desired.PilotRecord) { r.At = "2026-05-04T12:10:01Z" }),
			`pilots.p.records.like.at: this record is of 2026-05-04T12:10:01Z, which has not been yet; say when it was`},
		{"a clock that is fast", record("like", func(r *desired.PilotRecord) { r.At = "2026-05-04T12:10:00Z" }), ``},
		{"unknown site", add(desired.PilotRecord{Kind: desired.RecordJoin, Site: "noth", Answer: "declined"}), `pilots.p.records.new.site: unknown site "noth"; did you mean "north"?`},
		{"unknown update", add(desired.PilotRecord{Kind: desired.RecordApproval, Subject: "sha256:00", Update: "fixes"}), `pilots.p.records.new.update: unknown update "fixes"; declare it in pilots.p.updates`},
		{"unknown criterion", add(desired.PilotRecord{Kind: desired.RecordCriterion, Criterion: "job", Met: "yes", Subject: "sha256:00"}), `pilots.p.records.new.criterion: unknown criterion "job"; did you mean "jobs"?`},
		{"the developer reports", record("report", func(r *desired.PilotRecord) { r.By = "dave" }),
			`pilots.p.records.report.by: dave develops this pilot, and cannot report on it; let somebody else do that`},
		{"the developer authorises", record("authorise", func(r *desired.PilotRecord) { r.By = "dave" }),
			`pilots.p.records.authorise.by: dave develops this pilot, and cannot authorise it; let somebody else do that`},
		{"the developer waives", record("untested", func(r *desired.PilotRecord) { r.By = "dave@example.org" }),
			`pilots.p.records.untested.by: dave@example.org develops this pilot, and cannot waive anything of it; let somebody else do that`},
		{"denied", add(desired.PilotRecord{Kind: desired.RecordAuthorisation, Decision: "deny", Subject: "sha256:00"}),
			`pilots.p.records.new: an authorisation that denies needs a reason; add reason`},
		{"left out", open(record("report", func(r *desired.PilotRecord) { r.Checks, r.Compat = passed("docs", "signatures"), "" })),
			`warning: pilots.p.records.report: no report on this says anything of docs, signatures, compat; report on that too: it is not checked before`},
		{"nothing checked", open(record("report", func(r *desired.PilotRecord) { r.Checks = nil }), func(p *desired.Pilot) { delete(p.Records, "docs-later") }, func(p *desired.Pilot) { delete(p.Records, "like") }),
			`pilots.p.records.report: a record of kind report needs checks; add it
			warning: pilots.p.records.report: no report on this says anything of installer-config, docs, patch-list, dependencies, site-impact, repo-structure, repo-closure, clean-install, signatures; report on that too: it is not checked before`},
		{"no waiver", without("docs-later"), `pilots.p.records.report.checks.docs: no waiver of docs for this subject was valid on 2026-04-03; record one before the report: kind waiver, with the same subject, a reason and its last day`},
		{"a waiver that has ended", record("docs-later", func(r *desired.PilotRecord) { r.At, r.Expires = at(1), "2026-04-02" }),
			`pilots.p.records.report.checks.docs: no waiver of docs for this subject was valid on 2026-04-03; record one before the report: kind waiver, with the same subject, a reason and its last day`},
		{"a waiver of later", record("docs-later", func(r *desired.PilotRecord) { r.At = at(4) }),
			`pilots.p.records.report.checks.docs: no waiver of docs for this subject was valid on 2026-04-03; record one before the report: kind waiver, with the same subject, a reason and its last day`},
		{"a waiver of other packages", record("docs-later", func(r *desired.PilotRecord) { r.Subject = "sha256:00" }),
			`pilots.p.records.report.checks.docs: no waiver of docs for this subject was valid on 2026-04-03; record one before the report: kind waiver, with the same subject, a reason and its last day`},
		{"a waiver of whatever comes", record("untested", func(r *desired.PilotRecord) { r.Check, r.Subject = "docs", "" }),
			`pilots.p.records.untested: a record of kind waiver needs subject; add the digest that pomona pilot p shows: it counts for nothing else`},
		{"an approval of whatever comes", record("approve-fix", func(r *desired.PilotRecord) { r.Subject = "" }),
			`pilots.p.records."approve-fix": a record of kind approval needs subject; add the digest that pomona pilot p shows: it counts for nothing else`},
		{"a criterion of whatever comes", record("jobs", func(r *desired.PilotRecord) { r.Subject = "" }),
			`pilots.p.records.jobs: a record of kind criterion needs subject; add the digest that pomona pilot p shows: it counts for nothing else`},
		{"a waiver for good", record("docs-later", func(r *desired.PilotRecord) { r.Expires = "2027-04-04" }),
			`pilots.p.records."docs-later".expires: the waiver ends on 2027-04-04, more than a year after it begins; give a day within a year`},
		{"a waiver of no test", func(p *desired.Pilot) {
			record("docs-later", func(r *desired.PilotRecord) { r.Check = "test" })(p)
			record("report", func(r *desired.PilotRecord) { r.Checks = passed() })(p)
		}, `pilots.p.records."docs-later": a waiver of the test needs update; say which one is not tested`},
		{"a halt without reason", record("stop", func(r *desired.PilotRecord) { r.Reason = "" }), `pilots.p.records.stop: a record of kind halt needs reason; add it`},
		{"resumed for nothing", record("resume", func(r *desired.PilotRecord) { r.Update = "" }),
			`pilots.p.records.resume: nothing says why this pilot may go on; name the update that fixes it, or give a reason`},
		{"fixed in nothing", record("fixed", func(r *desired.PilotRecord) { r.FixedIn = "" }),
			`pilots.p.records.fixed: a problem that is fixed needs fixedIn; say in which update or version it is`},
		{"fixed in an unknown update", record("fixed", func(r *desired.PilotRecord) { r.FixedIn = "fixx" }), `pilots.p.records.fixed.fixedIn: unknown update "fixx"; did you mean "fix"?`},
		{"fixed and open", record("slow", func(r *desired.PilotRecord) { r.FixedIn = "fix" }),
			`pilots.p.records.slow.fixedIn: a problem whose status is open is fixed in nothing; remove it, or set status: "fixed"`},
		{"a problem that says nothing", add(desired.PilotRecord{Kind: desired.RecordProblem, Problem: "bad", Status: "open"}),
			`pilots.p.records.new: a record of kind problem needs category; add it
			pilots.p.records.new: a record of kind problem needs severity; add it
			pilots.p.records.new: a record of kind problem needs text; add it`},
		{"installed without an answer", without("join-north"),
			`pilots.p.records.installed.site: site "north" has not said that it takes part; record that first: kind join, answer "interested"`},
		{"installed and declined", record("join-north", func(r *desired.PilotRecord) { r.Answer = "declined" }),
			`pilots.p.records.installed.site: site "north" has not said that it takes part; record that first: kind join, answer "interested"`},
		{"installed before the answer", record("join-north", func(r *desired.PilotRecord) { r.At = at(9) }),
			`pilots.p.records.installed.site: site "north" has not said that it takes part; record that first: kind join, answer "interested"`},
		{"installed what", record("installed", func(r *desired.PilotRecord) { r.Subject = "" }),
			`pilots.p.records.installed: a deployment that is installed needs subject; add the digest of what was installed`},
		{"promoted without a criterion", without("jobs"),
			`pilots.p.records.end.outcome: this pilot is promoted, and no record says that it met jobs; record that first: kind criterion, met yes; or withdraw it`},
		{"promoted with one that is not met", add(desired.PilotRecord{Kind: desired.RecordCriterion, Criterion: "jobs", Met: "no", Subject: "sha256:00"}), ``},
		{"promoted before one is met", record("jobs", func(r *desired.PilotRecord) { r.At = at(19) }),
			`pilots.p.records.end.outcome: this pilot is promoted, and no record says that it met jobs; record that first: kind criterion, met yes; or withdraw it`},
		{"promoted though nobody knows", record("jobs", func(r *desired.PilotRecord) { r.Met = "inconclusive" }),
			`pilots.p.records.end.outcome: this pilot is promoted, and no record says that it met jobs; record that first: kind criterion, met yes; or withdraw it`},
		{"withdrawn", record("end", func(r *desired.PilotRecord) { r.Outcome = "withdrawn" }), `pilots.p.records.end: a closure that withdraws needs a reason; add reason`},
		{"breaking", record("report", func(r *desired.PilotRecord) { r.Compat = "breaking" }),
			`pilots.p.records.notes: what these notes are about breaks what there was, and they do not say how to migrate; record notes with migration`},
		{"breaking, and something else reported since", func(p *desired.Pilot) {
			record("report", func(r *desired.PilotRecord) { r.Compat = "breaking" })(p)
			p.Records["since"] = desired.PilotRecord{Kind: desired.RecordReport, By: p.Records["report"].By, At: p.Records["notes"].At, Subject: p.Records["report"].Subject,
				Checks: map[string]desired.CheckResult{"docs": {Verdict: "pass"}}}
		}, `pilots.p.records.notes: what these notes are about breaks what there was, and they do not say how to migrate; record notes with migration`},
	})
}

func TestPilotsOfFECs(t *testing.T) {
	waves := func(w ...desired.PilotWave) func(*desired.Pilot) {
		return open(func(p *desired.Pilot) { p.Rollout = &desired.Rollout{Waves: w} })
	}
	runPilotCases(t, fecPilot, []pilotCase{
		{"fields of the other scope", func(p *desired.Pilot) {
			p.Service, p.Sites, p.InfoSys = "x", map[string]desired.PilotSite{"a": {}}, &desired.InfoSys{}
			p.Branches, p.Updates = map[string]desired.RPMBranch{"SL9/x86_64": {}}, map[string]desired.PilotUpdate{"u": {}}
		}, `pilots.p.branches: a pilot of FECs has no branches; remove it, or correct scope
			pilots.p.infosys: a pilot of FECs has no infosys; remove it, or correct scope
			pilots.p.service: a pilot of FECs has no service; remove it, or correct scope
			pilots.p.sites: a pilot of FECs has no sites; remove it, or correct scope
			pilots.p.updates: a pilot of FECs has no updates; remove it, or correct scope`},
		{"nothing is offered", open(without("worse", "freeze"), func(p *desired.Pilot) { p.Software, p.Version = "", "" }),
			`pilots.p: a pilot of FECs needs software; add it
			pilots.p: a pilot of FECs needs version; add it`},
		{"a development release", open(func(p *desired.Pilot) {
			p.Version, p.Rollout.Waves, p.Rollout.Minimum = "dev", []desired.PilotWave{{FECs: []string{"kgp2cu03"}}}, 0
			delete(p.Records, "freeze")
		}),
			`warning: pilots.p.rollout.waves[0]: bpm dev is already pinned by FEC "kgp2cu03"; remove them here, or pin what they go back to
			pilots.p.version: bpm dev is a development release, and could not be promoted; offer a production version`},
		{"nobody is offered it", open(func(p *desired.Pilot) { p.Rollout = nil }),
			`pilots.p.scope: work on this pilot has begun, and no FEC is offered it; say in rollout.waves which ones get it, one wave after the other`},
		{"software", open(func(p *desired.Pilot) { p.Software = "bpn" }), `pilots.p.software: unknown software "bpn"; did you mean "bpm"?`},
		{"version", open(without("worse"), func(p *desired.Pilot) { p.Version = "4.0.0" }), `pilots.p.version: unknown version "4.0.0" of "bpm"; did you mean "3.0.0"?`},
		{"names", waves(desired.PilotWave{FECs: []string{"kgp2cu01", "kgp2cu01", "kgp2cu09"}, Groups: []string{"booster"}}),
			`pilots.p.rollout.waves[0].fecs[1]: FEC "kgp2cu01" comes twice; remove one of them
			pilots.p.rollout.waves[0].fecs[2]: unknown FEC "kgp2cu09"; did you mean "kgp2cu01"?
			pilots.p.rollout.waves[0].groups[0]: unknown group "booster"; declare it in site.groups`},
		{"FEC in two waves", waves(desired.PilotWave{FECs: []string{"kgp2cu01"}}, desired.PilotWave{FECs: []string{"kgp2cu03", "kgp2cu01"}}),
			`pilots.p.rollout.waves[1].fecs[1]: FEC "kgp2cu01" is in wave 1 already; remove one of them`},
		{"FEC after its group", waves(desired.PilotWave{Groups: []string{"display"}}, desired.PilotWave{FECs: []string{"kgp2cu03"}}),
			`pilots.p.rollout.waves[1].fecs[0]: FEC "kgp2cu03" is in wave 1 already; remove one of them`},
		{"group after its FEC", waves(desired.PilotWave{FECs: []string{"kgp2cu03"}}, desired.PilotWave{Groups: []string{"display"}}), ``},
		{"group in two waves", waves(desired.PilotWave{Groups: []string{"display"}}, desired.PilotWave{FECs: []string{"kgp2cu01"}, Groups: []string{"display"}}),
			`pilots.p.rollout.waves[1].groups[0]: group "display" is in wave 1 already; remove one of them`},
		{"empty wave", waves(desired.PilotWave{FECs: []string{"kgp2cu03"}}, desired.PilotWave{}), `pilots.p.rollout.waves[1]: nobody is in wave 2; name FECs or groups`},
		{"minimum", open(func(p *desired.Pilot) { p.Rollout.Minimum = 3 }), `pilots.p.rollout.minimum: 3 FECs must run it, and 2 can; lower it, or name more`},
		{"FECs that run it", waves(desired.PilotWave{FECs: []string{"kgp2cu01"}}), ``},
		{"records of the other scope", func(p *desired.Pilot) {
			p.Records["join"] = desired.PilotRecord{Kind: desired.RecordJoin, By: "a", At: at(9), Site: "north", Answer: "interested"}
			record("worse", func(r *desired.PilotRecord) { r.Site = "north" })(p)
			record("freeze", func(r *desired.PilotRecord) { r.Closure, r.Update = &desired.RPMClosure{}, "fix" })(p)
		}, `pilots.p.records.freeze.closure: records of a pilot of FECs have no closure; remove it
			pilots.p.records.freeze.update: records of a pilot of FECs have no update; remove it
			pilots.p.records.join.kind: a pilot of FECs has no records of kind join; remove it
			pilots.p.records.worse.site: records of a pilot of FECs have no site; remove it`},
		{"fixed in an unknown version", record("worse", func(r *desired.PilotRecord) { r.FixedIn = "3.1.1" }),
			`pilots.p.records.worse.fixedIn: unknown version "3.1.1" of "bpm"; did you mean "3.1.0"?`},
		{"ended, and its FECs are gone", func(p *desired.Pilot) {
			p.Rollout.Waves = []desired.PilotWave{{FECs: []string{"gone"}, Groups: []string{"gone"}}}
		}, ``},
	})
}

func TestPilotsFit(t *testing.T) {
	pilot := func(change func(*state, *desired.Pilot)) func(*state) {
		return func(s *state) {
			p, steps := fecPilot()
			p.Rollout.Minimum = 0
			p = upTo(p, steps[:4])
			change(s, &p)
			s.Pilots = map[string]desired.Pilot{"p": p}
		}
	}
	runCheckCases(t, []checkCase{
		{"FEC without the software", pilot(func(s *state, p *desired.Pilot) {
			s.FECs["kgp2cu04"] = desired.FEC{Host: "kgp2cu04", Platform: "ppc"}
			p.Rollout.Waves[0].FECs = []string{"kgp2cu04", "kgp2cu01"}
		}), `pilots.p.rollout.waves[0].fecs[0]: FEC "kgp2cu04" does not run bpm; pin a version of it for that FEC first, or remove it here`},
		{"group without the software", pilot(func(s *state, p *desired.Pilot) {
			s.Settings.Groups["booster"] = desired.Group{}
			p.Rollout.Waves[0].Groups = []string{"booster"}
		}), `warning: pilots.p.rollout.waves[0].groups[0]: no FEC of group "booster" runs bpm; remove it, or name another one`},
		{"platform without payload", pilot(func(s *state, _ *desired.Pilot) {
			s.release("bpm", "3.0.0", desired.Release{Payload: map[string]desired.Payload{"x86": {Folder: "payload/bpm/3.0", Install: "/opt/fesa/bpm/3.0.0"}}})
		}), `pilots.p.rollout.waves[1]: FEC "kgp2cu03" cannot run bpm 3.0.0: bpm 3.0.0 has no payload for platform "ppc"; add one in software.bpm.versions."3.0.0".payload, or pin another version
			warning: pilots.p.version: this is not what record "freeze" froze: what was recorded of that does not count any more; put it back as it was, or freeze it again`},
		{"configuration that does not fit", pilot(func(s *state, p *desired.Pilot) { p.Rollout.Waves[1] = desired.PilotWave{FECs: []string{"kgp2cu02"}} }),
			`pilots.p.rollout.waves[1]: FEC "kgp2cu02" cannot run bpm 3.0.0: orbit 1.0 is for bpm >=3.1 <4 || dev, and this FEC runs 3.0.0; pin another version of bpm, or add a version of orbit that fits`},
		{"FECs that have it anyway", pilot(func(s *state, _ *desired.Pilot) {
			s.FECs["kgp2cu01"].Software["bpm"] = desired.Pin{Version: "3.0.0"}
		}), `warning: pilots.p.rollout.waves[0]: bpm 3.0.0 is already pinned by FEC "kgp2cu01"; remove them here, or pin what they go back to`},
	})
}

func TestPilotsAmongOthers(t *testing.T) {
	pair := func(change func(a, b *desired.Pilot)) func(*state) {
		return func(s *state) {
			make := func() desired.Pilot {
				p, steps := fecPilot()
				return upTo(p, steps[:4])
			}
			a, b := make(), make()
			change(&a, &b)
			s.Pilots = map[string]desired.Pilot{"a": a, "b": b}
		}
	}
	marks := func(id string, n int) func(*state) {
		return func(s *state) {
			p, steps := servicePilot()
			p = upTo(p, steps[:n])
			q := p
			q.InfoSys = &desired.InfoSys{Type: "t", ID: id}
			s.Pilots = map[string]desired.Pilot{"a": p, "b": q}
		}
	}
	runCheckCases(t, []checkCase{
		{"one FEC in two that are deployed", pair(func(a, b *desired.Pilot) {
			b.Rollout.Waves, b.Rollout.Minimum = []desired.PilotWave{{FECs: []string{"kgp2cu03"}}}, 0
		}),
			`pilots.b.rollout.waves[0]: FEC "kgp2cu03" gets bpm by pilot "a" too; let one pilot end before the other begins there`},
		{"one of them is not authorised", pair(func(a, b *desired.Pilot) { delete(b.Records, "authorise") }),
			`warning: pilots.b.rollout.waves[0]: FEC "kgp2cu01" gets bpm by pilot "a" too, once that is deployed; let one pilot end before the other begins there
			warning: pilots.b.rollout.waves[1]: FEC "kgp2cu03" gets bpm by pilot "a" too, once that is deployed; let one pilot end before the other begins there`},
		{"one of them has ended", pair(func(a, _ *desired.Pilot) {
			a.Records["end"] = desired.PilotRecord{Kind: desired.RecordClosure, By: a.Roles.Coordinator, At: at(9), Outcome: "withdrawn", Reason: "r"}
		}), ``},
		{"one of them has expired", pair(func(a, _ *desired.Pilot) { a.Expires = "2026-05-03" }),
			`warning: pilots.a.expires: this pilot ended with 2026-05-03; conclude it and remove it, or give a later day`},
		{"other FECs", pair(func(a, b *desired.Pilot) {
			a.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"kgp2cu01"}}}}
			b.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"kgp2cu03"}}}}
		}), ``},
		{"one mark in the information system", marks("a", 8), `pilots.b.infosys.id: PilotID=a marks resources of pilot "a" already; give another id`},
		{"two marks", marks("", 8), ``},
		{"a mark of what has ended", marks("a", 24), ``},
	})
}

// Records without number are looked at once each.
func TestManyRecords(t *testing.T) {
	p, _ := servicePilot()
	p.Updates = nil
	p.Records = map[string]desired.PilotRecord{}
	for i := range 10_000 {
		p.Records[fmt.Sprintf("r%d", i)] = desired.PilotRecord{Kind: desired.RecordReport, By: "tom@example.org", At: noon.Add(-time.Duration(i) * time.Second).Format(time.RFC3339),
			Subject: fmt.Sprintf("sha256:%064x", i), Compat: "breaking", Checks: passed()}
	}
	s := validSite()
	s.Pilots = map[string]desired.Pilot{"p": p}
	if ps := desired.Check(s, validFiles(), noon); len(ps) > 0 {
		t.Errorf("%d problems, the first: %v", len(ps), ps[0])
	}
}

func TestPilotMembers(t *testing.T) {
	s := validSite()
	got := s.PilotMembers(desired.Pilot{Software: "bpm", Rollout: &desired.Rollout{Waves: []desired.PilotWave{
		{FECs: []string{"kgp2cu03", "kgp2cu01", "gone"}}, {Groups: []string{"ring", "ring"}, FECs: []string{"kgp2cu01"}}, {Groups: []string{"injector"}},
	}}})
	if want := "[[kgp2cu01 kgp2cu03] [kgp2cu02] []]"; fmt.Sprint(got) != want {
		t.Errorf("members %v, want %s", got, want)
	}
	if got := s.PilotMembers(desired.Pilot{Software: "gone", Rollout: &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"kgp2cu01"}}}}}); fmt.Sprint(got) != "[[]]" {
		t.Errorf("members of a software that no FEC runs: %v", got)
	}
}

func TestUpdatesInOrder(t *testing.T) {
	p, steps := servicePilot()
	fixed := p.Snapshot().With(p.Updates["fix"]).Subject()
	p.Updates["a"] = desired.PilotUpdate{Kind: desired.UpdateOfPilot, Base: p.Snapshot().Subject(), Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("b.rpm")}}}
	p.Updates["z"] = desired.PilotUpdate{Kind: desired.UpdateOfPilot, Base: "sha256:00"}
	for _, c := range []struct {
		name    string
		records []step
		want    string
	}{
		{"that on which others build", nil, "[fix more] [a z]"},
		{"that which is mirrored", []step{{"m", desired.PilotRecord{Kind: desired.RecordMirror, Update: "a", Subject: p.Trees()["a"].Subject()}}}, "[a] [fix more z]"},
		{"not what is rejected", []step{{"r", desired.PilotRecord{Kind: desired.RecordRejection, Update: "fix"}}}, "[a] [fix more z]"},
		{"what is mirrored is not rejected", append(slices.Clone(steps), step{"r", desired.PilotRecord{Kind: desired.RecordRejection, Update: "fix"}}), "[fix] [a more z]"},
	} {
		ordered, loose := upTo(p, c.records).UpdatesInOrder()
		if got := fmt.Sprint(ordered, loose); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if trees := p.Trees(); len(trees) != 3 || trees["fix"].Subject() != fixed || trees["a"].Subject() == fixed {
		t.Errorf("trees of %v", slices.Sorted(maps.Keys(trees)))
	}
}

func TestReleaseSubjectKnowsItsFiles(t *testing.T) {
	s, files := validSite(), validFiles()
	of := func(fs artifact.Files) string {
		subject, ok := desired.ReleaseSubject(s, fs, "bpm", "3.1.0")
		if !ok {
			t.Fatal("no release")
		}
		return subject
	}
	before := of(files)
	for i, f := range files {
		changed := slices.Clone(files)
		changed[i].Mode = artifact.Executable
		mine := strings.HasPrefix(f.Path, "payload/bpm/3.1/") || f.Path == "payload/bpm-3.1.tar.xz"
		if got := of(changed); (got != before) != mine {
			t.Errorf("a change of %s changes the subject: %t, want %t", f.Path, got != before, mine)
		}
	}
}

// A pilot may go with its records once it has ended, and not before.
func TestPilotsGoOnceTheyEnded(t *testing.T) {
	p, steps := servicePilot()
	site := func(n int) desired.Site {
		return desired.Site{Pilots: map[string]desired.Pilot{"p": upTo(p, steps[:n])}}
	}
	for what, c := range map[string]struct {
		before, now desired.Site
		state, want string
	}{
		"added":   {site(3), site(4), "", ""},
		"removed": {site(4), site(3), "expired", `pilots.p: record "report" has been removed; put it back as it was: records are added, never removed`},
		"gone":    {site(4), desired.Site{}, "", `pilots: pilots.p is gone, and with it what 4 records recorded; put it back as it was: it may go once a record says that it has ended`},
		"ended":   {site(len(steps)), desired.Site{}, "", ""},
		"expired": {site(4), desired.Site{}, "expired", ""},
		"said to have ended": {site(len(steps)), desired.Site{}, "deployed",
			fmt.Sprintf("pilots: pilots.p is gone, and with it what %d records recorded; put it back as it was: it is deployed, and may go once it is closed or denied or expired", len(steps))},
	} {
		if got := desired.Rewritten(c.before, c.now, func(string, string) string { return c.state }).Error(); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	for what, c := range map[string]struct {
		r    desired.PilotRecord
		want bool
	}{
		"withdrawn by anybody":         {desired.PilotRecord{Kind: "closure", Outcome: "withdrawn", By: "mallory@example.org"}, false},
		"withdrawn by its owner":       {desired.PilotRecord{Kind: "closure", Outcome: "withdrawn", By: "vo@example.org"}, true},
		"promoted by its owner":        {desired.PilotRecord{Kind: "closure", Outcome: "promoted", By: "vo@example.org"}, false},
		"promoted by its coordinator":  {desired.PilotRecord{Kind: "closure", Outcome: "promoted", By: "carol@example.org"}, true},
		"denied by anybody":            {desired.PilotRecord{Kind: "authorisation", Decision: "deny", By: "mallory@example.org"}, false},
		"denied by its authoriser":     {desired.PilotRecord{Kind: "authorisation", Decision: "deny", By: "sam@example.org"}, true},
		"an update denied":             {desired.PilotRecord{Kind: "authorisation", Decision: "deny", Update: "fix", By: "sam@example.org"}, false},
		"authorised by its authoriser": {desired.PilotRecord{Kind: "authorisation", Decision: "ok", By: "sam@example.org"}, false},
	} {
		p.Records = map[string]desired.PilotRecord{"r": c.r}
		if got := p.Ended(); got != c.want {
			t.Errorf("%s: ended is %t, want %t", what, got, c.want)
		}
	}
}

// TestTermsAreAllThatAPilotSaysOfItself but its packages, updates and records.
func TestTermsAreAllThatAPilotSaysOfItself(t *testing.T) {
	p, steps := servicePilot()
	was := p.Terms()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[desired.Pilot]()) {
		q := upTo(p, steps)
		reflect.ValueOf(&q).Elem().FieldByIndex(field.Index).SetZero()
		apart := slices.Contains([]string{"Branches", "Updates", "Records"}, field.Name)
		if empty := reflect.ValueOf(p).FieldByIndex(field.Index).IsZero(); (q.Terms() == was) != (apart || empty) {
			t.Errorf("without %s its terms are %s, and were %s", field.Name, q.Terms(), was)
		}
	}
	u := p.Updates["fix"]
	for _, field := range reflect.VisibleFields(reflect.TypeFor[desired.PilotUpdate]()) {
		v := u
		reflect.ValueOf(&v).Elem().FieldByIndex(field.Index).SetZero()
		if (u.Terms() == v.Terms()) != (field.Name == "Packages") {
			t.Errorf("without %s the terms of the update are %s, and were %s", field.Name, v.Terms(), u.Terms())
		}
	}
	p.Description = "<a computing element> & more"
	h := sha256.Sum256([]byte(`{"description":"<a computing element> & more","expires":"2026-09-30","owner":"vo@example.org","scope":"fec"}`))
	if got := (desired.Pilot{Scope: "fec", Description: p.Description, Owner: p.Owner, Expires: p.Expires}).Terms(); got != fmt.Sprintf("sha256:%x", h) {
		t.Errorf("terms are %s, want %x", got, h)
	}
	want := "expires: 2026-09-30\ninfosys.qualityLevel: pre-production\ninfosys.type: org.example.compute\nowner: vo@example.org\nroles.authoriser: sam@example.org\n"
	if got := strings.Join(p.TermLines(), "\n"); !strings.Contains(got, want) || !strings.Contains(got, "\nroles.testers: tom@example.org, tina@example.org\n") ||
		!strings.Contains(got, "\nrollout.waves[1].maxFailures: 1\n") {
		t.Errorf("terms are:\n%s", got)
	}
}

func TestPilotAgreements(t *testing.T) {
	agree := func(change func(*desired.PilotRecord)) func(*desired.Pilot) {
		return open(func(p *desired.Pilot) {
			r := p.Agreement(p.Owner, "2026-04-01T08:00:00Z")
			change(&r)
			p.Records["agree"] = r
		})
	}
	runPilotCases(t, servicePilot, []pilotCase{
		{"agreed", agree(func(*desired.PilotRecord) {}), ``},
		{"to nothing", agree(func(r *desired.PilotRecord) { r.Terms, r.Owner, r.Expires = "", "", "" }),
			`pilots.p.records.agree: a record of kind agreement needs expires; add it
			pilots.p.records.agree: a record of kind agreement needs owner; add it
			pilots.p.records.agree: a record of kind agreement needs terms; add it
			warning: pilots.p.scope: what this pilot says of itself is not what was agreed to: it goes no further; put it back as it was, or have its owner or coordinator agree: pomona pilot p agree`},
		{"to other terms", agree(func(r *desired.PilotRecord) { r.Terms, r.Coordinator = "sha256:"+strings.Repeat("0", 64), "" }),
			`warning: pilots.p.scope: what this pilot says of itself is not what was agreed to: it goes no further; put it back as it was, or have its owner or coordinator agree: pomona pilot p agree`},
		{"of other people", agree(func(r *desired.PilotRecord) { r.Coordinator = "mallory@example.org" }),
			`pilots.p.records.agree: this agrees to terms by which the owner and the coordinator are not vo@example.org and mallory@example.org; remove it: pomona pilot p agree writes it as it is to be`},
		{"of another last day", agree(func(r *desired.PilotRecord) { r.Expires = "2028-01-01" }),
			`pilots.p.records.agree: this agrees to terms by which the last day is 2026-09-30, and not 2028-01-01; remove it: pomona pilot p agree writes it as it is to be`},
		{"of what nobody else names", record("like", func(r *desired.PilotRecord) { r.Terms, r.Owner = "sha256:00", "vo@example.org" }),
			`pilots.p.records.like.owner: a record of kind feedback has no owner; remove it
			pilots.p.records.like.terms: a record of kind feedback has no terms; remove it`},
	})
}
