package announce_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/schema"
)

// TestTheSchemaNamesEveryKind holds the kinds of events to what a configuration may ask for.
func TestTheSchemaNamesEveryKind(t *testing.T) {
	b, err := schema.FS.ReadFile("service.cue")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^#EventKind: .*`).FindString(string(b))
	var named, kinds []string
	for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(line, -1) {
		named = append(named, m[1])
	}
	for _, k := range announce.Kinds {
		kinds = append(kinds, string(k))
	}
	slices.Sort(named)
	slices.Sort(kinds)
	if !slices.Equal(named, kinds) {
		t.Errorf("the schema names %v, there are %v", named, kinds)
	}
}

func TestEventsOfCampaigns(t *testing.T) {
	now := time.Now()
	e := announce.OfCampaigns("linac", announce.CampaignHeld, []string{"b: paused", "a: hold h-1"}, now)
	if e.Title != "2 campaigns are held" || e.Text != "a: hold h-1\nb: paused" || e.Severity != announce.Warning || e.Recovered {
		t.Errorf("%+v", e)
	}
	for _, k := range []announce.Kind{announce.CampaignHeld, announce.CampaignLate, announce.SubmissionUnknown, announce.CredentialExpiring} {
		if one, over := announce.OfCampaigns("linac", k, []string{"a"}, now), announce.OfCampaigns("linac", k, nil, now); one.Title == "" || !over.Recovered || over.Title == "" || strings.Contains(one.Title, "%") {
			t.Errorf("%s: %q, %q", k, one.Title, over.Title)
		}
	}
	if e := announce.OfEnd("linac", "x/1", "failed", "1 slice failed\n", false, now); e.Severity != announce.Warning || e.Title != "campaign x/1 has ended: failed" {
		t.Errorf("%+v", e)
	}
}
