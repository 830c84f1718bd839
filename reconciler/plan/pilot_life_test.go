package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

var update = flag.Bool("update", false, "write golden files")

const (
	coordinator = "carla@example.org"
	developer   = "dev@example.org"
	authoriser  = "aldo@example.org"
	tester      = "tess@example.org"
	owner       = "olga@example.org"
	sentence    = "because it has to be so for now"
)

var pilotDawn = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

// life is a pilot to which things happen, one an hour unless it waits.
type life struct {
	name string
	p    desired.Pilot
	f    plan.PilotFacts
	now  time.Time
	log  strings.Builder
	said map[string]string // of gates, last
	// silent has nobody agree to its terms; else its owner always has.
	silent bool
}

func (l *life) judge() plan.PilotNow { return l.judgeBy(plan.Pilot) }

func (l *life) judgeBy(judge func(string, desired.Pilot, plan.PilotFacts, time.Time) plan.PilotNow) plan.PilotNow {
	p, f := l.p, l.f
	if !l.silent {
		p.Records, f.Proofs = maps.Clone(p.Records), maps.Clone(f.Proofs)
		if f.Proofs == nil {
			f.Proofs = map[string]observed.Proof{}
		}
		p.Records["agreement-0"] = p.Agreement(owner, pilotDawn.Format(time.RFC3339))
		f.Proofs["agreement-0"] = observed.Proof{By: owner, Source: "signature of commit 1234"}
	}
	return judge(l.name, p, f, l.now)
}

func (l *life) wait(d time.Duration) { l.now = l.now.Add(d) }

// record is written and proven by one person, an hour later.
func (l *life) record(name, by, kind string, r desired.PilotRecord) {
	l.wait(time.Hour)
	r.Kind, r.By, r.At = kind, by, l.now.Format(time.RFC3339)
	if kind == desired.RecordApproval && r.Terms == "" {
		r.Terms = l.p.Updates[r.Update].Terms()
	}
	l.p.Records[name] = r
	l.f.Proofs[name] = observed.Proof{By: by, Source: "signature of commit 1234"}
}

// approvesAgain has approvals of updates been of these as they are now.
func (l *life) approvesAgain(updates ...string) {
	for name, r := range l.p.Records {
		if r.Kind == desired.RecordApproval && slices.Contains(updates, r.Update) {
			l.change(name, func(r *desired.PilotRecord) { r.Terms = l.p.Updates[r.Update].Terms() })
		}
	}
}

// clone is a life that goes another way.
func (l *life) clone() *life {
	c := &life{name: l.name, p: l.p, f: l.f, now: l.now, silent: l.silent}
	c.p.Records, c.f.Proofs = maps.Clone(l.p.Records), maps.Clone(l.f.Proofs)
	c.f.Masked, c.f.Unmet, c.f.Signed = maps.Clone(l.f.Masked), maps.Clone(l.f.Unmet), maps.Clone(l.f.Signed)
	c.p.Updates, c.p.Sites = maps.Clone(l.p.Updates), maps.Clone(l.p.Sites)
	c.f.Since, c.f.Opened, c.f.Announced = maps.Clone(l.f.Since), maps.Clone(l.f.Opened), maps.Clone(l.f.Announced)
	c.f.FECs, c.f.Probes = slices.Clone(l.f.FECs), slices.Clone(l.f.Probes)
	return c
}

// says notes how far it is, and of each gate what is new of it.
func (l *life) says(title string) {
	n := l.judge()
	fmt.Fprintf(&l.log, "== %s: %s", title, n.State)
	if n.Why != "" {
		fmt.Fprintf(&l.log, " (%s)", n.Why)
	}
	l.log.WriteString("\n")
	l.gates("", n.Gates)
	for _, w := range n.Waves {
		fmt.Fprintf(&l.log, "wave %d: open %v, %d of %d run it, %d failed, %s %s\n", w.Wave, w.Open, len(w.Running), len(w.Members), len(w.Failed), w.Verdict, w.Why)
	}
	for _, u := range n.Updates {
		fmt.Fprintf(&l.log, "update %s: %s\n", u.Name, u.State)
		l.gates("  "+u.Name+": ", u.Gates)
	}
	var places []string
	for _, s := range n.Place.Waves {
		places = append(places, l.short(s))
	}
	var served []string
	for _, s := range n.Place.Snapshots {
		served = append(served, l.short(s))
	}
	fmt.Fprintf(&l.log, "waves get %q of %q, published %v, void %q\n\n", places, served, n.Place.Published, n.Void)
}

func (l *life) gates(of string, gates []plan.Gate) {
	for _, g := range gates {
		key, line := of+g.State+"/"+g.Name, l.gate(g)
		if l.said[key] == line {
			continue
		}
		if l.said == nil {
			l.said = map[string]string{}
		}
		l.said[key] = line
		fmt.Fprintf(&l.log, "%s%s\n", of, line)
	}
}

func (l *life) gate(g plan.Gate) string {
	out := fmt.Sprintf("%s/%s: %s", g.State, g.Name, g.Verdict)
	for _, s := range []string{g.Why, strings.Join(g.Who, ", "), g.Do} {
		if s != "" {
			out += "; " + s
		}
	}
	return l.short(out)
}

// short names digests by what they are of.
func (l *life) short(s string) string {
	s = strings.ReplaceAll(s, l.f.Subject, "S0")
	at := l.p.Snapshot()
	ordered, _ := l.p.UpdatesInOrder()
	for i, name := range ordered {
		at = at.With(l.p.Updates[name])
		s = strings.ReplaceAll(s, at.Subject(), fmt.Sprintf("S%d", i+1))
	}
	return s
}

// subject is that after all of some updates.
func (l *life) subject(updates ...string) string {
	s := l.p.Snapshot()
	for _, u := range updates {
		s = s.With(l.p.Updates[u])
	}
	return s.Subject()
}

func (l *life) golden(t *testing.T, file string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(l.log.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), l.log.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func rpm(name string) desired.RPM {
	return desired.RPM{File: name + ".rpm", SHA256: strings.Repeat(fmt.Sprintf("%x", len(name)%16), 64)}
}

// passes is a report that all checks pass but those that it is told.
func passes(others map[string]string) map[string]desired.CheckResult {
	out := map[string]desired.CheckResult{}
	for _, c := range desired.PilotChecks {
		out[c] = desired.CheckResult{Verdict: "pass"}
	}
	for c, v := range others {
		if out[c] = (desired.CheckResult{Verdict: v}); v == "" {
			delete(out, c)
		}
	}
	return out
}

func pilotBasics(scope string) desired.Pilot {
	return desired.Pilot{
		Scope: scope, Description: "A new computing element that has to be tried by sites before all get it", Owner: owner, Ticket: "https://tickets.example.org/1",
		Expires: "2027-03-31", Tracker: "https://tracker.example.org/1", Records: map[string]desired.PilotRecord{},
		Success: map[string]desired.Criterion{"speed": {Description: "a thousand jobs an hour"}},
		Roles:   &desired.PilotRoles{Coordinator: coordinator, Developer: developer, Authoriser: authoriser, Testers: []string{tester}},
		Impact:  &desired.PilotImpact{Services: []string{"ce"}, Resources: "one node"},
	}
}

// newSitePilot is one of four sites in two waves.
func newSitePilot() *life {
	p := pilotBasics(desired.PilotOfSites)
	p.Service = "ce"
	p.Branches = map[string]desired.RPMBranch{"SL9/x86_64": {
		desired.ReleaseRPMs: {rpm("ce-1.0")}, desired.ExternalRPMs: {rpm("ext-lib-1.0")}, desired.PilotUpdateRPMs: {}, desired.ProductionUpdatesRPMs: {},
	}}
	p.Rollout = &desired.Rollout{Minimum: 2, Waves: []desired.PilotWave{{Success: "50%", Soak: "2d"}, {Soak: "1d"}}}
	p.Sites = map[string]desired.PilotSite{}
	for i, site := range []string{"alpha", "beta", "gamma", "delta"} {
		p.Sites[site] = desired.PilotSite{Contact: site + "@example.org", Wave: i/2 + 1}
	}
	p.InfoSys = &desired.InfoSys{Type: "org.glite.ce.CREAM", Server: "ldap://bdii.example.org:2170"}
	l := &life{name: "cream", p: p, now: pilotDawn}
	s := p.Snapshot().Subject()
	l.f = plan.PilotFacts{Subject: s, Proofs: map[string]observed.Proof{}, Unmet: map[string][]string{s: {}}, Signed: map[string]string{s: ""}, Masked: map[string][]string{}, Announced: map[string]time.Time{}}
	return l
}

// newFECPilot is one of three FECs in two waves.
func newFECPilot() *life {
	p := pilotBasics(desired.PilotOfFECs)
	p.Software, p.Version = "bpm", "2.0"
	p.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{Soak: "1d", FECs: []string{"fec1"}}, {Success: "50%", MaxFailures: 1, Groups: []string{"hall"}}}}
	l := &life{name: "bpm2", p: p, now: pilotDawn}
	l.f = plan.PilotFacts{Subject: "sha256:" + strings.Repeat("a", 64), Proofs: map[string]observed.Proof{}, Members: [][]string{{"fec1"}, {"fec2", "fec3"}}}
	return l
}

// mirrored brings a pilot to where it may be called for.
func (l *life) mirrored() *life {
	s := l.f.Subject
	l.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: s, Closure: &desired.RPMClosure{}})
	l.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: s, Compat: "backward-compatible", Checks: passes(nil)})
	l.record("authorisation-1", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: s, Decision: "ok"})
	l.record("notes-1", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new"})
	if l.p.Scope == desired.PilotOfSites {
		l.record("mirror-1", authoriser, desired.RecordMirror, desired.PilotRecord{Subject: s, Checked: desired.CheckedByDigest, Location: "https://mirror.example.org"})
	}
	return l
}

// called has all sites answer, and waits until the call has closed.
func (l *life) called() *life {
	l.mirrored()
	l.record("call-1", coordinator, desired.RecordCall, desired.PilotRecord{Closes: "2026-10-05"})
	for _, site := range slices.Sorted(maps.Keys(l.p.Sites)) {
		l.record("join-"+site, site+"@example.org", desired.RecordJoin, desired.PilotRecord{Site: site, Answer: "interested"})
	}
	l.now = time.Date(2026, 10, 6, 0, 0, 0, 0, time.UTC)
	return l
}

// installs is what a site says that it has.
func (l *life) installs(site, state, subject string) {
	l.record(fmt.Sprintf("deployment-%s-%d", site, len(l.p.Records)), site+"@example.org", desired.RecordDeployment, desired.PilotRecord{Site: site, State: state, Subject: subject})
}

// deployed has all sites install it, wave after wave.
func (l *life) deployed() *life {
	l.called()
	l.installs("alpha", "installed", l.f.Subject)
	l.installs("beta", "installed", l.f.Subject)
	l.wait(48 * time.Hour)
	l.installs("delta", "installed", l.f.Subject)
	l.installs("gamma", "installed", l.f.Subject)
	return l
}

// published has all sites be found.
func (l *life) published() *life {
	l.deployed()
	l.wait(time.Hour)
	for site := range l.p.Sites {
		l.f.Probes = append(l.f.Probes, observed.PilotProbe{Pilot: l.name, Site: site, Seen: true, Right: true, At: l.now})
	}
	return l
}

// closed promotes it.
func (l *life) closed() *life {
	l.published()
	l.wait(48 * time.Hour)
	l.record("criterion-speed", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "yes"})
	l.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted", Reason: sentence})
	return l
}

// runs has a FEC say what it runs since now.
func (l *life) runs(fec, state, version string) {
	l.f.FECs = slices.DeleteFunc(slices.Clone(l.f.FECs), func(f observed.PilotFEC) bool { return f.FEC == fec })
	l.f.FECs = append(l.f.FECs, observed.PilotFEC{FEC: fec, State: state, Version: version, Since: l.now})
}

func (l *life) is(t *testing.T, state string, waves ...string) {
	t.Helper()
	n := l.judge()
	if n.State != state {
		t.Errorf("it is %s (%s), want %s", n.State, n.Why, state)
		for _, g := range n.Gates {
			if !g.Verdict.Holds() {
				t.Logf("%s", l.gate(g))
			}
		}
	}
	var got []string
	for _, s := range n.Place.Waves {
		got = append(got, l.short(s))
	}
	if waves != nil && !slices.Equal(got, waves) {
		t.Errorf("waves get %q, want %q", got, waves)
	}
}

// TestALifeOfAPilotOfSites writes down all gates at each step of one that goes well, with two updates of the pilot and of production.
func TestALifeOfAPilotOfSites(t *testing.T) {
	l := newSitePilot()
	roles := l.p.Roles
	l.p.Roles = nil
	l.says("requested")
	l.p.Roles = roles
	l.says("staffed")
	s := l.f.Subject
	l.record("freeze-1", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: s, Closure: &desired.RPMClosure{}})
	l.says("frozen")
	l.record("report-1", tester, desired.RecordReport, desired.PilotRecord{Subject: s, Compat: "breaking", Checks: passes(map[string]string{"docs": "fail", "site-impact": "inconclusive", "signatures": ""})})
	l.says("reported")
	l.record("waiver-1", coordinator, desired.RecordWaiver, desired.PilotRecord{Subject: l.f.Subject, Check: "docs", Expires: "2026-10-02", Reason: sentence})
	l.record("report-2", tester, desired.RecordReport, desired.PilotRecord{Subject: s, Checks: map[string]desired.CheckResult{"site-impact": {Verdict: "pass"}, "signatures": {Verdict: "pass"}}})
	l.says("checked, with a waiver")
	l.record("authorisation-1", authoriser, desired.RecordAuthorisation, desired.PilotRecord{Subject: s, Decision: "ok"})
	l.record("notes-1", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new"})
	l.says("authorised")
	l.record("notes-2", developer, desired.RecordNotes, desired.PilotRecord{Subject: s, Text: "new", Migration: "drain it first"})
	l.record("mirror-1", authoriser, desired.RecordMirror, desired.PilotRecord{Subject: s, Checked: desired.CheckedByDigest, Location: "https://mirror.example.org"})
	l.says("mirrored")
	l.wait(72 * time.Hour) // the waiver has expired
	l.record("call-1", coordinator, desired.RecordCall, desired.PilotRecord{Closes: "2026-10-06"})
	for _, site := range []string{"alpha", "beta", "delta"} {
		l.record("join-"+site, site+"@example.org", desired.RecordJoin, desired.PilotRecord{Site: site, Answer: "interested"})
	}
	l.says("called")
	l.now = time.Date(2026, 10, 7, 0, 0, 0, 0, time.UTC)
	l.says("wave 1 is open")
	l.installs("alpha", "installed", s)
	l.says("wave 1 runs it")
	l.wait(48 * time.Hour)
	l.record("problem-1", "beta@example.org", desired.RecordProblem, desired.PilotRecord{Site: "beta", Problem: "1", Category: "functional", Severity: "blocker", Status: "open", Text: "no jobs"})
	l.says("a blocker")
	l.record("problem-2", "beta@example.org", desired.RecordProblem, desired.PilotRecord{Site: "beta", Problem: "1", Category: "functional", Severity: "blocker", Status: "fixed", FixedIn: "fix", Text: "no jobs"})
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", s)
	l.says("an update is there")
	l.mirrorsUpdate("fix", l.subject("fix"))
	l.f.Announced[l.judge().Updates[0].About()] = l.now
	l.says("the update is mirrored")
	l.installs("alpha", "installed", l.subject("fix"))
	l.wait(48 * time.Hour)
	l.says("wave 2 is open")
	l.installs("delta", "installed", l.subject("fix"))
	l.says("deployed")
	l.wait(time.Hour)
	for _, site := range []string{"alpha", "delta"} {
		l.f.Probes = append(l.f.Probes, observed.PilotProbe{Pilot: l.name, Site: site, Seen: true, Right: true, At: l.now})
	}
	l.says("published")
	l.wait(24 * time.Hour)
	l.record("criterion-speed", coordinator, desired.RecordCriterion, desired.PilotRecord{Subject: l.subject("fix"), Criterion: "speed", Met: "yes"})
	l.says("all is met")
	l.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted", Reason: sentence})
	l.says("closed")
	l.golden(t, "pilot-sites.golden")
}

// addUpdate declares an update of one package.
func (l *life) addUpdate(name, kind, file, base string) {
	u := desired.PilotUpdate{Kind: kind, Reason: "bugfix", Base: base, Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm(file)}}}
	l.p.Updates = maps.Clone(l.p.Updates)
	if l.p.Updates == nil {
		l.p.Updates = map[string]desired.PilotUpdate{}
	}
	l.p.Updates[name] = u
}

// mirrorsUpdate brings an update as far as it gets.
func (l *life) mirrorsUpdate(name, subject string) {
	l.f.Unmet[subject], l.f.Signed[subject] = []string{}, ""
	if l.p.Updates[name].Kind == desired.ProductionUpdate {
		l.f.Masked[name] = []string{}
	}
	l.record(name+"-approval", coordinator, desired.RecordApproval, desired.PilotRecord{Update: name, Subject: subject})
	l.record(name+"-freeze", coordinator, desired.RecordFreeze, desired.PilotRecord{Update: name, Subject: subject, Closure: &desired.RPMClosure{}})
	l.record(name+"-report", tester, desired.RecordReport, desired.PilotRecord{Update: name, Subject: subject, Checks: passes(nil)})
	l.record(name+"-notes", developer, desired.RecordNotes, desired.PilotRecord{Update: name, Subject: subject, Text: "fixed"})
	l.record(name+"-mirror", authoriser, desired.RecordMirror, desired.PilotRecord{Update: name, Subject: subject})
}

// TestALifeOfAPilotOfFECs is one whose second wave fails, and goes on.
func TestALifeOfAPilotOfFECs(t *testing.T) {
	l := newFECPilot()
	l.says("staffed")
	l.mirrored()
	l.says("authorised")
	l.wait(time.Hour)
	l.runs("fec1", "running", "2.0")
	l.says("wave 1 runs it")
	l.wait(24 * time.Hour)
	l.says("wave 2 is open")
	l.wait(time.Hour)
	l.runs("fec2", "init-failed", "2.0")
	l.says("one may fail")
	l.wait(time.Hour)
	l.runs("fec3", "fallback", "1.0")
	l.says("halted")
	l.f.Tripped, l.f.TrippedWhy = l.now, l.judge().Trip
	l.wait(time.Hour)
	l.runs("fec1", "running", "1.0")
	l.runs("fec2", "running", "1.0")
	l.runs("fec3", "running", "1.0")
	l.says("all are back")
	l.record("resume-1", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
	l.says("resumed")
	l.wait(time.Hour)
	l.runs("fec1", "running", "2.0")
	l.wait(24 * time.Hour)
	l.runs("fec3", "running", "2.0")
	l.says("deployed")
	l.record("criterion-speed", owner, desired.RecordCriterion, desired.PilotRecord{Subject: l.f.Subject, Criterion: "speed", Met: "yes"})
	l.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted", Reason: sentence})
	l.says("closed")
	l.runs("fec3", "failed", "")
	l.says("closed, but nobody has seen that, and a FEC does not run it any more")
	l.f.Since = map[string]time.Time{plan.PilotClosed: l.now}
	l.says("closed, as the ledger has it")
	l.golden(t, "pilot-fecs.golden")
}
