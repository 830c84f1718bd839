package desired_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestALedgerHasASchemaOfItsSite(t *testing.T) {
	for site, want := range map[string]string{"linac": "pomona_linac", "linac-2.west": "pomona_linac_2_west", strings.Repeat("x", 63): "pomona_" + strings.Repeat("x", 56)} {
		if got := (desired.Ledger{}).TheSchema(site); got != want {
			t.Errorf("%s: %s, want %s", site, got, want)
		}
	}
	if got := (desired.Ledger{Schema: "records"}).TheSchema("linac"); got != "records" {
		t.Errorf("got %s", got)
	}
}
