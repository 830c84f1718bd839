package plan_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

var cutNow = time.Date(2026, 10, 10, 12, 0, 0, 0, time.UTC)

// bench is a stage whose slices are recorded, as a ledger would.
type bench struct {
	plan.StageCut
	slices   map[string]observed.Slice
	assigned map[string]int
}

func newBench(stage desired.Stage) *bench {
	b := &bench{slices: map[string]observed.Slice{}, assigned: map[string]int{}}
	b.StageCut = plan.StageCut{Now: cutNow, UID: "c/1", Name: "s", Stage: stage,
		Assigned: func(name string) bool { return b.assigned[name] > 0 },
		Known:    func(id string) bool { _, ok := b.slices[id]; return ok }}
	return b
}

// record enters slices, and returns those whose id was there.
func (b *bench) record(all []observed.Slice) (twice []string) {
	for _, s := range all {
		if _, ok := b.slices[s.ID]; ok {
			twice = append(twice, s.ID)
		}
		b.slices[s.ID] = s
		for _, name := range s.Inputs {
			b.assigned[name]++
		}
	}
	return twice
}

func dataset(s desired.Split) desired.Stage {
	return desired.Stage{Input: &desired.Input{Glob: "/x"}, Split: &s}
}

// show is each slice with its inputs, a line each.
func show(c plan.Cuts) string {
	var lines []string
	for _, s := range c.Slices {
		line := s.ID + ":"
		for _, name := range s.Inputs {
			line += " " + name
		}
		for _, p := range slices.Sorted(maps.Keys(s.Params)) {
			line += " " + p + "=" + s.Params[p]
		}
		if s.State != observed.SlicePlanned {
			line += " " + string(s.State)
		}
		lines = append(lines, line)
	}
	if len(c.Rest) > 0 {
		lines = append(lines, "rest: "+strings.Join(c.Rest, " "))
	}
	if c.Why != "" {
		lines = append(lines, c.Why)
	}
	return strings.Join(lines, "\n")
}

func named(names ...string) (all []observed.Input) {
	for _, name := range names {
		all = append(all, observed.Input{Name: name, Size: 10})
	}
	return all
}

func at(clock string) time.Time {
	t, err := time.Parse(time.RFC3339, clock)
	if err != nil {
		panic(err)
	}
	return t
}

func TestWhatFollowsANewEpochIsAnotherSlice(t *testing.T) {
	b := newBench(desired.Stage{Needs: map[string]desired.Need{"p": {}}, Split: &desired.Split{Type: desired.NoSplit}})
	for epoch, want := range []string{1: "x", 2: "epoch-2.x", 3: "epoch-3.x"} {
		b.Parent = &observed.Slice{Stage: "p", Epoch: epoch, ID: "x"}
		b.Inputs = named("/p/x")
		if got := plan.Cut(b.StageCut).Slices; epoch > 0 && (len(got) != 1 || got[0].ID != want || len(b.record(got)) > 0) {
			t.Errorf("epoch %d: %+v", epoch, got)
		}
	}
}

// What works on all outputs at once, or on none, works once more when there are those of another epoch.
func TestWhatFollowsANewEpochOfManyIsAnotherSlice(t *testing.T) {
	for name, c := range map[string]struct {
		split desired.Split
		bare  bool
		again string
	}{
		"none bare": {desired.Split{Type: desired.NoSplit}, true, "p.epoch-2"},
		"none":      {desired.Split{Type: desired.NoSplit}, false, "p.epoch-2"},
		"modulo":    {desired.Split{Type: desired.ModuloSplit, N: 1}, false, "p.epoch-2.part-0"},
		"matrix":    {desired.Split{Type: desired.MatrixSplit, Params: map[string][]desired.ParamValue{"x": {"1"}}}, true, "p.epoch-2.1"},
	} {
		b := newBench(desired.Stage{Needs: map[string]desired.Need{"p": {Join: "all"}, "q": {Join: "all"}}, Split: &c.split})
		b.Final, b.Bare = true, c.bare
		for epoch := 1; epoch <= 2; epoch++ {
			if b.Edges = []plan.Edge{{Stage: "q", Epoch: 1, Slice: "x"}, {Stage: "p", Epoch: epoch, Slice: "x"}}; !c.bare {
				b.Inputs = named(fmt.Sprintf("/p/%d", epoch))
			}
			got := plan.Cut(b.StageCut).Slices
			if len(got) != 1 || len(b.record(got)) > 0 || epoch == 2 && got[0].ID != c.again {
				t.Errorf("%s: epoch %d: %+v", name, epoch, got)
			}
			if again := plan.Cut(b.StageCut).Slices; len(again) > 0 {
				t.Errorf("%s: epoch %d comes again: %+v", name, epoch, again)
			}
		}
	}
}

// Many slices are taken some at a time; they are the same ones.
func TestSlicesThatAreTakenWhileOthersAreCut(t *testing.T) {
	b := newBench(dataset(desired.Split{Type: desired.ExistingRunsSplit}))
	b.Final = true
	for i := range 12_000 {
		b.Inputs = append(b.Inputs, observed.Input{Name: fmt.Sprintf("%06d", i), Run: int64(i)})
	}
	want := plan.Cut(b.StageCut)
	var got []observed.Slice
	b.Take = func(some []observed.Slice) error { got = append(got, some...); return nil }
	cuts := plan.Cut(b.StageCut)
	if len(cuts.Slices) > 5000 || cuts.Taken != len(got) || cuts.Why != want.Why {
		t.Errorf("%d left, %d taken of %d, %s", len(cuts.Slices), cuts.Taken, len(got), cuts.Why)
	}
	if d := cmp.Diff(want.Slices, append(got, cuts.Slices...)); d != "" {
		t.Error(d)
	}
	broken := errors.New("disk full")
	calls := 0
	b.Take = func([]observed.Slice) error { calls++; return broken }
	if cuts := plan.Cut(b.StageCut); !errors.Is(cuts.Err, broken) || cuts.Taken != 0 || calls != 1 {
		t.Errorf("%v, %d taken, %d calls", cuts.Err, cuts.Taken, calls)
	}
}

func TestASliceThatWasCancelledDoesNotComeBack(t *testing.T) {
	for name, stage := range map[string]desired.Stage{
		"files": dataset(desired.Split{Type: desired.FilesSplit, N: 2}), "runs": dataset(desired.Split{Type: desired.ExistingRunsSplit}), "list": dataset(desired.Split{Type: desired.ListSplit, Items: []string{"x"}}),
		"none": dataset(desired.Split{Type: desired.NoSplit}),
	} {
		b := newBench(stage)
		b.Final = true
		b.Inputs = []observed.Input{{Name: "a", Run: 1}, {Name: "b", Run: 1}, {Name: "c"}}
		first := plan.Cut(b.StageCut).Slices
		b.record(first)
		clear(b.assigned)
		again := plan.Cut(b.StageCut).Slices
		b.record(again)
		clear(b.assigned)
		again = append(again, plan.Cut(b.StageCut).Slices...)
		for _, s := range again {
			if slices.ContainsFunc(first, func(f observed.Slice) bool { return f.ID == s.ID }) || len(first) == 0 {
				t.Errorf("%s: %s is cut again", name, s.ID)
			}
		}
		if twice := b.record(plan.Cut(b.StageCut).Slices); len(twice) > 0 {
			t.Errorf("%s: %v are cut again", name, twice)
		}
	}
}

func TestCutOfEachSplit(t *testing.T) {
	five := named("e", "d", "c", "b", "a", "a")
	runs := []observed.Input{{Name: "a", Run: 2}, {Name: "b", Run: 1}, {Name: "c", Run: 2}, {Name: "d", Run: 9}, {Name: "e"}}
	days := []observed.Input{
		{Name: "a", Time: at("2026-10-09T21:59:59Z")}, {Name: "b", Time: at("2026-10-09T22:00:00Z")}, {Name: "c", Time: at("2026-10-10T11:45:00Z")}, {Name: "d"},
	}
	generator := desired.Stage{Type: desired.GeneratorStage}
	generates := func(s desired.Split) desired.Stage { g := generator; g.Split = &s; return g }
	live := func(s desired.Split) desired.Stage {
		return desired.Stage{Input: &desired.Input{Glob: "/x", Live: true}, Split: &s}
	}
	for name, c := range map[string]struct {
		stage  desired.Stage
		inputs []observed.Input
		final  bool
		want   string
	}{
		"none":             {dataset(desired.Split{Type: "none"}), five, true, "all: a b c d e"},
		"nothing":          {dataset(desired.Split{Type: "none"}), nil, true, "its input is empty"},
		"generator":        {generator, nil, true, "all:"},
		"list":             {generates(desired.Split{Type: "list", Items: []string{"x", "Y/z"}}), nil, true, "x: x item=x\nw-y-z-ebace1da75b3: Y/z item=Y/z"},
		"matrix":           {generates(desired.Split{Type: "matrix", Params: map[string][]desired.ParamValue{"b": {"1", "2"}, "a": {`"x"`}}}), nil, true, "x-1: a=x b=1\nx-2: a=x b=2"},
		"matrix of inputs": {dataset(desired.Split{Type: "matrix", Params: map[string][]desired.ParamValue{"b": {"true", "0.5"}}}), named("a"), true, "true: a b=true\n0.5: a b=0.5"},
		"modulo":           {dataset(desired.Split{Type: "modulo", N: 3}), five, true, "part-0: a d part=0\npart-1: b e part=1\npart-2: c part=2"},
		"modulo of few":    {dataset(desired.Split{Type: "modulo", N: 11}), named("a"), true, "part-00: a part=0"},
		"modulo of none":   {generates(desired.Split{Type: "modulo", N: 2}), nil, true, "part-0: part=0\npart-1: part=1"},
		"files":            {dataset(desired.Split{Type: "files", N: 2}), five, true, "f-7e18f737311b: a b\nf-fad9fc0826cf: c d\nf-3f79bb7b435b: e"},
		"drain":            {live(desired.Split{Type: "drain", N: 2}), five, false, "f-7e18f737311b: a b\nf-fad9fc0826cf: c d\nrest: e\n1 input waits for more: a slice is 2 inputs"},
		"merge by size":    {dataset(desired.Split{Type: "merge", Size: "25B"}), five, false, "f-ea7fb08b7a2d: a b c\nrest: d e\n2 inputs wait for more: a slice is 25B"},
		"merge by both":    {dataset(desired.Split{Type: "merge", Size: "25B", N: 2}), five, true, "f-7e18f737311b: a b\nf-fad9fc0826cf: c d\nf-3f79bb7b435b: e"},
		"sample":           {dataset(desired.Split{Type: "sample", N: 2}), five, true, "sample: a b"},
		"runs":             {dataset(desired.Split{Type: "runs", Low: 1, High: 2}), runs, true, "run-1: b run=1\nrun-2: a c run=2\nstray: e late"},
		"existing runs":    {live(desired.Split{Type: "existing-runs"}), runs, false, "run-1: b run=1\nrun-2: a c run=2\nrun-9: d run=9\nrest: e\n1 input has no run number"},
		"runs of none":     {generates(desired.Split{Type: "runs", Low: 0, High: 1}), nil, true, "run-0: run=0\nrun-1: run=1"},
		"windows": {live(desired.Split{Type: "window", Width: "1d", TimeZone: "Europe/Berlin"}), days, false,
			"2026-10-09: a from=2026-10-09T00:00:00+02:00 until=2026-10-10T00:00:00+02:00\nrest: d b c\n1 input has no time"},
		"windows of hours": {live(desired.Split{Type: "window", Width: "1h", From: "2026-10-09T21:30:00Z", Lag: "5m"}), days[:3], true,
			"20261009t213000z: a b from=2026-10-09T21:30:00Z until=2026-10-09T22:30:00Z\n1 input is of a window that is cut at 2026-10-10 12:35 UTC, when no more of it can come"},
		"windows of what does not grow": {dataset(desired.Split{Type: "window", Width: "1w"}), days[:3], true,
			"2026-10-05: a b c from=2026-10-05T00:00:00Z until=2026-10-12T00:00:00Z"},
		"window that ends": {dataset(desired.Split{Type: "window", Width: "1d", From: "2026-10-09T00:00:00Z", Until: "2026-10-10T00:00:00Z"}), days[:3], true,
			"2026-10-09: a b from=2026-10-09T00:00:00Z until=2026-10-10T00:00:00Z"},
		"tags":          {dataset(desired.Split{Type: "tags", Tags: map[string]string{"x": "*a", "y": "?"}}), append(five, named("cosmic")...), true, "x: a tag=x\ny: b c d e tag=y\nstray: cosmic late"},
		"tags for all":  {dataset(desired.Split{Type: "tags", Tags: map[string]string{"x": "a"}, CatchAll: "other"}), five, true, "other: b c d e tag=other\nx: a tag=x"},
		"external":      {dataset(desired.Split{Type: "external"}), five, false, "its slices are made by whoever uses the submission API"},
		"approval":      {desired.Stage{Type: desired.ApprovalStage, Needs: map[string]desired.Need{"p": {}}}, five, true, "all: a b c d e awaiting"},
		"transfer":      {desired.Stage{Type: desired.TransferStage, Needs: map[string]desired.Need{"p": {}}}, named("a"), true, "all: a verifying"},
		"all, and more": {desired.Stage{Needs: map[string]desired.Need{"p": {Join: "all"}}}, five, true, "all: a b c d e"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(c.stage)
			b.Inputs, b.Final = c.inputs, c.final
			got := plan.Cut(b.StageCut)
			if diff := cmp.Diff(c.want, show(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, s := range got.Slices {
				if s.Digest != plan.InputsDigest(s.Inputs, s.Params) || s.Count != len(s.Inputs) || s.Label == "" || s.UID != "c/1" || s.Stage != "s" || s.Epoch != 1 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// What follows a slice is named after it, and has its parameters.
func TestCutOfOutputsOfOneSlice(t *testing.T) {
	parent := observed.Slice{Stage: "p", ID: "20261001t0300z.run-7", Cycle: "2026-10-01T03:00:00Z", Label: "run-7", Params: map[string]string{"run": "7"}}
	b := newBench(desired.Stage{Needs: map[string]desired.Need{"p": {}}})
	b.Parent, b.Cycle, b.Inputs, b.Final = &parent, parent.Cycle, named("x", "y"), true
	if diff := cmp.Diff("20261001t0300z.run-7: x y run=7", show(plan.Cut(b.StageCut))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Cycle = "2026-10-01T03:00:00Z#2"
	b.Stage.Split = &desired.Split{Type: "files", N: 1}
	if diff := cmp.Diff("20261001t0300z.i2.run-7.f-2d711642b726: x run=7\n20261001t0300z.i2.run-7.f-a1fce4363854: y run=7", show(plan.Cut(b.StageCut))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Inputs = nil
	if got := plan.Cut(b.StageCut); len(got.Slices) > 0 {
		t.Errorf("slices of nothing: %s", show(got))
	}
	b.Bare, b.Stage.Split = true, nil
	if got := show(plan.Cut(b.StageCut)); got != "20261001t0300z.i2.run-7: run=7" {
		t.Errorf("what needs no files: %s", got)
	}
	b.Stage.Needs["q"], b.Cycle, parent.ID = desired.Need{}, "", "20261001t0300z."+strings.Repeat("long-", 20)
	if got := plan.Cut(b.StageCut).Slices[0].ID; len(got) > 63 || !strings.HasPrefix(got, "p.long-long") {
		t.Errorf("id %s", got)
	}
}

func TestCutOfTests(t *testing.T) {
	b := newBench(dataset(desired.Split{Type: "files", N: 2}))
	b.Inputs, b.Test, b.Final = named("b", "a"), "t1", true
	b.assigned["a"] = 1
	got := plan.Cut(b.StageCut)
	if show(got) != "test-t1.sample: a" || !got.Slices[0].Test {
		t.Errorf("%s", show(got))
	}
	b.Inputs = nil
	b.Stage = desired.Stage{Type: desired.GeneratorStage, Split: &desired.Split{Type: "matrix", Params: map[string][]desired.ParamValue{"seed": {"1", "2", "3"}}}, TestSplit: &desired.Split{Type: "sample", N: 2}}
	if got := show(plan.Cut(b.StageCut)); got != "test-t1.1: seed=1\ntest-t1.2: seed=2" {
		t.Errorf("%s", got)
	}
	b.Test, b.Sample = "", true
	if got := plan.Cut(b.StageCut); show(got) != "1: seed=1\n2: seed=2" || got.Slices[0].Test {
		t.Errorf("%s", show(got))
	}
}

// Days are those of the zone: in Berlin the one on which clocks are put back has 25 hours.
func TestWindowsOfDaysThatAreLongerOrShorter(t *testing.T) {
	for _, c := range []struct{ day, last, first string }{
		{"2026-10-25", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"},
		{"2026-03-29", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"},
	} {
		b := newBench(dataset(desired.Split{Type: "window", Width: "1d", TimeZone: "Europe/Berlin"}))
		b.Now, b.Final = at("2027-01-01T00:00:00Z"), true
		b.Inputs = []observed.Input{{Name: "last", Time: at(c.last)}, {Name: "next", Time: at(c.first)}}
		got := plan.Cut(b.StageCut).Slices
		if len(got) != 2 || got[0].ID != c.day || got[0].Inputs[0] != "last" {
			t.Errorf("%s: %+v", c.day, got)
		}
	}
}

// A file that comes late for its window, run or tag gets a slice of its own.
func TestWhatComesLateIsNotLost(t *testing.T) {
	b := newBench(desired.Stage{Input: &desired.Input{Glob: "/x", Live: true}, Split: &desired.Split{Type: "existing-runs"}})
	b.Inputs = []observed.Input{{Name: "a", Run: 7}}
	b.record(plan.Cut(b.StageCut).Slices)
	b.Inputs = append(b.Inputs, observed.Input{Name: "b", Run: 7})
	late := plan.Cut(b.StageCut)
	if show(late) != "run-7.f-3e23e8160039: b run=7" {
		t.Errorf("%s", show(late))
	}
	if twice := b.record(late.Slices); twice != nil {
		t.Errorf("%v come twice", twice)
	}
	if got := plan.Cut(b.StageCut); show(got) != "every input has its slice" {
		t.Errorf("%s", show(got))
	}
}

func drawSplit(t *rapid.T) desired.Split {
	n := rapid.IntRange(1, 5).Draw(t, "n")
	return rapid.SampledFrom([]desired.Split{
		{Type: "files", N: n}, {Type: "drain", N: n}, {Type: "merge", N: n}, {Type: "merge", Size: fmt.Sprintf("%dB", n*7)}, {Type: "merge", N: n, Size: "20B"},
		{Type: "existing-runs"}, {Type: "runs", Low: 0, High: 10}, {Type: "window", Width: "1d"}, {Type: "window", Width: "7h", TimeZone: "Europe/Berlin", Lag: "1h"},
		{Type: "window", Width: "1w", TimeZone: "America/Chicago", From: "2020-01-01T00:00:00Z"},
		{Type: "tags", Tags: map[string]string{"a": "a*", "b": "*b*"}}, {Type: "tags", Tags: map[string]string{"a": "a*"}, CatchAll: "rest"}, {Type: "resplit", N: n},
		{Type: "staged", Project: "p", N: n}, {Type: "none"}, {Type: "modulo", N: n},
	}).Draw(t, "split")
}

func drawInputs(t *rapid.T) []observed.Input {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) observed.Input {
		in := observed.Input{Name: rapid.StringMatching(`[abx]{1,4}`).Draw(t, "name"), Run: rapid.Int64Range(0, 4).Draw(t, "run"), Size: rapid.Int64Range(0, 9).Draw(t, "size")}
		if rapid.Bool().Draw(t, "timed") {
			in.Time = cutNow.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "hours")) * time.Hour)
		}
		return in
	}), 0, 30, func(i observed.Input) string { return i.Name }).Draw(t, "inputs")
}

func shuffled(t *rapid.T, inputs []observed.Input) []observed.Input {
	return rapid.Permutation(inputs).Draw(t, "order")
}

// Whatever the split, and however a dataset grows: each input gets into one slice, none gets into two, and when nothing is to come none is
// left. A plan that was lost, or recorded in part, comes out the same again.
func TestLawOfCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stage := dataset(drawSplit(t))
		all := drawInputs(t)
		b := newBench(stage)
		once := stage.Split.Type == "none" || stage.Split.Type == "modulo" || stage.Split.Type == "files"
		steps := rapid.IntRange(1, 4).Draw(t, "steps")
		stage.Input.Live = !once && steps > 1
		for step := range steps {
			b.Inputs = all
			if last := step == steps-1; !last && !once {
				b.Inputs = all[:rapid.IntRange(0, len(all)).Draw(t, "there")]
				b.Inputs = append(slices.Clone(b.Inputs), func() (have []observed.Input) { // what has a slice stays there
					for _, in := range all {
						if b.assigned[in.Name] > 0 {
							have = append(have, in)
						}
					}
					return have
				}()...)
			} else {
				stage.Input.Live, b.Final = false, true
			}
			b.Idle = rapid.Bool().Draw(t, "idle")
			first := plan.Cut(b.StageCut)
			b.Inputs = shuffled(t, b.Inputs)
			again := plan.Cut(b.StageCut)
			if diff := cmp.Diff(first, again); diff != "" {
				t.Fatalf("planned again, something else (-first +again):\n%s", diff)
			}
			if b.Final && !once && len(first.Slices) > 0 && rapid.Bool().Draw(t, "crash") {
				// Only some were recorded; the rest comes out as before.
				some := rapid.IntRange(0, len(first.Slices)).Draw(t, "recorded")
				b.record(first.Slices[:some])
				if rest := plan.Cut(b.StageCut); stage.Split.Type != "merge" || stage.Split.Size == "" {
					if diff := cmp.Diff(first.Slices[some:], rest.Slices); some < len(first.Slices) && diff != "" {
						t.Fatalf("after a crash (-first +again):\n%s", diff)
					}
				}
				first = plan.Cut(b.StageCut)
			}
			if twice := b.record(first.Slices); twice != nil {
				t.Fatalf("ids come twice: %v", twice)
			}
		}
		for _, in := range all {
			if n := b.assigned[in.Name]; n != 1 {
				t.Fatalf("%s is in %d slices of %s", in.Name, n, stage.Split.Type)
			}
		}
	})
}

// Ids are words that every batch system, file system and address takes.
func TestIdsOfSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfNDistinct(rapid.StringN(1, 20, 80), 1, 5, rapid.ID[string]).Draw(t, "items")
		b := newBench(desired.Stage{Type: desired.GeneratorStage, Split: &desired.Split{Type: "list", Items: items}})
		b.Cycle = rapid.SampledFrom([]string{"", "#2", "2026-10-01T03:00:00Z", "2026-10-01T03:00:00Z#12"}).Draw(t, "cycle")
		seen := map[string]bool{}
		for _, s := range plan.Cut(b.StageCut).Slices {
			if strings.Trim(s.ID, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || s.ID == "" || len(s.ID) > 63 || seen[s.ID] || strings.HasPrefix(s.ID, "test-") {
				t.Fatalf("id %q", s.ID)
			}
			seen[s.ID] = true
		}
	})
}
