package serve_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// hostile is a name or message that would do something if anybody took it for more than text.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`

func fleetOf(n int) report.Fleet {
	f := report.Fleet{Site: "ring", At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Published: &report.Revision{Commit: strings.Repeat("a", 40), Generation: 3, At: time.Date(2026, 11, 22, 10, 25, 0, 0, time.UTC)}, Wanted: strings.Repeat("a", 40)}
	for i := range n {
		x := report.FleetFEC{FECLine: report.FECLine{FEC: fmt.Sprintf("scuxl%05d", i), Condition: plan.Runs, Published: 29922625, Running: 29922625},
			Groups: []string{fmt.Sprintf("group-%02d", i%40)}, Location: fmt.Sprintf("hall %d", i%7), Software: map[string]string{"bpm": fmt.Sprintf("1.%d.0", i%3)}}
		if i%50 == 1 {
			x.Condition, x.Why, x.Running, x.Since = plan.Fails, "init-failed with serial 29922625 at 2026-11-22 11:25 UTC: 50-start failed with status 1", 0, f.At.Add(-35*time.Minute)
		}
		switch i % 50 {
		case 11:
			x.Condition, x.Why, x.Running, x.Since = plan.Stale, "it runs serial 29922000, as of 2026-11-22 01:00 UTC", 29922000, f.At.Add(-11*time.Hour)
		case 21:
			x.Condition, x.Why, x.Running = plan.Silent, "it has reported nothing", 0
		case 31:
			x.Held, x.Wanted, x.Since = "by ann: shift change", "bpm 1.3.0", f.At.Add(-3*time.Hour)
		}
		f.FECs = append(f.FECs, x)
	}
	return f.Only(report.FleetFilter{})
}

// looking serves the pages of a site, and of one that does not run.
func looking(t testing.TB, seen *serve.SeenSite, login *serve.Login) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(serve.Pages{Log: slog.New(slog.DiscardHandler), Login: login, Sites: func() []string { return []string{"ring", "stopped"} },
		Site: func(name string) (*serve.SeenSite, bool) {
			return map[string]*serve.SeenSite{"ring": seen}[name], name == "ring" || name == "stopped"
		}}.Handler())
	t.Cleanup(s.Close)
	return s
}

func look(t testing.TB, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // only read
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// shown is a page as it is answered with a status, which has some words and lacks others.
func shown(t *testing.T, url string, status int, has, lacks []string) (text string) {
	t.Helper()
	resp, text := look(t, "GET", url)
	if resp.StatusCode != status {
		t.Errorf("%s: status %d, want %d", url, resp.StatusCode, status)
	}
	says(t, url, text, has, lacks)
	return text
}

func says(t *testing.T, page, text string, has, lacks []string) {
	t.Helper()
	for _, word := range has {
		if !strings.Contains(text, word) {
			t.Errorf("%s has no %q:\n%.9000s", page, word, text)
		}
	}
	for _, word := range lacks {
		if strings.Contains(text, word) {
			t.Errorf("%s has %q", page, word)
		}
	}
}

func TestPages(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		method, path string
		status       int
		has          []string
	}{
		{"GET", "/", 200, []string{`href="/ring/"`, `href="/stopped/"`}},
		{"GET", "/ring/", 200, []string{"200 of 200 FECs", "4 failed", "group-39", `class="c failed"`}},
		{"GET", "/ring/?condition=failed", 200, []string{"4 of 200 FECs", "what differs", "50-start failed"}},
		{"GET", "/ring/?group=group-05&by=location", 200, []string{"5 of 200 FECs", "hall 3"}},
		{"GET", "/ring/?software=bpm&version=1.1.0", 200, []string{"67 of 200 FECs"}},
		{"GET", "/ring/?q=00199", 200, []string{"1 of 200 FECs", "each of these FECs runs what is published"}},
		{"GET", "/ring/?otherwise=1", 200, []string{"4 of 200 FECs", "<td>bpm 1.3.0</td>", "2026-11-22 09:00 UTC", "held by by ann: shift change"}},
		{"GET", "/ring/fecs/scuxl00001", 200, []string{"scuxl00001"}},
		{"GET", "/ring/fecs/none", 404, nil},
		{"GET", "/favicon.ico", 200, []string{"<svg"}},
		{"GET", "/stopped/", 503, nil},
		{"GET", "/none/", 404, nil},
		{"POST", "/ring/", 405, nil},
		{"DELETE", "/ring/fecs/scuxl00001", 405, nil},
	} {
		resp, text := look(t, c.method, s.URL+c.path)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", c.path, policy)
		}
		says(t, c.path, text, c.has, nil)
	}
}

func TestEachPageHasItsJSON(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	resp, text := look(t, "GET", s.URL+"/ring/?condition=failed", "Accept", "application/json")
	var f report.Fleet
	if err := json.Unmarshal([]byte(text), &f); err != nil || len(f.FECs) != 4 || f.Of != 200 || f.Count[plan.Fails] != 4 || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v: %s", err, text)
	}
	if resp, _ := look(t, "GET", s.URL+"/ring/", "Accept", "text/html,application/json"); !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("a browser gets %s", resp.Header.Get("Content-Type"))
	}
}

func TestOnlyTheProxySaysWhoLooks(t *testing.T) {
	for name, c := range map[string]struct {
		from   string
		header []string
		status int
	}{
		"the proxy":           {"127.0.0.0/8", []string{"X-User", "anna"}, 200},
		"nobody":              {"127.0.0.0/8", nil, 403},
		"somebody else's":     {"10.0.0.0/8", []string{"X-User", "anna"}, 403},
		"another header than": {"127.0.0.0/8", []string{"X-Forwarded-User", "anna"}, 403},
	} {
		seen, _ := seenOf(siteSmall)
		s := looking(t, seen, &serve.Login{Header: "X-User", From: []netip.Prefix{netip.MustParsePrefix(c.from)}})
		resp, text := look(t, "GET", s.URL+"/ring/", c.header...)
		if resp.StatusCode != c.status || (c.status == 200) != strings.Contains(text, "<p>anna</p>") {
			t.Errorf("%s: status %d\n%s", name, resp.StatusCode, text)
		}
	}
}

func TestWhoLooksIsToldOfChanges(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/ring/changes", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // the context ends it
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "retry: 2000" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q %v", lines.Text(), resp.Header)
	}
	for range 3 {
		seen.Changes.Tell()
	}
	var got []string
	for lines.Scan() && len(got) < 3 {
		if lines.Text() != "" {
			got = append(got, lines.Text())
		}
	}
	if !strings.HasPrefix(got[0], "id: ") || got[1] != "event: changed" {
		t.Errorf("%q", got)
	}
}

func BenchmarkFleetPage(b *testing.B) {
	for _, n := range []int{2000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			fleet := fleetOf(n)
			seen := &serve.SeenSite{Fleet: func(context.Context) (report.Fleet, error) { return fleet, nil }}
			measure(b, seen, "")
		})
	}
}

// measure says how long pages of a site take, and how much is transferred.
func measure(b *testing.B, seen *serve.SeenSite, paths ...string) {
	h := serve.Pages{Log: slog.New(slog.DiscardHandler), Site: func(string) (*serve.SeenSite, bool) { return seen, true }}.Handler()
	for _, path := range paths {
		b.Run(path, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/ring/"+path, http.NoBody)
			r.Header.Set("Accept-Encoding", "gzip")
			size := 0
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size)/1000, "kB")
		})
	}
}
