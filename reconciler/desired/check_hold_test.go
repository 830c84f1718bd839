package desired_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestHolds(t *testing.T) {
	site := desired.Site{
		Settings:  desired.Settings{Name: "test", Groups: map[string]desired.Group{"ring": {}}},
		FECs:      map[string]desired.FEC{"kg1": {Host: "kg1", Platform: "ppc"}},
		Campaigns: map[string]desired.Campaign{"mc": {}},
	}
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		hold desired.Hold
		want string
	}{
		{desired.Hold{Scope: "site", Until: "2026-11-21"}, ""},
		{desired.Hold{Scope: "fecs.kg1", Until: "2027-11-21"}, ""},
		{desired.Hold{Scope: "groups.ring", Until: "2026-12-01", From: "2026-12-01"}, ""},
		{desired.Hold{Scope: "campaigns.mc", Until: "2026-12-01"}, ""},
		{desired.Hold{Scope: "fecs.kg2", Until: "2026-12-01"}, `holds.h.scope: unknown FEC "kg2"; did you mean "kg1"?`},
		{desired.Hold{Scope: "groups.rings", Until: "2026-12-01"}, `holds.h.scope: unknown group "rings"; did you mean "ring"?`},
		{desired.Hold{Scope: "campaigns.md", Until: "2026-12-01"}, `holds.h.scope: unknown campaign "md"; did you mean "mc"?`},
		{desired.Hold{Scope: "site", Until: "2026-11-20"}, "warning: holds.h.until: this hold ended with 2026-11-20"},
		{desired.Hold{Scope: "site", Until: "2027-11-22"}, "holds.h.until: the hold ends on 2027-11-22, more than a year ahead"},
		{desired.Hold{Scope: "site", From: "2026-12-02", Until: "2026-12-01"}, "holds.h.until: the hold ends on 2026-12-01, before it begins on 2026-12-02"},
	} {
		site.Holds = map[string]desired.Hold{"h": c.hold}
		var got []string
		for _, p := range desired.Check(site, nil, at) {
			if strings.HasPrefix(p.Path, "holds") {
				got = append(got, p.String())
			}
		}
		if text := strings.Join(got, "\n"); c.want == "" && text != "" || !strings.HasPrefix(text, c.want) || len(got) > 1 {
			t.Errorf("%+v gives %q, want %q", c.hold, text, c.want)
		}
	}
}

func TestScopes(t *testing.T) {
	for scope, valid := range map[string]bool{
		"site": true, "fecs.kg1": true, "groups.a.b": true, "campaigns.x": true,
		"": false, "sites": false, "fecs": false, "fecs.": false, "fec.a": false, "site.a": false, "fecs.A": false, "fecs.a/b": false, "fecs.-a": false, "pilots.x": false,
	} {
		if got, err := desired.ParseScope(scope); (err == nil) != valid || valid && got != scope {
			t.Errorf("%q: %q, %v", scope, got, err)
		}
	}
}
