package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

var passTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// passesOf are passes of a site, newest first: one in ten has an invalid commit, one in ten fails.
func passesOf(n int, word string) (out []report.Pass) {
	for i := n; i > 0; i-- {
		p := report.Pass{Pass: observed.Pass{Number: int64(i), Started: passTime.Add(time.Duration(i) * time.Hour), Ended: passTime.Add(time.Duration(i)*time.Hour + 1500*time.Millisecond),
			Wanted: fmt.Sprintf("%040x", i), Published: fmt.Sprintf("%040x", i), Generation: int64(i), Outcome: observed.Published, Did: "publish generation 2; 1 FEC changed",
			Reason: "the tree differs from generation 1", Again: int64(i % 3), Last: passTime.Add(time.Duration(i)*time.Hour + 20*time.Minute),
			Stages: []observed.Stage{{Name: "repair", Took: 12 * time.Millisecond}, {Name: "validate", Took: 300 * time.Microsecond}, {Name: "build", Took: 1200 * time.Millisecond}, {Name: "plan", Took: 5 * time.Millisecond}}},
			Author: "Ann <ann@example.org>", Subject: "newer bpm", Blocked: []plan.Blocked{}}
		told := report.PassTold{Commit: p.Wanted, Plan: viewOf(200, word)}
		switch i % 10 {
		case 3:
			p.Outcome, p.Did, p.Reason = observed.Invalid, "", "site.cue:3:7: name: misspelt\nsite.cue:9:1: unknown"
			told = report.PassTold{Commit: p.Wanted, Problems: problemsOf(word)}
		case 7:
			p.Outcome, p.Did, p.Reason = observed.Failed, "", "connect to git.example.org: refused"
			told = report.PassTold{Commit: p.Wanted, Holds: []observed.Hold{passHold(word)}, Repaired: []observed.Damage{{Path: "objects/a", What: word}}, Left: 3}
		case 5:
			told.Holds, p.Blocked = []observed.Hold{passHold(word)}, []plan.Blocked{{Scope: "fecs.a", What: word, Holds: []observed.Hold{passHold(word)}}}
		}
		p.Told = &told
		if word != "word" {
			p.Did, p.Reason, p.Author, p.Subject = word, word, word, word
		}
		out = append(out, p)
	}
	return out
}

func passHold(word string) observed.Hold {
	return observed.Hold{ID: "freeze.night", Scope: "groups.ring", Kind: desired.Stay, Source: observed.FromCalendar, Reason: word, Until: passTime}
}

func problemsOf(word string) []report.Located {
	text := []byte("package site\n\nsite: nmae: \"" + word + "\"\nfecs: {}\n")
	return []report.Located{
		report.Locate(desired.Problem{File: "site.cue", Line: 3, Column: 7, Path: "site.nmae", Text: "field not allowed: " + word, Advice: "did you mean name?"}, text),
		{Problem: desired.Problem{Text: word, Warning: true}},
	}
}

func viewOf(fecs int, word string) *plan.View {
	p := plan.Plan{Site: "ring", Commit: strings.Repeat("a", 40), Publish: &plan.Publish{Generation: observed.Generation{Number: 2}, Reasons: []string{word}},
		Refused: desired.Problems{{Text: word}}, Blocked: []plan.Blocked{{Scope: "fecs.a", What: word, Holds: []observed.Hold{passHold(word)}}},
		Shared:  []plan.Shared{{Kind: "script", Name: word, FECs: []string{word}, Groups: map[string]int{word: 1}}},
		Changes: []plan.Change{{Path: "software/" + word, What: plan.Changed, Why: []string{word}}}, Builds: []plan.Build{{What: word, Why: word, Size: 1234}},
		Campaigns: []plan.CampaignChange{{Name: word, What: plan.Added, Why: []string{word}}}, Pilots: []plan.PilotChange{{Name: word, What: plan.Added, To: "test", Why: word, Withheld: word}}, PilotsFrom: word,
		Repair: plan.Repair{Damage: []observed.Damage{{Path: word, What: word}}}, Prune: plan.Prune{Generations: []plan.Pruned{{Number: 1, Commit: word, Reason: word}}}}
	for i := range fecs {
		p.FECs = append(p.FECs, plan.FEC{Name: fmt.Sprintf("fec%05d", i), Host: word, Groups: []string{word}, What: plan.Changed, Needs: desired.Restart, Restart: []string{word}, Bytes: 1000,
			Software: []plan.Item{{Name: word, What: plan.Changed, From: "1.0.0", To: fmt.Sprintf("1.%d.0", i%3)}}})
	}
	v := p.View()
	return &v
}

func proposalsOf(n int, word string) (out []report.Proposal) {
	for i := n; i > 0; i-- {
		p := report.Proposal{Number: i, Title: word, Author: word, Address: "javascript:alert(1)", Head: fmt.Sprintf("%040x", 1000+i), Base: strings.Repeat("b", 40), Commit: strings.Repeat("c", 40),
			State: "success", Says: word, Planned: passTime, Pomona: word, Plan: viewOf(50, word), Holds: []observed.Hold{passHold(word)}}
		switch i % 4 {
		case 1:
			p.Preview = &report.ProposedPreview{Number: i, URL: "https://fecs.example.org/previews/1/", Expires: passTime}
		case 2:
			p.State, p.Plan, p.Problems, p.Left = "failure", nil, problemsOf(word), 3
		case 3:
			p.State, p.Closed, p.Preview = "pending", true, &report.ProposedPreview{None: word}
		}
		if i == 4 {
			p.Number, p.Preview = 0, &report.ProposedPreview{Number: 4, URL: "/previews/4/", Expires: passTime}
		}
		out = append(out, p)
	}
	return out
}

func passFixture(kind siteKind, seen *serve.SeenSite) []string {
	word := map[siteKind]string{siteHostile: hostile}[kind]
	if word == "" {
		word = "word"
	}
	passes, proposals := passesOf(map[siteKind]int{siteSmall: 12, siteLarge: 5000, siteHostile: 12}[kind], word), proposalsOf(map[siteKind]int{siteSmall: 4, siteLarge: 250, siteHostile: 4}[kind], word)
	seen.Passes = func(_ context.Context, outcome string, page int) (report.Passes, error) {
		out := report.Passes{Outcome: outcome, Page: page, Passes: []observed.Pass{}}
		if kind == siteHostile {
			out.Trouble = hostile
		}
		for _, p := range passes {
			if outcome != "" && p.Outcome != outcome {
				continue
			}
			if out.Of++; (out.Of-1)/report.PassesOnPage == page-1 {
				out.Passes = append(out.Passes, p.Pass)
			}
		}
		return out, nil
	}
	seen.Pass = func(_ context.Context, which string) (report.Pass, error) {
		i := slices.IndexFunc(passes, func(p report.Pass) bool { return fmt.Sprint(p.Number) == which || p.Wanted == which })
		if i < 0 {
			return report.Pass{}, serve.ErrNoSuch
		}
		return passes[i], nil
	}
	seen.Plans = func(context.Context) (report.Proposals, error) {
		return report.Proposals{Forge: kind != siteEmpty, Proposals: proposals}, nil
	}
	seen.Plan = func(_ context.Context, which string) (report.Proposal, error) {
		i := slices.IndexFunc(proposals, func(p report.Proposal) bool { return p.Number > 0 && fmt.Sprint(p.Number) == which || p.Head == which })
		if i < 0 {
			return report.Proposal{}, serve.ErrNoSuch
		}
		return proposals[i], nil
	}
	paths := []string{"passes", "passes?outcome=invalid", "passes?page=99&outcome=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "plans"}
	if kind != siteEmpty {
		paths = append(paths, "passes/1", "passes/3", "passes/5", "passes/7", "plans/1", "plans/2", "plans/3", "plans/"+proposals[len(proposals)-4].Head)
	}
	return paths
}

func TestPassesAreShown(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		path     string
		has, not []string
	}{
		{"passes", []string{"5000 passes that say something else", "page 1 of 100", `href="/ring/passes/5000"`, "repair 12 ms, validate 0.3 ms, build 1.2 s, plan 5 ms", "<title>repair 12 ms", `class="stage-build" x="`,
			"older passes", "?page=2", "1.5 s", "said again 2 times"}, []string{"newer passes", `href="/ring/passes/4950"`}},
		{"passes?page=2", []string{"newer passes", "?page=3", `href="/ring/passes/4950"`}, nil},
		{"passes?page=100", []string{"newer passes"}, []string{"older passes"}},
		{"passes?page=x", []string{"page 1 of 100"}, nil},
		{"passes?page=-3", []string{"page 1 of 100"}, nil},
		{"passes?page=99999999999999999999", []string{"page 1 of"}, nil},
		{"passes?page=999999999", []string{"There is none.", "?page=100"}, nil},
		{"passes?outcome=invalid", []string{"500 passes;", "page 1 of 10", "?outcome=invalid&amp;page=2", "<option selected>invalid</option>"}, []string{`class="outcome failed"`}},
		{"passes/1", []string{"publish generation 2", "<h2>its plan</h2>", `<a href="/ring/fecs/fec00000">fec00000</a>`, "1.23 kB", "Said again once at"}, nil},
		{"passes/3", []string{"site.cue:3:7", "did you mean name?", "<mark>n</mark>mae:", "&gt;    3  site: ", "    2  "}, []string{"its plan"}},
		{"passes/5", []string{"held by calendar", "freeze.night"}, nil},
		{"passes/7", []string{"connect to git.example.org", "objects/a", "3 more problems"}, nil},
		{"passes/" + fmt.Sprintf("%040x", 5), []string{"pass 5 "}, nil},
		{"plans", []string{"250 were looked at", `href="/ring/plans/250"`, "(closed)", "page 1 of 2"}, nil},
		{"plans?page=2", []string{"250 were looked at", `href="/ring/plans/00000000000000000000000000000000000003ec"`}, []string{`href="/ring/plans/250"`}},
		{"plans/1", []string{"what its merge would do", `href="https://fecs.example.org/previews/1/"`, "pomona.preview=1", "blast radius", "held by calendar"}, []string{"javascript:"}},
		{"plans/2", []string{"site.cue:3:7", "<mark>n</mark>mae:", `class="outcome failure"`, "3 more problems"}, []string{"what its merge would do"}},
		{"plans/3", []string{"It is closed."}, nil},
		{"plans/00000000000000000000000000000000000003ec", []string{"of a merge queue", "<code>/previews/4/</code>"}, nil},
	} {
		shown(t, s.URL+"/ring/"+c.path, 200, c.has, c.not)
	}
	for _, path := range []string{"passes/0", "passes/5001", "plans/0", "plans/251", "plans/x"} {
		if resp, _ := look(t, "GET", s.URL+"/ring/"+path); resp.StatusCode != 404 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	var p report.Pass
	if _, text := look(t, "GET", s.URL+"/ring/passes/3", "Accept", "application/json"); json.Unmarshal([]byte(text), &p) != nil || p.Number != 3 || len(p.Told.Problems) != 2 || p.Told.Problems[0].Source[2].Mark != 7 {
		t.Errorf("the JSON of a pass: %s", text)
	}
	var proposal report.Proposal
	if _, text := look(t, "GET", s.URL+"/ring/plans/1", "Accept", "application/json"); json.Unmarshal([]byte(text), &proposal) != nil || proposal.Plan.Totals.Changed != 0 || len(proposal.Plan.FECs) != 3 {
		t.Errorf("the JSON of a plan: %s", text)
	}
}
