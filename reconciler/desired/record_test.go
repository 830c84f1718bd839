package desired_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestRecordsAreAddedOnly(t *testing.T) {
	record := func(kind string) desired.PrerequisiteRecord {
		zero := 0
		return desired.PrerequisiteRecord{Kind: kind, By: "ada@example.org", Jobs: desired.TrialJobs{Again: &desired.JobResult{Changed: &zero}}}
	}
	type records = map[string]desired.PrerequisiteRecord
	site := func(r records) desired.Site {
		return desired.Site{Prerequisites: map[string]desired.Prerequisite{"xml": {Responsible: "ada@example.org", Records: r}}}
	}
	retired := func(by, verdict string) desired.PrerequisiteRecord {
		r := record("retire")
		r.By, r.Verdict = by, verdict
		return r
	}
	before := site(records{"a": record("trial"), "b": record("review")})
	changed := record("trial")
	*changed.Jobs.Again.Changed = 1
	for name, c := range map[string]struct {
		before, now desired.Site
		want        string
	}{
		"same":        {before, site(records{"a": record("trial"), "b": record("review")}), ""},
		"added":       {before, site(records{"a": record("trial"), "b": record("review"), "c": record("trial")}), ""},
		"changed":     {before, site(records{"a": changed, "b": record("review")}), "prerequisites.xml.records.a: this record has been changed; "},
		"removed":     {before, site(records{"a": record("trial")}), `prerequisites.xml: record "b" has been removed; `},
		"gone":        {before, desired.Site{}, "prerequisites: prerequisites.xml is gone, and with it what 2 records recorded; "},
		"retired":     {site(records{"a": retired("ada@example.org", "pass")}), desired.Site{}, ""},
		"by another":  {site(records{"a": retired("mallory@example.org", "pass")}), desired.Site{}, "prerequisites: prerequisites.xml is gone, and with it what a record recorded; "},
		"not retired": {site(records{"a": retired("ada@example.org", "fail")}), desired.Site{}, "prerequisites: prerequisites.xml is gone, and with it what a record recorded; "},
		"unheard":     {site(nil), desired.Site{}, ""},
		"said to be retired": {site(records{"a": retired("ada@example.org", "pass"), "accepted": record("review")}), desired.Site{},
			"prerequisites: prerequisites.xml is gone, and with it what 2 records recorded; put it back as it was: it is accepted, and may go once it is retired"},
	} {
		got := desired.Rewritten(c.before, c.now, func(section, name string) string {
			if _, known := c.before.Prerequisites[name].Records["accepted"]; section == "prerequisites" && known {
				return "accepted"
			}
			return ""
		}).Error()
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
