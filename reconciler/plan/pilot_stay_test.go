package plan_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func TestWhatIsNotKnownLeavesAPilotWhereItIs(t *testing.T) {
	place := func(state, snapshots, waves string) tree.PilotPlace {
		split := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }) }
		p := tree.PilotPlace{Name: "try", State: state, Snapshots: split(snapshots), Waves: strings.Split(waves, " ")}
		for i, w := range p.Waves {
			p.Waves[i] = strings.Trim(w, "-")
		}
		return p
	}
	for name, c := range map[string]struct {
		now, was tree.PilotPlace
		stays    bool
	}{
		"nothing less":              {place(plan.PilotDeployed, "", "a a"), place(plan.PilotMirrored, "", "a -"), false},
		"a wave less":               {place(plan.PilotRequested, "", "- -"), place(plan.PilotMirrored, "", "a -"), true},
		"another release":           {place(plan.PilotRequested, "", "-"), place(plan.PilotMirrored, "", "x"), false},
		"it has expired":            {place(plan.PilotExpired, "", "-"), place(plan.PilotMirrored, "", "a"), false},
		"it is halted":              {place(plan.PilotHalted, "", "-"), place(plan.PilotMirrored, "", "a"), false},
		"it was halted":             {place(plan.PilotMirrored, "", "a"), place(plan.PilotHalted, "", "-"), true},
		"a snapshot back":           {place(plan.PilotCalled, "a b", "a"), place(plan.PilotDeployed, "a b", "b"), true},
		"a snapshot on":             {place(plan.PilotDeployed, "a b", "b"), place(plan.PilotCalled, "a b", "a"), false},
		"a snapshot is gone":        {place(plan.PilotFrozen, "a", ""), place(plan.PilotMirrored, "a b", ""), true},
		"what nobody offers, is so": {place(plan.PilotFrozen, "a", ""), place(plan.PilotMirrored, "a x", ""), false},
	} {
		got := plan.Stay(c.now, &c.was, []string{"a", "b"}, "nobody knows")
		want := c.now
		if c.stays {
			want = c.was
		}
		if got.Withheld = ""; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: it is %+v, want %+v", name, got, want)
		}
		if known := plan.Stay(c.now, &c.was, []string{"a", "b"}, ""); !reflect.DeepEqual(known, c.now) {
			t.Errorf("%s, and everything is known: it is %+v", name, known)
		}
	}
}

// unfit is a site whose pilots offer what one FEC cannot have: it is not for its platform.
func unfit() desired.Site {
	s := piloting()
	s.Settings.Platforms = map[string]desired.Platform{"x86": {Unpack: []artifact.Format{artifact.Gzip}}}
	payload := map[string]desired.Payload{"any": {Archive: "x.tar.gz", Install: "/opt/x"}}
	for name, f := range s.FECs {
		f.Host, f.Platform, f.Groups = "host-"+name, "x86", nil
		s.FECs[name] = f
	}
	for v := range s.Software["bpm"].Versions {
		s.Software["bpm"].Versions[v] = desired.Release{Payload: payload}
	}
	s.Settings.Platforms["ppc"] = s.Settings.Platforms["x86"]
	s.Software["bpm"].Versions["2"] = desired.Release{Payload: map[string]desired.Payload{"x86": payload["any"]}}
	b := s.FECs["b"]
	b.Platform = "ppc"
	s.FECs["b"] = b
	p := s.Pilots["try"]
	p.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"a"}}, {FECs: []string{"b"}}}}
	other := p
	other.Rollout = &desired.Rollout{Waves: []desired.PilotWave{{FECs: []string{"e"}}}}
	s.Pilots = map[string]desired.Pilot{"try": p, "zoo": other}
	return s
}

func TestAPilotThatAFECCannotRunWaitsForNoOther(t *testing.T) {
	s := unfit()
	places := []tree.PilotPlace{{Name: "try", State: plan.PilotDeployed, Waves: []string{"s", "s"}}, {Name: "zoo", State: plan.PilotMirrored, Waves: []string{"s"}}}
	was := []tree.PilotPlace{{Name: "try", State: plan.PilotMirrored, Waves: []string{"s", ""}}}
	subjects := map[string]string{"try": "s", "zoo": "s"}
	got := plan.Runnable(s, nil, subjects, places, was, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if len(got) != 2 || !reflect.DeepEqual(got[0].Waves, was[0].Waves) || got[0].Withheld == "" || !reflect.DeepEqual(got[1], places[1]) {
		t.Errorf("places are %+v", got)
	}
	got = plan.Runnable(s, nil, subjects, places, nil, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	if got[0].Waves[0] != "" || got[0].Withheld == "" || got[1].Waves[0] != "s" {
		t.Errorf("without what was published, places are %+v", got)
	}
}

// TestPeopleAreToldWhenAPilotIsOverdue: that is a moment of the clock alone.
func TestPeopleAreToldWhenAPilotIsOverdue(t *testing.T) {
	since := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	p, due := desired.Pilot{}, since.Add(36*time.Hour)
	for _, c := range []struct {
		now  plan.PilotNow
		at   time.Time
		want time.Time
	}{
		{plan.PilotNow{State: plan.PilotFrozen, Due: due}, since.Add(time.Hour), due.Add(time.Second)},
		{plan.PilotNow{State: plan.PilotFrozen, Due: due}, since.Add(48 * time.Hour), time.Time{}},
		{plan.PilotNow{State: plan.PilotFrozen}, since, time.Time{}},
		{plan.PilotNow{State: plan.PilotFrozen, Due: due, Waves: []plan.PilotWave{{SoakEnds: since.Add(2 * time.Hour)}}}, since, since.Add(2 * time.Hour)},
	} {
		if got := plan.PilotTells(p, c.now, c.at); !got.Equal(c.want) {
			t.Errorf("%s at %s: %s, want %s", c.now.State, c.at, got, c.want)
		}
	}
	l := newSitePilot()
	l.f.Since, l.p.Deadlines = map[string]time.Time{plan.PilotRequested: l.now, plan.PilotStaffed: l.now}, map[string]string{plan.PilotStaffed: "36h"}
	want := map[string]time.Duration{plan.PilotRequested: 7 * 24 * time.Hour, plan.PilotStaffed: 36 * time.Hour}
	if now := l.judge(); want[now.State] == 0 || !now.Due.Equal(l.now.Add(want[now.State])) {
		t.Errorf("%s is due at %s", now.State, now.Due)
	}
}
