package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// hall is FECs that do what is decided: the world of one test.
type hall struct {
	t *testing.T
	plan.Fleet
	began map[string]int // how often each was restarted
}

const before, wanted = int64(100), int64(200)

// newFleet has n FECs of each group, all of which prove that they run what was published before.
func newFleet(t *testing.T, pace desired.Restarts, n int, groups ...string) *hall {
	f := &hall{t: t, began: map[string]int{}}
	f.Now, f.Pace, f.Rollouts = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), pace, map[string]observed.Rollout{}
	for _, g := range groups {
		for i := range n {
			m := plan.Member{FEC: fmt.Sprintf("%s%02d", g, i), Groups: []string{g}, Wanted: wanted,
				Need: plan.Effort{What: desired.Restart, Software: []string{"bpm"}, Why: []string{"software bpm 1 → 2"}}}
			f.Members = append(f.Members, m)
			f.says(m.FEC, "running", before)
		}
	}
	return f
}

func (f *hall) member(fec string) *plan.Member {
	i := slices.IndexFunc(f.Members, func(m plan.Member) bool { return m.FEC == fec })
	return &f.Members[i]
}

// says is what a FEC proves a second later.
func (f *hall) says(fec, state string, serial int64) {
	f.Now = f.Now.Add(time.Second)
	f.member(fec).Evidence = &observed.Evidence{Serial: serial, State: state, At: f.Now}
}

// decide decides once, records it, and is what the FECs have accepted then.
func (f *hall) decide() (w plan.Waves, began []string) {
	f.t.Helper()
	f.Now = f.Now.Add(time.Second)
	w = plan.Restarts(f.Fleet)
	for _, r := range append(w.Set, w.Begin...) {
		f.Rollouts[r.FEC] = r
	}
	for _, r := range w.Begin {
		r.State = observed.RolloutAsked
		f.Rollouts[r.FEC] = r
		f.began[r.FEC]++
		began = append(began, r.FEC)
	}
	for _, fec := range w.Forget {
		delete(f.Rollouts, fec)
	}
	if w.Pause != "" {
		f.Paused = true
	}
	return w, began
}

func (f *hall) wants(began []string, want ...string) {
	f.t.Helper()
	if d := cmp.Diff(want, began); d != "" {
		f.t.Fatalf("restarted (-want +got):\n%s", d)
	}
}

// standing is how one FEC stands.
func (f *hall) standing(w plan.Waves, fec string) plan.Standing {
	f.t.Helper()
	i := slices.IndexFunc(w.Standing, func(s plan.Standing) bool { return s.FEC == fec })
	return w.Standing[i]
}

func (f *hall) run(fecs ...string) {
	for _, fec := range fecs {
		f.says(fec, "running", f.member(fec).Wanted)
	}
}

func TestGroupsAreRestartedInOrderAndInWaves(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "50%"}, Order: []string{"b"}, Groups: map[string]desired.Pace{"a": {Wave: "1", Pause: "1m"}}}, 3, "x", "a", "b")
	for range 2 { // once more only when the first wave has been confirmed
		_, began := f.decide()
		if len(began) == 0 {
			break
		}
		f.wants(began, "b00")
	}
	f.says("b00", "fetching", wanted)
	_, began := f.decide()
	f.wants(began)
	f.run("b00")
	_, began = f.decide()
	f.wants(began, "b01")
	f.run("b01")
	_, began = f.decide()
	f.wants(began, "b02")
	f.run("b02")
	for i := range 3 { // one of a, and a minute between them
		_, began = f.decide()
		f.wants(began, fmt.Sprintf("a%02d", i))
		f.run(fmt.Sprintf("a%02d", i))
		_, began = f.decide()
		f.wants(began)
		f.Now = f.Now.Add(time.Minute)
	}
	_, began = f.decide()
	f.wants(began, "x00")
	f.run("x00")
	_, began = f.decide()
	f.wants(began, "x01")
	f.run("x01")
	_, began = f.decide()
	f.wants(began, "x02")
	f.run("x02")
	f.decide()
	if w, began := f.decide(); len(began) > 0 || len(f.Rollouts) > 0 {
		t.Errorf("after the end %+v is left, and %+v decided", f.Rollouts, w)
	}
	for fec, n := range f.began {
		if n != 1 {
			t.Errorf("%s was restarted %d times", fec, n)
		}
	}
}

func TestAWaveBeginsWhenEnoughOfTheOneBeforeRun(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "3", Success: "60%", Errors: "2"}}, 9, "a")
	_, began := f.decide()
	f.wants(began, "a00", "a01", "a02")
	f.run("a00")
	_, began = f.decide()
	f.wants(began)
	f.run("a01")
	_, began = f.decide()
	f.wants(began, "a03", "a04", "a05")
	f.says("a02", "init-failed", wanted) // one failure is less than two
	w, _ := f.decide()
	if w.Pause != "" || len(w.Failed) != 1 || f.standing(w, "a02").State != plan.StandsFailed {
		t.Errorf("paused by %q, failed %v", w.Pause, w.Failed)
	}
	f.says("a03", "fallback", before)
	if w, _ = f.decide(); !strings.Contains(w.Pause, "2 FECs of no group failed (a02, a03): init-failed") {
		t.Errorf("paused by %q", w.Pause)
	}
	f.run("a04", "a05")
	_, began = f.decide()
	f.wants(began)
	// What was accepted as it is counts no more.
	for fec, r := range f.Rollouts {
		r.Closed = r.Closed || r.State == observed.RolloutFailed
		f.Rollouts[fec] = r
	}
	f.Paused = false
	_, began = f.decide()
	f.wants(began, "a06", "a07", "a08")
	if f.began["a02"] != 1 || f.began["a03"] != 1 {
		t.Error("what failed was restarted again for the same serial")
	}
}

func TestAWaveThatIsNotConfirmedInTimePausesEverything(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "2", Errors: "5", Within: "10m"}}, 4, "a")
	f.decide()
	f.run("a00")
	f.Now = f.Now.Add(9 * time.Minute)
	if w, began := f.decide(); len(w.Failed) > 0 || len(began) > 0 || !slices.Equal(w.Watch, []string{"a01"}) {
		t.Errorf("before its time is up: failed %v, began %v", w.Failed, began)
	}
	f.Now = f.Now.Add(2 * time.Minute)
	w, _ := f.decide()
	if len(w.Failed) != 1 || !strings.Contains(w.Failed[0].Detail, "does not run 10m0s after") || !strings.Contains(w.Pause, "only 1 of 2 FECs run, and 2 must (a01)") {
		t.Errorf("failed %+v, paused by %q", w.Failed, w.Pause)
	}
	f.run("a01") // late is not never
	if w, _ = f.decide(); f.standing(w, "a01").State != plan.StandsCurrent || f.Rollouts["a01"].State != observed.RolloutRuns {
		t.Errorf("a FEC that runs late is %+v", f.standing(w, "a01"))
	}
}

func TestWhatIsHeldKeepsNobodyWaiting(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "100%"}, Order: []string{"a", "b"}}, 2, "a", "b")
	f.member("a00").Held = "inhibited: magnet tests"
	f.member("a01").Evidence.State = "installed"
	w, began := f.decide()
	f.wants(began, "b00", "b01")
	if s := f.standing(w, "a00"); s.State != plan.StandsHeld || s.Why != "inhibited: magnet tests" {
		t.Errorf("%+v", s)
	}
	if s := f.standing(w, "a01"); s.State != plan.StandsHeld || s.Why != "is booting" || !slices.Equal(w.Look, []string{"a01"}) {
		t.Errorf("%+v, asked %v", s, w.Look)
	}
	f.member("a00").Held = ""
	f.run("a01", "b00", "b01")
	_, began = f.decide()
	f.wants(began, "a00")
}

func TestNobodyIsRestartedUnknown(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "100%"}}, 3, "a")
	f.member("a00").Evidence, f.member("a00").Unasked = nil, true
	w, began := f.decide()
	f.wants(began)
	if !slices.Equal(w.Look, []string{"a00"}) {
		t.Errorf("asked %v", w.Look)
	}
	f.member("a00").Unasked = false // it was asked, and did not answer
	_, began = f.decide()
	f.wants(began, "a01", "a02")
}

func TestWhatIsPublishedDuringARollout(t *testing.T) {
	f := newFleet(t, desired.Restarts{Pace: desired.Pace{Wave: "2"}}, 4, "a")
	_, began := f.decide()
	f.wants(began, "a00", "a01")
	f.says("a01", "init-failed", wanted)
	for i := range f.Members {
		f.Members[i].Wanted = wanted + 1
	}
	f.says("a00", "running", wanted) // it fetched what was published before
	for range 5 {
		_, began := f.decide()
		f.run(began...)
	}
	for _, m := range f.Members {
		if m.Evidence.Serial != wanted+1 {
			t.Errorf("%s runs %+v", m.FEC, m.Evidence)
		}
	}
	if d := cmp.Diff(map[string]int{"a00": 2, "a01": 2, "a02": 1, "a03": 1}, f.began); d != "" {
		t.Errorf("restarts (-want +got):\n%s", d)
	}
}

func TestOperatorsSkipAndWantNow(t *testing.T) {
	f := newFleet(t, desired.Restarts{}, 3, "a")
	f.Paused = true
	f.Rollouts["a01"] = observed.Rollout{FEC: "a01", Wanted: wanted, State: observed.RolloutSkipped, At: f.Now}
	f.Rollouts["a02"] = observed.Rollout{FEC: "a02", Wanted: wanted, State: observed.RolloutNow, At: f.Now}
	_, began := f.decide()
	f.wants(began, "a02")
	f.run("a02")
	f.decide()
	f.Paused = false
	_, began = f.decide()
	f.wants(began, "a00")
	f.run("a00")
	for range 3 {
		_, began = f.decide()
		f.wants(began)
	}
	if r := f.Rollouts["a01"]; len(f.Rollouts) != 1 || !r.Closed {
		t.Errorf("left %+v", f.Rollouts)
	}
	f.member("a01").Wanted++ // what is skipped is one serial
	_, began = f.decide()
	f.wants(began, "a01")
}

func TestAFECReturnsWhateverIsPaused(t *testing.T) {
	f := newFleet(t, desired.Restarts{}, 2, "a")
	f.Paused = true
	m := f.member("a00")
	m.Returning, m.Need = true, plan.Effort{What: desired.Restart, Software: []string{"bpm"}}
	f.says("a00", "init-failed", wanted-1)
	w, began := f.decide()
	f.wants(began, "a00")
	if r := w.Begin[0]; r.Need != desired.Reboot || r.Software != "" || r.Opened.IsZero() || !r.Opened.Equal(r.At) {
		t.Errorf("after scripts that failed it is to %s %s", r.Need, r.Software)
	}
}

func TestAFECThatFailedByItselfIsNotRestarted(t *testing.T) {
	f := newFleet(t, desired.Restarts{}, 1, "a")
	f.says("a00", "init-failed", wanted)
	w, began := f.decide()
	f.wants(began)
	if s := f.standing(w, "a00"); s.State != plan.StandsFailed {
		t.Errorf("%+v", s)
	}
}

func TestRestartOf(t *testing.T) {
	site := desired.Site{
		Software: map[string]desired.Software{
			"bpm": {OnUpdate: desired.Restart, OnFail: desired.OnFailPrevious}, "tool": {OnUpdate: desired.Nothing}, "base": {}, "cam": {OnUpdate: desired.Restart},
		},
	}
	item := func(name, version string) tree.Item { return tree.Item{Name: name, Version: version, Start: true} }
	now := tree.Manifest{Host: "h", Platform: "p", Serial: 2,
		Software: []tree.Item{item("base", "1"), item("bpm", "1"), item("cam", "1"), item("tool", "1")},
	}
	for name, c := range map[string]struct {
		change   func(*tree.Manifest)
		what     string
		software string
		why      string
		previous bool
	}{
		"a version":    {func(m *tree.Manifest) { m.Software[1].Version = "0" }, desired.Restart, "bpm", "bpm 0 → 1", true},
		"two versions": {func(m *tree.Manifest) { m.Software[1].Version, m.Software[2].Version = "0", "0" }, desired.Restart, "bpm cam", "bpm 0 → 1, cam 0 → 1", true},
		"content":      {func(m *tree.Manifest) { m.Software[2].Digest = artifact.Sum(nil) }, desired.Restart, "cam", "cam 1 rebuilt", false},
		"a tool":       {func(m *tree.Manifest) { m.Software[3].Version = "0" }, desired.Nothing, "", "tool 0 → 1", false},
		"a base":       {func(m *tree.Manifest) { m.Software[0].Version, m.Software[1].Version = "0", "0" }, desired.Reboot, "", "base 0 → 1, bpm 0 → 1", true},
		"its data":     {func(m *tree.Manifest) { m.Data = true }, desired.Nothing, "", "gets no persistent data any more", false},
	} {
		was := now
		was.Software = slices.Clone(now.Software)
		c.change(&was)
		got := plan.RestartOf(site, &was, now)
		if got.What != c.what || strings.Join(got.Software, " ") != c.software || got.Previous != c.previous || strings.Join(got.Why, ", ") != c.why {
			t.Errorf("%s: %+v, want %+v", name, got, c)
		}
	}
	if got := plan.RestartOf(site, nil, now); got.What != desired.Reboot || got.Previous {
		t.Errorf("from what nobody knows: %+v", got)
	}
}

// BenchmarkRestarts decides about 2,000 FECs in 20 groups, half of which wait.
func BenchmarkRestarts(b *testing.B) {
	f := plan.Fleet{Now: time.Now(), Rollouts: map[string]observed.Rollout{}}
	for i := range 2000 {
		m := plan.Member{FEC: fmt.Sprintf("fec%04d", i), Groups: []string{fmt.Sprintf("g%d", i%20)}, Wanted: wanted, Need: plan.Effort{What: desired.Restart, Software: []string{"bpm"}}}
		m.Evidence = &observed.Evidence{State: "running", Serial: before + int64(i%2)*(wanted-before), At: f.Now}
		if m.Evidence.Serial == wanted {
			f.Rollouts[m.FEC] = observed.Rollout{FEC: m.FEC, Wanted: wanted, Wave: 1, State: observed.RolloutRuns}
		}
		f.Members = append(f.Members, m)
	}
	for i := range 20 {
		f.Pace.Order = append(f.Pace.Order, fmt.Sprintf("g%d", i))
	}
	for b.Loop() {
		plan.Restarts(f)
	}
}

// TestARestartThatIsOvertaken was asked for a release that is published no more: the FEC runs on as it did, and is asked again.
func TestARestartThatIsOvertaken(t *testing.T) {
	f := newFleet(t, desired.Restarts{}, 1, "a")
	_, began := f.decide()
	f.wants(began, "a00")
	f.member("a00").Wanted, f.member("a00").Need = wanted+1, plan.Effort{What: desired.Reboot}
	w, began := f.decide()
	f.wants(began)
	f.says("a00", "running", before)
	w, began = f.decide()
	f.wants(began, "a00")
	if len(w.Failed) > 0 || w.Begin[0].Wanted != wanted+1 || w.Begin[0].Need != desired.Reboot {
		t.Errorf("%+v", w)
	}
	f.run("a00")
	if w, _ := f.decide(); f.standing(w, "a00").State != plan.StandsCurrent {
		t.Errorf("%+v", w.Standing)
	}
}
