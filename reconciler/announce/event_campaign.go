package announce

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of events about campaigns. Each tells of all campaigns of a site at once, so that it is over when none is left.
const (
	CampaignHeld       Kind = "campaign-held"       // nothing new starts, for a reason that a person can end
	CampaignLate       Kind = "campaign-late"       // slices are not complete in time
	CampaignEnded      Kind = "campaign-ended"      // for good
	SubmissionUnknown  Kind = "submission-unknown"  // nobody knows what became of a job
	CredentialExpiring Kind = "credential-expiring" // that jobs need
)

// Kinds are all kinds of events.
var Kinds = []Kind{PassFailed, SiteProblems, PruneRefused, FetchFailing, DamageRepaired, Published, WebhookSilent, RestartsPaused, FECFailed, CollectFailing,
	HookFailing, CampaignHeld, CampaignLate, CampaignEnded, SubmissionUnknown, CredentialExpiring,
	PilotCall, PilotResources, PilotUpdate, PilotPublished, PilotHalted, PilotResumed, PilotExpired, PilotOverdue, PilotClosed}

// campaignTitles are what lasting events about campaigns are called, and what is said when they are over.
var campaignTitles = map[Kind]struct {
	one, many, over string
	severity        Severity
}{
	CampaignHeld:       {"a campaign is held", "%d campaigns are held", "no campaign is held any more", Warning},
	CampaignLate:       {"a campaign is late", "%d campaigns are late", "no campaign is late any more", Warning},
	SubmissionUnknown:  {"nobody knows what became of a job", "nobody knows what became of jobs of %d campaigns", "of every job it is known again what became of it", Error},
	CredentialExpiring: {"a credential of jobs ends soon", "%d credentials of jobs end soon", "no credential of jobs ends soon any more", Error},
}

// OfCampaigns is the event that something is so with some campaigns or, without any line, that it is over: of kinds CampaignHeld,
// CampaignLate, SubmissionUnknown and CredentialExpiring. Each line begins with what it is about.
func OfCampaigns(site string, k Kind, lines []string, now time.Time) Event {
	t := campaignTitles[k]
	if len(lines) == 0 {
		return Event{Site: site, Kind: k, Recovered: true, Title: t.over, At: now}
	}
	lines = slices.Sorted(slices.Values(lines))
	e := Event{Site: site, Severity: t.severity, Kind: k, Title: t.one, At: now, Text: few(lines, func(i int) string { return lines[i] })}
	if len(lines) > 1 {
		e.Title = fmt.Sprintf(t.many, len(lines))
	}
	return e
}

// OfEnd is the event that a campaign has ended; well says that all of it is complete.
func OfEnd(site, uid, state, detail string, well bool, now time.Time) Event {
	e := Event{Site: site, Severity: Info, Kind: CampaignEnded, Title: fmt.Sprintf("campaign %s has ended: %s", uid, state), Text: strings.TrimSpace(detail), At: now}
	if !well {
		e.Severity = Warning
	}
	return e
}
