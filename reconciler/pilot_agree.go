package reconciler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// AgreePilot agrees to what a pilot says of itself: who does what in it, who takes part, what decides whether it gets further.
type AgreePilot struct {
	Vouched bool // whoever agrees may not, and has an operator vouch for it
}

func (w AgreePilot) say(s PilotSeen) (c PilotChange, err error) {
	if err := s.fetched(); err != nil {
		return c, err
	}
	if s.Now.Unagreed == "" {
		return c, fmt.Errorf("what pilot %s says of itself is agreed already", s.Name)
	}
	r := s.agreement(s.Pilot)
	if err := s.may(r); err != nil {
		return c, err
	}
	c = PilotChange{Record: &r, Title: title(s.Name, r), Terms: s.Pilot.TermLines(), Warnings: s.ineffective()}
	switch {
	case s.mayAgree():
		return c, nil
	case w.Vouched:
		c.Warnings = append(c.Warnings, fmt.Sprintf("it does not count before an operator vouches for it, once it is published: pomona pilot %s vouch %s", s.Name, recordName(s.Name, r)))
		return c, nil
	}
	who := strings.Join(s.Now.MayAgree, " or ") + " may (say who you are with --by)"
	if len(s.Now.MayAgree) == 0 {
		who = s.Now.Unagreed
	}
	return c, fmt.Errorf("%s may not agree to what pilot %s says of itself: %s; if nobody can who may, agree with --vouched, and have an operator vouch for it", s.By, s.Name, who)
}

// agreement is a record by which whoever speaks agrees to the terms of a pilot, no earlier than the last one that counts.
func (s PilotSeen) agreement(p desired.Pilot) desired.PilotRecord {
	at := s.At
	if n := len(s.Now.Agreed); n > 0 {
		if last, err := time.Parse(time.RFC3339, s.Pilot.Records[s.Now.Agreed[n-1].Record].At); err == nil {
			at = later(at, last)
		}
	}
	return p.Agreement(s.By, at.UTC().Format(time.RFC3339))
}

// fetched says why nobody can agree yet to what is seen.
func (s PilotSeen) fetched() error {
	if s.behind == "" {
		return nil
	}
	return errors.New(s.behind)
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
	if err := s.fetched(); err != nil {
		return err
	}
	_, there := s.Site.Pilots[s.Name]
	if there && s.Now.Unagreed == "" && s.mayAgree() || !there && desired.SamePerson(s.By, p.Owner) {
		r := s.agreement(p)
		c.Agreed = &r
	}
	return nil
}
