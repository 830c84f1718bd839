package serve_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// fixedCampaigns are campaigns that look the same whoever asks.
type fixedCampaigns struct {
	names  []string
	slices int
	word   string // in everything that others have written
	asked  *report.SubmissionFilter
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func (f fixedCampaigns) find(name string) (string, error) {
	for _, uid := range f.names {
		if name == uid || name+"/1" == uid {
			return uid, nil
		}
	}
	return "", fmt.Errorf("campaign %s: %w", name, serve.ErrNoSuch)
}

func (f fixedCampaigns) line(uid string) report.CampaignLine {
	name, _, _ := strings.Cut(uid, "/")
	why := "engine slurm has not taken its job: " + f.word
	c := report.Campaign{Name: name, UID: uid, Wanted: "active", State: "active", Detail: f.word, Reason: "positions of autumn " + f.word, Requester: "orbit@example.org", Why: []string{why}, Since: noon,
		Digest: "sha256:ab", Commit: strings.Repeat("c", 40), Links: map[string]string{"logs": "https://logs.example.org/"}, Next: noon.Add(time.Hour),
		Decisions: []report.Decision{{Kind: "retried", Stage: "reco", Slice: "run-1", By: "ann", Reason: f.word, At: noon}},
		Stages: []report.Stage{
			{Name: "reco" + f.word, Type: "regular", Epoch: 1, State: "underway", Profile: "cheap", Engine: "slurm",
				Slices: map[observed.SliceState]int{observed.SliceComplete: f.slices / 2, observed.SliceFailed: 3}, Submissions: map[observed.SubmissionState]int{observed.SubmissionDone: f.slices}, Why: why},
			{Name: "merge", Type: "regular", Epoch: 2, Needs: []string{"reco" + f.word}, State: "waiting", Slices: map[observed.SliceState]int{}, Submissions: map[observed.SubmissionState]int{}}}}
	line := report.LineOf(c, []observed.Hold{{ID: "h-1", Scope: "campaigns", Kind: "stop", Reason: "beam " + f.word}}, noon)
	line.Cycle = &report.CampaignCycle{Cron: "0 6 * * *", TimeZone: "UTC", Last: noon}
	return line
}

func (f fixedCampaigns) CampaignList(_ context.Context, filter report.CampaignFilter) (report.CampaignList, error) {
	out := report.CampaignList{Of: len(f.names), States: map[string]int{"active": len(f.names)}, Page: filter.Page, Campaigns: []report.CampaignLine{},
		Engines: []report.Engine{{Name: "slurm", Kind: "slurm", Trouble: f.word}}, Services: []observed.Service{{Name: "sam", Why: f.word, At: noon}}}
	for _, uid := range f.names {
		if line := f.line(uid); filter.Takes(line.Campaign) {
			out.Campaigns = append(out.Campaigns, line)
		}
	}
	out.Found = len(out.Campaigns)
	out.Campaigns = out.Campaigns[min(25*(filter.Page-1), out.Found):min(25*filter.Page, out.Found)]
	return out, nil
}

func (f fixedCampaigns) CampaignNow(_ context.Context, name string) (report.CampaignLine, error) {
	uid, err := f.find(name)
	if err != nil {
		return report.CampaignLine{}, err
	}
	return f.line(uid), nil
}

func (f fixedCampaigns) CampaignSheet(_ context.Context, name string) (report.CampaignSheet, error) {
	uid, err := f.find(name)
	return report.NewSheet(uid, map[string]report.SheetDay{
		"2026-11-21": {Requested: 30, Delivered: 20, Jobs: 10, Failed: 2, Outputs: 16, Pending: 6, Exits: map[string]int{"0": 8, "139": 1, "signal 9": 1}},
		"2026-11-22": {Requested: 3, Jobs: 1, Pending: 3, Exits: map[string]int{"3": 1}}}), err
}

func (f fixedCampaigns) attempt(i int) report.Attempt {
	at := noon.Add(-time.Duration(i) * time.Minute)
	s := observed.Submission{Key: fmt.Sprintf("pom-%d", i), UID: "orbit/1", Stage: "reco", Epoch: 1, Slice: fmt.Sprintf("run-%d", i) + f.word, Attempt: 1, Engine: "slurm", Job: fmt.Sprint(i),
		Node: "n1" + f.word, State: observed.SubmissionFailed, Exit: 139, Detail: f.word, Intended: at, Began: at.Add(time.Minute), Ended: at.Add(time.Hour), Inputs: 3}
	if i%3 == 1 {
		s.State, s.Exit, s.Ended = observed.SubmissionRunning, 0, time.Time{}
	}
	return report.AttemptOf(s)
}

func (f fixedCampaigns) CampaignSubmissions(_ context.Context, name string, filter report.SubmissionFilter) (report.CampaignSubmissions, error) {
	if f.asked != nil {
		*f.asked = filter
	}
	uid, err := f.find(name)
	out := report.CampaignSubmissions{UID: uid, Stages: []string{"reco", "merge"}, Found: f.slices, Page: filter.Page, At: noon.Add(2 * time.Hour)}
	for i := report.Rows * (filter.Page - 1); i < min(f.slices, report.Rows*filter.Page); i++ {
		out.Submissions = append(out.Submissions, f.attempt(i))
	}
	return out, err
}

func (f fixedCampaigns) CampaignEfficiency(_ context.Context, name string) (report.CampaignEfficiency, error) {
	uid, err := f.find(name)
	s := report.StageEfficiency{Stage: "reco" + f.word}
	for i := range f.slices {
		s.CPU.Add(float64(i%13)/10, 1)
		s.Memory.Add(-1, 1)
	}
	return report.CampaignEfficiency{UID: uid, Stages: []report.StageEfficiency{s}}, err
}

func (f fixedCampaigns) CampaignSlices(_ context.Context, name string, filter report.SliceFilter) (report.CampaignSlices, error) {
	uid, err := f.find(name)
	out := report.CampaignSlices{UID: uid, Stages: []string{"reco"}, Counts: map[observed.SliceState]int{observed.SliceFailed: f.slices}, Found: f.slices, Page: filter.Page}
	for i := report.Rows * (filter.Page - 1); i < min(f.slices, report.Rows*filter.Page); i++ {
		out.Slices = append(out.Slices, observed.Slice{Stage: "reco", Epoch: 1, ID: fmt.Sprintf("run-%d", i) + f.word, Label: f.word, State: observed.SliceFailed, Detail: f.word, At: noon})
	}
	return out, err
}

func (f fixedCampaigns) PostMortemNow(_ context.Context, name, slice string) (report.PostMortem, error) {
	uid, err := f.find(name)
	if err == nil && slice != "reco/1/run-0" {
		err = fmt.Errorf("slice %s: %w", slice, serve.ErrNoSuch)
	}
	a := f.attempt(0)
	a.Events = []report.Event{{State: "intent", At: a.Intended}, {State: "failed", Detail: f.word, At: a.Ended}}
	a.Asked, a.Memory = report.Asked{CPUs: 2, Memory: 1 << 30, Time: time.Hour}, 1<<30
	a.Log, a.LogFile = []string{"cannot open <run.root>" + f.word}, "/batch/pom-0/log/1"
	return report.PostMortem{UID: uid, Stage: "reco", Epoch: 1, ID: "run-0", Label: "run 0" + f.word, State: observed.SliceFailed, Detail: f.word, Inputs: 3, Since: noon, Planned: noon.Add(-time.Hour),
		Params: map[string]string{"field": f.word}, Attempts: []report.Attempt{a}, Disturbances: []report.Disturbance{{Kind: "service", Name: "sam", Reason: "503 " + f.word, Began: noon.Add(-2 * time.Hour)}},
		Recovery:  report.SliceRecovery{Select: "missing-output", Inputs: 2, Names: []string{"a.root" + f.word}},
		Decisions: []report.Decision{{Kind: "retried", By: "ann", Reason: f.word, At: noon}}}, err
}

func campaignFixture(kind siteKind, seen *serve.SeenSite) []string {
	f := fixedCampaigns{}
	switch kind {
	case siteSmall:
		f.names, f.slices = []string{"orbit/1"}, 4
	case siteLarge:
		f.slices = 100000
		for i := range 2000 {
			f.names = append(f.names, fmt.Sprintf("orbit-%d/1", i))
		}
		f.names[0] = "orbit/1"
	case siteHostile:
		f.names, f.slices, f.word = []string{"orbit/1", hostile + "/1"}, 2, hostile
	}
	seen.Campaigns = f
	paths := []string{"campaigns", "campaigns?state=active&q=orbit&archived=1&page=2", "campaigns?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&page=x"}
	if kind == siteEmpty {
		return paths
	}
	return append(paths, "campaigns/orbit", "campaigns/orbit~1", "campaigns/orbit~1/sheet", "campaigns/orbit~1/submissions", "campaigns/orbit~1/efficiency", "campaigns/orbit~1/slices",
		"campaigns/orbit~1/submissions?stage=reco&state=failed&from=2026-11-22T00:00&until=x&page=2", "campaigns/orbit~1/slices?q=%3Cscript%3Ealert(1)&page=2", "campaigns/orbit~1/slices/reco/1/run-0")
}

func TestPagesOfCampaigns(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		path   string
		status int
		has    []string
	}{
		{"campaigns", 200, []string{"2000 of 2000 campaigns", `href="/ring/campaigns/orbit~1"`, "50000 complete, 3 failed", "h-1: beam", "engine slurm has not taken its job", "page 1 of 80", `href="?page=2"`, "orbit@example.org"}},
		{"campaigns?q=orbit-1999&state=active", 200, []string{"1 of 2000 campaigns", "orbit-1999/1", `value="orbit-1999"`, "<option selected>active"}},
		{"campaigns?q=none", 200, []string{"0 of 2000 campaigns", "There is none that the filter lets through"}},
		{"campaigns?page=80", 200, []string{"orbit-1999/1", "page 80 of 80"}},
		{"campaigns/orbit", 200, []string{`<svg xmlns="http://www.w3.org/2000/svg" role="group"`, `<a href="/ring/campaigns/orbit~1/slices?stage=reco"`, "50000 complete", "0 6 * * *", "next start", "retried", "beam", "sha256:ab",
			"pomona campaign orbit/1 graph"}},
		{"campaigns/orbit%2F1", 200, []string{"campaign orbit/1"}},
		{"campaigns/none", 404, nil},
		{"campaigns/none/sheet", 404, nil},
		{"campaigns/none/slices", 404, nil},
		{"campaigns/orbit/slices/reco/1/run-1", 404, nil},
		{"campaigns/orbit/sheet", 200, []string{"midnight, UTC", "exit(139)", "signal 11, SIGSEGV", "exit(signal 9)", "SIGKILL", "submissions of 2026-11-21", "<td>33</td>", "from=2026-11-21T00:00&amp;until=2026-11-21T23:59"}},
		{"campaigns/orbit/submissions?page=1000&stage=reco", 200, []string{"100000 submissions", "page 1000 of 1000", "reco run-99999", "<option selected>reco", `class="failed"`, `class="running"`, `class="queued"`,
			`href="?page=999&amp;stage=reco"`, "SIGSEGV"}},
		{"campaigns/orbit/efficiency", 200, []string{"60% on average, 100000 submissions known, 0 unknown", "memory: 100000 unknown", "30–40%", "100% and more", `role="img"`}},
		{"campaigns/orbit/slices", 200, []string{"100000 slices", `href="/ring/campaigns/orbit~1/slices?state=failed"`, `href="/ring/campaigns/orbit~1/slices/reco/1/run-42"`, "page 1 of 1000"}},
		{"campaigns/orbit/slices/reco/1/run-0", 200, []string{"exit status 139: signal 11, SIGSEGV", "cannot open &lt;run.root&gt;", "<circle", `class="kept"`, "service sam", "missing-output", "would select 2 inputs",
			"1GiB of 1GiB memory (100%)", "retried by ann", "it lasts"}},
	} {
		text := shown(t, s.URL+"/ring/"+c.path, c.status, c.has, nil)
		if strings.Contains(text, " style=") || strings.Contains(text, "<style") {
			t.Errorf("%s has styles of its own, which no browser takes", c.path)
		}
	}
}

func TestWhatSubmissionsAreShownIsAskedForByTime(t *testing.T) {
	asked := report.SubmissionFilter{}
	s := looking(t, &serve.SeenSite{Campaigns: fixedCampaigns{names: []string{"orbit/1"}, asked: &asked}}, nil)
	look(t, "GET", s.URL+"/ring/campaigns/orbit/submissions?from=2026-11-21T06:30&until=2026-11-22T00:00&state=done&stage=merge&page=3")
	want := report.SubmissionFilter{Stage: "merge", State: "done", From: time.Date(2026, 11, 21, 6, 30, 0, 0, time.UTC), Until: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Page: 3}
	if asked != want {
		t.Errorf("%+v", asked)
	}
}

// TestATimeThatNobodyCanReadLimitsNothing, and the page says so; a program is refused.
func TestATimeThatNobodyCanReadLimitsNothing(t *testing.T) {
	s := looking(t, &serve.SeenSite{Campaigns: fixedCampaigns{names: []string{"orbit/1"}}}, nil)
	url := s.URL + "/ring/campaigns/orbit/submissions?from=x&until=2026-11-22T00:00"
	shown(t, url, 200, []string{`role="alert">from: malformed time &#34;x&#34;`}, []string{"until: malformed"})
	shown(t, s.URL+"/ring/campaigns/orbit/submissions?until=y", 200, []string{`role="alert">until: malformed time &#34;y&#34;`}, []string{"from: malformed"})
	if resp, text := look(t, "GET", url, "Accept", "application/json"); resp.StatusCode != 400 || !strings.HasPrefix(text, `from: malformed time "x"`) {
		t.Errorf("%d: %.300s", resp.StatusCode, text)
	}
}

func TestASheetIsForSpreadsheetsToo(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for _, c := range []struct{ query, accept string }{{"?format=csv", "text/html"}, {"", "text/csv"}} {
		resp, text := look(t, "GET", s.URL+"/ring/campaigns/orbit/sheet"+c.query, "Accept", c.accept)
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || len(rows) != 3 {
			t.Fatalf("%v, %s: %q", err, resp.Header.Get("Content-Type"), rows)
		}
		if got := strings.Join(rows[0], ","); got != "day (UTC),requested,delivered,jobs,failed,outputs,pending,exit(0),exit(3),exit(139),exit(signal 9)" {
			t.Errorf("head %s", got)
		}
		if got := strings.Join(rows[2], ","); got != "2026-11-21,30,20,10,2,16,6,8,0,1,1" {
			t.Errorf("row %s", got)
		}
	}
	if resp, _ := look(t, "GET", s.URL+"/ring/campaigns/orbit/sheet", "Accept", "text/html,text/csv"); !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("a browser gets %s", resp.Header.Get("Content-Type"))
	}
}

func TestPagesOfCampaignsHaveTheirValues(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	get := func(path string, into any) {
		t.Helper()
		if _, text := look(t, "GET", s.URL+"/ring/campaigns"+path, "Accept", "application/json"); json.Unmarshal([]byte(text), into) != nil {
			t.Errorf("%s: %.2000s", path, text)
		}
	}
	var list report.CampaignList
	var slices report.CampaignSlices
	var p report.PostMortem
	var e report.CampaignEfficiency
	get("?page=2", &list)
	get("/orbit/slices?page=3", &slices)
	get("/orbit/slices/reco/1/run-0", &p)
	get("/orbit/efficiency", &e)
	if len(list.Campaigns) != 25 || list.Campaigns[0].UID != "orbit-25/1" || slices.Slices[0].ID != "run-200" || p.Attempts[0].Exit != 139 || e.Stages[0].CPU.Known != 100000 {
		t.Errorf("%v %v %+v %+v", list.Campaigns[0].UID, slices.Slices[0].ID, p, e)
	}
}

func TestASiteWithoutCampaignsHasNoPagesOfThem(t *testing.T) {
	s := looking(t, &serve.SeenSite{}, nil)
	for _, path := range []string{"campaigns", "campaigns/orbit", "campaigns/orbit/slices/a/1/b"} {
		if resp, _ := look(t, "GET", s.URL+"/ring/"+path); resp.StatusCode != 404 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}
