package reconciler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// AgreePilot agrees to what a pilot says of itself: who does what in it, who takes part, what decides whether it gets further.
type AgreePilot struct{}

func (AgreePilot) say(s PilotSeen) (c PilotChange, err error) {
	if s.Now.Unagreed == "" {
		return c, fmt.Errorf("what pilot %s says of itself is agreed already", s.Name)
	}
	r := s.Pilot.Agreement(s.By, s.At.UTC().Format(time.RFC3339))
	if err := s.may(r); err != nil {
		return c, err
	}
	if len(s.Now.MayAgree) == 0 {
		return c, fmt.Errorf("nobody may agree to what pilot %s says of itself: %s", s.Name, s.Now.Unagreed)
	}
	if !s.mayAgree() {
		return c, fmt.Errorf("%s may not agree to what pilot %s says of itself: %s may (say who you are with --by)", s.By, s.Name, strings.Join(s.Now.MayAgree, " or "))
	}
	return PilotChange{Record: &r, Title: title(s.Name, r), Terms: s.Pilot.TermLines(), Warnings: s.ineffective()}, nil
}

// mayAgree says whether whoever speaks may agree to the terms.
func (s PilotSeen) mayAgree() bool {
	return slices.ContainsFunc(s.Now.MayAgree, func(who string) bool { return desired.SamePerson(who, s.By) })
}

// agree has whoever changes the terms agree to that in the same commit, if they may: of a new pilot its owner, later the owner or the coordinator,
// unless something else is in the terms already to which nobody has agreed. That is looked at first, by AgreePilot.
func (s PilotSeen) agree(c *PilotChange) error {
	if c.Pilot == nil {
		return nil
	}
	p, err := asLoaded(*c.Pilot)
	if err != nil || p.Terms() == s.Pilot.Terms() {
		return err
	}
	_, there := s.Site.Pilots[s.Name]
	if there && s.Now.Unagreed == "" && s.mayAgree() || !there && desired.SamePerson(s.By, p.Owner) {
		r := p.Agreement(s.By, s.At.UTC().Format(time.RFC3339))
		c.Agreed = &r
	}
	return nil
}
