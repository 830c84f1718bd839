package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/forge"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// slowCatalogue answers when it is told to, and with what: an empty text is an error. It has nobody wait for it who decides.
func slowCatalogue(t *testing.T, s *Campaigner) (in *desired.Input, answer func(text string)) {
	t.Helper()
	answers, over := make(chan string), make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case text := <-answers:
			if text == "" {
				http.Error(w, "broken", http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, text)
		case <-over:
		}
	}))
	t.Cleanup(func() { close(over); s.reads.all.Wait(); web.Close() })
	s.reads.patience = 0
	return &desired.Input{HTTP: &desired.Catalogue{URL: web.URL, Items: "x", Name: "y"}}, func(text string) {
		answers <- text
		<-s.stirred // it was read
	}
}

// A catalogue that hangs stops nothing else: it is waited for once, however many slices want to know.
func TestATransferWhoseCatalogueHangsStopsNobody(t *testing.T) {
	s, of := judging(t, nil)
	in, _ := slowCatalogue(t, s)
	s.reads.patience = patientRead
	of.spec.Stages["m"] = desired.Stage{Type: desired.TransferStage, Needs: map[string]desired.Need{"a": {}}, Input: in}
	var all []ledger.Slice
	for i := range 300 {
		all = append(all, ledger.Slice{UID: of.uid, Stage: "m", Epoch: 1, ID: fmt.Sprint("s", i), State: string(observed.SliceVerifying), At: judgedAt, Began: judgedAt})
	}
	if err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error { return l.AddSlices(t.Context(), all) }); err != nil {
		t.Fatal(err)
	}
	now, err := s.look(t.Context(), of)
	if err != nil || len(now.open) < 2 {
		t.Fatal(len(now.open), err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Duration(len(now.open)/4)*patientRead) // waiting for each takes four times that
	defer stop()
	troubles, err := s.judgeSlices(ctx, &now)
	if err != nil || ctx.Err() != nil || !errors.Is(troubles["m"], errReading) || s.reads.patience != 0 {
		t.Errorf("%v, %v, %v, patience %s", err, ctx.Err(), troubles, s.reads.patience)
	}
}

// While a dataset is read its stage waits, and nobody is told that the campaign is held: only if it cannot be read, and until it could.
func TestADatasetThatIsBeingReadHoldsNoCampaign(t *testing.T) {
	s, of := judging(t, nil)
	clock := judgedAt
	s.Now = func() time.Time { return clock }
	in, answer := slowCatalogue(t, s)
	in.Live = true
	of.wanted, of.row.Cycle = true, judgedAt
	of.spec.Stages = map[string]desired.Stage{"a": {Job: of.spec.Stages["a"].Job, Split: &desired.Split{Type: desired.DrainSplit, N: 1}, Input: in}}
	held := func(want, why string) {
		t.Helper()
		clock = clock.Add(time.Minute)
		if _, err := s.tend(t.Context(), siteNow{commit: "0123456789abcdef"}, of); err != nil {
			t.Fatal(err)
		}
		now, err := s.going(t.Context())
		lines := strings.Join(heldCampaigns(now), "\n")
		if err != nil || (want == "") != (lines == "") || !strings.Contains(lines, want) {
			t.Errorf("held: %q, want %q, %v", lines, want, err)
		}
		if got := s.told.plans[of.uid].Whys["a"]; !strings.Contains(got, why) {
			t.Errorf("the stage says %q, want %q", got, why)
		}
	}
	held("", "is being read")
	answer("")
	held("500", "500")
	s.readAnew()
	held("500", "500") // it is being read once more
	answer(`{"x": []}`)
	held("", "empty")
}

// readAnew has nobody take for new what was read.
func (s *Campaigner) readAnew() {
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()
	clear(s.reads.running)
}

// Nor is a campaign held whose transfer looks what has arrived.
func TestATransferThatLooksHoldsNoCampaign(t *testing.T) {
	s, of := judging(t, nil)
	in, answer := slowCatalogue(t, s)
	of.wanted, of.row.Cycle = true, judgedAt
	of.spec.Stages["m"] = desired.Stage{Type: desired.TransferStage, Needs: map[string]desired.Need{"a": {}}, Input: in}
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		return l.AddSlices(t.Context(), []ledger.Slice{{UID: of.uid, Stage: "m", Epoch: 1, ID: "s", State: string(observed.SliceVerifying), At: s.Now(), Began: s.Now()}})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"is being read", "500"} {
		if _, err := s.tend(t.Context(), siteNow{commit: "0123456789abcdef"}, of); err != nil {
			t.Fatal(err)
		}
		now, err := s.going(t.Context())
		if lines := heldCampaigns(now); err != nil || (len(lines) > 0) != (want == "500") {
			t.Errorf("held: %q, %v", lines, err)
		}
		if got := s.told.plans[of.uid].Whys["m"]; !strings.Contains(got, want) {
			t.Errorf("the stage says %q, want %q", got, want)
		}
		if want != "500" {
			answer("")
		}
	}
}

// However seldom a dataset is asked, what was read long ago is not what there is; and however often slices want it anew, it is not read all the time.
func TestHowLongWhatWasReadIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := readings{running: map[string]*reading{}}
		fails := false
		read := func(again time.Duration, since time.Time) (anew bool) {
			one, began := r.of("x", again, since, func(context.Context) ([]observed.Input, error) {
				if fails {
					return nil, errReading
				}
				return nil, nil
			}, func() {})
			<-one.done
			return began
		}
		for i, c := range []struct {
			after  time.Duration
			again  time.Duration
			wanted bool // anew
			fails  bool
			want   bool
		}{
			{again: 6 * time.Hour, want: true},
			{after: 29 * time.Second, again: 6 * time.Hour},
			{after: 2 * time.Second, again: 6 * time.Hour, want: true},
			{after: 9 * time.Second, again: time.Minute, wanted: true},
			{after: 2 * time.Second, again: time.Minute, wanted: true, want: true},
			{after: 9 * time.Second, again: time.Minute, wanted: true},
			{after: 22 * time.Second, again: time.Minute, fails: true, want: true},
			{after: 7 * time.Second, again: 6 * time.Hour},
			{after: time.Second, again: 6 * time.Hour, want: true},
			{after: 2 * time.Second, again: 2 * time.Second, want: true}, // it is to be asked that often
		} {
			time.Sleep(c.after)
			var since time.Time
			if c.wanted {
				since = time.Now()
			}
			fails = c.fails
			if got := read(c.again, since); got != c.want {
				t.Errorf("%d: read anew %v, want %v", i, got, c.want)
			}
		}
		r.all.Wait()
	})
}

// A start that replaces others cancels them when it can begin itself, and not before; what was missed until then is said once.
func TestAStartReplacesOthersOnceItsInputsCanBeRead(t *testing.T) {
	s, of := judging(t, nil)
	clock := judgedAt.Add(-10 * time.Second)
	s.Now = func() time.Time { return clock }
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	in, answer := slowCatalogue(t, s)
	of.wanted, of.row.Cycle = true, judgedAt.Add(-2*time.Minute)
	of.spec.Schedule = &desired.Schedule{Cron: "* * * * *", Concurrency: "replace"} // of the starts at 11:59 and 12:00 one is missed
	of.spec.Stages = map[string]desired.Stage{"a": {Job: of.spec.Stages["a"].Job, Split: &desired.Split{Type: desired.FilesSplit, N: 1}, Input: in}, "b": {Job: of.spec.Stages["a"].Job}}
	old := plan.CycleOf(of.row.Cycle)
	err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		return errors.Join(l.SetCampaign(t.Context(), of.row), l.AddSlices(t.Context(), []ledger.Slice{{UID: of.uid, Stage: "a", Epoch: 1, ID: "old", Cycle: old,
			State: string(observed.SliceUnderway), At: judgedAt, Began: judgedAt}}, ledger.CampaignStage{UID: of.uid, Stage: "a", Epoch: 1, Cycle: old, State: plan.StageUnderway, At: judgedAt},
			ledger.CampaignStage{UID: of.uid, Stage: "b", Epoch: 1, Cycle: old, State: plan.StageUnderway, At: judgedAt}))
	})
	if err != nil {
		t.Fatal(err)
	}
	after := func(want ...string) {
		t.Helper()
		clock = clock.Add(15 * time.Second)
		if _, err := s.tend(t.Context(), siteNow{commit: "0123456789abcdef"}, of); err != nil {
			t.Fatal(err)
		}
		var got []string
		err := s.Records.Use(t.Context(), func(l *ledger.Ledger) error {
			all, err := l.Slices(t.Context(), of.uid, "")
			for _, slice := range all {
				got = append(got, slice.Stage+" "+slice.ID+" "+slice.State)
			}
			rows, err2 := l.Campaigns(t.Context())
			of.row = rows[of.uid]
			return errors.Join(err, err2)
		})
		if slices.Sort(got); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, want %q, %v", got, want, err)
		}
	}
	after("a old underway") // its dataset is being read
	answer("")
	after("a old underway")
	if why := strings.Join(s.told.why[of.uid], "\n"); !strings.Contains(why, "what it replaces goes on") || !strings.Contains(why, "500") {
		t.Errorf("it says %q", why)
	}
	s.readAnew()
	after("a old underway")
	answer(`{"x": [{"y": "f"}]}`)
	after("a 20261121t1200z.f-252f10c83610 planned", "a old cancelled", "b 20261121t1200z planned")
	if n := strings.Count(log.String(), "were missed"); n != 1 {
		t.Errorf("%d times:\n%s", n, log.String())
	}
}

// hangs is a forge that does not answer.
type hangs struct{ forge.Forge }

func (hangs) Approvers(ctx context.Context, _ string) (int, []string, error) {
	<-ctx.Done()
	return 0, nil, ctx.Err()
}

func TestAForgeThatHangsIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if _, _, err := (Approvers{Forge: hangs{}}).ask(ctx, "c0ffee"); err == nil || ctx.Err() != nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
	})
}
