package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// CampaignChange is what one commit changes in a campaign.
type CampaignChange struct {
	Name string   `json:"name"`
	What string   `json:"what"` // added, changed or removed
	Why  []string `json:"why"`  // what is otherwise, and what follows
}

// String is the change as a sentence.
func (c CampaignChange) String() string { return c.Name + ": " + c.Sentence() }

// Sentence is the change without its name.
func (c CampaignChange) Sentence() string { return c.What + because(c.Why) }

// campaignChanges are the campaigns that differ between two sites, by name.
func campaignChanges(was, now desired.Site) (out []CampaignChange) {
	names := maps.Clone(was.Campaigns)
	if names == nil {
		names = map[string]desired.Campaign{}
	}
	maps.Copy(names, now.Campaigns)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, there := was.Campaigns[name]
		after, stays := now.Campaigns[name]
		switch {
		case !there:
			out = append(out, CampaignChange{name, Added, []string{"state " + after.TheState(), count(len(after.Stages), "stage")}})
		case !stays:
			out = append(out, CampaignChange{name, Removed, []string{"what is planned of it is done, nothing is added"}})
		default:
			why := campaignDiffers(name, before, after)
			if len(why) > 0 && NeedsApproval(after, now.Settings) && SpecDigest(name, before, was.Settings) != SpecDigest(name, after, now.Settings) {
				why = append(why, "it has to be approved as it is now")
			}
			if len(why) > 0 {
				out = append(out, CampaignChange{name, Changed, why})
			}
		}
	}
	return out
}

// campaignDiffers says what of a campaign is otherwise.
func campaignDiffers(name string, was, now desired.Campaign) (why []string) {
	if a, b := was.TheState(), now.TheState(); a != b {
		why = append(why, "state "+a+" → "+b)
	}
	if a, b := was.UID(name), now.UID(name); a != b {
		why = append(why, a+" → "+b+" begins anew")
	}
	for _, stage := range differing(was.Stages, now.Stages) {
		_, there := was.Stages[stage]
		_, stays := now.Stages[stage]
		switch {
		case !there:
			why = append(why, "stage "+stage+" added")
		case !stays:
			why = append(why, "stage "+stage+" removed: what it has under way is cancelled")
		default:
			why = append(why, fmt.Sprintf("stage %s changed (%s)", stage, strings.Join(differing(fields(was.Stages[stage]), fields(now.Stages[stage])), ", ")))
		}
	}
	for _, field := range differing(fields(was), fields(now)) {
		if field != "state" && field != "run" && field != "stages" {
			why = append(why, field)
		}
	}
	return why
}

// fields are what a value of the site says, by name.
func fields(v any) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil { // never: it was read from such a document
		return map[string]json.RawMessage{err.Error(): nil}
	}
	return out
}

// differing are the keys whose values differ, sorted.
func differing[V any](a, b map[string]V) []string {
	var out []string
	for key := range a {
		if _, there := b[key]; !there {
			out = append(out, key)
		}
	}
	for key, v := range b {
		if old, there := a[key]; !there || !sameJSON(old, v) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}
