package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

func init() { pageFixtures = append(pageFixtures, pilotsFixture) }

// pilotsOf are so many pilots in all states, each with as many sites, every seventh overdue.
func pilotsOf(n, sites int) report.Pilots {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	all := report.Pilots{Site: "ring", At: at, Pilots: []report.Pilot{}}
	subject := "sha256:" + strings.Repeat("ab", 32)
	for i := range n {
		name := fmt.Sprintf("cream-%03d", i)
		p := desired.Pilot{Scope: desired.PilotOfSites, Description: "the new computing element", Owner: fmt.Sprintf("owner%d@example.org", i%5), Expires: "2026-12-31", Service: "CREAM",
			Ticket: "https://tickets.example.org/1", Success: map[string]desired.Criterion{"jobs": {Description: "10,000 jobs a day"}},
			Roles: &desired.PilotRoles{Coordinator: "cora@example.org", Developer: "dev@example.org", Authoriser: "sam@example.org", Testers: []string{"tess@example.org"}},
			Records: map[string]desired.PilotRecord{
				"freeze-1": {Kind: desired.RecordFreeze, By: "cora@example.org", At: "2026-11-02T08:30:00Z", Subject: subject},
				"waiver-1": {Kind: desired.RecordWaiver, By: "cora@example.org", At: "2026-11-02T09:30:00Z", Subject: subject, Check: "docs", Reason: "they come with the next update", Expires: "2026-12-01"},
				"notes-1":  {Kind: desired.RecordNotes, By: "dev@example.org", At: "2026-11-03T08:30:00Z", Subject: subject, Text: "It is faster.", Migration: "Drain the old one."},
				"said-1":   {Kind: desired.RecordFeedback, By: "ann@example.org", At: "2026-11-04T08:30:00Z", Text: "Works here", Rating: 4},
			}}
		if i%4 == 3 {
			p.Scope, p.Service, p.Software, p.Version = desired.PilotOfFECs, "", "bpm", "1.1.0"
		}
		now := plan.PilotNow{Name: name, Scope: p.Scope, State: report.PilotStates[i%len(report.PilotStates)], Since: at.Add(-time.Hour), Due: at.Add(time.Hour), Subject: subject, Frozen: subject,
			Gates: []plan.Gate{{State: "frozen", Name: "freeze", Verdict: plan.GatePass, Records: []string{"freeze-1"}},
				{State: "deployed", Name: "participants", Verdict: plan.GatePending, Why: "not all sites run it", Who: []string{"bob@example.org"}, Do: "pomona pilot " + name + " deploy INFN installed"}},
			Waves:    []plan.PilotWave{{Wave: 1, Subject: subject, Open: true, Verdict: plan.GatePending, Why: "1 of 2 run it", SoakEnds: at}},
			Updates:  []plan.UpdateNow{{Name: "u1", Kind: "production", State: "candidate", Gates: []plan.Gate{{Name: "approval", Verdict: plan.GatePending, Why: "nobody has approved it"}}}},
			Problems: []plan.ProblemNow{{Problem: "b-17", By: "ann@example.org", Category: "configuration", Severity: "blocker", Status: "open", Text: "no proxies after a day", Opened: at}},
			Place:    tree.PilotPlace{Name: name}}
		switch {
		case now.State == plan.PilotHalted:
			now.Why = "2 of 4 failed"
		case i%7 == 2:
			now.Overdue = 76 * time.Hour
		}
		for j := range sites {
			s := plan.SiteNow{Site: fmt.Sprintf("SITE-%02d", j), Wave: 1 + j%3, Contact: "ann@example.org", Answer: "interested", State: "installed", Subject: subject, From: at, Published: plan.GatePass,
				Resources: &desired.SiteResources{Nodes: 1, Cores: 64, MemoryGiB: 256, StorageTiB: 1.5}}
			if j%5 == 4 {
				s.Answer, s.State, s.Resources, s.From = "no-answer", "none", nil, time.Time{}
			}
			now.Sites = append(now.Sites, s)
			now.Waves[0].Members = append(now.Waves[0].Members, s.Site)
		}
		told := []observed.PilotBroadcast{{Pilot: name, Kind: observed.BroadcastCall, Title: "who takes part?", Text: "Please answer.", At: at}}
		all.Pilots = append(all.Pilots, report.OfPilot(now, p, plan.PilotFacts{Proofs: map[string]observed.Proof{"freeze-1": {By: "cora@example.org", Source: "signature of commit 0123456789ab"}},
			Doubts: map[string]string{"said-1": "its commit is not signed"}}, told))
	}
	return all
}

func pilotsFixture(kind siteKind, seen *serve.SeenSite) []string {
	all := pilotsOf(map[siteKind]int{siteSmall: 24, siteLarge: 200}[kind], map[siteKind]int{siteSmall: 5, siteLarge: 50}[kind])
	if kind == siteHostile {
		all = hostilePilots(hostile)
	}
	seen.Pilots = func(context.Context) (report.Pilots, error) { return all, nil }
	switch kind {
	case siteEmpty:
		return []string{"pilots", "pilots?state=called"}
	case siteHostile:
		return []string{"pilots", "pilots?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "pilots/cream"}
	}
	return []string{"pilots", "pilots?state=look", "pilots?state=called&owner=owner1@example.org", "pilots/cream-006", "pilots/cream-003"}
}

func TestPilotPages(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		path       string
		status     int
		has, lacks []string
	}{
		{"pilots", 200, []string{"24 of 24 pilots", "requested <small>2</small>", "closed <small>2</small>", "39 days left", "! overdue for 3 days", "! halted: 2 of 4 failed",
			"<code>pomona pilot cream-006 deploy INFN installed</code>", `href="/ring/pilots/cream-000"`}, nil},
		{"pilots?state=called", 200, []string{"2 of 24 pilots", "cream-005", "cream-017"}, []string{"cream-006", "<h2>closed"}},
		{"pilots?state=look", 200, []string{"4 of 24 pilots", "cream-002", "cream-008"}, []string{"cream-001"}},
		{"pilots?owner=owner1@example.org", 200, []string{"5 of 24 pilots", "cream-001"}, []string{"cream-002"}},
		{"pilots?q=bpm", 200, []string{"6 of 24 pilots", "cream-003"}, []string{"cream-002"}},
		{"pilots/cream-006", 200, []string{"pilot cream-006: deployed", "39 days left", "<pre><code>pomona pilot cream-006 deploy INFN installed</code></pre>", "✗ pending", "✓ pass", "signature of commit 0123456789ab, of cora@example.org",
			"✗ no: its commit is not signed", "they come with the next update", "4 nodes, 256 cores, 1024 GiB of memory and 6 TiB of storage", "b-17", "It is faster.", "Drain the old one.", "Please answer.", "u1", "Works here", "SITE-04"}, nil},
		{"pilots/cream-003", 200, []string{`<a href="/ring/software/bpm/1.1.0">bpm 1.1.0</a>`}, nil},
		{"pilots/cream-011", 200, []string{"pilot cream-011: closed", "2026-12-31"}, []string{"days left"}},
		{"pilots/none", 404, nil, nil},
	} {
		shown(t, s.URL+"/ring/"+c.path, c.status, c.has, c.lacks)
	}
	var p report.Pilot
	if _, text := look(t, "GET", s.URL+"/ring/pilots/cream-006", "Accept", "application/json"); json.Unmarshal([]byte(text), &p) != nil || len(p.Sites) != 5 || p.Name != "cream-006" {
		t.Errorf("%s", text)
	}
	var all report.Pilots
	if _, text := look(t, "GET", s.URL+"/ring/pilots?state=halted", "Accept", "application/json"); json.Unmarshal([]byte(text), &all) != nil || len(all.Pilots) != 2 {
		t.Errorf("%s", text)
	}
}

// TestABoardShowsFewOfEachState, and leads to the others.
func TestABoardShowsFewOfEachState(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	_, text := look(t, "GET", s.URL+"/ring/pilots")
	if n := strings.Count(text, `<h3><a href="/ring/pilots/`); n != 12*12 || !strings.Contains(text, `<a href="?state=called">5 more that are called</a>`) {
		t.Errorf("%d cards:\n%.3000s", n, text)
	}
	if _, text = look(t, "GET", s.URL+"/ring/pilots?state=called"); strings.Count(text, `<h3><a href="/ring/pilots/`) != 17 {
		t.Errorf("%.3000s", text)
	}
}

func TestHowLongAPilotMayGoOn(t *testing.T) {
	for now, want := range map[string]string{"2026-12-31T23:59:00Z": "its last day is today", "2026-12-30T00:00:00Z": "1 day left", "2027-01-01T00:00:00Z": "its last day is over", "2026-12-01T12:00:00Z": "30 days left"} {
		all := pilotsOf(1, 1)
		all.At, _ = time.Parse(time.RFC3339, now)
		s := looking(t, &serve.SeenSite{Pilots: func(context.Context) (report.Pilots, error) { return all, nil }}, nil)
		shown(t, s.URL+"/ring/pilots/cream-000", 200, []string{"2026-12-31: " + want}, nil)
	}
}

func BenchmarkPilotPages(b *testing.B) {
	all := pilotsOf(200, 50)
	seen := &serve.SeenSite{Pilots: func(context.Context) (report.Pilots, error) { return all, nil }}
	measure(b, seen, "pilots", "pilots/cream-006")
}

// TestWhatIsRememberedIsForgottenBeforeAnybodyIsTold: else whoever asks again would see it.
func TestWhatIsRememberedIsForgottenBeforeAnybodyIsTold(t *testing.T) {
	forgotten := 0
	c := serve.Changes{Before: func() { forgotten++ }}
	if c.Tell(); forgotten != 1 {
		t.Errorf("forgotten %d times", forgotten)
	}
}
