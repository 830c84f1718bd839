package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
)

func campaignLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "l.db"))
}

func slice(id string, inputs ...string) ledger.Slice {
	return ledger.Slice{UID: "keepup/1", Stage: "reco", Epoch: 2, ID: id, Label: "run " + id, Digest: "sha256:" + id, Count: len(inputs), Inputs: inputs,
		State: "planned", At: now, Began: now}
}

func submission(id string, attempt int) ledger.Submission {
	return ledger.Submission{Key: fmt.Sprintf("pom-%s-%d", id, attempt), UID: "keepup/1", Stage: "reco", Epoch: 2, Slice: id, Attempt: attempt,
		Launch: fmt.Sprintf("pom-l%d", attempt), Task: 1, Engine: "slurm", State: "intent", Commit: "c", Intended: now}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, what string, want T, got T, err error) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%s: %v (-want +got):\n%s", what, err, d)
	}
}

func TestCampaignsAndTheirStagesReplaceTheirEarlierStates(t *testing.T) {
	l := campaignLedger(t)
	c := ledger.Campaign{UID: "keepup/1", Name: "keepup", State: "active", Digest: "sha256:d", Commit: "c", Spec: "{}", At: now, Began: now}
	s := ledger.CampaignStage{UID: c.UID, Stage: "reco", Epoch: 1, Cycle: "2026-10-01T00:00:00Z", State: "planned", Digest: "sha256:i", Inputs: 3, Commit: "c", At: now}
	other := s
	other.Cycle = ""
	for range 2 {
		check(t, l.SetCampaign(t.Context(), c), l.SetCampaignStages(t.Context(), s, other))
		c.State, c.Detail, c.Cycle, c.At = "paused", "beam", now.Add(time.Minute), now.Add(time.Hour)
		s.State, s.Detail, s.Inputs = "complete", "empty", 0
	}
	got, err := l.Campaigns(t.Context())
	same(t, "campaigns", map[string]ledger.Campaign{c.UID: c}, got, err)
	stages, err := l.CampaignStages(t.Context(), c.UID)
	same(t, "stages", []ledger.CampaignStage{other, s}, stages, err)
	if none, err := l.CampaignStages(t.Context(), "keepup/2"); len(none) != 0 || err != nil {
		t.Errorf("another run has stages %v, %v", none, err)
	}
}

func TestASliceIsPlannedOnceAndStaysAsItWasFrozen(t *testing.T) {
	l := campaignLedger(t)
	a, b := slice("a", "/data/a b.root", "https://x/ü"), slice("b")
	a.Params, a.Cycle, a.Test = map[string]string{"gain": "3", "word": "a\tb"}, "2026-10-01T00:00:00Z", true
	stage := ledger.CampaignStage{UID: a.UID, Stage: a.Stage, Epoch: 2, State: "planned", Inputs: 2, At: now}
	check(t, l.AddSlices(t.Context(), []ledger.Slice{a, b}, stage))
	again := a
	again.Label, again.Inputs, again.State = "other", []string{"/data/other"}, "complete"
	c := slice("c", "/data/c")
	check(t, l.AddSlices(t.Context(), []ledger.Slice{again, c}))
	got, there, err := l.Slice(t.Context(), a.UID, a.Stage, a.Epoch, a.ID)
	if !there {
		t.Error("it is not there")
	}
	same(t, "slice", a, got, err)
	if _, there, err := l.Slice(t.Context(), a.UID, a.Stage, 3, a.ID); there || err != nil {
		t.Errorf("another epoch has it: %v", err)
	}
	a.Inputs, b.Inputs, c.Inputs = nil, nil, nil
	all, err := l.Slices(t.Context(), a.UID, "")
	same(t, "slices", []ledger.Slice{a, b, c}, all, err)
	if none, err := l.Slices(t.Context(), a.UID, "merge"); len(none) != 0 || err != nil {
		t.Errorf("another stage has %v, %v", none, err)
	}
	stages, err := l.CampaignStages(t.Context(), a.UID)
	same(t, "stages", []ledger.CampaignStage{stage}, stages, err)
}

func TestSlicesAreEnteredAllOrNone(t *testing.T) {
	l := campaignLedger(t)
	for _, bad := range []string{"", "a\nb"} {
		if err := l.AddSlices(t.Context(), []ledger.Slice{slice("a", "/data/a"), slice("b", bad)}); err == nil || !strings.Contains(err.Error(), "slice b of reco") {
			t.Errorf("input %q: %v", bad, err)
		}
	}
	if all, err := l.Slices(t.Context(), "keepup/1", "reco"); len(all) != 0 || err != nil {
		t.Errorf("entered %v, %v", all, err)
	}
}

func TestInputsCountAsAssignedUnlessTheirSliceWasReplacedOrIsATest(t *testing.T) {
	l := campaignLedger(t)
	cancelled, test := slice("c", "3"), slice("test-1", "1")
	test.Test = true
	unwanted := slice("u", "4")
	check(t, l.AddSlices(t.Context(), []ledger.Slice{slice("a", "1", "2"), slice("b"), cancelled, unwanted, test}))
	cancelled.State, unwanted.State = "cancelled", "cancelled"
	check(t, l.AddCampaignEvidence(t.Context(), ledger.CampaignEvidence{UID: "keepup/1", Kind: "cancelled", Stage: "reco", Slice: "u", By: "ann", At: now}),
		l.Judge(t.Context(), []ledger.Slice{cancelled, unwanted}, nil))
	got := map[string][]string{}
	err := l.AssignedInputs(t.Context(), "keepup/1", "reco", 2, func(id, _ string, inputs []string) { got[id] = inputs })
	same(t, "assigned", map[string][]string{"a": {"1", "2"}, "u": {"4"}}, got, err)
}

// Who has cancelled a slice of an epoch has said nothing of the one that has its name in another.
func TestACancelledSliceIsOfItsEpoch(t *testing.T) {
	l := campaignLedger(t)
	for epoch, cancelled := range map[int]bool{2: true, 3: false} {
		s := slice("a", "1")
		s.Epoch = epoch
		check(t, l.AddSlices(t.Context(), []ledger.Slice{s}))
		s.State = "cancelled"
		check(t, l.Judge(t.Context(), []ledger.Slice{s}, nil))
		if cancelled {
			check(t, l.AddCampaignEvidence(t.Context(), ledger.CampaignEvidence{UID: s.UID, Kind: "cancelled", Stage: s.Stage, Epoch: epoch, Slice: s.ID, By: "ann", At: now}))
		}
	}
	for epoch, want := range map[int]int{2: 1, 3: 0} {
		got := 0
		err := l.AssignedInputs(t.Context(), "keepup/1", "reco", epoch, func(_, _ string, inputs []string) { got += len(inputs) })
		same(t, "assigned", want, got, err)
	}
	evidence, err := l.CampaignEvidence(t.Context(), "keepup/1")
	same(t, "epoch", 2, evidence[0].Epoch, err)
}

// What a recovery adds to a slice is its own from then on, frozen, with the state that it leads to or not at all.
func TestInputsAreAddedToASliceOnce(t *testing.T) {
	l := campaignLedger(t)
	a, b := slice("a", "1", "2"), slice("b")
	check(t, l.AddSlices(t.Context(), []ledger.Slice{a, b}))
	for i, names := range [][]string{{"3", "4"}, {"5"}} {
		a.State, a.Round, a.Digest, a.Count = "planned", i+1, fmt.Sprintf("sha256:with-%d", i+1), a.Count+len(names)
		more := ledger.AddedInputs{Slice: a, Added: "sha256:more"}
		more.Inputs = names
		check(t, l.Judge(t.Context(), []ledger.Slice{a}, nil, more))
		more.Inputs = []string{"other"}
		check(t, l.Judge(t.Context(), nil, nil, more)) // frozen
	}
	bad := ledger.AddedInputs{Slice: b}
	bad.Inputs, b.State = []string{"a\nb"}, "planned"
	bad.Round = 1
	c := b
	c.State = "complete"
	if err := l.Judge(t.Context(), []ledger.Slice{c}, nil, bad); err == nil {
		t.Error("a name has a line break")
	}
	got, _, err := l.Slice(t.Context(), a.UID, a.Stage, a.Epoch, a.ID)
	a.Inputs = []string{"1", "2", "3", "4", "5"}
	same(t, "slice", a, got, err)
	names, rounds, err := l.SliceInputsByRound(t.Context(), a.UID, a.Stage, a.Epoch, a.ID)
	same(t, "inputs", a.Inputs, names, err)
	same(t, "rounds", map[string]int{"3": 1, "4": 1, "5": 2}, rounds, err)
	var assigned []string
	err = l.AssignedInputs(t.Context(), a.UID, a.Stage, a.Epoch, func(_, _ string, inputs []string) { assigned = append(assigned, inputs...) })
	same(t, "assigned", a.Inputs, assigned, err)
	still, _, err := l.Slice(t.Context(), b.UID, b.Stage, b.Epoch, b.ID)
	same(t, "state", "planned", still.State, err)
}

func TestASliceThatHasEndedLeadsToOthersOnce(t *testing.T) {
	l := campaignLedger(t)
	a, b := slice("a", "1"), slice("b")
	check(t, l.AddSlices(t.Context(), []ledger.Slice{a, b}))
	edge := ledger.SliceEdge{UID: a.UID, Stage: a.Stage, Epoch: a.Epoch, Slice: a.ID, Dependent: "merge", At: now}
	a.State, a.Detail, a.Round, a.Tries, a.At = "complete", "3 of 3", 1, 2, now.Add(time.Hour)
	check(t, l.Judge(t.Context(), []ledger.Slice{a}, []ledger.SliceEdge{edge}))
	open, err := l.OpenSlices(t.Context(), a.UID, 10)
	same(t, "open", []ledger.Slice{b}, open, err)
	counts, err := l.SliceCounts(t.Context(), a.UID)
	same(t, "counts", map[ledger.SliceGroup]int{{Stage: "reco", Epoch: 2, State: "complete"}: 1, {Stage: "reco", Epoch: 2, State: "planned"}: 1}, counts, err)
	edges, err := l.SliceEdges(t.Context(), a.UID)
	same(t, "edges", []ledger.SliceEdge{edge}, edges, err)

	next := slice("a")
	next.Stage = "merge"
	check(t, l.TakeSliceEdges(t.Context(), now, edges, []ledger.Slice{next}))
	check(t, l.Judge(t.Context(), []ledger.Slice{a}, []ledger.SliceEdge{edge})) // judged once more, after a crash
	if edges, err := l.SliceEdges(t.Context(), a.UID); len(edges) != 0 || err != nil {
		t.Errorf("an edge comes back: %v, %v", edges, err)
	}
	late := slice("late")
	late.Stage = "merge"
	if err := l.TakeSliceEdges(t.Context(), now, edges, []ledger.Slice{late}); !errors.Is(err, ledger.ErrTakenEdge) {
		t.Errorf("taken twice: %v", err)
	}
	merged, err := l.Slices(t.Context(), a.UID, "merge")
	same(t, "what follows", []ledger.Slice{next}, merged, err)
}

func TestASliceThatEndsOnceMoreLeadsOnAgain(t *testing.T) {
	for _, before := range []string{"failed", "partial"} {
		for _, between := range [][]string{{"complete"}, {"planned", "underway", "complete"}, {"planned", before}} { // accepted, retried
			l := campaignLedger(t)
			a := slice("a", "1")
			edge := ledger.SliceEdge{UID: a.UID, Stage: a.Stage, Epoch: a.Epoch, Slice: a.ID, Dependent: "merge", At: now}
			other := edge
			other.Dependent = "fit"
			a.State = before
			check(t, l.AddSlices(t.Context(), []ledger.Slice{slice("a", "1")}), l.Judge(t.Context(), []ledger.Slice{a}, []ledger.SliceEdge{edge, other}),
				l.TakeSliceEdges(t.Context(), now, []ledger.SliceEdge{edge, other}, nil))
			for i, state := range between {
				if open, err := l.SliceEdges(t.Context(), a.UID); len(open) != 0 || err != nil {
					t.Errorf("%s, before it is %s: %v, %v", before, state, open, err)
				}
				var ends []ledger.SliceEdge
				if edge.At = now.Add(time.Hour); i == len(between)-1 {
					ends = []ledger.SliceEdge{edge}
				}
				a.State = state
				check(t, l.Judge(t.Context(), []ledger.Slice{a}, ends))
			}
			open, err := l.SliceEdges(t.Context(), a.UID)
			same(t, before+" and then "+strings.Join(between, ", "), []ledger.SliceEdge{edge}, open, err)
		}
	}
}

func TestASubmissionIsIntendedOnceAndItsHistoryOnlyGrows(t *testing.T) {
	l := campaignLedger(t)
	s, two := submission("a", 1), submission("b", 1)
	two.Task = 2
	r := ledger.Launch{Key: s.Launch, Engine: "slurm", UID: s.UID, Stage: s.Stage, Profile: "p", Tasks: 2, Commit: "c", State: "intent", Intended: now}
	check(t, l.Intend(t.Context(), []ledger.Launch{r}, []ledger.Submission{s, two}))
	third := submission("c", 2)
	other := ledger.Launch{Key: "pom-l2", Engine: "local", State: "intent", Intended: now}
	if err := l.Intend(t.Context(), []ledger.Launch{other}, []ledger.Submission{third, two}); !errors.Is(err, ledger.ErrIntended) {
		t.Errorf("intended twice: %v", err)
	}
	if _, there, err := l.Submission(t.Context(), third.Key); there || err != nil {
		t.Errorf("entered by halves: %v", err)
	}
	launches, err := l.OpenLaunches(t.Context(), "")
	same(t, "launches", []ledger.Launch{r}, launches, err)

	s.State, s.Job, s.Submitted, s.Began, s.Node, s.CPU, s.Memory = "running", "17_1", now.Add(time.Second), now.Add(2*time.Second), "n1", 3*time.Second, 1<<30
	check(t, l.SetSubmissions(t.Context(), now.Add(time.Minute), s, two))
	s.State, s.Detail, s.Exit, s.Signal, s.Ended = "failed", "killed", 137, 9, now.Add(time.Hour)
	check(t, l.SetSubmissions(t.Context(), now.Add(time.Hour), s), l.SetSubmissions(t.Context(), now.Add(2*time.Hour), s))
	got, err := l.OpenSubmissions(t.Context(), "slurm")
	same(t, "submissions", map[string][]ledger.Submission{r.Key: {s, two}}, got, err)
	events, err := l.SubmissionEvents(t.Context(), s.Key)
	same(t, "events", []ledger.SubmissionEvent{{State: "intent", At: now}, {State: "running", At: now.Add(time.Minute)}, {State: "failed", Detail: "killed", At: now.Add(time.Hour)}}, events, err)

	r.State, r.Job, r.Calls, r.Releases, r.Called, r.Submitted, r.Released = "released", "17", 1, 2, now.Add(time.Second), now.Add(2*time.Second), now.Add(3*time.Second)
	check(t, l.SetLaunches(t.Context(), r))
	launches, err = l.OpenLaunches(t.Context(), "slurm")
	same(t, "launches", []ledger.Launch{r}, launches, err)
	keys := []string{r.Key, "pom-unknown"}
	over, err := l.LaunchesOver(t.Context(), keys)
	same(t, "over", map[string]string{}, over, err)
	r.State = "over"
	check(t, l.SetLaunches(t.Context(), r))
	over, err = l.LaunchesOver(t.Context(), keys)
	same(t, "over", map[string]string{r.Key: r.UID}, over, err)
	for _, engine := range []string{"", "slurm", "local"} {
		if got, err := l.OpenSubmissions(t.Context(), engine); len(got) != 0 || err != nil {
			t.Errorf("engine %q has open %v, %v", engine, got, err)
		}
	}
	of, err := l.Submissions(t.Context(), s.UID, s.Stage, s.Epoch, "a")
	same(t, "of a slice", []ledger.Submission{s}, of, err)
	for stage, want := range map[string]int{"": 2, s.Stage: 2, "merge": 0} {
		if of, err := l.Submissions(t.Context(), s.UID, stage, s.Epoch, ""); len(of) != want || err != nil {
			t.Errorf("stage %q has %d, %v", stage, len(of), err)
		}
	}
}

func TestWhatHasEndedStaysEnded(t *testing.T) {
	l := campaignLedger(t)
	s := submission("a", 1)
	r := ledger.Launch{Key: s.Launch, Engine: "slurm", Tasks: 1, State: "intent", Intended: now}
	check(t, l.Intend(t.Context(), []ledger.Launch{r}, []ledger.Submission{s}))
	for _, end := range []string{"done", "running", "failed"} {
		s.State, r.State = end, map[bool]string{true: "over", false: "released"}[end == "done"]
		check(t, l.SetProgress(t.Context(), now, []ledger.Launch{r}, []ledger.Submission{s}))
	}
	s.State, s.Memory = "done", 7 // more is known
	check(t, l.SetSubmissions(t.Context(), now, s))
	got, _, err := l.Submission(t.Context(), s.Key)
	same(t, "submission", s, got, err)
	events, err := l.SubmissionEvents(t.Context(), s.Key)
	same(t, "events", []ledger.SubmissionEvent{{State: "intent", At: now}, {State: "done", At: now}}, events, err)
	if open, err := l.OpenLaunches(t.Context(), ""); len(open) != 0 || err != nil {
		t.Errorf("open again: %v, %v", open, err)
	}
}

func TestNoAttemptAtASliceIsThereTwice(t *testing.T) {
	l := campaignLedger(t)
	s := submission("a", 1)
	check(t, l.Intend(t.Context(), nil, []ledger.Submission{s}))
	s.Key = "pom-another"
	if err := l.Intend(t.Context(), nil, []ledger.Submission{s}); err == nil {
		t.Error("the same attempt is there under two keys")
	}
}

func TestDecisionsAboutACampaignAreKeptInOrder(t *testing.T) {
	l := campaignLedger(t)
	e := ledger.CampaignEvidence{UID: "keepup/1", Kind: "approved", Stage: "reco", Slice: "a", Digest: "sha256:d", By: "ann", Source: "signature", Reason: "fine", Commit: "c", At: now}
	second := e
	second.Kind, second.At = "cancelled", now.Add(-time.Hour)
	other := e
	other.UID = "keepup/2"
	for _, e := range []ledger.CampaignEvidence{e, other, second} {
		check(t, l.AddCampaignEvidence(t.Context(), e))
	}
	got, err := l.CampaignEvidence(t.Context(), e.UID)
	same(t, "evidence", []ledger.CampaignEvidence{e, second}, got, err)
	got, err = l.CampaignEvidenceOf(t.Context(), e.UID, "approved")
	same(t, "approvals", []ledger.CampaignEvidence{e}, got, err)
	third := second
	third.Slice = "b"
	check(t, l.AddCampaignEvidence(t.Context(), third))
	got, err = l.SliceEvidence(t.Context(), e.UID, "reco", "a")
	same(t, "of a slice", []ledger.CampaignEvidence{e, second}, got, err)
	for most, want := range map[int]int{1: 2, 2: 1, 3: 0, 4: 0} {
		got, more, err := l.LastCampaignEvidence(t.Context(), e.UID, most)
		same(t, "the last", []ledger.CampaignEvidence{e, second, third}[want:], got, err)
		same(t, "more", want, more, err)
	}
}

func TestAHundredThousandSlicesAreEnteredAtOnce(t *testing.T) {
	if testing.Short() || againstPostgres() {
		t.Skip("SKIPPED: long")
	}
	l := campaignLedger(t)
	var all []ledger.Slice
	for n := range 100_000 {
		all = append(all, slice(fmt.Sprintf("run-%d", n), fmt.Sprintf("/data/raw/2026/run%08d.root", n)))
	}
	check(t, l.AddSlices(t.Context(), all))
	counts, err := l.SliceCounts(t.Context(), "keepup/1")
	same(t, "counts", map[ledger.SliceGroup]int{{Stage: "reco", Epoch: 2, State: "planned"}: 100_000}, counts, err)
}
