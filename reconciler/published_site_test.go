package reconciler_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler"
)

// TestPublishedSiteIsRemembered: what a pass leaves for those who work beside it is what they would have read.
func TestPublishedSiteIsRemembered(t *testing.T) {
	f := newFollower(t)
	f.Served = &reconciler.PublishedSite{}
	agree := func(when string) {
		t.Helper()
		f.pass()
		site, generation, err := f.PublishedSite(t.Context())
		must(t, err)
		asRead, read, err := f.restarted().PublishedSite(t.Context())
		must(t, err)
		if diff := cmp.Diff(asRead, site) + cmp.Diff(read, generation); diff != "" || generation.Commit != f.head() {
			t.Errorf("%s, at commit %.12s of %.12s:\n%s", when, generation.Commit, f.head(), diff)
		}
	}
	agree("at first")
	f.change("fecs/fecs.cue", "platform: \"x86\"", "platform: \"ppc\"")
	agree("after a change")
	f.hold("fecs.kgp2cu02", time.Hour)
	f.change("fecs/fecs.cue", "platform: \"ppc\"", "platform: \"x86\"")
	agree("with a FEC held")
}
