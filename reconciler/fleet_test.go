package reconciler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// shown is how the fleet shows a FEC.
func (f *follower) shown(name string) report.FleetFEC {
	f.t.Helper()
	fleet, err := f.Fleet(f.t.Context())
	must(f.t, err)
	i := slices.IndexFunc(fleet.FECs, func(x report.FleetFEC) bool { return x.FEC == name })
	if fleet.Trouble != "" || i < 0 {
		f.t.Fatalf("%+v", fleet)
	}
	return fleet.FECs[i]
}

// TestTheFleetSaysWhatDiffersAndSinceWhen: wanted beside published and running.
func TestTheFleetSaysWhatDiffersAndSinceWhen(t *testing.T) {
	const name = "kgp2cu02"
	f := newFollower(t)
	f.pass()
	is := func(c plan.Condition, wanted, held string, since time.Time) {
		t.Helper()
		x := f.shown(name)
		if x.Condition != c || x.Wanted != wanted || (x.Held != "") != (held != "") || !x.Since.Equal(since.UTC().Truncate(time.Millisecond)) && !since.IsZero() || since.IsZero() != x.Since.IsZero() {
			t.Errorf("%s, wanted %q, held %q, since %s; want %s, %q, %q, %s", x.Condition, x.Wanted, x.Held, x.Since, c, wanted, held, since)
		}
	}
	is(plan.Silent, "", "", time.Time{})
	booted := f.Now().Add(time.Minute)
	f.said(running(f.shown(name).Published, "token", booted))
	is(plan.Runs, "", "", time.Time{})

	// It is stale since the next release is there, not since it booted.
	f.later(time.Hour)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	f.pass()
	is(plan.Stale, "", "", f.Now())

	// It runs that; another version is wanted, and a hold keeps it.
	f.said(running(f.shown(name).Published, "token", f.Now().Add(time.Minute)))
	f.later(time.Hour)
	hold := f.hold("fecs."+name, 24*time.Hour)
	f.change("fecs/fecs.cue", `bpm: version: "1.1.0"`, `bpm: version: "1.0.0"`)
	f.pass()
	is(plan.Runs, "bpm 1.0.0", "held", hold.Since)

	// Nobody knows what a branch with problems wants; what is published is known.
	f.change("site.cue", "name:", "nmae:")
	for range 2 { // read, and remembered
		fleet, err := f.Fleet(t.Context())
		must(t, err)
		if fleet.Unread == "" || len(fleet.FECs) == 0 {
			t.Errorf("%+v", fleet)
		}
	}
}
