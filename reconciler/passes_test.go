package reconciler_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// kept makes a pass, and keeps it as a service does.
func (f *follower) kept() error {
	f.t.Helper()
	rep, err := f.Reconcile(f.t.Context())
	reconciler.NewPassKeeper(f.Records, nil).Keep(f.t.Context(), reconciler.Done{Report: rep, Err: err})
	return err
}

// timeline is a page of the passes as "number outcome+again: what it did".
func (f *follower) timeline(outcome string, page int) (out []string) {
	f.t.Helper()
	passes, err := f.Passes(f.t.Context(), outcome, page)
	must(f.t, err)
	if passes.Trouble != "" {
		f.t.Fatal(passes.Trouble)
	}
	for _, p := range passes.Passes {
		out = append(out, fmt.Sprintf("%d %s+%d", p.Number, p.Outcome, p.Again))
	}
	return out
}

func (f *follower) passOf(which string) report.Pass {
	f.t.Helper()
	p, err := f.PassOf(f.t.Context(), which)
	must(f.t, err)
	return p
}

func TestTheTimelineHasEachPassThatIsNews(t *testing.T) {
	f := newFollower(t)
	must(t, f.kept())
	first := f.head()
	for range 3 {
		f.later(time.Minute)
		must(t, f.kept())
	}
	f.change("site.cue", "name:", "nmae:")
	broken := f.head()
	for range 2 {
		f.later(time.Minute)
		if f.kept() == nil {
			t.Fatal("an invalid commit is published")
		}
	}
	f.change("site.cue", "nmae:", "name:")
	must(t, f.kept())
	must(t, os.Chmod(filepath.Join(f.Root, "generations/1/generation.json"), 0o600))
	must(t, f.kept())
	if want, got := []string{"8 unchanged+0", "7 published+0", "5 invalid+1", "1 published+3"}, f.timeline("", 1); !slices.Equal(got, want) {
		t.Errorf("timeline %v, want %v", got, want)
	}
	if got := f.timeline("invalid", 1); !slices.Equal(got, []string{"5 invalid+1"}) {
		t.Errorf("invalid ones: %v", got)
	}
	if got := f.timeline("unchanged", 1); len(got) != 4 || got[3] != "2 unchanged+0" {
		t.Errorf("unchanged ones: %v", got)
	}
	if got := f.timeline("", 2); len(got) != 0 {
		t.Errorf("a second page: %v", got)
	}

	p := f.passOf("1")
	if p.Wanted != first || p.Author == "" || p.Again != 3 || !p.Last.Equal(p.Ended.Add(3*time.Minute)) || !strings.Contains(p.Did, "3 FECs added") {
		t.Errorf("the first pass: %+v", p)
	}
	var names []string
	for _, s := range p.Stages {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, reconciler.Stages) {
		t.Errorf("its stages: %v", names)
	}
	if p.Told == nil || p.Told.Plan == nil || p.Told.Plan.Totals.Added != 3 || p.Told.Plan.Generation != 1 || len(p.Told.Plan.FECs) == 0 || len(p.Told.Plan.Builds) == 0 {
		t.Errorf("its plan: %+v", p.Told)
	}
	if p := f.passOf("8"); p.Did != "repaired 1" || len(p.Told.Repaired) != 1 {
		t.Errorf("the repair: %+v", p)
	}

	p = f.passOf(broken)
	if p.Number != 5 || p.Told == nil || p.Told.Plan != nil || len(p.Told.Problems) == 0 {
		t.Fatalf("the invalid commit: %+v", p)
	}
	problem := p.Told.Problems[slices.IndexFunc(p.Told.Problems, func(l report.Located) bool { return l.Line == 4 })]
	here := slices.IndexFunc(problem.Source, func(l report.SourceLine) bool { return l.Here })
	if here < 0 || problem.Source[here].Number != problem.Line || problem.Source[here].Parts().Marked != "n" || !strings.HasPrefix(problem.Source[here].Parts().After, "mae:") || len(problem.Source) > 5 {
		t.Errorf("the excerpt of %s: %+v", problem, problem.Source)
	}
	if short := f.passOf(broken[:12]); short.Number != p.Number {
		t.Errorf("the invalid commit, as it is printed: %+v", short)
	}
	for _, which := range []string{"0", "9", "-1", "05", "5x", "", broken[:11], broken + "0", strings.Repeat("0", 40), strings.Repeat("9", 300)} {
		if _, err := f.PassOf(t.Context(), which); !errors.Is(err, reconciler.ErrNoPass) {
			t.Errorf("pass %q: %v", which, err)
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Error(err)
	}
}

// TestAPassSaysWhatHoldsKeptBack, also that of the calendar.
func TestAPassSaysWhatHoldsKeptBack(t *testing.T) {
	f := newFollower(t)
	must(t, f.kept())
	f.hold("fecs.kgp2cu02", time.Hour)
	f.change("fecs/fecs.cue", `version: "1.1.0"`, `version: "1.0.0"`)
	must(t, f.kept())
	p := f.passOf("2")
	if len(p.Blocked) != 1 || p.Blocked[0].Scope != "fecs.kgp2cu02" || len(p.Told.Holds) != 1 || p.Told.Holds[0].Reason == "" || len(p.Told.Plan.Blocked) != 1 {
		t.Errorf("%+v", p)
	}
	f.later(30 * time.Minute)
	must(t, f.kept())
	if got := f.timeline("", 1); got[0] != "2 published+1" {
		t.Errorf("the same holds once more are news: %v", got)
	}
	f.later(time.Hour)
	must(t, f.kept())
	if p := f.passOf("4"); p.Outcome != observed.Published || len(p.Blocked) != 0 {
		t.Errorf("when the hold has ended: %+v", p)
	}
}

// TestALostLedgerLosesOnlyTheTimeline: passes go on, and what they publish is there again.
func TestALostLedgerLosesOnlyTheTimeline(t *testing.T) {
	f := newFollower(t)
	must(t, f.kept())
	f.change("scripts/env", "echo global", "echo other")
	must(t, f.kept())
	must(t, f.Records.Close())
	for _, name := range []string{"ledger.db", "ledger.db-wal", "ledger.db-shm"} {
		if err := os.Remove(filepath.Join(f.Root, ".pomona", name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	again := f.restarted()
	must(t, again.kept())
	if got := again.timeline("", 1); !slices.Equal(got, []string{"2 published+1", "1 published+0"}) {
		t.Errorf("timeline: %v", got)
	}
	if p := again.passOf("1"); p.Told != nil || len(p.Stages) != 0 {
		t.Errorf("what is lost: %+v", p)
	}
}

// TestAPassDoesNotWaitForWhoKeepsPlans: nobody takes what the keeper is told.
func TestAPassDoesNotWaitForWhoKeepsPlans(t *testing.T) {
	k := reconciler.NewPassKeeper(nil, nil)
	for n := range int64(100) {
		k.Passed(reconciler.Done{Report: report.Report{Pass: n}})
	}
}

// TestAPlanThatIsTooLargeIsKeptInBrief: people can ask for it again, the ledger must not grow with it.
func TestAPlanThatIsTooLargeIsKeptInBrief(t *testing.T) {
	f := newFollower(t)
	rep, err := f.Reconcile(t.Context())
	must(t, err)
	for range 200 {
		rep.Plan.Builds = append(rep.Plan.Builds, rep.Plan.Builds[0])
	}
	for i := range rep.Plan.Builds {
		rep.Plan.Builds[i].Why = strings.Repeat("x", 10_000)
	}
	reconciler.NewPassKeeper(f.Records, nil).Keep(t.Context(), reconciler.Done{Report: rep})
	var told []byte
	must(t, f.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		told, err = l.PlanOf(t.Context(), 1)
		return err
	}))
	if p := f.passOf("1"); len(told) > 10_000 || p.Told.Plan.Left["lists"] != 1 || p.Told.Plan.Summary == "" {
		t.Errorf("%d bytes: %+v", len(told), p.Told.Plan)
	}
}
