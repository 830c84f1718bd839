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
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func placed(id, scope string, lasts time.Duration) observed.Hold {
	return observed.Hold{ID: id, Scope: scope, Kind: desired.Stay, Source: observed.FromOperator, Reason: "r", By: "ann", Since: now, Until: now.Add(lasts)}
}

func ids(holds []observed.Hold) (out []string) {
	for _, h := range holds {
		out = append(out, h.ID)
	}
	return out
}

func TestHoldsAreInForceUntilTheyEnd(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rollback := placed("h-2", "site", time.Hour)
	rollback.Bad = "b"
	all := plan.Holds{
		Placed: []observed.Hold{placed("h-1", "site", 2*time.Hour), rollback},
		Stated: map[string]desired.Hold{
			"today": {Scope: "fecs.a", Reason: "r", Until: "2026-11-21"}, "tomorrow": {Scope: "site", Reason: "r", From: "2026-11-22", Until: "2026-11-22"},
		},
		// Saturday, 2026-11-21, 12:00 UTC is 13:00 in Berlin.
		Freezes: []plan.Freeze{
			{Name: "day", Scope: "site", Zone: berlin, Days: []time.Weekday{time.Saturday}, From: 8 * time.Hour, To: 14 * time.Hour},
			{Name: "other", Scope: "site", Zone: berlin, Days: []time.Weekday{time.Friday}, From: 8 * time.Hour, To: 14 * time.Hour},
		},
		Machines: []observed.Machine{{Name: "beam", Scope: "groups.g", Reason: "beam", Hold: true}, {Name: "off", Scope: "site"}},
	}
	at := func(d time.Duration, want ...string) {
		t.Helper()
		in, _ := all.InForce(now.Add(d))
		if diff := cmp.Diff(want, ids(in)); diff != "" {
			t.Errorf("in force after %v (-want +got):\n%s", d, diff)
		}
	}
	at(-48*time.Hour, "h-1", "h-2", "git.today", "machine.beam") // a clock that is put back lifts nothing
	at(0, "h-1", "h-2", "git.today", "freeze.day", "machine.beam")
	at(time.Hour, "h-1", "git.today", "machine.beam")
	at(13*time.Hour, "git.tomorrow", "machine.beam")
	all.Overrides = []observed.Override{{Hold: "machine.beam", Until: now.Add(time.Hour)}, {Hold: "h-1", Until: now}}
	at(0, "h-1", "h-2", "git.today", "freeze.day")
	all.Newer = map[string]bool{"b": true}
	at(0, "h-1", "git.today", "freeze.day")
}

func TestTheNextTurnIsWhenTheClockChangesSomething(t *testing.T) {
	all := plan.Holds{Placed: []observed.Hold{placed("h-1", "site", 3*time.Hour)}}
	turn := func(want time.Duration) {
		t.Helper()
		if _, got := all.InForce(now); got != now.Add(want) {
			t.Errorf("turns at %v, want %v", got, now.Add(want))
		}
	}
	turn(3 * time.Hour)
	all.Freezes = []plan.Freeze{{Name: "f", Scope: "site", From: 14 * time.Hour, To: 15 * time.Hour}}
	turn(2 * time.Hour)
	all.Overrides = []observed.Override{{Hold: "h-1", Until: now.Add(time.Hour)}}
	turn(time.Hour)
	all = plan.Holds{Stated: map[string]desired.Hold{"h": {Scope: "site", Reason: "r", Until: "2026-11-21"}}}
	turn(12 * time.Hour)
	if _, got := (plan.Holds{}).InForce(now); !got.IsZero() {
		t.Errorf("without holds it turns at %v", got)
	}
}

func TestFreezesFollowTheWallClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	hold := func(f plan.Freeze, at time.Time) string {
		f.Name, f.Scope = "f", "site"
		in, _ := plan.Holds{Freezes: []plan.Freeze{f}}.InForce(at)
		if len(in) == 0 {
			return ""
		}
		return in[0].Since.Format("Mon 02 15:04") + " - " + in[0].Until.Format("Mon 02 15:04")
	}
	utc := func(day, hour int) time.Time { return time.Date(2026, 10, day, hour, 0, 0, 0, time.UTC) }
	night := plan.Freeze{Zone: berlin, Days: []time.Weekday{time.Friday}, From: 22 * time.Hour, To: 6 * time.Hour}
	weekend := plan.Freeze{Zone: berlin, Days: []time.Weekday{time.Saturday, time.Sunday}}
	once := plan.Freeze{Once: true, Begin: utc(3, 0), End: utc(5, 0)}
	bounded := plan.Freeze{From: 0, To: 0, Begin: utc(3, 12), End: utc(4, 12)}
	for _, c := range []struct {
		name string
		f    plan.Freeze
		at   time.Time
		want string
	}{
		{"before midnight", night, utc(2, 21), "Fri 02 20:00 - Sat 03 04:00"}, // 2026-10-02 is a Friday, summer time
		{"after midnight", night, utc(3, 3), "Fri 02 20:00 - Sat 03 04:00"},
		{"in the evening of the next day", night, utc(3, 21), ""},
		// Summer time ends on Sunday, 2026-10-25: that weekend has an hour more.
		{"days that touch are one window", weekend, utc(24, 12), "Fri 23 22:00 - Sun 25 23:00"},
		{"its last hour", weekend, utc(25, 22), "Fri 23 22:00 - Sun 25 23:00"},
		{"Monday", weekend, utc(25, 23), ""},
		{"once", once, utc(4, 3), "Sat 03 00:00 - Mon 05 00:00"},
		{"after it", once, utc(5, 0), ""},
		{"each day within bounds", bounded, utc(4, 1), "Sat 03 12:00 - Sun 04 12:00"},
		{"out of bounds", bounded, utc(4, 12), ""},
	} {
		if got := hold(c.f, c.at); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// world is a site through its history: what each commit says of each FEC, and what is published.
type world struct {
	commits map[string]map[string]desired.FEC
	head    string
	have    observed.Root
	holds   plan.Holds
	clock   time.Time
}

func (w *world) treeOf(commit string) tree.Tree {
	versions := map[string]string{}
	for name, f := range w.commits[commit] {
		versions[name] = f.Description
	}
	return want(commit, versions).Tree
}

// want is what a pass would want, judged as the corridor does.
func (w *world) want(t *rapid.T) plan.Want {
	in, _ := w.holds.InForce(w.clock)
	current, _ := w.have.Published()
	commit := w.head
	if site := plan.SiteHolds(in); len(site) > 0 {
		commit = plan.SiteCommit(site, current.Commit)
	}
	held := plan.HeldFECs(in, current, plan.Side{Commit: current.Commit, FECs: w.commits[current.Commit]}, plan.Side{Commit: commit, FECs: w.commits[commit]})
	out := plan.Want{Commit: commit, GitTree: commit, Tree: w.treeOf(commit), Unheld: w.treeOf(commit), Keys: []string{"k"}, Head: w.head, Holds: in,
		Givens: observed.Givens{Holds: plan.Recorded(in), Held: held}, Messages: []string{"Pomona-Allow-Removal: 9 fecs"}}
	for _, h := range held {
		var err error
		if out.Tree, err = out.Tree.Keep(map[string]bool{h.FEC: true}, w.treeOf(h.Commit)); err != nil {
			t.Fatal(err)
		}
	}
	out.Site.Settings.Retention = desired.Retention{Generations: 2}
	return out
}

// TestLawsWithHolds walks random histories of commits, holds of every scope, rollbacks, overrides and clocks that jump.
func TestLawsWithHolds(t *testing.T) {
	for range 20 { // what it found last took some hundred histories
		rapid.Check(t, law)
	}
}

func law(t *rapid.T) {
	w := &world{commits: map[string]map[string]desired.FEC{}, clock: now}
	fec := rapid.SampledFrom([]string{"a", "b", "c"})
	scopes := rapid.SampledFrom([]string{"site", "fecs.a", "fecs.b", "groups.g", "groups.h", "campaigns.x"})
	number := 0
	for range rapid.IntRange(1, 30).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"commit", "commit", "hold", "lift", "rollback", "override", "beam"}).Draw(t, "step") {
		case "commit":
			w.head = fmt.Sprintf("%040d", len(w.commits)+1)
			w.commits[w.head] = map[string]desired.FEC{}
			for _, name := range rapid.SliceOfDistinct(fec, func(s string) string { return s }).Draw(t, "fecs") {
				w.commits[w.head][name] = desired.FEC{Description: rapid.SampledFrom([]string{"1.0", "1.1", "2.0"}).Draw(t, "version"),
					Groups: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"g", "h"}), func(s string) string { return s }).Draw(t, "groups")}
			}
		case "hold":
			number++
			h := placed(fmt.Sprintf("h-%d", number), scopes.Draw(t, "scope"), 0)
			current, _ := w.have.Published()
			h.Commit = current.Commit
			h.Kind, h.Since, h.Until = desired.KindFor(h.Scope), w.clock, w.clock.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "hours"))*time.Hour)
			w.holds.Placed = append(w.holds.Placed, h)
		case "lift":
			if n := len(w.holds.Placed); n > 0 {
				i := rapid.IntRange(0, n-1).Draw(t, "lifted")
				w.holds.Placed = slices.Delete(w.holds.Placed, i, i+1)
			}
		case "rollback":
			if len(w.commits) > 1 {
				number++
				h := placed(fmt.Sprintf("h-%d", number), "site", 0)
				h.Commit, h.Bad = rapid.SampledFrom(slices.Sorted(maps.Keys(w.commits))).Draw(t, "to"), w.head
				h.Since, h.Until = w.clock, w.clock.Add(100*time.Hour)
				w.holds.Placed = append(w.holds.Placed, h)
			}
		case "override":
			if n := len(w.holds.Placed); n > 0 {
				w.holds.Overrides = append(w.holds.Overrides, observed.Override{Hold: w.holds.Placed[n-1].ID, Until: w.clock.Add(50 * time.Hour)})
			}
		case "beam":
			w.holds.Machines = []observed.Machine{{Name: "beam", Scope: scopes.Draw(t, "scope"), Reason: "beam", Hold: rapid.Bool().Draw(t, "on")}}
		}
		if w.head == "" {
			continue
		}
		w.holds.Newer = map[string]bool{}
		for _, h := range w.holds.Placed {
			w.holds.Newer[h.Bad] = h.Bad < w.head
		}
		w.clock = w.clock.Add(time.Duration(rapid.IntRange(-30, 60).Draw(t, "hours")) * time.Hour)
		w.pass(t)
	}
}

// pass makes a pass and checks what must hold after it.
func (w *world) pass(t *rapid.T) {
	in, _ := w.holds.InForce(w.clock)
	before, had := w.have.Published()
	wanted := w.want(t)
	if wanted.Commit == "" {
		return // held before anything was published
	}
	p := plan.Make(wanted, w.have, w.clock)
	was := map[string]tree.IndexedFEC{}
	for _, f := range w.have.Index.FECs {
		was[f.Name] = f
	}
	w.have = publish(w.have, wanted, p)
	if again := plan.Make(w.want(t), w.have, w.clock); !again.Empty() {
		t.Fatalf("law 1: planning again yields %v, %+v, prune %+v", again.Publish, again.FECs, again.Prune)
	}
	now := map[string]tree.IndexedFEC{}
	for _, f := range w.have.Index.FECs {
		now[f.Name] = f
	}
	for _, h := range in {
		what, name := desired.SplitScope(h.Scope)
		if had && h.Kind == desired.Stay && what == desired.FECScope && was[name].Content != now[name].Content {
			t.Fatalf("%s is held by %s, and changed", name, h)
		}
		if had && h.Kind == desired.Stay && what == desired.GroupScope {
			for fec, f := range w.commits[before.Commit] {
				if slices.Contains(f.Groups, name) && was[fec].Content != now[fec].Content {
					t.Fatalf("%s of group %s is held by %s, and changed", fec, name, h)
				}
			}
		}
	}
	if site := plan.SiteHolds(in); had && len(site) > 0 && !slices.ContainsFunc(site, func(h observed.Hold) bool { return h.Bad != "" }) &&
		wanted.Commit != before.Commit {
		t.Fatalf("the site is held by %v, and went from %s to %s", site, before.Commit, wanted.Commit)
	}
	if len(plan.SiteHolds(in)) > 0 && wanted.Commit != w.head && !slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool { return b.Scope == "site" }) {
		t.Fatalf("commit %s is held back, and nothing says so: %+v", w.head, p.Blocked)
	}
	// What is not as the commit says is blocked by a hold that is named; all else is as it says.
	asked := w.treeOf(wanted.Commit)
	for _, name := range []string{"a", "b", "c"} {
		i := slices.IndexFunc(asked.Folders, func(f tree.Folder) bool { return f.Manifest.FEC == name })
		same := i < 0 && now[name].Name == "" || i >= 0 && asked.Folders[i].Content() == now[name].Content
		blocked := slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool {
			return b.Scope == "fecs."+name && len(b.Holds) > 0 && b.What != "" && strings.Contains(b.String(), b.Holds[0].Reason)
		})
		if same == blocked {
			t.Fatalf("%s is as the commit says: %v; a hold blocks it: %v", name, same, blocked)
		}
	}
	w.kept(t, p, wanted)
}

// kept checks that prune keeps what holds name, and that a generation states the holds that only an operator knows.
func (w *world) kept(t *rapid.T, p plan.Plan, wanted plan.Want) {
	current, _ := w.have.Published()
	for _, h := range current.Givens.Held {
		if newest(w.have, h.Commit) == 0 && was(h.Commit, p) {
			t.Fatalf("law 5: %s is held as of %s, and no generation of that is left", h.FEC, h.Commit)
		}
	}
	if d := cmp.Diff(ids(wanted.Givens.Holds), ids(current.Givens.Holds)); d != "" {
		t.Fatalf("the generation states other holds than are in force (-want +got):\n%s", d)
	}
}

// was says whether a commit had a generation when a plan was made.
func was(commit string, p plan.Plan) bool {
	return slices.ContainsFunc(p.Prune.Generations, func(g plan.Pruned) bool { return g.Commit == commit })
}

func newest(have observed.Root, commit string) (n int64) {
	for _, g := range have.Generations {
		if g.Commit == commit {
			n = g.Number
		}
	}
	return n
}

func TestAPlanSaysWhatIsBlockedByWhat(t *testing.T) {
	h := placed("h-1", "fecs.a", time.Hour)
	h.Reason = "[x](http://evil) @all\x1b[2J"
	p := plan.Plan{Site: "s", Commit: strings.Repeat("1", 40), Blocked: []plan.Blocked{{Scope: "fecs.a", What: "bpm 1.0 → 1.1", Holds: []observed.Hold{h}}}}
	if !p.Empty() || p.Summary() != "nothing to publish; 1 step blocked" {
		t.Errorf("a blocked step is to be done: %q", p.Summary())
	}
	var text, markdown strings.Builder
	if err := errors.Join(p.Text(&text), p.Markdown(&markdown, plan.MaxComment)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  blocked  fecs.a: bpm 1.0 → 1.1; held by h-1 of ann since 2026-11-21 12:00 UTC until 2026-11-21 13:00 UTC: "} {
		if !strings.Contains(text.String(), want) || strings.Contains(text.String(), "\x1b") {
			t.Errorf("%q holds no %q, or an escape", &text, want)
		}
	}
	if !strings.Contains(markdown.String(), "h-1 of ann") || strings.Contains(markdown.String(), "[x](http") || strings.Contains(markdown.String(), " @all") {
		t.Errorf("markdown:\n%s", &markdown)
	}
}
