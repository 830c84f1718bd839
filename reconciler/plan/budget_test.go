package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

func fleet(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("kgp2cu%02d", i)] = "1.0"
	}
	return out
}

func TestARemovalBeyondTheBudgetIsRefused(t *testing.T) {
	for _, c := range []struct {
		was, now int
		share    string
		message  string
		refused  bool
	}{
		{10, 5, "", "", false},
		{10, 4, "", "", true},
		{10, 0, "", "", true},
		{10, 0, "100%", "", true}, // everything is never taken away unannounced
		{1, 0, "", "", true},
		{10, 1, "100%", "", false},
		{10, 9, "0%", "", true},
		{10, 10, "0%", "", false},
		{10, 4, "", "remove the old crates\n\nPomona-Allow-Removal: 6 fecs\n", false},
		{10, 4, "", "x\n\npomona-allow-removal:6 FECs\r\nSigned-off-by: a\n", false},
		{10, 4, "", "x\n\nPomona-Allow-Removal: 5 fecs\n", true},
		{10, 4, "", "x\n\nPomona-Allow-Removal: 6 software\n", true},
		{10, 4, "", "say > Pomona-Allow-Removal: 6 fecs\n", true},
		{10, 4, "", "Pomona-Allow-Removal: all fecs\n", true},
		{10, 0, "", "Pomona-Allow-Removal: 10 fecs\n", false},
	} {
		before := want(strings.Repeat("1", 40), fleet(c.was))
		have := publish(observed.Root{}, before, plan.Make(before, observed.Root{}, now))
		w := want(strings.Repeat("2", 40), fleet(c.now))
		w.Site.Settings.Retention = desired.Retention{MaxRemoval: c.share}
		w.Messages = []string{"another", c.message}
		p := plan.Make(w, have, now)
		if refused := len(p.Refused) > 0; refused != c.refused || refused == (p.Publish != nil) || refused && p.Empty() {
			t.Errorf("%d to %d FECs with share %q and message %q: refused %v, publishes %v", c.was, c.now, c.share, c.message, p.Refused, p.Publish)
		}
	}
}

func TestTheFirstPassHasNoBudget(t *testing.T) {
	if p := plan.Make(want(strings.Repeat("1", 40), nil), observed.Root{}, now); len(p.Refused) > 0 || p.Publish == nil {
		t.Errorf("refuses %v", p.Refused)
	}
}
