package serve_test

import (
	"context"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// TestPagesSayWhatIsNotKnown: a branch that cannot be read wants nobody knows what.
func TestPagesSayWhatIsNotKnown(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	f := fleetOf(1)
	f.Unread = "site.cue:3:1: unknown field"
	seen.Fleet = func(context.Context) (report.Fleet, error) { return f, nil }
	s := looking(t, seen, nil)
	shown(t, s.URL+"/ring/", 200, []string{"It is not known what the branch wants: site.cue:3:1", "what is wanted is not known"}, []string{"that is what is wanted"})
}

// TestAskingForChanges: who only looks whether there are any is answered, a site that does not run is asked again, and a slash in a name names nothing else.
func TestAskingForChanges(t *testing.T) {
	seen, _ := seenOf(siteSmall)
	s := looking(t, seen, nil)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"HEAD", "/ring/changes", 200},
		{"GET", "/stopped/changes", 503},
		{"GET", "/none/changes", 404},
		{"GET", "/ring/campaigns/orbit/slices/a%2Fb/1/x", 404},
	} {
		if resp, _ := look(t, c.method, s.URL+c.path); resp.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
	}
}
