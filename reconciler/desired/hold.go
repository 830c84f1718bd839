package desired

import (
	"fmt"
	"strings"
)

// Hold keeps what is published for a scope, or starts nothing new there, until its last day has ended.
type Hold struct {
	Scope       string `json:"scope"`
	Kind        string `json:"kind,omitempty"` // Stay or Stop
	Reason      string `json:"reason"`
	Responsible string `json:"responsible,omitempty"`
	From        string `json:"from,omitempty"` // first day, YYYY-MM-DD
	Until       string `json:"until"`          // last day, YYYY-MM-DD
}

// Kinds of holds.
const (
	Stay = "stay" // what is published stays
	Stop = "stop" // nothing new is started
)

// What a scope is about. The site has no name.
const (
	SiteScope      = "site"
	FECScope       = "fecs"
	GroupScope     = "groups"
	CampaignScope  = "campaigns"
	scopesInSchema = "site, fecs.NAME, groups.NAME, campaigns, campaigns.NAME or campaigns.NAME/STAGE"
)

// TheKind is what the hold does: of campaigns stop, else stay.
func (h Hold) TheKind() string { return or(h.Kind, KindFor(h.Scope)) }

// KindFor is the kind of a hold of which only the scope is known.
func KindFor(scope string) string {
	if what, _ := SplitScope(scope); what == CampaignScope {
		return Stop
	}
	return Stay
}

// SplitScope is what a well-formed scope is about, and its name; of a stage CAMPAIGN/STAGE, of all campaigns none.
func SplitScope(scope string) (what, name string) {
	what, name, _ = strings.Cut(scope, ".")
	return what, name
}

// ParseScope checks a scope that a person has written.
func ParseScope(scope string) (string, error) {
	what, name := SplitScope(scope)
	switch {
	case scope == SiteScope, scope == CampaignScope:
		return scope, nil
	case (what == FECScope || what == GroupScope) && isScopeName(name):
		return scope, nil
	case what == CampaignScope:
		if campaign, stage, ofStage := strings.Cut(name, "/"); isScopeName(campaign) && (!ofStage || isScopeName(stage)) {
			return scope, nil
		}
	}
	return "", fmt.Errorf("malformed scope %q: want %s", scope, scopesInSchema)
}

func isScopeName(name string) bool {
	return name != "" && len(name) < 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" && 'a' <= name[0] && name[0] <= 'z'
}
