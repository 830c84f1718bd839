package report

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// CampaignList is a page of the campaigns of a site.
type CampaignList struct {
	Trouble   string             `json:"trouble,omitempty"` // why nothing is decided now
	Campaigns []CampaignLine     `json:"campaigns"`         // by name, those that have ended last
	Found     int                `json:"found"`             // that the filter lets through
	Of        int                `json:"of"`                // there are, but for those that are archived
	Archived  int                `json:"archived"`
	States    map[string]int     `json:"states"` // of all of these
	Page      int                `json:"page"`
	Holds     []observed.Hold    `json:"holds"` // of campaigns, in force
	Engines   []Engine           `json:"engines"`
	Services  []observed.Service `json:"services"`
}

// CampaignLine is one of them, with what is counted of all its stages.
type CampaignLine struct {
	Campaign
	Slices map[observed.SliceState]int `json:"slices"`
	Held   []observed.Hold             `json:"held,omitempty"`  // in force, of it or of a stage of it
	Moved  time.Time                   `json:"moved,omitzero"`  // when anything of it changed last
	Cycle  *CampaignCycle              `json:"cycle,omitempty"` // nil: it has no schedule
}

// CampaignCycle is by which schedule a campaign starts.
type CampaignCycle struct {
	Cron     string    `json:"cron"`
	TimeZone string    `json:"timeZone"`
	Last     time.Time `json:"last,omitzero"` // start that was dealt with
}

// CampaignFilter says which campaigns are shown; what is empty restricts nothing.
type CampaignFilter struct {
	State    string
	Text     string // in its name and run, or in why, who and what for
	Archived bool   // those too
	Page     int    // from 1
}

// Takes says whether a filter lets a campaign through, of which nothing need be counted.
func (f CampaignFilter) Takes(c Campaign) bool {
	if f.State != "" && c.State != f.State || c.Archived && !f.Archived {
		return false
	}
	for _, s := range append([]string{c.UID, c.Requester, c.Assignee, c.Reason, c.Detail}, c.Why...) {
		if strings.Contains(strings.ToLower(s), strings.ToLower(f.Text)) {
			return true
		}
	}
	return false
}

// LineOf is a campaign with what is counted of all its stages.
func LineOf(c Campaign, holds []observed.Hold, moved time.Time) CampaignLine {
	x := CampaignLine{Campaign: c, Slices: map[observed.SliceState]int{}, Moved: moved}
	if c.Since.After(moved) {
		x.Moved = c.Since
	}
	for _, s := range c.Stages {
		for state, n := range s.Slices {
			x.Slices[state] += n
		}
	}
	for _, h := range holds {
		if holdsCampaign(h.Scope, c.Name) {
			x.Held = append(x.Held, h)
		}
	}
	return x
}

// holdsCampaign says whether a hold of a scope holds a campaign or a stage of it.
func holdsCampaign(scope, name string) bool {
	return scope == "site" || scope == "campaigns" || scope == "campaigns."+name || strings.HasPrefix(scope, "campaigns."+name+"/")
}

// Tally is how many slices there are of each state.
func (x CampaignLine) Tally() string { return tally(x.Slices, sliceStates) }

// Tally is how many slices of a stage there are of each state.
func (s Stage) Tally() string { return tally(s.Slices, sliceStates) }

// TestTally is likewise of tests.
func (s Stage) TestTally() string { return tally(s.Tests, sliceStates) }

// SubmissionTally is likewise of submissions.
func (s Stage) SubmissionTally() string { return tally(s.Submissions, submissionStates) }

// StateText is the state as people read it.
func (c Campaign) StateText() string { return c.stateText() }

// CampaignStates are all states of campaigns, in the order in which they are shown.
func CampaignStates() []string { return slices.Clone(campaignStates) }

// Titles are those of links, in order.
func Titles(links map[string]string) []string { return slices.Sorted(maps.Keys(links)) }
