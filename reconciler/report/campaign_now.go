package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// CampaignsNow is how the campaigns of a site are, in short.
type CampaignsNow struct {
	States map[string]int              `json:"states"` // campaigns, those too that have ended
	Slices map[observed.SliceState]int `json:"slices"` // of those that have not
	// Look is what somebody should look at, what is worst first.
	Look []Look `json:"look"`
}

// Look is something that somebody should look at.
type Look struct {
	What  LookKind `json:"what"`
	About string   `json:"about,omitempty"` // campaign as NAME/RUN, engine or service
	Why   string   `json:"why"`
}

// LookKind says what there is to look at.
type LookKind string

// Kinds of what there is to look at, what is worst first.
const (
	LookUndecided  LookKind = "undecided"  // nothing is decided about any campaign
	LookEngine     LookKind = "engine"     // it does not answer
	LookUnknown    LookKind = "unknown"    // nobody knows what became of submissions
	LookIncomplete LookKind = "incomplete" // nothing is left to do, and somebody must decide
	LookFailed     LookKind = "failed"     // slices have, or are partial, while others go on
	LookApproval   LookKind = "approval"   // is waited for
	LookLate       LookKind = "late"       // slices take too long
	LookHeld       LookKind = "held"       // nothing new starts
	LookCredential LookKind = "credential" // ends soon, or cannot be read
	LookService    LookKind = "service"    // is not well
)

var lookKinds = []LookKind{LookUndecided, LookEngine, LookUnknown, LookIncomplete, LookFailed, LookApproval, LookLate, LookHeld, LookCredential, LookService}

// Now is how campaigns are, in short; nil if there are none and nothing is wrong.
func (c Campaigns) Now() *CampaignsNow {
	now := &CampaignsNow{States: map[string]int{}, Slices: map[observed.SliceState]int{}, Look: []Look{}}
	look := func(what LookKind, about, why string) {
		if why != "" {
			now.Look = append(now.Look, Look{what, about, why})
		}
	}
	look(LookUndecided, "", c.Trouble)
	for _, each := range c.Campaigns {
		now.States[each.State]++
		if each.Ended {
			continue
		}
		for _, s := range each.Stages {
			for state, n := range s.Slices {
				now.Slices[state] += n
			}
			if s.Late {
				look(LookLate, each.UID, s.Name+": "+s.Why)
			}
		}
		look(LookUnknown, each.UID, each.unknown())
		look(LookLate, each.UID, each.Lateness())
		look(LookFailed, each.UID, each.failures())
		what, why := each.waits()
		look(what, each.UID, why)
	}
	for _, e := range c.Engines {
		look(LookEngine, e.Name, e.Trouble)
		look(LookCredential, e.Name, e.credential())
	}
	for _, s := range c.Services {
		if !s.Well {
			look(LookService, s.Name, cmp.Or(s.Why, "it is not well"))
		}
	}
	if len(c.Campaigns)+len(now.Look) == 0 {
		return nil
	}
	slices.SortStableFunc(now.Look, func(a, b Look) int {
		return slices.Index(lookKinds, a.What) - slices.Index(lookKinds, b.What)
	})
	return now
}

// Held says whether a campaign is to go on and nothing new of it is started. Those are not that somebody has stopped in the site, and
// those that wait for nothing but their schedule.
func (c Campaign) Held() bool {
	switch c.State {
	case plan.CampaignDraft, plan.CampaignPaused, plan.CampaignDraining, plan.CampaignClosing:
		return false
	}
	scheduled := len(c.Why) == 1 && !c.Next.IsZero() && c.Why[0] == plan.StartsAt(c.Next)
	return !c.Ended && len(c.Why) > 0 && !scheduled
}

// LateSlices is how many slices have taken too long: those that go on, and those that somebody must decide about.
func (c Campaign) LateSlices() int {
	n := c.Late
	for _, s := range c.Stages {
		n += s.Slices[observed.SliceLate]
	}
	return n
}

// Lateness says how many these are; empty if there are none.
func (c Campaign) Lateness() string {
	switch n := c.LateSlices(); n {
	case 0:
		return ""
	case 1:
		return "1 slice is late"
	default:
		return fmt.Sprintf("%d slices are late", n)
	}
}

// unknown says of how many submissions nobody knows what became of them.
func (c Campaign) unknown() string {
	var said []string
	for _, s := range c.Stages {
		if n := s.Submissions[observed.SubmissionUnknown]; n > 0 {
			said = append(said, fmt.Sprintf("%d of %s on engine %s", n, s.Name, s.Engine))
		}
	}
	return strings.Join(said, ", ")
}

// tallyOf is how many slices of all stages are in each of some states.
func (c Campaign) tallyOf(states ...observed.SliceState) string {
	counts := map[observed.SliceState]int{}
	for _, s := range c.Stages {
		for _, state := range states {
			counts[state] += s.Slices[state]
		}
	}
	return tally(counts, sliceStates)
}

// failures says how many slices have failed, or are there in part, while others go on. Where none does, the campaign is incomplete.
func (c Campaign) failures() string {
	if n := c.tallyOf(observed.SliceFailed, observed.SlicePartial); n != "" && c.State != plan.CampaignIncomplete {
		return n + ": retry, accept or cancel"
	}
	return ""
}

// waits is for whom or what a campaign waits, and why.
func (c Campaign) waits() (what LookKind, why string) {
	slicesThatWait := c.tallyOf(observed.SliceAwaiting)
	switch {
	case c.State == plan.CampaignIncomplete:
		open := c.tallyOf(observed.SliceFailed, observed.SlicePartial, observed.SliceLate)
		return LookIncomplete, cmp.Or(open, first(c.Why), "nothing is left to do") + ": retry, accept or cancel"
	case c.State == plan.CampaignAwaiting:
		return LookApproval, cmp.Or(first(c.Why), "it waits for an approval")
	case slicesThatWait != "":
		return LookApproval, "slices: " + slicesThatWait
	case c.Held():
		return LookHeld, c.Why[0]
	}
	return LookHeld, ""
}

// credential is what is wrong with that of a batch system's jobs.
func (e Engine) credential() string {
	switch {
	case e.CredentialTrouble != "":
		return "it cannot be read: " + e.CredentialTrouble
	case e.Expiring:
		return "it ends at " + observed.Minute(e.Credential)
	}
	return ""
}

// mostLooks is how many things to look at a status shows; pomona campaign has all.
const mostLooks = 6

// lines are for people: how many there are of each state, and what to look at.
func (n CampaignsNow) lines() []string {
	head := tally(n.States, campaignStates)
	if s := tally(n.Slices, sliceStates); s != "" {
		head += "; slices of those that have not ended: " + s
	}
	lines := []string{cmp.Or(head, "none")}
	for i, l := range n.Look {
		if i == mostLooks {
			return append(lines, fmt.Sprintf("and %d more: pomona campaign", len(n.Look)-i))
		}
		lines = append(lines, observed.Printable(strings.TrimPrefix(fmt.Sprintf("%s %s: %s", l.What, l.About, l.Why), " ")))
	}
	return lines
}

// campaignStates are all states of campaigns, in the order in which they are shown.
var campaignStates = []string{plan.CampaignActive, plan.CampaignIncomplete, plan.CampaignAwaiting, plan.CampaignPaused, plan.CampaignDraining, plan.CampaignClosing,
	plan.CampaignDraft, plan.CampaignComplete, plan.CampaignPartial, plan.CampaignFailed, plan.CampaignClosed}
