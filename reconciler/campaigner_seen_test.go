package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// seenSpec is a campaign of two stages with jobs, and one without.
func seenSpec() desired.Campaign {
	return desired.Campaign{Reason: "positions of autumn", Requester: "orbit@example.org", Schedule: &desired.Schedule{Cron: "0 6 * * *"}, Stages: map[string]desired.Stage{
		"reco": {Job: &desired.Job{Resources: desired.Resources{CPUs: 2, Memory: "1GiB"}, Retry: desired.Retry{MemoryFactor: 2, Max: 1}},
			Recoveries: []desired.Recovery{{Select: "missing-output", Resources: desired.Resources{CPUs: 1, Memory: "2GiB"}}}},
		"merge":   {Needs: map[string]desired.Need{"reco": {}}, Job: &desired.Job{}},
		"approve": {Type: desired.ApprovalStage, Needs: map[string]desired.Need{"merge": {}}},
	}}
}

var seenDay = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// enterSeen enters a campaign with so many slices, one in ten of which failed and was recovered, over ten days.
func enterSeen(t testing.TB, s *Campaigner, name string, n int) {
	t.Helper()
	spec, err := json.Marshal(seenSpec())
	if err != nil {
		t.Fatal(err)
	}
	row := ledger.Campaign{UID: name + "/1", Name: name, State: plan.CampaignActive, Spec: string(spec), At: seenDay, Began: seenDay, Cycle: seenDay}
	var slices []ledger.Slice
	var launches []ledger.Launch
	var subs []ledger.Submission
	for i := range n {
		at := seenDay.Add(time.Duration(i) * 10 * 24 * time.Hour / time.Duration(n))
		slice := ledger.Slice{UID: row.UID, Stage: "reco", Epoch: 1, ID: fmt.Sprintf("run-%06d", i), Label: fmt.Sprintf("run %d", i), Digest: "sha256:ab", Count: 3, State: string(observed.SliceComplete), At: at, Began: at}
		if i%10 == 9 {
			slice.State, slice.Detail, slice.Round = string(observed.SliceFailed), "there are 0 of 3 files", 1
		}
		if i%100 == 0 {
			launches = append(launches, ledger.Launch{Key: fmt.Sprintf("pom-l-%s-%d", name, i), Engine: "e", UID: row.UID, Stage: "reco", Tasks: 100, State: string(observed.LaunchOver), Intended: at})
		}
		for round := range slice.Round + 1 {
			sub := ledger.Submission{Key: fmt.Sprintf("pom-%s-%06d-%d", name, i*7919%max(n, 1), round), UID: row.UID, Stage: "reco", Epoch: 1, Slice: slice.ID, Round: round, Attempt: 1, Launch: launches[len(launches)-1].Key,
				Task: 1 + i%100, Engine: "e", Job: fmt.Sprint(i), State: string(observed.SubmissionDone), Inputs: 3, Outputs: 3, Intended: at, Began: at.Add(time.Minute), Ended: at.Add(61 * time.Minute),
				CPU: time.Duration(i%120) * time.Minute, Memory: int64(i%10) << 27}
			if slice.Round > 0 {
				sub.State, sub.Exit, sub.Outputs = string(observed.SubmissionFailed), 3, 0
			}
			subs = append(subs, sub)
		}
		slices = append(slices, slice)
	}
	err = s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		return errors.Join(l.SetCampaign(t.Context(), row), l.AddSlices(t.Context(), slices), l.Intend(t.Context(), launches, subs))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestACampaignIsSeenFromAllSides(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 40)
	s.told.say("orbit/1", []string{"held: beam time"}, plan.CampaignPlan{}, nil)
	s.told.hold([]observed.Hold{{ID: "h-1", Scope: "campaigns.orbit/reco"}, {ID: "h-2", Scope: "campaigns.orbit-2"}, {ID: "h-3", Scope: "fecs.a"}, {ID: "h-4", Scope: "site"}})
	now, err := s.CampaignNow(t.Context(), "orbit")
	if err != nil || now.Slices[observed.SliceComplete] != 36 || now.Stages[0].Submissions[observed.SubmissionFailed] != 8 || now.Why[0] != "held: beam time" || len(now.Stages) != 3 ||
		!now.Moved.Equal(seenDay.Add(39*6*time.Hour+61*time.Minute)) || now.Cycle.Cron != "0 6 * * *" || now.Cycle.TimeZone != "UTC" {
		t.Errorf("%v\n%+v", err, now)
	}
	if len(now.Held) != 2 || now.Held[0].ID != "h-1" || now.Held[1].ID != "h-4" {
		t.Errorf("held by %v", now.Held)
	}
	// It is what the command says.
	all, err := s.Campaigns(t.Context(), "orbit")
	one, _ := all.Find("orbit")
	one.Stages[0].Open = nil
	if d := cmp.Diff(one, now.Campaign); err != nil || d != "" {
		t.Errorf("the page says otherwise than the command, %v:\n%s", err, d)
	}
	for _, see := range []func(name string) error{
		func(name string) error { _, err := s.CampaignNow(t.Context(), name); return err },
		func(name string) error { _, err := s.CampaignSheet(t.Context(), name); return err },
		func(name string) error { _, err := s.CampaignEfficiency(t.Context(), name); return err },
		func(name string) error {
			_, err := s.CampaignSubmissions(t.Context(), name, report.SubmissionFilter{})
			return err
		},
		func(name string) error {
			_, err := s.CampaignSlices(t.Context(), name, report.SliceFilter{})
			return err
		},
		func(name string) error { _, err := s.PostMortemNow(t.Context(), name, "reco/1/run-000000"); return err },
	} {
		if err := errors.Join(see("orbit"), see("orbit/1")); err != nil {
			t.Error(err)
		}
		if err := see("none"); !errors.Is(err, serve.ErrNoSuch) {
			t.Errorf("of one that is not there: %v", err)
		}
	}
}

func TestCampaignsAreListedInPages(t *testing.T) {
	s := newTestCampaigner(t, "e")
	for i := range 30 {
		enterSeen(t, s, fmt.Sprintf("c%02d", i), 10)
	}
	for _, c := range []struct {
		f         report.CampaignFilter
		first     string
		n, found  int
		waitsText string
	}{
		{report.CampaignFilter{}, "c00/1", 25, 30, ""},
		{report.CampaignFilter{Page: 2}, "c25/1", 5, 30, ""},
		{report.CampaignFilter{Page: 9}, "", 0, 30, ""},
		{report.CampaignFilter{Text: "C17"}, "c17/1", 1, 1, ""},
		{report.CampaignFilter{Text: "orbit@"}, "c00/1", 25, 30, ""},
		{report.CampaignFilter{Text: "beam"}, "c03/1", 1, 1, "held: beam"},
		{report.CampaignFilter{State: plan.CampaignComplete}, "", 0, 0, ""},
	} {
		if c.waitsText != "" {
			s.told.say(c.first, []string{c.waitsText}, plan.CampaignPlan{}, nil)
		}
		got, err := s.CampaignList(t.Context(), c.f)
		if err != nil || len(got.Campaigns) != c.n || got.Found != c.found || got.Of != 30 || got.States["active"] != 30 {
			t.Fatalf("%+v: %v, %d of %d: %v", c.f, err, len(got.Campaigns), got.Found, got.States)
		}
		if c.n > 0 && (got.Campaigns[0].UID != c.first || got.Campaigns[0].Tally() != "9 complete, 1 failed") {
			t.Errorf("%+v: %s %s", c.f, got.Campaigns[0].UID, got.Campaigns[0].Tally())
		}
	}
}

func TestACampaignIsNotCountedAtEachLook(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 10)
	look := func() (list, now report.CampaignLine) {
		t.Helper()
		all, err := s.CampaignList(t.Context(), report.CampaignFilter{})
		if err != nil || len(all.Campaigns) != 1 {
			t.Fatalf("%v, %d campaigns", err, len(all.Campaigns))
		}
		now, err = s.CampaignNow(t.Context(), "orbit")
		if err != nil {
			t.Fatal(err)
		}
		return all.Campaigns[0], now
	}
	look()
	for asked, c := range s.seen.all { // as if it had taken long to count
		s.seen.all[asked] = counted{c.value, time.Now().Add(time.Hour)}
	}
	more := ledger.Slice{UID: "orbit/1", Stage: "reco", Epoch: 1, ID: "run-more", Digest: "sha256:ab", Count: 3, State: string(observed.SlicePlanned), At: seenDay, Began: seenDay}
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.AddSlices(t.Context(), []ledger.Slice{more}) }); err != nil {
		t.Fatal(err)
	}
	s.told.say("orbit/1", []string{"held: beam time"}, plan.CampaignPlan{Whys: map[string]string{"reco": "it waits"}, Stages: []plan.StageNow{{StageRecord: plan.StageRecord{Stage: "reco", Epoch: 1, State: "open"}}}}, nil)
	list, now := look()
	for _, line := range []report.CampaignLine{list, now} {
		if line.Tally() != "9 complete, 1 failed" || len(line.Why) != 1 || line.Stages[0].Why != "it waits" {
			t.Errorf("%s, why %q, %q", line.Tally(), line.Why, line.Stages[0].Why)
		}
	}
	s.told.say("orbit/1", nil, plan.CampaignPlan{}, nil)
	if list, _ = look(); len(list.Why) != 0 || list.Stages[0].Why != "" || list.Stages[0].State != "waiting" {
		t.Errorf("what the service had said is remembered: %q, %q, %s", list.Why, list.Stages[0].Why, list.Stages[0].State)
	}
	s.seen.all = nil
	if list, now = look(); list.Tally() != now.Tally() || list.Tally() == "9 complete, 1 failed" {
		t.Errorf("%s, %s", list.Tally(), now.Tally())
	}
}

func TestASheetCountsEachDay(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 40) // 4 a day
	got, err := s.CampaignSheet(t.Context(), "orbit")
	if err != nil || len(got.Days) != 10 || got.Days[0].Day != "2026-11-30" {
		t.Fatalf("%v\n%+v", err, got)
	}
	want := report.SheetDay{Requested: 44 * 3, Delivered: 44 * 3, Jobs: 44, Failed: 8, Outputs: 36 * 3, Pending: 12, Exits: map[string]int{"0": 36, "3": 8}}
	if d := cmp.Diff(want, got.Total); d != "" {
		t.Error(d)
	}
	want = report.SheetDay{Day: "2026-11-23", Requested: 15, Delivered: 15, Jobs: 5, Failed: 2, Outputs: 9, Pending: 3, Exits: map[string]int{"0": 3, "3": 2}}
	if d := cmp.Diff(want, got.Days[7]); d != "" {
		t.Error(d)
	}
}

func TestAFailureWithoutAnExitStatusIsNotCountedAsGood(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 1)
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		var subs []ledger.Submission
		for i, end := range []struct{ exit, signal int }{{}, {}, {0, 9}, {137, 9}, {1, 0}} {
			subs = append(subs, ledger.Submission{Key: fmt.Sprintf("pom-x%d", i), UID: "orbit/1", Stage: "reco", Epoch: 1, Slice: "run-000000", Round: 1 + i, Attempt: 1, Launch: "pom-lx", Task: 1 + i, Engine: "e",
				State: string(observed.SubmissionFailed), Exit: end.exit, Signal: end.signal, Intended: seenDay})
		}
		return l.Intend(t.Context(), []ledger.Launch{{Key: "pom-lx", Engine: "e", UID: "orbit/1", Stage: "reco", Tasks: 5, State: string(observed.LaunchOver), Intended: seenDay}}, subs)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.CampaignSheet(t.Context(), "orbit")
	if d := cmp.Diff(map[string]int{"0": 1, "1": 1, "137": 1, "signal 9": 1, report.NoExit: 2}, got.Total.Exits); err != nil || d != "" || got.Total.Failed != 5 {
		t.Errorf("%v, %d failed\n%s", err, got.Total.Failed, d)
	}
	if d := cmp.Diff([]string{"0", "1", "137", "signal 9", report.NoExit}, got.Exits); d != "" {
		t.Error(d)
	}
	if m := got.Meaning(report.NoExit); !strings.HasPrefix(m, "they failed") {
		t.Errorf("it means %q", m)
	}
}

func TestNothingIsPendingOfEarlierEpochsAndStages(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 0)
	var slices []ledger.Slice
	for _, c := range []struct {
		stage string
		epoch int
	}{{"reco", 0}, {"reco", 1}, {"reco", 2}, {"gone", 1}} {
		slices = append(slices, ledger.Slice{UID: "orbit/1", Stage: c.stage, Epoch: c.epoch, ID: "run-1", Digest: "sha256:ab", Count: 3, State: string(observed.SliceFailed), At: seenDay, Began: seenDay})
	}
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.AddSlices(t.Context(), slices) }); err != nil {
		t.Fatal(err)
	}
	got, err := s.CampaignSheet(t.Context(), "orbit")
	if err != nil || got.Total.Pending != 3 {
		t.Errorf("%d are pending, %v", got.Total.Pending, err)
	}
}

func TestEfficiencyIsOfWhatWasAskedFor(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 120)
	got, err := s.CampaignEfficiency(t.Context(), "orbit")
	if err != nil || len(got.Stages) != 2 || got.Stages[0].Stage != "reco" {
		t.Fatalf("%v\n%+v", err, got)
	}
	cpu, memory := got.Stages[0].CPU, got.Stages[0].Memory
	// Round 0 has two processors: minutes 1 to 119 of 60 each; one says nothing. Round 1 has one: 9, 19 … 119 of 60.
	if cpu.Known != 119+12 || cpu.Unknown != 1 || cpu.Bars[report.Bars-1] != 6 || cpu.Bars[0] != 11 {
		t.Errorf("processors %+v", cpu)
	}
	// Round 0 has 1GiB: eighths from 1 to 9; round 1 has 2GiB, and each used 9/8GiB.
	if memory.Known != 108+12 || memory.Unknown != 12 || memory.Bars[report.Bars-1] != 24 || memory.Bars[5] != 12+12 {
		t.Errorf("memory %+v", memory)
	}
}

func TestWhatTakesLongToCountIsNotCountedAgainAtOnce(t *testing.T) {
	var r recounted
	n := 0
	count := func() (int, error) {
		n++
		time.Sleep(200 * time.Millisecond) // it is remembered for ten times that
		return n, nil
	}
	for range 3 {
		if got, err := remember(&r, asking{of: "a"}, count); got != 1 || err != nil {
			t.Errorf("%d, %v", got, err)
		}
	}
	if got, _ := remember(&r, asking{of: "a", filter: report.SliceFilter{Page: 2}}, count); got != 2 {
		t.Errorf("of another: %d", got)
	}
	if _, err := remember(&r, asking{of: "c"}, func() (int, error) { return 0, os.ErrClosed }); err == nil {
		t.Error("an error is remembered")
	}
	r.all[asking{of: "a"}] = counted{1, time.Now().Add(-time.Second)}
	if got, _ := remember(&r, asking{of: "a"}, count); got != 3 {
		t.Errorf("later: %d", got)
	}
}

// TestAPostMortemWaitsForNoFolder that does not answer: its log is a pipe that nobody writes here, as a file system that is away is.
func TestAPostMortemWaitsForNoFolder(t *testing.T) {
	s := newTestCampaigner(t, "e")
	enterSeen(t, s, "orbit", 10)
	p, err := s.PostMortem(t.Context(), "orbit", "run-000009")
	if err != nil || len(p.Attempts) != 2 || p.Attempts[0].LogFile == "" || p.Attempts[0].End != "exit status 3" || p.Attempts[1].Asked.Memory != 2<<30 {
		t.Fatalf("%v\n%+v", err, p)
	}
	for range mostLookers { // all look where nothing answers
		s.lookers <- struct{}{}
	}
	now, err := s.PostMortemNow(t.Context(), "orbit", "reco/1/run-000009")
	if err != nil || !strings.Contains(now.Attempts[0].LogWhy, "look again") || now.Attempts[0].End != p.Attempts[0].End {
		t.Errorf("%v\n%+v", err, now)
	}
	<-s.lookers
	file := p.Attempts[0].LogFile
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("cannot open run.root\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	now, err = s.PostMortemNow(t.Context(), "orbit", "reco/1/run-000009")
	if err != nil || len(now.Attempts[0].Log) != 1 || now.Attempts[0].Log[0] != "cannot open run.root" {
		t.Errorf("%v\n%+v", err, now)
	}
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o644)); err != nil {
		t.Fatal(err)
	}
	if now, err := s.PostMortemNow(t.Context(), "orbit", "reco/1/run-000009"); err != nil || now.Attempts[0].LogWhy == "" {
		t.Errorf("%v\n%+v", err, now)
	}
	for _, name := range []string{"reco/1/none", "reco/x/run-000009", "reco/2/run-000009", "none"} {
		if _, err := s.PostMortemNow(t.Context(), "orbit", name); !errors.Is(err, serve.ErrNoSuch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkCampaignOfManySlices is what people wait for who look at a campaign of 100,000 slices, the first time.
func BenchmarkCampaignOfManySlices(b *testing.B) {
	s := newTestCampaigner(b, "e")
	enterSeen(b, s, "orbit", 100000)
	for name, see := range map[string]func() error{
		"list":       func() error { _, err := s.CampaignList(b.Context(), report.CampaignFilter{}); return err },
		"campaign":   func() error { _, err := s.CampaignNow(b.Context(), "orbit"); return err },
		"sheet":      func() error { _, err := s.Reconciler.CampaignSheet(b.Context(), "orbit"); return err },
		"efficiency": func() error { _, err := s.Reconciler.CampaignEfficiency(b.Context(), "orbit"); return err },
		"submissions": func() error {
			_, err := s.Reconciler.CampaignSubmissions(b.Context(), "orbit", report.SubmissionFilter{Page: 1000})
			return err
		},
		"slices": func() error {
			_, err := s.Reconciler.CampaignSlices(b.Context(), "orbit", report.SliceFilter{Page: 1000})
			return err
		},
		"slices by state": func() error {
			_, err := s.Reconciler.CampaignSlices(b.Context(), "orbit", report.SliceFilter{State: observed.SliceFailed, Page: 100})
			return err
		},
		"slices by text": func() error {
			_, err := s.Reconciler.CampaignSlices(b.Context(), "orbit", report.SliceFilter{Text: "0 of 3", Page: 100})
			return err
		},
		"slice": func() error { _, err := s.PostMortemNow(b.Context(), "orbit", "reco/1/run-099999"); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := see(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
