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
}

func (l *life) judge() plan.PilotNow { return plan.Pilot(l.name, l.p, l.f, l.now) }

func (l *life) wait(d time.Duration) { l.now = l.now.Add(d) }

// record is written and proven by one person, an hour later.
func (l *life) record(name, by, kind string, r desired.PilotRecord) {
	l.wait(time.Hour)
	r.Kind, r.By, r.At = kind, by, l.now.Format(time.RFC3339)
	l.p.Records[name] = r
	l.f.Proofs[name] = observed.Proof{By: by, Source: "signature of commit 1234"}
}

// clone is a life that goes another way.
func (l *life) clone() *life {
	c := &life{name: l.name, p: l.p, f: l.f, now: l.now}
	c.p.Records, c.f.Proofs = maps.Clone(l.p.Records), maps.Clone(l.f.Proofs)
	c.f.Masked, c.f.Unmet, c.f.Signed = maps.Clone(l.f.Masked), maps.Clone(l.f.Unmet), maps.Clone(l.f.Signed)
	c.p.Updates, c.p.Sites = maps.Clone(l.p.Updates), maps.Clone(l.p.Sites)
	c.f.Since, c.f.Opened, c.f.Announced = maps.Clone(l.f.Since), maps.Clone(l.f.Opened), maps.Clone(l.f.Announced)
	c.f.FECs, c.f.Probes = slices.Clone(l.f.FECs), slices.Clone(l.f.Probes)
	return c
}

// says notes how far it is: gates that do not hold, or hold in a way that is worth a word.
func (l *life) says(title string) {
	n := l.judge()
	fmt.Fprintf(&l.log, "== %s: %s", title, n.State)
	if n.Why != "" {
		fmt.Fprintf(&l.log, " (%s)", n.Why)
	}
	l.log.WriteString("\n")
	for _, g := range n.Gates {
		fmt.Fprintf(&l.log, "%s\n", l.gate(g))
	}
	for _, w := range n.Waves {
		fmt.Fprintf(&l.log, "wave %d: open %v, %d of %d run it, %d failed, %s %s\n", w.Wave, w.Open, len(w.Running), len(w.Members), len(w.Failed), w.Verdict, w.Why)
	}
	for _, u := range n.Updates {
		fmt.Fprintf(&l.log, "update %s: %s\n", u.Name, u.State)
		for _, g := range u.Gates {
			if !g.Verdict.Holds() || g.Verdict == plan.GateWaived {
				fmt.Fprintf(&l.log, "  %s\n", l.gate(g))
			}
		}
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
		l.record("mirror-1", authoriser, desired.RecordMirror, desired.PilotRecord{Subject: s, Location: "https://mirror.example.org"})
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
	l.record("criterion-speed", coordinator, desired.RecordCriterion, desired.PilotRecord{Criterion: "speed", Met: "yes"})
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

func TestALifeOfAPilotOfSites(t *testing.T) {
	newSitePilot().is(t, plan.PilotStaffed, "", "")
	newSitePilot().mirrored().is(t, plan.PilotMirrored, "", "")
	newSitePilot().called().is(t, plan.PilotCalled, "S0", "")
	newSitePilot().deployed().is(t, plan.PilotDeployed, "S0", "S0")
	newSitePilot().published().is(t, plan.PilotPublished, "S0", "S0")
	newSitePilot().closed().is(t, plan.PilotClosed, "S0", "S0")
}

func TestALifeOfAPilotOfFECs(t *testing.T) {
	l := newFECPilot()
	l.is(t, plan.PilotStaffed, "", "")
	l.mirrored().is(t, plan.PilotCalled, "S0", "")
	l.wait(time.Hour)
	l.runs("fec1", "running", "2.0")
	l.is(t, plan.PilotCalled, "S0", "")
	l.wait(24 * time.Hour)
	l.is(t, plan.PilotCalled, "S0", "S0")
	l.runs("fec3", "running", "2.0")
	l.is(t, plan.PilotPublished, "S0", "S0")
	l.wait(time.Hour)
	l.record("criterion-speed", coordinator, desired.RecordCriterion, desired.PilotRecord{Criterion: "speed", Met: "yes"})
	l.is(t, plan.PilotPublished, "S0", "S0")
	l.record("closure", coordinator, desired.RecordClosure, desired.PilotRecord{Outcome: "promoted", Reason: sentence})
	l.is(t, plan.PilotClosed, "S0", "S0")
}
