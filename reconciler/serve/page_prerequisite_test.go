package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func prerequisitesOf(n int, word string) report.Prerequisites {
	out := report.Prerequisites{Commit: strings.Repeat("a", 40), Systems: []string{"debian12", "rocky9"}, All: []report.PrerequisiteShown{}}
	for i := range n {
		p := report.PrerequisiteShown{Prerequisite: plan.Prerequisite{Name: fmt.Sprintf("lib%03d", i), State: plan.PrerequisiteTested, Digest: "sha256:" + strings.Repeat("b", 64), Recommended: "1.14", Responsible: word,
			Gates: []plan.Gate{{State: plan.PrerequisiteTested, Name: plan.TrialGate("1.14", "debian12"), Verdict: plan.GatePass, Records: []string{"trial-1"}},
				{State: plan.PrerequisiteAccepted, Name: "review", Verdict: plan.GatePending, Why: word, Who: []string{word}, Do: "pomona prerequisites review lib " + word}}, Void: []string{"trial-0"}},
			Description: word, Ecosystem: "system", Purpose: "runtime", Needs: []string{"lib000"}, NeededBy: []string{word, "software bpm 1.0.0"},
			Provided: []report.PrerequisiteProvided{
				{System: "debian12", Version: "1.14", Provider: desired.FromDistro, Package: word, Verdict: plan.GatePass, Verified: "2026-11-20T10:00:00Z", Record: "trial-1"},
				{System: "rocky9", Version: "1.12", Other: true, Provider: desired.FromVendor, Package: word, Verdict: plan.GateFail, Why: word, Ended: i == 1,
					Deviation: &desired.Exception{Provider: desired.FromVendor, Reason: word, By: word, Expires: "2026-12-31"}}},
			Evidence: []report.PrerequisiteEvidence{
				{Name: "trial-1", PrerequisiteRecord: desired.PrerequisiteRecord{Kind: desired.TrialRecord, By: word, At: "2026-11-20T10:00:00Z", System: "debian12", Version: "1.14", Link: "javascript:alert(1)"}, Says: "pass", Why: word, Gates: "trial of 1.14 on debian12"},
				{Name: "trial-0", PrerequisiteRecord: desired.PrerequisiteRecord{Kind: desired.TrialRecord, By: word, At: "2026-11-19T10:00:00Z"}, Says: "fail", Void: true}}}
		switch {
		case i == 2:
			p.Provided, p.Evidence, p.Gates, p.State, p.Digest = nil, nil, nil, plan.PrerequisiteRetired, ""
		case i%3 == 0:
			p.State = plan.PrerequisiteProduction
		}
		out.All = append(out.All, p)
	}
	return out
}

func prerequisiteFixture(kind siteKind, seen *serve.SeenSite) []string {
	word := map[siteKind]string{siteHostile: hostile}[kind]
	if word == "" {
		word = "word"
	}
	all := prerequisitesOf(map[siteKind]int{siteSmall: 3, siteLarge: 500, siteHostile: 3}[kind], word)
	if kind == siteEmpty {
		all.Commit = ""
	}
	seen.Prerequisites = func(context.Context) (report.Prerequisites, error) { return all, nil }
	seen.Prerequisite = func(_ context.Context, name string) (report.PrerequisiteShown, error) {
		i := slices.IndexFunc(all.All, func(p report.PrerequisiteShown) bool { return p.Name == name })
		if i < 0 {
			return report.PrerequisiteShown{}, serve.ErrNoSuch
		}
		return all.All[i], nil
	}
	paths := []string{"prerequisites", "prerequisites?system=rocky9&state=tested", "prerequisites?page=7&q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"}
	if kind != siteEmpty {
		paths = append(paths, "prerequisites/lib000", "prerequisites/lib001", "prerequisites/lib002")
	}
	return paths
}

func TestPrerequisitesAreShown(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		path     string
		has, not []string
	}{
		{"prerequisites", []string{"500 of 500 prerequisites; page 1 of 10", `href="/ring/prerequisites/lib049"`, "debian12", "rocky9", "2026-11-20T10:00:00Z", "vendor-repo, until 2026-12-31", "<b>ended</b> with 2026-12-31", "software bpm 1.0.0",
			"review: pending", "no system provides it", "?page=2"}, []string{"lib050", "page before"}},
		{"prerequisites?page=10", []string{"page 10 of 10", "lib499", "page before"}, []string{"page after"}},
		{"prerequisites?page=99", []string{"page 10 of 10"}, nil},
		{"prerequisites?page=-1&state=production", []string{"167 of 500 prerequisites; page 1 of 4", "?page=2&amp;state=production"}, nil},
		{"prerequisites?system=rocky9", []string{"499 of 500", "<td>rocky9</td>", "<option selected>rocky9</option>"}, []string{"<td>debian12</td>"}},
		{"prerequisites?q=lib123", []string{"1 of 500"}, nil},
		{"prerequisites/lib001", []string{"lib001 1.14: tested", "Next: review", "word must:", "pomona prerequisites review lib word", `href="/ring/prerequisites/lib000"`, "something else is rendered now", "trial of 1.14 on debian12", "sha256:bbb"}, []string{"javascript:"}},
		{"prerequisites/lib002", []string{"retired", "it cannot be rendered", "There is none yet."}, []string{"Next:"}},
	} {
		shown(t, s.URL+"/ring/"+c.path, 200, c.has, c.not)
	}
	if resp, _ := look(t, "GET", s.URL+"/ring/prerequisites/none"); resp.StatusCode != 404 {
		t.Errorf("one that is not there: status %d", resp.StatusCode)
	}
	var all report.Prerequisites
	if _, text := look(t, "GET", s.URL+"/ring/prerequisites?state=retired", "Accept", "application/json"); json.Unmarshal([]byte(text), &all) != nil || len(all.All) != 1 || all.All[0].Name != "lib002" {
		t.Errorf("their JSON: %.2000s", text)
	}
}
