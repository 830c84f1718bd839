package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

// counted is a ledger with slices of two stages, two epochs and two campaigns, and attempts at some of them.
func counted(t *testing.T) *ledger.Ledger {
	t.Helper()
	l := campaignLedger(t)
	of := func(stage string, epoch int, id, state string, changed time.Duration) ledger.Slice {
		s := slice(id)
		s.Stage, s.Epoch, s.State, s.At = stage, epoch, state, now.Add(changed)
		return s
	}
	test := of("reco", 2, "test-1", "failed", 0)
	test.Test = true
	cycled := of("reco", 2, "d", "planned", 4*time.Hour)
	cycled.Cycle = "2026-10-01T00:00:00Z"
	other := of("reco", 2, "a", "planned", 0)
	other.UID = "keepup/2"
	check(t, l.AddSlices(t.Context(), []ledger.Slice{of("reco", 2, "a", "complete", time.Hour), of("reco", 2, "b", "failed", 2*time.Hour), of("reco", 2, "c", "underway", 3*time.Hour),
		cycled, of("reco", 1, "b", "cancelled", 0), of("merge", 2, "b", "late", 0), test, other}))
	var all []ledger.Submission
	for i, a := range []struct {
		stage, id, state string
		round, attempt   int
	}{{"reco", "a", "done", 0, 1}, {"reco", "b", "failed", 0, 1}, {"reco", "b", "failed", 1, 1}, {"reco", "b", "running", 0, 2}, {"reco", "c", "running", 0, 1}, {"reco", "c", "unknown", 0, 2}, {"merge", "b", "running", 0, 1}} {
		s := submission(a.id, a.attempt)
		s.Key, s.Stage, s.State, s.Round, s.Launch = fmt.Sprintf("pom-%d", i), a.stage, a.state, a.round, fmt.Sprintf("pom-l%d", i)
		if a.stage == "merge" {
			s.Engine = "local"
		}
		all = append(all, s)
	}
	foreign := submission("a", 1)
	foreign.Key, foreign.UID, foreign.Launch = "pom-other", "keepup/2", "pom-lother"
	var launches []ledger.Launch
	for _, s := range append(all, foreign) {
		launches = append(launches, ledger.Launch{Key: s.Launch, Engine: s.Engine, UID: s.UID, Stage: s.Stage, Tasks: 1, State: "released", Intended: now})
	}
	launches[0].State = "over"
	check(t, l.Intend(t.Context(), launches, append(all, foreign)))
	return l
}

func TestSubmissionsAreCountedByStageEpochAndState(t *testing.T) {
	got, err := counted(t).SubmissionCounts(t.Context(), "keepup/1")
	same(t, "counts", map[ledger.SubmissionGroup]int{{Stage: "reco", Epoch: 2, State: "done"}: 1, {Stage: "reco", Epoch: 2, State: "failed"}: 2, {Stage: "reco", Epoch: 2, State: "running"}: 2,
		{Stage: "reco", Epoch: 2, State: "unknown"}: 1, {Stage: "merge", Epoch: 2, State: "running"}: 1}, got, err)
}

func TestSlicesAreCountedByCycleWithoutTests(t *testing.T) {
	got, err := counted(t).SliceCycles(t.Context(), "keepup/1")
	same(t, "counts", map[ledger.SliceCycle]int{{Stage: "reco", Epoch: 2, State: "complete"}: 1, {Stage: "reco", Epoch: 2, State: "failed"}: 1, {Stage: "reco", Epoch: 2, State: "underway"}: 1,
		{Stage: "reco", Epoch: 2, Cycle: "2026-10-01T00:00:00Z", State: "planned"}: 1, {Stage: "reco", Epoch: 1, State: "cancelled"}: 1, {Stage: "merge", Epoch: 2, State: "late"}: 1}, got, err)
}

func TestOfSlicesThatAreNotCompleteThoseAreShownThatChangedLast(t *testing.T) {
	l := counted(t)
	for _, c := range []struct {
		most      int
		ids, keys []string
	}{
		{9, []string{"merge/2/b", "reco/1/b", "reco/2/b", "reco/2/c", "reco/2/d", "reco/2/test-1"}, []string{"merge/2/b=pom-6", "reco/2/b=pom-2", "reco/2/c=pom-5"}},
		{2, []string{"merge/2/b", "reco/2/c", "reco/2/d"}, []string{"merge/2/b=pom-6", "reco/2/c=pom-5"}},
		{0, nil, nil},
	} {
		found, err := l.IncompleteSlices(t.Context(), "keepup/1", c.most)
		same(t, fmt.Sprintf("%d slices", c.most), c.ids, placesOf(found), err)
		last, err := l.LastSubmissions(t.Context(), "keepup/1", c.most)
		var keys []string
		for k, s := range last {
			keys = append(keys, fmt.Sprintf("%s/%d/%s=%s", k.Stage, k.Epoch, k.Slice, s.Key))
		}
		if d := cmp.Diff(c.keys, keys, cmpopts.SortSlices(func(a, b string) bool { return a < b })); d != "" || err != nil {
			t.Errorf("last submissions of %d: %v %s", c.most, err, d)
		}
	}
}

// placesOf are slices as STAGE/EPOCH/ID.
func placesOf(slices []ledger.Slice) (places []string) {
	for _, s := range slices {
		places = append(places, fmt.Sprintf("%s/%d/%s", s.Stage, s.Epoch, s.ID))
	}
	return places
}

func TestSlicesAreFoundInPages(t *testing.T) {
	l := counted(t)
	for _, c := range []struct {
		f    ledger.SliceFilter
		want []string
	}{
		{ledger.SliceFilter{UID: "keepup/1", Limit: 3}, []string{"merge/2/b", "reco/1/b", "reco/2/a"}},
		{ledger.SliceFilter{UID: "keepup/1", Limit: 3, After: ledger.SliceKey{Stage: "reco", Epoch: 2, Slice: "a"}}, []string{"reco/2/b", "reco/2/c", "reco/2/d"}},
		{ledger.SliceFilter{UID: "keepup/1", Limit: 3, After: ledger.SliceKey{Stage: "reco", Epoch: 2, Slice: "d"}}, []string{"reco/2/test-1"}},
		{ledger.SliceFilter{UID: "keepup/1", Limit: 9, State: "failed"}, []string{"reco/2/b", "reco/2/test-1"}},
		{ledger.SliceFilter{UID: "keepup/1", Limit: 9, Stage: "merge"}, []string{"merge/2/b"}},
		{ledger.SliceFilter{UID: "keepup/2", Limit: 9}, []string{"reco/2/a"}},
		{ledger.SliceFilter{UID: "keepup/3", Limit: 9}, nil},
	} {
		got, err := l.FindSlices(t.Context(), c.f)
		same(t, fmt.Sprintf("%+v", c.f), c.want, placesOf(got), err)
	}
}

func TestSubmissionsAreUnwantedOnceTheirSliceHasEnded(t *testing.T) {
	l := counted(t)
	for engine, want := range map[string]map[string]bool{"slurm": {"pom-1": true, "pom-2": true, "pom-3": true}, "local": {}, "": {"pom-1": true, "pom-2": true, "pom-3": true}} {
		got, err := l.UnwantedSubmissions(t.Context(), engine)
		same(t, "of engine "+engine, want, got, err)
	}
}

func TestAttemptsAreReadOfSlicesThatHaveNotEnded(t *testing.T) {
	got, err := counted(t).OpenSlicesSubmissions(t.Context(), "keepup/1")
	var keys []string
	for _, s := range got {
		keys = append(keys, s.Key)
	}
	if d := cmp.Diff([]string{"pom-4", "pom-6", "pom-5"}, keys); err != nil || d != "" && cmp.Diff([]string{"pom-6", "pom-4", "pom-5"}, keys) != "" {
		t.Errorf("%v: %v", keys, err)
	}
}

func TestAnEdgeKnowsItsCycleAndCanBeFollowedAgain(t *testing.T) {
	l := counted(t)
	edge := func(id string, at time.Duration) ledger.SliceEdge {
		return ledger.SliceEdge{UID: "keepup/1", Stage: "reco", Epoch: 2, Slice: id, Dependent: "merge", At: now.Add(at)}
	}
	a, d := edge("a", time.Hour), edge("d", 0)
	cycled := ledger.CycledEdge{SliceEdge: d, Cycle: "2026-10-01T00:00:00Z"}
	check(t, l.Judge(t.Context(), nil, []ledger.SliceEdge{a, d}))
	got, err := l.CycledEdges(t.Context(), "keepup/1")
	same(t, "edges", []ledger.CycledEdge{cycled, {SliceEdge: a}}, got, err)
	check(t, l.TakeSliceEdges(t.Context(), now, []ledger.SliceEdge{a, d}, nil))
	got, err = l.CycledEdges(t.Context(), "keepup/1")
	same(t, "once they are taken", []ledger.CycledEdge(nil), got, err)

	b := edge("b", 2*time.Hour) // was not there
	check(t, l.RenewEdges(t.Context(), []ledger.SliceEdge{d, b}))
	got, err = l.CycledEdges(t.Context(), "keepup/1")
	same(t, "renewed", []ledger.CycledEdge{cycled, {SliceEdge: b}}, got, err)
	if got, err := l.CycledEdges(t.Context(), "keepup/2"); len(got) != 0 || err != nil {
		t.Errorf("another run: %v, %v", got, err)
	}
}
