package serve_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// hostilePilots has hostile text wherever somebody may have written some.
func hostilePilots(x string) report.Pilots {
	at := time.Date(2026, 10, 5, 8, 30, 0, 0, time.UTC)
	p := desired.Pilot{Scope: desired.PilotOfSites, Description: x, Owner: "a@b" + x, Expires: x, Service: x, Ticket: x, Tracker: "javascript:alert(1)" + x,
		Success: map[string]desired.Criterion{"a": {Description: x}}, Impact: &desired.PilotImpact{Services: []string{x}, Resources: x},
		Roles: &desired.PilotRoles{Coordinator: x + "@example.org", Developer: x, Authoriser: x, Testers: []string{x}},
		Records: map[string]desired.PilotRecord{
			"notes-1": {Kind: desired.RecordNotes, By: x, At: "2026-10-03T08:30:00Z", Text: x, Migration: x},
			"said-1":  {Kind: desired.RecordFeedback, By: x, At: "2026-10-04T08:30:00Z", Text: x, Rating: 3},
		}}
	now := plan.PilotNow{Name: "cream", Scope: p.Scope, State: plan.PilotHalted, Since: at, Why: x, Overdue: time.Hour, Subject: x,
		Gates: []plan.Gate{{State: "called", Name: x, Verdict: plan.GateFail, Why: x, Who: []string{x}, Do: x, Records: []string{x}}},
		Waves: []plan.PilotWave{{Wave: 1, Members: []string{x}, Running: []string{x}, Failed: []string{x}, Why: x, Subject: x, SoakEnds: at}},
		Sites: []plan.SiteNow{{Site: x, Contact: x, Answer: x, State: x, Resources: &desired.SiteResources{Nodes: 1}}}, Updates: []plan.UpdateNow{{Name: x, Kind: x, State: x, Gates: []plan.Gate{{Name: x, Why: x}}}},
		Problems: []plan.ProblemNow{{Problem: x, By: x, Category: x, Severity: x, Status: x, Text: x}}, Place: observedPlace(x)}
	told := []observed.PilotBroadcast{{Pilot: "cream", Kind: observed.BroadcastHalt, About: x, Title: x, Text: x, At: at}}
	return report.Pilots{Site: x, Trouble: x, At: at, Pilots: []report.Pilot{report.OfPilot(now, p, plan.PilotFacts{Doubts: map[string]string{"said-1": x}}, told)}}
}

func observedPlace(x string) (p tree.PilotPlace) {
	p.Withheld = x
	return p
}

// pilotPages serves pilots of a root that has nothing.
func pilotPages(t *testing.T, see func(context.Context) (report.Pilots, error)) *httptest.Server {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s := httptest.NewServer(serve.Tree(root, serve.Options{Pilots: see}))
	t.Cleanup(s.Close)
	return s
}

var pilotPaths = []string{"", "index.json", "excuses.json", "feed.atom", "cream/", "cream/feedback", "cream/notes", "cream/notes.md", "cream/state.json", "cream/excuses.json",
	"cream/sites.json", "cream/accounting.csv", "cream/problems.json", "cream/ledger.jsonl", "cream/feed.atom"}

// TestPilotsAreShownWhateverTheySay reads every page and file of pilots whose texts would be markup, script, or the end of what they stand in.
func TestPilotsAreShownWhateverTheySay(t *testing.T) {
	for _, x := range []string{"plain", `<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, "'onmouseover='alert(1)", "]]><x/>", "\x00\x1b[2J\r\nSet-Cookie: a=b", "</pre></td><form action=/>", "{{.}}", "javascript:alert(1)"} {
		s := pilotPages(t, func(context.Context) (report.Pilots, error) { return hostilePilots(x), nil })
		for _, path := range pilotPaths {
			resp, err := http.Get(s.URL + "/-/pilots/" + path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s of %q: %s %v", path, x, resp.Status, err)
			}
			h := resp.Header
			if p := h.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; style-src 'sha256-") || !strings.Contains(p, "form-action 'none'") || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", path, h)
			}
			if h.Get("Set-Cookie") != "" {
				t.Errorf("%s of %q sets a cookie", path, x)
			}
			wellFormed(t, path, x, h.Get("Content-Type"), string(b))
		}
	}
}

// TestThePageOfAPilotHasRecordsThatDoNotCount, with why.
func TestThePageOfAPilotHasRecordsThatDoNotCount(t *testing.T) {
	s := pilotPages(t, func(context.Context) (report.Pilots, error) { return hostilePilots("why not"), nil })
	resp, err := http.Get(s.URL + "/-/pilots/cream/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(b), "<h2>Records that do not count</h2>") || !strings.Contains(string(b), "<tr><td>said-1</td><td>feedback</td><td>why not</td><td>why not</td></tr>") {
		t.Errorf("%v\n%s", err, b)
	}
}

// TestPagesHaveTheStyleThatTheirPolicyAllows hashes what stands in a page as a browser does.
func TestPagesHaveTheStyleThatTheirPolicyAllows(t *testing.T) {
	s := pilotPages(t, func(context.Context) (report.Pilots, error) { return hostilePilots("x"), nil })
	resp, err := http.Get(s.URL + "/-/pilots/cream/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, style, _ := strings.Cut(string(b), "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(resp.Header.Get("Content-Security-Policy"), want) {
		t.Errorf("%s: want %s", resp.Header.Get("Content-Security-Policy"), want)
	}
}

// harmless are the elements that pages are made of.
var harmless = strings.Fields("html head meta style title link body h1 h2 h3 p a span table tbody tr th td ul li code pre")

// wellFormed says of a page that it has nothing that a browser runs or fetches, and of a file that its readers can read it.
func wellFormed(t *testing.T, path, x, kind, text string) {
	t.Helper()
	var err error
	switch kind, _, _ = strings.Cut(kind, ";"); kind {
	case "text/html":
		z := html.NewTokenizer(strings.NewReader(text))
		for z.Next() != html.ErrorToken {
			tok := z.Token()
			if (tok.Type == html.StartTagToken || tok.Type == html.SelfClosingTagToken) && !slices.Contains(harmless, tok.Data) {
				t.Errorf("%s of %q has <%s>", path, x, tok.Data)
			}
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Key, "on") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") {
					t.Errorf("%s of %q has %s=%q", path, x, a.Key, a.Val)
				}
			}
		}
	case "application/json":
		var v any
		err = json.Unmarshal([]byte(text), &v)
	case "application/jsonl":
		for line := range strings.Lines(text) {
			var v struct{ Record, Kind string }
			if err := json.Unmarshal([]byte(line), &v); err != nil || v.Record == "" || v.Kind == "" {
				t.Errorf("%s of %q: %v %q", path, x, err, line)
			}
		}
	case "application/atom+xml":
		var f struct {
			Entries []struct {
				ID    string `xml:"id"`
				Title string `xml:"title"`
			} `xml:"entry"`
		}
		if err = xml.Unmarshal([]byte(text), &f); err == nil && (len(f.Entries) != 1 || f.Entries[0].ID == "" || f.Entries[0].Title == "") {
			t.Errorf("%s of %q: %+v", path, x, f)
		}
	case "text/csv":
		var rows [][]string
		if rows, err = csv.NewReader(strings.NewReader(text)).ReadAll(); len(rows) != 2 {
			t.Errorf("%s of %q has %d rows", path, x, len(rows))
		}
	case "text/plain":
	default:
		t.Errorf("%s is of type %q", path, kind)
	}
	if err != nil {
		t.Errorf("%s of %q: %v\n%s", path, x, err, text)
	}
}

// TestPilotsAreOnlyRead sends what would change something.
func TestPilotsAreOnlyRead(t *testing.T) {
	s := pilotPages(t, func(context.Context) (report.Pilots, error) { return hostilePilots("x"), nil })
	for _, path := range append(pilotPaths, "cream", "cream/nothing", "cream/notes/x", "cream/../cream/", "nobody/", "nobody/state.json") {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
			req, err := http.NewRequest(method, s.URL+"/-/pilots/"+path, strings.NewReader("a=b"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, resp.Status)
			}
		}
	}
	for path, want := range map[string]int{"/-/pilots": 301, "/-/pilots/cream": 301, "/-/pilots/cream/nothing": 404, "/-/pilots/cream/notes/x": 404, "/-/pilots/nobody/": 404, "/-/pilots/nobody": 404} {
		req, _ := http.NewRequest(http.MethodGet, s.URL+path, nil)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// TestPilotsThatNobodyKnows are those of a service that cannot work them out, or carries out none.
func TestPilotsThatNobodyKnows(t *testing.T) {
	for status, see := range map[int]func(context.Context) (report.Pilots, error){
		http.StatusNotFound:           nil,
		http.StatusServiceUnavailable: func(context.Context) (report.Pilots, error) { return report.Pilots{}, errors.New("secret") },
	} {
		resp, err := http.Get(pilotPages(t, see).URL + "/-/pilots/")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status || strings.Contains(string(b), "secret") {
			t.Errorf("%s %s", resp.Status, b)
		}
	}
}
