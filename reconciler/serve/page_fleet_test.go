package serve_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestWhatDiffersIsListedInPages: also in a large fleet each that differs is told of, with since when.
func TestWhatDiffersIsListedInPages(t *testing.T) {
	seen, _ := seenOf(siteLarge)
	s := looking(t, seen, nil)
	row := regexp.MustCompile(`<th scope="row"><a href="/ring/fecs/(\w+)">`)
	told := map[string]bool{}
	for path, want := range map[string][]string{
		"?condition=":                {"1 to 100 of 160 FECs", `href="?condition=&amp;page=2#differs" rel="next"`, "2026-11-22 11:25 UTC"},
		"?condition=&page=2":         {"101 to 160 of 160 FECs", `href="?condition=&amp;page=1#differs" rel="prev"`, "2026-11-22 09:00 UTC"},
		"?condition=stale":           {"1 to 40 of 40 FECs", "29922000", "2026-11-22 01:00 UTC"},
		"?page=900&condition=failed": {"1 to 40 of 40 FECs"},
		"?page=-1&condition=failed":  {"1 to 40 of 40 FECs"},
	} {
		text := shown(t, s.URL+"/ring/"+path, 200, want, nil)
		if strings.HasPrefix(path, "?condition=&") || path == "?condition=" {
			for _, found := range row.FindAllStringSubmatch(text, -1) {
				told[found[1]] = true
			}
		}
		if strings.Contains(text, "rel=\"next\"") && strings.Contains(text, "rel=\"prev\"") {
			t.Errorf("%s leads to more pages than there are", path)
		}
	}
	if len(told) != 160 {
		t.Errorf("%d FECs are told of, want 160", len(told))
	}
}
