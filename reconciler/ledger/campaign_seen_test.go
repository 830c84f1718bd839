package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

var midnight = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// seen is a ledger with slices and submissions of two days.
func seen(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := campaignLedger(t)
	var slices []ledger.Slice
	for i, s := range []struct {
		stage, id, state string
		test             bool
	}{{"reco", "a", "complete", false}, {"reco", "b", "failed", false}, {"reco", "c", "planned", false}, {"merge", "a", "planned", false}, {"reco", "test-1", "complete", true}} {
		x := slice(s.id, "1", "2")
		x.Stage, x.State, x.Test, x.Began = s.stage, s.state, s.test, midnight.Add(time.Duration(i)*10*time.Hour)
		x.Label, x.Detail = "Run 100_"+s.id, map[string]string{"failed": "exit 50%"}[s.state]
		slices = append(slices, x)
	}
	other := slice("a", "1")
	other.UID = "keepup/2"
	check(t, l.AddSlices(t.Context(), append(slices, other)))
	var subs []ledger.Submission
	var launches []ledger.Launch
	for i, c := range []struct {
		stage, id, state      string
		round, exit, signal   int
		hours, minutes, share int
		memory                int64
	}{
		{"reco", "a", "done", 0, 0, 0, 1, 60, 75, 512},
		{"reco", "b", "failed", 0, 139, 0, 2, 120, 75, 0},
		{"reco", "b", "failed", 1, 0, 9, 25, 30, 0, 700},
		{"reco", "c", "denied", 0, 75, 0, 26, 30, 5, 1},
		{"merge", "a", "running", 0, 0, 0, 27, 0, 0, 0},
	} {
		s := submission(c.id, 1)
		s.Key, s.Launch, s.Stage, s.State, s.Round, s.Exit, s.Signal, s.Inputs = fmt.Sprintf("pom-%d", i), fmt.Sprintf("pom-l%d", i), c.stage, c.state, c.round, c.exit, c.signal, 2
		s.Intended = midnight.Add(time.Duration(c.hours) * time.Hour)
		if c.minutes > 0 {
			wall := time.Duration(c.minutes) * time.Minute
			s.Began, s.Ended, s.CPU, s.Memory = s.Intended.Add(time.Minute), s.Intended.Add(time.Minute+wall), wall*time.Duration(c.share)/100, c.memory<<20
		}
		if c.state == "done" {
			s.Outputs = 3
		}
		subs, launches = append(subs, s), append(launches, ledger.Launch{Key: s.Launch, UID: s.UID, State: "released", Intended: now})
	}
	check(t, l.Intend(t.Context(), launches, subs))
	return l
}

func TestSubmissionsAreSummedUpByDayAndEnd(t *testing.T) {
	l := seen(t)
	got, err := l.SubmissionDays(t.Context(), "keepup/1")
	next := midnight.AddDate(0, 0, 1)
	same(t, "days", map[ledger.SubmissionDay]ledger.SubmissionSum{
		{Day: midnight, State: "done"}:              {Jobs: 1, Inputs: 2, Begun: 2, Outputs: 3},
		{Day: midnight, State: "failed", Exit: 139}: {Jobs: 1, Inputs: 2, Begun: 2},
		{Day: next, State: "failed", Signal: 9}:     {Jobs: 1, Inputs: 2, Begun: 2},
		{Day: next, State: "denied", Exit: 75}:      {Jobs: 1, Inputs: 2, Begun: 2},
		{Day: next, State: "running"}:               {Jobs: 1, Inputs: 2},
	}, got, err)
	slices, err := l.SliceDays(t.Context(), "keepup/1")
	same(t, "slices", map[ledger.SliceDay]int{{midnight, "reco", 2, "complete"}: 2, {midnight, "reco", 2, "failed"}: 2, {midnight, "reco", 2, "planned"}: 2, {next, "merge", 2, "planned"}: 2}, slices, err)
	if none, err := l.SubmissionDays(t.Context(), "keepup/2"); len(none) != 0 || err != nil {
		t.Errorf("another run: %v, %v", none, err)
	}
}

func TestWhatSubmissionsUsedIsCounted(t *testing.T) {
	l := seen(t)
	cpu, err := l.CPUShares(t.Context(), "keepup/1")
	same(t, "processors", map[ledger.CPUShare]int{{"reco", 0, 750}: 2, {"reco", 1, -1}: 1}, cpu, err)
	memory, err := l.MemoryUses(t.Context(), "keepup/1")
	same(t, "memory", map[ledger.MemoryUse]int{{"reco", 0, 1, 512}: 1, {"reco", 0, 1, -1}: 1, {"reco", 1, 1, 700}: 1}, memory, err)
	moved, err := l.CampaignMoved(t.Context(), "keepup/1")
	same(t, "moved", midnight.Add(27*time.Hour), moved, err)
	if moved, err := l.CampaignMoved(t.Context(), "keepup/2"); !moved.IsZero() || err != nil {
		t.Errorf("another run moved at %s, %v", moved, err)
	}
}

func TestSubmissionsOfARangeWereUnderWayInIt(t *testing.T) {
	l := seen(t)
	at := func(hours float64) time.Time { return midnight.Add(time.Duration(hours * float64(time.Hour))) }
	for _, c := range []struct {
		r    ledger.SubmissionRange
		keys []string
		all  int
	}{
		{ledger.SubmissionRange{Limit: 9}, []string{"pom-4", "pom-3", "pom-2", "pom-1", "pom-0"}, 5},
		{ledger.SubmissionRange{Limit: 2, Offset: 1}, []string{"pom-3", "pom-2"}, 5},
		{ledger.SubmissionRange{Limit: 9, Stage: "merge"}, []string{"pom-4"}, 1},
		{ledger.SubmissionRange{Limit: 9, State: "failed"}, []string{"pom-2", "pom-1"}, 2},
		{ledger.SubmissionRange{Limit: 9, From: at(2.5), Until: at(25)}, []string{"pom-1"}, 1}, // pom-0 had ended
		{ledger.SubmissionRange{Limit: 9, From: at(48)}, []string{"pom-4"}, 1},                 // it goes on
		{ledger.SubmissionRange{Limit: 9, Until: at(1)}, nil, 0},
	} {
		c.r.UID = "keepup/1"
		page, all, err := l.SubmissionsWithin(t.Context(), c.r)
		var keys []string
		for _, s := range page {
			keys = append(keys, s.Key)
		}
		if d := cmp.Diff(c.keys, keys); d != "" || all != c.all || err != nil {
			t.Errorf("%+v: %d, %v\n%s", c.r, all, err, d)
		}
	}
}

func TestSlicesAreSearched(t *testing.T) {
	l := seen(t)
	for _, c := range []struct {
		q    ledger.SliceSearch
		want []string
		all  int
	}{
		{ledger.SliceSearch{Limit: 2}, []string{"merge/2/a", "reco/2/a"}, 5},
		{ledger.SliceSearch{Limit: 2, Offset: 4}, []string{"reco/2/test-1"}, 5},
		{ledger.SliceSearch{Limit: 9, Stage: "reco", State: "complete"}, []string{"reco/2/a", "reco/2/test-1"}, 2},
		{ledger.SliceSearch{Limit: 9, Text: "RUN 100_b"}, []string{"reco/2/b"}, 1},
		{ledger.SliceSearch{Limit: 9, Text: "50%"}, []string{"reco/2/b"}, 1},
		{ledger.SliceSearch{Limit: 9, Text: "0!"}, nil, 0},
		{ledger.SliceSearch{Limit: 9, Text: "100%a"}, nil, 0},
		{ledger.SliceSearch{Limit: 9, Text: "100xa"}, nil, 0},
	} {
		c.q.UID = "keepup/1"
		page, all, err := l.SearchSlices(t.Context(), c.q)
		if d := cmp.Diff(c.want, placesOf(page)); d != "" || all != c.all || err != nil {
			t.Errorf("%+v: %d, %v\n%s", c.q, all, err, d)
		}
	}
	called, err := l.SlicesCalled(t.Context(), "keepup/1", "", "a")
	same(t, "called a", []string{"merge/2/a", "reco/2/a"}, placesOf(called), err)
	called, err = l.SlicesCalled(t.Context(), "keepup/1", "reco", "a")
	same(t, "called reco/a", []string{"reco/2/a"}, placesOf(called), err)
}
