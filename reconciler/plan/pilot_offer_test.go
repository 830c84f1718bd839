package plan_test

import (
	"reflect"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// piloting is a site whose pilot offers bpm 2 to a and then to whoever else is in group ring.
func piloting() desired.Site {
	no := false
	bpm := func(version string) map[string]desired.Pin { return map[string]desired.Pin{"bpm": {Version: version}} }
	return desired.Site{
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{"1": {}, "2": {}, "3": {}, "next": {Channel: desired.Dev}}}},
		FECs: map[string]desired.FEC{
			"a": {Groups: []string{"ring"}, Software: bpm("1")}, "b": {Groups: []string{"ring"}, Software: bpm("1")},
			"c": {Groups: []string{"ring"}, Software: map[string]desired.Pin{"bpm": {Version: "1", Start: &no}}},
			"d": {Groups: []string{"ring"}}, "e": {Software: bpm("1")}, "f": {Groups: []string{"ring"}, Software: bpm("3")},
		},
		Pilots: map[string]desired.Pilot{"try": {Scope: desired.PilotOfFECs, Software: "bpm", Version: "2", Expires: "2027-01-31", Rollout: &desired.Rollout{
			Waves: []desired.PilotWave{{FECs: []string{"a"}}, {Groups: []string{"ring"}}},
		}}},
	}
}

func inPlace(state string, waves ...string) []tree.PilotPlace {
	return []tree.PilotPlace{{Name: "try", State: state, Waves: waves}}
}

// pins are what each FEC gets of bpm after pilots.
func pins(s desired.Site, subject string, places []tree.PilotPlace) map[string]string {
	out := map[string]string{}
	for name, f := range plan.Piloted(s, plan.Offered(s, map[string]string{"try": subject}, places)).FECs {
		out[name] = f.Software["bpm"].Version
	}
	return out
}

func TestPilotMembersAreThoseOfTheSoftwareInTheirFirstWave(t *testing.T) {
	s := piloting()
	if got, want := plan.PilotMembers(s, s.Pilots["try"]), [][]string{{"a"}, {"b", "c", "f"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("members are %v, want %v", got, want)
	}
}

func TestFECsOfOpenWavesGetThePilotsVersion(t *testing.T) {
	s := piloting()
	untouched := piloting()
	stated := map[string]string{"a": "1", "b": "1", "c": "1", "d": "", "e": "1", "f": "3"}
	first := map[string]string{"a": "2", "b": "1", "c": "1", "d": "", "e": "1", "f": "3"}
	both := map[string]string{"a": "2", "b": "2", "c": "2", "d": "", "e": "1", "f": "2"}
	promoted := map[string]string{"a": "2", "b": "2", "c": "2", "d": "", "e": "1", "f": "3"}
	for name, c := range map[string]struct {
		places []tree.PilotPlace
		want   map[string]string
	}{
		"no place":             {nil, stated},
		"no wave is open":      {inPlace(plan.PilotMirrored, "", ""), stated},
		"the first":            {inPlace(plan.PilotMirrored, "sha256:x", ""), first},
		"both":                 {inPlace(plan.PilotDeployed, "sha256:x", "sha256:x"), both},
		"another release":      {inPlace(plan.PilotDeployed, "sha256:y", "sha256:y"), stated},
		"a newer pin has won":  {inPlace(plan.PilotClosed, "sha256:x", "sha256:x"), promoted},
		"waves that are gone":  {inPlace(plan.PilotMirrored, "sha256:x", "", "sha256:x"), first},
		"a pilot that is gone": {[]tree.PilotPlace{{Name: "gone", Waves: []string{"sha256:x"}}}, stated},
	} {
		if got := pins(s, "sha256:x", c.places); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: FECs get %v, want %v", name, got, c.want)
		}
	}
	if !reflect.DeepEqual(s, untouched) {
		t.Error("the site as it was stated has changed")
	}
}

func TestAPilotsPinKeepsTheOwnVersionAndWhetherItStarts(t *testing.T) {
	s := piloting()
	got := plan.Piloted(s, plan.Offered(s, nil, inPlace(plan.PilotDeployed, "x", "x")))
	for fec, starts := range map[string]bool{"a": true, "c": false} {
		pin := got.FECs[fec].Software["bpm"]
		if pin.Starts(false, false) != starts || pin.Piloted.Own != "1" || pin.Piloted.Pilot != "try" {
			t.Errorf("%s has %+v of the pilot, which starts: %v", fec, pin, pin.Starts(false, false))
		}
	}
	kept := plan.Releases(plan.Retain(got))["bpm"]
	if want := []string{"next", "3", "2", "1"}; len(kept) != len(want) {
		t.Errorf("versions %v are kept, want %v: FECs go back to their own", kept, want)
	}
}

func TestGivensWithoutPilotsHaveTheDigestThatTheyHad(t *testing.T) {
	const was = "692c4ec08284d5a144ddc658686dcc9fa7c59fb44c03f40f03a9802405532883"
	g := observed.Givens{Held: []observed.Held{{FEC: "a", Commit: "c", By: []string{"h-1"}}}, Expired: []string{"x"}}
	if got := g.Digest().String(); got != was {
		t.Errorf("digest is %s, want %s", got, was)
	}
	of := g
	of.Pilots = inPlace(plan.PilotMirrored, "sha256:x")
	withheld := of
	withheld.Pilots = inPlace(plan.PilotMirrored, "sha256:x")
	withheld.Pilots[0].Withheld = "somebody sleeps"
	if of.Digest() == g.Digest() || of.Digest() != withheld.Digest() {
		t.Error("the digest does not tell what a tree is a function of")
	}
	b := observed.Generation{Number: 1, Givens: withheld}.Marshal()
	if back, err := observed.ParseGeneration(b); err != nil || !reflect.DeepEqual(back.Givens, withheld) {
		t.Errorf("generation.json gives back %+v, %v", back.Givens, err)
	}
}
