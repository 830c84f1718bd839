package announce_test

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// scraped are the lines of a scrape.
func scraped(t *testing.T, sites ...func(m *announce.Metrics)) string {
	t.Helper()
	registry := announce.NewRegistry("test")
	for i, use := range sites {
		use(announce.NewMetrics(registry, string(rune('a'+i)), []string{"build"}))
	}
	w := httptest.NewRecorder()
	announce.MetricsHandler(registry).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d: %v\n%s", w.Code, err, b)
	}
	return "\n" + string(b)
}

func holds(t *testing.T, metrics string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("want %s, got:", line)
			for have := range strings.Lines(metrics) {
				if strings.HasPrefix(have, name+"{") {
					t.Error(strings.TrimSpace(have))
				}
			}
		}
	}
}

func TestTwoSitesShareARegistry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	metrics := scraped(t, func(m *announce.Metrics) { m.Passed(report.Report{}, nil, now) }, func(m *announce.Metrics) { m.Passed(report.Report{}, errors.New("disk full"), now) })
	holds(t, metrics, `pomona_passes_total{outcome="noop",site="a"} 1`, `pomona_passes_total{outcome="error",site="b"} 1`,
		`pomona_last_success_timestamp_seconds{site="a"} 1.8e+09`, `pomona_last_success_timestamp_seconds{site="b"} 0`, `pomona_last_pass_timestamp_seconds{site="b"} 1.8e+09`)
}

// TestNobodyOutsideMakesSeries says everything that comes from outside in many ways.
func TestNobodyOutsideMakesSeries(t *testing.T) {
	quiet := scraped(t, func(*announce.Metrics) {})
	loud := scraped(t, func(m *announce.Metrics) {
		for i := range 1000 {
			odd := strings.Repeat("x", i%50+1)
			m.Webhook(odd, odd)
			m.Served(i*7, 1)
			m.Reported("fec-"+odd, odd)
			m.Passed(report.Report{Repaired: []observed.Damage{{Kind: observed.Kind(odd), Path: odd}}}, errors.New(odd), time.Unix(int64(i), 0))
			m.Fetched(time.Second, true, errors.New(odd), time.Unix(int64(i), 0))
		}
	})
	count := func(s string) int { return strings.Count(s, "\npomona_") }
	if more := count(loud) - count(quiet); more > 6 {
		t.Errorf("%d series more:\n%s", more, loud)
	}
}

func TestFECsAreCountedByWhatTheySaidLast(t *testing.T) {
	declare := func(m *announce.Metrics, fecs ...string) {
		var rep report.Report
		for _, f := range fecs {
			rep.Plan.Tree.Folders = append(rep.Plan.Tree.Folders, tree.Folder{Manifest: &tree.Manifest{FEC: f}})
		}
		m.Passed(rep, nil, time.Unix(1, 0))
	}
	metrics := scraped(t, func(m *announce.Metrics) {
		declare(m, "one", "two", "three", "four")
		m.Reported("one", "fetching")
		m.Reported("one", "running")
		m.Reported("two", "failed")
		m.Reported("three", "failed")
		declare(m, "one", "two", "five")
	})
	holds(t, metrics, `pomona_fecs{site="a"} 3`, `pomona_fecs_reported{site="a",state="running"} 1`, `pomona_fecs_reported{site="a",state="failed"} 1`,
		`pomona_fecs_reported{site="a",state="fetching"} 0`, `pomona_fecs_reported{site="a",state="unknown"} 1`, `pomona_fec_reports_total{site="a",state="failed"} 2`)
}

func TestPassesAreCountedByOutcome(t *testing.T) {
	problems := desired.Problems{{Text: "bad"}, {Text: "odd", Warning: true}}
	for _, c := range []struct {
		outcome string
		rep     report.Report
		err     error
		kinds   string
	}{
		{"published", report.Report{Plan: plan.Plan{Publish: &plan.Publish{}}}, nil, "published -pass-failed -site-problems -prune-refused"},
		{"noop", report.Report{Repaired: []observed.Damage{{Kind: observed.Gone, Path: "x"}}}, nil, "damage-repaired -pass-failed -site-problems -prune-refused"},
		{"invalid", report.Report{}, errors.Join(problems, errors.New("besides")), "site-problems -pass-failed -prune-refused"},
		{"refused", report.Report{Plan: plan.Plan{Refused: problems}}, errors.Join(problems), "prune-refused -pass-failed -site-problems"},
		{"error", report.Report{}, errors.New("disk full"), "pass-failed"},
	} {
		now := time.Unix(1, 0)
		holds(t, scraped(t, func(m *announce.Metrics) { m.Passed(c.rep, c.err, now) }), `pomona_passes_total{outcome="`+c.outcome+`",site="a"} 1`)
		var kinds []string
		for _, e := range announce.OfPass("linac", c.rep, c.err, now) {
			kind := string(e.Kind)
			if e.Recovered {
				kind = "-" + kind
			}
			if e.Title == "" || e.Site != "linac" || !e.At.Equal(now) {
				t.Errorf("%s: %+v", c.outcome, e)
			}
			kinds = append(kinds, kind)
		}
		if have := strings.Join(kinds, " "); have != c.kinds {
			t.Errorf("%s: events %s, want %s", c.outcome, have, c.kinds)
		}
	}
	metrics := scraped(t, func(m *announce.Metrics) { m.Passed(report.Report{}, problems, time.Unix(1, 0)) })
	holds(t, metrics, `pomona_site_problems{severity="problem",site="a"} 1`, `pomona_site_problems{severity="warning",site="a"} 1`)
}

func TestARepositoryThatIsGoneForLongIsTold(t *testing.T) {
	var f announce.Fetches
	down := errors.New("connection refused")
	at := func(minutes int) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(minutes) * time.Minute)
	}
	for _, c := range []struct {
		minute int
		err    error
		want   string
	}{{0, nil, "recovered"}, {1, down, ""}, {10, down, ""}, {16, down, "failing"}, {17, down, "failing"}, {18, nil, "recovered"}, {19, down, ""}} {
		have := ""
		if e := f.Of("linac", c.err, 15*time.Minute, at(c.minute)); e != nil && e.Recovered {
			have = "recovered"
		} else if e != nil {
			have = "failing"
		}
		if have != c.want {
			t.Errorf("minute %d: %q, want %q", c.minute, have, c.want)
		}
	}
}

func TestSlicesThatTakeTooLongAreMeasured(t *testing.T) {
	metrics := scraped(t, func(m *announce.Metrics) {
		m.Campaigns(report.Campaigns{Campaigns: []report.Campaign{
			{UID: "reco/1", State: "active", Late: 2, Stages: []report.Stage{{Name: "a", Late: true, Slices: map[observed.SliceState]int{observed.SliceLate: 1, observed.SliceComplete: 5}}}},
			{UID: "sim/1", State: "active"},
		}})
	})
	holds(t, metrics, `pomona_campaign_stage_late{campaign="reco/1",site="a",stage="a"} 1`, `pomona_campaign_late{campaign="reco/1",site="a"} 3`, `pomona_campaign_late{campaign="sim/1",site="a"} 0`)
}

func TestOnlyCampaignsThatAreToGoOnAreStuck(t *testing.T) {
	why := []string{"because"}
	metrics := scraped(t, func(m *announce.Metrics) {
		m.Campaigns(report.Campaigns{Campaigns: []report.Campaign{
			{UID: "held/1", State: "active", Why: why}, {UID: "draft/1", State: "draft", Why: why}, {UID: "paused/1", State: "paused", Why: why}, {UID: "over/1", State: "complete", Ended: true, Why: why},
		}})
	})
	holds(t, metrics, `pomona_campaign_stuck{campaign="held/1",site="a"} 1`, `pomona_campaign_stuck{campaign="draft/1",site="a"} 0`, `pomona_campaign_stuck{campaign="paused/1",site="a"} 0`)
	if strings.Contains(metrics, "over/1") {
		t.Errorf("one that has ended is measured:\n%s", metrics)
	}
}

func TestCampaignsThatNobodyDecidesAboutAndCredentialsThatEndAreMeasured(t *testing.T) {
	metrics := scraped(t, func(m *announce.Metrics) {
		m.Campaigns(report.Campaigns{Trouble: "disk full", Engines: []report.Engine{{Name: "good", Credential: time.Unix(1_800_000_000, 0)}, {Name: "soon", Credential: time.Unix(1, 0), Expiring: true},
			{Name: "unread", CredentialTrouble: "no such file"}, {Name: "none"}}})
	}, func(m *announce.Metrics) { m.Campaigns(report.Campaigns{}) })
	holds(t, metrics, `pomona_campaigns_undecided{site="a"} 1`, `pomona_campaigns_undecided{site="b"} 0`, `pomona_engine_credential_expiring{engine="good",site="a"} 0`,
		`pomona_engine_credential_expiring{engine="soon",site="a"} 1`, `pomona_engine_credential_expiring{engine="unread",site="a"} 1`)
	if strings.Contains(metrics, `expiring{engine="none"`) {
		t.Error("a credential is measured that there is not")
	}
}

func TestPilotsAreMeasured(t *testing.T) {
	metrics := scraped(t, func(m *announce.Metrics) {
		m.Pilots(report.Pilots{Pilots: []report.Pilot{
			{PilotNow: plan.PilotNow{Name: "cream", Scope: "grid-service", State: "halted", Overdue: time.Hour, Place: tree.PilotPlace{Withheld: "no key"},
				Problems: []plan.ProblemNow{{Severity: "blocker", Status: "open"}, {Severity: "blocker", Status: "fixed"}, {Severity: "made up", Status: "open"}}}},
			{PilotNow: plan.PilotNow{Name: "over", Scope: "fec", State: "closed", Overdue: time.Hour}},
		}})
	})
	holds(t, metrics, `pomona_pilot_state{pilot="cream",scope="grid-service",site="a",state="halted"} 1`, `pomona_pilot_overdue_seconds{pilot="cream",site="a"} 3600`,
		`pomona_pilot_overdue_seconds{pilot="over",site="a"} 0`, `pomona_pilot_withheld{pilot="cream",site="a"} 1`, `pomona_pilot_withheld{pilot="over",site="a"} 0`,
		`pomona_pilot_problems{pilot="cream",severity="blocker",site="a"} 1`, `pomona_pilot_problems{pilot="cream",severity="minor",site="a"} 0`)
	if strings.Contains(metrics, "made up") {
		t.Error("whatever a site says makes series")
	}
}
