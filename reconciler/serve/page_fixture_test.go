package serve_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// siteKind is a kind of site that every page is tried with.
type siteKind string

const (
	siteEmpty   siteKind = "empty"   // nothing is declared or published yet
	siteSmall   siteKind = "small"   // what the template has
	siteLarge   siteKind = "large"   // 2,000 FECs, and as much of everything else
	siteHostile siteKind = "hostile" // every name and message would do something if anybody took it for more than text
)

var siteKinds = []siteKind{siteEmpty, siteSmall, siteLarge, siteHostile}

// pageFixtures each fill in what some pages show of a site, and name the pages to look at, below the site.
var pageFixtures = []func(siteKind, *serve.SeenSite) (paths []string){
	fleetFixture,
	fecFixture,
	campaignFixture,
	restartsFixture,
	passFixture,
	prerequisiteFixture,
}

// seenOf is a site of a kind, and all its pages.
func seenOf(kind siteKind) (seen *serve.SeenSite, paths []string) {
	seen = &serve.SeenSite{Changes: &serve.Changes{}}
	for _, f := range pageFixtures {
		paths = append(paths, f(kind, seen)...)
	}
	return seen, paths
}

func fleetFixture(kind siteKind, seen *serve.SeenSite) []string {
	f := fleetOf(map[siteKind]int{siteSmall: 200, siteLarge: 2000, siteHostile: 2}[kind])
	if kind == siteHostile {
		f.FECs[0].FEC, f.FECs[0].Why, f.FECs[0].Groups, f.FECs[0].Location, f.FECs[0].Held = hostile, hostile, []string{hostile}, hostile, hostile
		f.Differs, f.Trouble, f.Wanted = hostile, hostile, strings.Repeat("b", 40)
	}
	seen.Fleet = func(context.Context) (report.Fleet, error) { return f, nil }
	return []string{"", "?by=location", "?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"}
}

// TestEveryPageOfEverySite: each page and its JSON is answered, and none runs what it shows: names and messages are others'. Programs that ask for a
// time that nobody can read are told so, and nothing else.
func TestEveryPageOfEverySite(t *testing.T) {
	for _, kind := range siteKinds {
		seen, paths := seenOf(kind)
		s := looking(t, seen, nil)
		for _, path := range paths {
			resp, text := look(t, "GET", s.URL+"/ring/"+path)
			if resp.StatusCode != 200 || strings.Contains(text, "<script>alert") || strings.Contains(text, "<img") {
				t.Errorf("%s: /ring/%s: status %d\n%.4000s", kind, path, resp.StatusCode, text)
			}
			status, mime := 200, "application/json"
			if strings.Contains(text, "malformed time &#34;") {
				status, mime = 400, "text/plain; charset=utf-8"
			}
			if resp, text := look(t, "GET", s.URL+"/ring/"+path, "Accept", "application/json"); resp.StatusCode != status || resp.Header.Get("Content-Type") != mime {
				t.Errorf("%s: /ring/%s: status %d of its JSON\n%.4000s", kind, path, resp.StatusCode, text)
			}
		}
	}
}
