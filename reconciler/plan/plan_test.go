package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func digest(s string) artifact.Digest { return artifact.Sum([]byte(s)) }

// want is a commit whose FECs run the given versions of one software.
func want(commit string, versions map[string]string) plan.Want {
	t := tree.Tree{Site: "test", Channel: "production", Life: 90 * 24 * 60}
	for _, fec := range slices.Sorted(maps.Keys(versions)) {
		t.Folders = append(t.Folders, tree.Folder{Path: "fecs/" + fec, Manifest: &tree.Manifest{
			Site: "test", Channel: "production", FEC: fec, Host: fec, Platform: "ppc",
			Software: []tree.Item{{Name: "bpm", Version: versions[fec], Object: tree.Object{Format: artifact.Gzip, Digest: digest(versions[fec])}, Install: "/opt/bpm", Start: true}},
		}})
	}
	return plan.Want{Commit: commit, GitTree: commit, Tree: t, Keys: []string{"k"}, Givens: observed.Givens{}}
}

// publish is the root after a plan has been carried out: what publish and prune promise.
func publish(have observed.Root, w plan.Want, p plan.Plan) observed.Root {
	out := observed.Root{Current: have.Current, Index: have.Index, Commits: maps.Clone(have.Commits)}
	if out.Commits == nil {
		out.Commits = map[string]int64{}
	}
	all := slices.Clone(have.Generations)
	if p.Publish != nil {
		g := p.Publish.Generation
		all = append(all, g)
		out.Current = g.Number
		out.Commits[g.Commit] = g.Number
		out.Index = tree.Index{Generation: g.Number, Commit: g.Commit, Tree: g.Tree}
		for _, f := range w.Tree.Folders {
			s := p.Publish.Seals[f.Manifest.FEC]
			out.Index.FECs = append(out.Index.FECs, tree.IndexedFEC{
				Name: f.Manifest.FEC, Content: f.Content(), Folder: digest(fmt.Sprint(f.Manifest.FEC, s)), Serial: s.Serial, Expires: s.Expires,
			})
		}
	}
	for _, g := range all {
		if slices.Contains(p.Prune.Kept(), g.Number) {
			out.Generations = append(out.Generations, g)
		}
	}
	for _, c := range p.Prune.Commits {
		delete(out.Commits, c)
	}
	return out
}

// TestLaws walks random histories: commits, clocks that jump, interrupted passes.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have := observed.Root{}
		clock := now
		serials := map[string]int64{}
		for range rapid.IntRange(1, 30).Draw(t, "passes") {
			clock = clock.Add(time.Duration(rapid.IntRange(-30, 2000).Draw(t, "hours")) * time.Hour)
			w := want(fmt.Sprintf("%040d", rapid.IntRange(1, 5).Draw(t, "commit")), rapid.MapOfN(
				rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"1.0", "1.1"}), 0, 3).Draw(t, "versions"))
			w.Site.Settings.Retention = desired.Retention{Generations: rapid.IntRange(2, 4).Draw(t, "keep")}
			w.Messages = []string{"Pomona-Allow-Removal: 3 fecs"}
			before := have.Current
			p := plan.Make(w, have, clock)
			have = publish(have, w, p)
			if again := plan.Make(w, have, clock); !again.Empty() {
				t.Fatalf("law 1: planning again yields %+v, prune %+v", again.Publish, again.Prune)
			}
			kept := p.Prune.Kept()
			if !slices.Contains(kept, have.Current) {
				t.Fatalf("law 5: the current generation %d is pruned: %v", have.Current, kept)
			}
			if before != 0 && before != have.Current && !slices.Contains(kept, before) {
				t.Fatalf("law 5: the previous generation %d is pruned: %v", before, kept)
			}
			for _, g := range p.Prune.Generations {
				if g.Reason == "" {
					t.Fatalf("no reason for generation %d", g.Number)
				}
			}
			for _, f := range have.Index.FECs {
				key := f.Name + f.Content.String()
				if f.Serial < serials[f.Name] {
					t.Fatalf("%s: serial falls from %d to %d", f.Name, serials[f.Name], f.Serial)
				}
				serials[f.Name] = f.Serial // also while the FEC is away
				if f.Expires < clock.Unix()/60+w.Tree.Life/3 && f.Expires-clock.Unix()/60 <= w.Tree.Life/3 {
					t.Fatalf("%s: expires in %d minutes", key, f.Expires-clock.Unix()/60)
				}
			}
			if current, ok := have.Published(); ok && have.Commits[current.Commit] != have.Current {
				t.Fatalf("by-commit/%s → %d, and %d is current", current.Commit, have.Commits[current.Commit], have.Current)
			}
			for c, n := range have.Commits {
				if !slices.ContainsFunc(have.Generations, func(g observed.Generation) bool { return g.Number == n }) {
					t.Fatalf("by-commit/%s → %d dangles", c, n)
				}
			}
		}
	})
}

func generations(ages ...time.Duration) (out []observed.Generation) {
	for i, age := range ages {
		out = append(out, observed.Generation{Number: int64(i + 1), Commit: fmt.Sprintf("%040d", i+1), Published: now.Add(-age), Keys: []string{"k"}})
	}
	return out
}

func TestEachGenerationHasItsReason(t *testing.T) {
	hour, day := time.Hour, 24*time.Hour
	have := observed.Root{Current: 6, Generations: generations(90*day, 80*day, 10*hour, 5*hour, 2*hour, hour, 0)}
	w := want(have.Generations[5].Commit, nil)
	have.Generations[5].Tree = w.Tree.Digest()
	w.Site.Settings.Retention = desired.Retention{Generations: 3}
	p := plan.Make(w, have, now)
	if p.Publish != nil {
		t.Fatalf("publishes %v", p.Publish.Reasons)
	}
	var got []string
	for _, g := range p.Prune.Generations {
		got = append(got, fmt.Sprintf("%d %v %s", g.Number, g.Keep, g.Reason))
	}
	wanted := []string{
		"1 false older than the 3 newest", // superseded 80 days ago
		"2 true superseded 10h0m0s ago, grace is 24h0m0s",
		"3 true superseded 5h0m0s ago, grace is 24h0m0s",
		"4 true one of the 3 newest",
		"5 true previous",
		"6 true current",
		"7 false left by an interrupted pass, never published",
	}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("fates (-want +got):\n%s", d)
	}
}

func TestNumbersOrderGenerationsNeverTimes(t *testing.T) {
	day := 24 * time.Hour
	// The clock stood wrong when 1 was published: it looks newest.
	have := observed.Root{Current: 3, Generations: generations(-400*day, 90*day, 80*day)}
	w := want(have.Generations[2].Commit, nil)
	have.Generations[2].Tree = w.Tree.Digest()
	w.Site.Settings.Retention = desired.Retention{Generations: 2}
	p := plan.Make(w, have, now)
	if d := cmp.Diff([]int64{1}, p.Prune.Remove()); d != "" {
		t.Errorf("removes (-want +got):\n%s", d)
	}
}

func TestSweepKeepsWhatIsReachableOrYoung(t *testing.T) {
	old, young := now.Add(-25*time.Hour), now.Add(-23*time.Hour)
	all := []observed.Object{{Digest: digest("reached"), Written: old}, {Digest: digest("young"), Written: young}, {Digest: digest("gone"), Written: old}}
	got, due := plan.Sweep(all, map[artifact.Digest]bool{digest("reached"): true}, plan.Grace(24*time.Hour), now)
	if len(got) != 1 || got[0].Digest != digest("gone") {
		t.Errorf("sweeps %v", got)
	}
	if again := now.Add(time.Hour + time.Second); due != again {
		t.Errorf("next sweep is due at %v, want %v", due, again)
	}
	if got, due := plan.Sweep(all[:1], map[artifact.Digest]bool{digest("reached"): true}, 0, now); len(got) > 0 || !due.IsZero() {
		t.Errorf("sweeps %v, next due at %v, although all is reached", got, due)
	}
}

func TestASweepIsDueWhenSomethingIsOldEnough(t *testing.T) {
	have := observed.Root{Current: 1, Generations: generations(0), SweepDue: now}
	w := want(have.Generations[0].Commit, nil)
	have.Generations[0].Tree = w.Tree.Digest()
	if p := plan.Make(w, have, now.Add(-time.Second)); !p.Empty() {
		t.Errorf("sweeps early: %+v", p.Prune)
	}
	if p := plan.Make(w, have, now); !p.Prune.Sweep {
		t.Error("does not sweep")
	}
}

func TestOnlyPermissionsThatMatterAreGivens(t *testing.T) {
	start := true
	s := desired.Site{
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{"1.0.0": {}, "dev": {}}}},
		FECs: map[string]desired.FEC{"a": {Software: map[string]desired.Pin{"bpm": {Version: "1.0.0", Start: &start, Until: "2026-01-01"}}},
			"b": {Software: map[string]desired.Pin{"bpm": {Version: "dev", Start: &start, Until: "2026-01-01"}}},
			"c": {Software: map[string]desired.Pin{"bpm": {Version: "dev", Until: "2026-01-01"}}}},
	}
	if d := cmp.Diff([]string{"fecs.b.software.bpm.start"}, plan.Expired(s, now)); d != "" {
		t.Errorf("givens (-want +got):\n%s", d)
	}
}

func TestRetainGivesAReasonForEachRelease(t *testing.T) {
	release := desired.Release{}
	s := desired.Site{
		Software: map[string]desired.Software{"bpm": {Versions: map[string]desired.Release{
			"1.0.0": release, "1.1.0": release, "1.2.0": release, "1.10.0": release, "2.0.0": release, "dev": release,
		}}},
		FECs: map[string]desired.FEC{"a": {Software: map[string]desired.Pin{"bpm": {Version: "1.0.0"}}}},
	}
	var got []string
	for _, r := range plan.Retain(s) {
		reason, _, _ := strings.Cut(r.Reason, " ")
		got = append(got, fmt.Sprintf("%s %v %s", r.Version, r.Keep, reason))
	}
	wanted := []string{"2.0.0 true one", "1.10.0 true one", "1.2.0 true one", "1.1.0 false named", "1.0.0 true named", "dev true in"}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("retained (-want +got):\n%s", d)
	}
	same, next := plan.RetainNext(s)
	if !cmp.Equal(same, plan.Retain(s)) || next[1].Version != "1.10.0" || !next[1].Keep || next[2].Version != "1.2.0" || next[2].Keep || !next[4].Keep {
		t.Errorf("after one version more: %+v", next)
	}
}

// TestAGenerationGoesAsWasForetold: neither before, nor later.
func TestAGenerationGoesAsWasForetold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := desired.Retention{Generations: rapid.IntRange(1, 4).Draw(t, "keep"), Grace: "10h"}
		began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		var have observed.Root
		add := func(at time.Time) time.Time {
			have.Current++
			have.Generations = append(have.Generations, observed.Generation{Number: have.Current, Commit: fmt.Sprint(have.Current), Published: at})
			return at
		}
		last := began
		for range rapid.IntRange(2, 6).Draw(t, "generations") {
			last = add(last.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "minutes")) * time.Minute))
		}
		n := rapid.Int64Range(1, have.Current-1).Draw(t, "number")
		more, at := plan.Leaving(r, have, n)
		goes := func(now time.Time) bool { return !plan.Fates(r, have, nil, now)[n-1].Keep }
		for ; more > 0; more-- {
			if goes(at) {
				t.Fatalf("generation %d of %d goes before %d more", n, have.Current, more)
			}
			add(last)
		}
		if goes(at.Add(-time.Second)) || !goes(at) {
			t.Fatalf("generation %d of %d does not go at %s: %+v", n, have.Current, at, plan.Fates(r, have, nil, at))
		}
	})
}
