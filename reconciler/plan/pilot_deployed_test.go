package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// strays has somebody change what a pilot states of packages after it has been published, and works out what is deployed as a pass does.
func (l *life) strays(change func(*desired.Pilot)) *life {
	then, was := l.p, l.judge().Place
	l.p.Branches, l.p.Updates = maps.Clone(l.p.Branches), maps.Clone(l.p.Updates)
	change(&l.p)
	l.f.Subject = l.p.Snapshot().Subject()
	l.f.Unmet[l.f.Subject], l.f.Signed[l.f.Subject] = []string{}, ""
	l.f.Deployed = plan.Deployed(l.name, l.p, then, was)
	return l
}

// others changes the first packages of a pilot.
func others(p *desired.Pilot) {
	branch := maps.Clone(p.Branches["SL9/x86_64"])
	branch[desired.ReleaseRPMs] = []desired.RPM{rpm("ce-1.0.1")}
	p.Branches["SL9/x86_64"] = branch
}

// says otherwise what an update is.
func saysOtherwise(p *desired.Pilot) {
	u := p.Updates["fix"]
	u.Compat = "breaking"
	p.Updates["fix"] = u
}

// updated is a pilot that two waves run, with an update.
func updated() *life {
	l := newSitePilot().deployed()
	l.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", l.f.Subject)
	l.mirrorsUpdate("fix", l.subject("fix"))
	l.installs("alpha", "installed", l.subject("fix"))
	l.installs("beta", "installed", l.subject("fix"))
	l.wait(72 * 3600e9)
	return l
}

// TestWhatSitesHaveStaysWhateverAPilotStates of packages or of an update after they have got it.
func TestWhatSitesHaveStaysWhateverAPilotStates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*desired.Pilot)
		why    string
	}{
		"other packages": {others, "its branches are not what is deployed, which stays: put them back, or make an update of what is new: pomona pilot cream update UPDATE add"},
		"an update says something else": {saysOtherwise,
			"what update fix says of itself is not what was approved; what is deployed stays: put it back, or have it approved again: pomona pilot cream update fix approve"},
		"other packages of an update": {func(p *desired.Pilot) {
			u := p.Updates["fix"]
			u.Packages = map[string][]desired.RPM{"SL9/x86_64": {rpm("ce-1.1.1")}}
			p.Updates["fix"] = u
		}, "update fix is not what is deployed, which stays: put it back, or make another update of what is new: pomona pilot cream update UPDATE add"},
		"an update is gone": {func(p *desired.Pilot) { delete(p.Updates, "fix") }, "update fix is not what is deployed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := updated()
			was, then := l.judge(), l.p
			if got := was.Place.Waves; len(got) != 2 || got[0] != l.subject("fix") || got[1] != got[0] {
				t.Fatalf("before, waves get %v", got)
			}
			l.strays(c.change)
			now := l.judge()
			if now.State != was.State || !slices.Equal(now.Place.Waves, was.Place.Waves) || !slices.Equal(now.Place.Snapshots, was.Place.Snapshots) {
				t.Errorf("it is %s (%s) with %+v, and was %s with %+v", now.State, now.Why, now.Place, was.State, was.Place)
			}
			if !strings.HasPrefix(now.Place.Withheld, c.why) || now.Place.Deployed == nil {
				t.Errorf("withheld: %q, of %+v", now.Place.Withheld, now.Place.Deployed)
			}
			again := l.clone().strays(func(p *desired.Pilot) { p.Tracker += "x" }) // a second commit: nobody knows any more what the first one was made from
			if n := again.judge(); !slices.Equal(n.Place.Waves, was.Place.Waves) || n.Place.Deployed == nil {
				t.Errorf("with another commit: %+v", n.Place)
			}
			for _, r := range []struct {
				state, by string
				desired.PilotRecord
			}{
				{plan.PilotHalted, gamma, desired.PilotRecord{Kind: desired.RecordHalt, Reason: sentence}},
				{plan.PilotClosed, coordinator, desired.PilotRecord{Kind: desired.RecordClosure, Outcome: "withdrawn", Reason: sentence}},
				{plan.PilotDenied, authoriser, desired.PilotRecord{Kind: desired.RecordAuthorisation, Subject: was.Frozen, Decision: "deny", Reason: sentence}},
				{plan.PilotHalted, gamma, desired.PilotRecord{Kind: desired.RecordDeployment, Site: "gamma", State: "failed", Subject: was.Place.Waves[1]}},
			} {
				end := l.clone()
				end.f.Deployed = l.f.Deployed
				end.record("end", r.by, r.Kind, r.PilotRecord)
				if n := end.judge(); n.State != r.state || n.Place.Waves[0] == was.Place.Waves[0] || r.state != plan.PilotDenied && len(n.Place.Snapshots) != 2 {
					t.Errorf("by a record of kind %s it is %s with %+v", r.Kind, n.State, n.Place)
				}
			}
			l.strays(func(p *desired.Pilot) { p.Branches, p.Updates = then.Branches, then.Updates })
			if n := l.judge(); n.State != was.State || n.Place.Deployed != nil || n.Place.Withheld != "" || !slices.Equal(n.Place.Waves, was.Place.Waves) {
				t.Errorf("put back, it is %s with %+v", n.State, n.Place)
			}
		})
	}
}

// TestNobodyPassesAnotherReleaseOffAsDeployed by a digest that stays, or by an approval that is dated back and which nobody proves.
func TestNobodyPassesAnotherReleaseOffAsDeployed(t *testing.T) {
	split := newSitePilot()
	split.p.Branches["SL9/x86_64"][desired.PilotUpdateRPMs] = []desired.RPM{rpm("patch-1.0")}
	split.f.Subject = split.p.Snapshot().Subject()
	split.f.Unmet[split.f.Subject], split.f.Signed[split.f.Subject] = []string{}, ""
	dated := updated()
	dated.f.Doubts = map[string]string{"approval": "it is not signed"}
	for name, c := range map[string]struct {
		l      *life
		change func(*desired.Pilot)
	}{
		"packages become an update": {split.deployed(), func(p *desired.Pilot) {
			branch := maps.Clone(p.Branches["SL9/x86_64"])
			branch[desired.PilotUpdateRPMs] = []desired.RPM{}
			p.Branches["SL9/x86_64"] = branch
			p.Updates = map[string]desired.PilotUpdate{"patch": {Kind: desired.UpdateOfPilot, Reason: "bugfix", Base: p.Snapshot().Subject(),
				Packages: map[string][]desired.RPM{"SL9/x86_64": {rpm("patch-1.0")}}}}
		}},
		"an approval is dated back": {dated, func(p *desired.Pilot) {
			mirror := p.Records["fix-mirror"]
			saysOtherwise(p)
			p.Records = maps.Clone(p.Records)
			p.Records["approval"] = desired.PilotRecord{Kind: desired.RecordApproval, By: outsider, Update: "fix", Subject: mirror.Subject, At: mirror.At, Terms: p.Updates["fix"].Terms()}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			was := c.l.judge()
			now := c.l.strays(c.change).judge()
			if was.Place.Waves[0] == "" || !slices.Equal(now.Place.Waves, was.Place.Waves) || now.Place.Deployed == nil || now.Place.Withheld == "" {
				t.Errorf("waves get %v, and got %v; withheld: %q", now.Place.Waves, was.Place.Waves, now.Place.Withheld)
			}
		})
	}
}

// TestAHaltLetsNobodyFreezeAnew what sites have: other packages come as an update.
func TestAHaltLetsNobodyFreezeAnew(t *testing.T) {
	l := newSitePilot().deployed()
	first := l.f.Subject
	l.record("halt", gamma, desired.RecordHalt, desired.PilotRecord{Reason: sentence})
	with := l.clone()
	l.strays(others)
	l.record("freeze-2", coordinator, desired.RecordFreeze, desired.PilotRecord{Subject: l.f.Subject, Closure: &desired.RPMClosure{}})
	l.record("resume", coordinator, desired.RecordResume, desired.PilotRecord{Reason: sentence})
	if n := l.judge(); n.State == plan.PilotHalted || n.Place.Waves[0] != first || n.Place.Deployed == nil || n.Place.Withheld == "" {
		t.Errorf("frozen anew, it is %s with %+v", n.State, n.Place)
	}
	with.addUpdate("fix", desired.UpdateOfPilot, "ce-1.1", first)
	with.mirrorsUpdate("fix", with.subject("fix"))
	with.record("resume", coordinator, desired.RecordResume, desired.PilotRecord{Update: "fix"})
	if n := with.judge(); n.Place.Waves[0] != with.subject("fix") || n.Place.Withheld != "" {
		t.Errorf("with an update, it is %s with %+v", n.State, n.Place)
	}
}

const gamma = "gamma@example.org"

// TestAnUpdateThatIsApprovedAnewIsNotWithheld once all that it then needs is there.
func TestAnUpdateThatIsApprovedAnewIsNotWithheld(t *testing.T) {
	l := updated()
	l.strays(func(p *desired.Pilot) {
		u := p.Updates["fix"]
		u.Reason = "enhancement"
		p.Updates["fix"] = u
	})
	if n := l.judge(); n.Place.Deployed == nil {
		t.Fatal("nobody has approved it, and it is not withheld")
	}
	l.record("again", coordinator, desired.RecordApproval, desired.PilotRecord{Update: "fix", Subject: l.subject("fix")})
	if n := l.judge(); n.Place.Deployed != nil || n.Place.Withheld != "" {
		t.Errorf("it is withheld: %s", n.Place.Withheld)
	}
}

// TestOnlyWhatSitesMayHaveStays and not what is only on its way, nor what was recorded later than the commit that is gone back to.
func TestOnlyWhatSitesMayHaveStays(t *testing.T) {
	l := newSitePilot().mirrored()
	if l.strays(others); l.f.Deployed != nil {
		t.Errorf("nobody has it: %+v", l.f.Deployed)
	}
	l = updated()
	l.addUpdate("more", desired.UpdateOfPilot, "ce-1.2.0", l.subject("fix"))
	l.record("more-freeze", coordinator, desired.RecordFreeze, desired.PilotRecord{Update: "more", Subject: l.subject("fix", "more")})
	if l.strays(func(p *desired.Pilot) { delete(p.Updates, "more") }); l.f.Deployed != nil {
		t.Errorf("an update that nobody has stays: %+v", l.f.Deployed)
	}
	l = updated()
	was, then := l.judge().Place, l.p
	l.p.Records, l.p.Updates = maps.Clone(l.p.Records), maps.Clone(l.p.Updates)
	for name := range l.p.Records {
		if strings.HasPrefix(name, "fix-") {
			delete(l.p.Records, name)
		}
	}
	delete(l.p.Updates, "fix")
	if subjects := plan.DeployedSubjects(l.p, then, was); !slices.Equal(subjects, []string{l.f.Subject}) || plan.Deployed(l.name, l.p, then, was) != nil {
		t.Errorf("set back, sites have %v", subjects)
	}
	for _, state := range []string{plan.PilotHalted, plan.PilotClosed, plan.PilotExpired} {
		was.State, was.Waves = state, []string{"", ""}
		if p := updated().p; len(plan.DeployedSubjects(p, p, was)) != 2 {
			t.Errorf("%s, what sites had does not stay", state)
		}
	}
}
