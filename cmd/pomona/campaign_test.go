package main

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

func TestACampaignThatIsMisspeltIsSuggested(t *testing.T) {
	all := report.Campaigns{Campaigns: []report.Campaign{{Name: "mc-orbit", UID: "mc-orbit/2"}, {Name: "keepup", UID: "keepup/1"}}}
	for name, want := range map[string]string{
		"mc-orbti": `there is no campaign "mc-orbti": did you mean mc-orbit?`,
		"keepup/2": `there is no campaign "keepup/2": did you mean keepup/1?`,
		"other":    `there is no campaign "other": pomona campaign lists them`,
	} {
		if err := noCampaign(all, name); err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
