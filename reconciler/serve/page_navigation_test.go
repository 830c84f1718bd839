package serve_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNavigationMarksThePageThatIsShown: one entry on its page, however that is filtered, and none on pages that lie elsewhere.
func TestNavigationMarksThePageThatIsShown(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	entry := regexp.MustCompile(`<a href="([^"]*)" aria-current="page">`)
	for path, want := range map[string][]string{
		"/":                           {"/"},
		"/ring/":                      {"/ring/"},
		"/ring/?condition=failed":     {"/ring/"},
		"/ring/passes?page=1":         {"/ring/passes"},
		"/ring/prerequisites":         {"/ring/prerequisites"},
		"/ring/campaigns":             {"/ring/campaigns"},
		"/ring/campaigns/orbit/sheet": {"/ring/campaigns/orbit~1/sheet"}, // the tab, not all campaigns
		"/ring/fecs/scuxl00001":       nil,
		"/ring/passes/1":              nil,
	} {
		_, text := look(t, "GET", s.URL+path)
		var got []string
		for _, found := range entry.FindAllStringSubmatch(text, -1) {
			got = append(got, found[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s marks %q, want %q", path, got, want)
		}
	}
}

// TestCommandsThatPagesNameCanBeTyped: each that asks a service says which.
func TestCommandsThatPagesNameCanBeTyped(t *testing.T) {
	seen, paths := seenOf(siteSmall)
	s := looking(t, seen, nil)
	asks := regexp.MustCompile(`<code>(pomona (?:fec|history|data|restart|hold|status|kick|software|campaign)\b[^<]*)</code>`)
	n := 0
	for _, path := range paths {
		_, text := look(t, "GET", s.URL+"/ring/"+path)
		for _, found := range asks.FindAllStringSubmatch(text, -1) {
			if n++; !strings.Contains(found[1], " --root ROOT") && found[1] != "pomona campaign retry" {
				t.Errorf("%s names %s", path, found[1])
			}
		}
	}
	if n < 30 {
		t.Errorf("%d commands", n)
	}
}
