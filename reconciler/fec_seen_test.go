package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func (f *follower) seen(name string, at time.Time) report.FECSeen {
	f.t.Helper()
	x, err := f.FECSeen(f.t.Context(), name, at)
	must(f.t, err)
	if len(x.Trouble) > 0 {
		f.t.Errorf("trouble %q", x.Trouble)
	}
	return x
}

// TestAllThatIsKnownOfAFEC: why it runs what it runs and who brought that, what it ran before, whom else that touches, and how it was at a past time.
func TestAllThatIsKnownOfAFEC(t *testing.T) {
	f := newFollower(t)
	f.Served = &reconciler.PublishedSite{}
	f.pass()
	first := f.seen("kgp2cu01", time.Time{}).Published
	began := f.Now()
	booted := began.Add(time.Minute)
	boot := running(first.Serial, "token", booted)
	boot.FEC = "kgp2cu01"
	f.said(boot)

	// A pull request brings another version.
	f.later(2 * time.Hour)
	f.git("checkout", "-qb", "raise")
	f.change("fecs/fecs.cue", `version: "1.0.0"`, `version: "1.1.0"`)
	f.git("checkout", "-q", "-")
	f.git("merge", "-q", "--no-ff", "-m", "Merge pull request #12 from lab/raise", "raise")
	f.pass()
	failed := boot
	x := f.seen("kgp2cu01", time.Time{})
	failed.Serial, failed.State, failed.Detail, failed.At = x.Published.Serial, "init-failed", "50-bpm failed with status 1", f.Now().Add(time.Minute)
	f.said(failed)
	x = f.seen("kgp2cu01", time.Time{})

	i := slices.IndexFunc(x.Why.Sources, func(s report.Source) bool { return s.Role == "pinned version" })
	if s := x.Why.Sources[i]; s.File != "fecs/fecs.cue" || s.Line == 0 || s.Value != `"1.1.0"` || s.Changed == nil || s.Changed.Pull != 12 || s.Changed.Subject != "change fecs/fecs.cue" {
		t.Errorf("why %+v %+v", s, s.Changed)
	}
	if len(x.Ran) != 2 || x.Ran[0].Software["bpm"] != "1.1.0" || !x.Ran[0].Until.IsZero() || x.Ran[0].Outcome() != "failed: 50-bpm failed with status 1" ||
		x.Ran[1].Software["bpm"] != "1.0.0" || !x.Ran[1].Until.Equal(x.Ran[0].Since) || x.Ran[1].Outcome() != "ran" || x.Ran[1].Boots != 1 || x.Ran[0].Subject == "" {
		t.Errorf("ran %+v", x.Ran)
	}
	if len(x.Boot) != 1 || x.Boot[0].State != "init-failed" {
		t.Errorf("boot %+v", x.Boot)
	}
	touches := map[string]int{}
	for _, touch := range x.Touches {
		touches[touch.Kind+" "+touch.Name+" "+touch.Version+touch.File] = touch.FECs
	}
	for what, n := range map[string]int{"software bpm 1.1.0payload/bpm/1.1.0": 2, "configuration table 1.0payload/table": 1, "script 10-env scripts/env": 2, "script 50-bpm scripts/bpm": 1,
		"file fecs/fecs.cue fecs/fecs.cue": 3, "file software/bpm.cue software/bpm.cue": 3} {
		if got, there := touches[what]; !there || got != n {
			t.Errorf("%s touches %d, want %d: %v", what, got, n, touches)
		}
	}
	if m := x.Monitoring; m == nil || !strings.Contains(m.Icinga, `object Service "bpm"`) || len(m.Probes) != 1 || m.Probes[0].Labels["fec"] != "kgp2cu01" {
		t.Errorf("monitoring %+v", x.Monitoring)
	}

	// At past times.
	then := f.seen("kgp2cu01", booted.Add(time.Hour)).Then
	if then.Published == nil || then.Published.Software["bpm"] != "1.0.0" || then.Running == nil || then.Running.Software["bpm"] != "1.0.0" || then.Wanted != first.Commit || then.Said.State != "running" {
		t.Errorf("then %+v", then)
	}
	f.later(time.Hour)
	then = f.seen("kgp2cu01", f.Now()).Then
	if then.Published.Software["bpm"] != "1.1.0" || then.Running != nil || then.Wanted != f.head() || !strings.Contains(strings.Join(then.Unknown, "\n"), "init-failed with serial") {
		t.Errorf("then %+v", then)
	}
	then = f.seen("kgp2cu01", began.Add(-time.Hour)).Then
	if said := strings.Join(then.Unknown, "\n"); then.Published != nil || then.Running != nil || !strings.Contains(said, "the oldest release that is kept") || !strings.Contains(said, "no pass before is on record") {
		t.Errorf("then %+v", then)
	}
	if _, err := f.FECSeen(t.Context(), "kgp2cu0", time.Time{}); !errors.Is(err, reconciler.ErrNoFEC) {
		t.Errorf("got %v", err)
	}
	if _, err := f.FECSeen(t.Context(), "kgp2cu01", f.Now().Add(time.Second)); !errors.Is(err, serve.ErrMalformed) || !strings.Contains(err.Error(), "lies in the future") {
		t.Errorf("how it will be: %v", err)
	}
}

// TestWhyAHeldFECIsAsItIs: by the commit as which it stays, also when another one is published since.
func TestWhyAHeldFECIsAsItIs(t *testing.T) {
	f := newFollower(t)
	f.Served = &reconciler.PublishedSite{}
	f.pass()
	held := f.head()
	if x := f.seen("kgp2cu01", time.Time{}); x.Why.Commit != held {
		t.Errorf("why %s, want %s", x.Why.Commit, held)
	}
	h := f.hold("fecs.kgp2cu01", 9*time.Hour)
	f.hold("fecs.kgp2cu02", time.Hour/2)
	f.later(time.Hour)
	f.change("fecs/fecs.cue", `version: "1.0.0"`, `version: "1.1.0"`)
	f.change("payload/bpm/1.1.0/bin/bpm", "echo", "echo again;echo")
	f.pass()
	x := f.seen("kgp2cu01", time.Time{})
	if x.Why.Commit != held || x.Declared.Software["bpm"].Version != "1.0.0" || len(x.Holds) != 1 {
		t.Errorf("why %+v, declared %+v", x.Why, x.Declared)
	}
	f.lift(h.ID)
	for after, want := range map[time.Duration]int{-2 * time.Hour: 0, -time.Hour / 2: 1, 0: 0} {
		if then := f.seen("kgp2cu01", f.Now().Add(after)).Then; len(then.Holds) != want || want > 0 && then.Holds[0].ID != h.ID {
			t.Errorf("%s after it was lifted, held by %+v", after, then.Holds)
		}
	}
	if x := f.seen("kgp2cu02", time.Time{}); x.Why.Commit != f.head() {
		t.Errorf("why %s, want %s", x.Why.Commit, f.head())
	}
}
