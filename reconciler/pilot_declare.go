package reconciler

import (
	"fmt"
	"maps"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// RequestPilot asks for a new pilot.
type RequestPilot struct{ Pilot desired.Pilot }

func (w RequestPilot) say(s PilotSeen) (c PilotChange, err error) {
	if _, there := s.Site.Pilots[s.Name]; there {
		return c, fmt.Errorf("the site has a pilot %s already: choose another name", s.Name)
	}
	if s.used {
		return c, fmt.Errorf("a pilot %s was there before, and what was proven of it stays: choose another name", s.Name)
	}
	p := w.Pilot
	if p.Owner == "" {
		p.Owner = s.By
	}
	if p.Owner == "" {
		return c, fmt.Errorf("nobody asks for it: give --owner, or have git know who you are: git config user.email")
	}
	if p.Scope != desired.PilotOfFECs && p.Scope != desired.PilotOfSites {
		return c, fmt.Errorf("unknown scope %q: want %s, software for FECs, or %s, a service of sites; previews of client tools are no pilots, since they take nobody's service away", p.Scope, desired.PilotOfFECs, desired.PilotOfSites)
	}
	return PilotChange{Pilot: &p, Title: "Ask for pilot " + s.Name}, nil
}

// StaffPilot says who does what in a pilot, who takes part and in which order; what it does not say stays as it is.
type StaffPilot struct {
	Roles    desired.PilotRoles
	Urgency  string
	Tracker  string
	Expires  string
	Impact   *desired.PilotImpact
	Rollout  *desired.Rollout
	Sites    map[string]desired.PilotSite // added, or given another contact or wave
	InfoSys  *desired.InfoSys
	Audience []string // added
}

func (w StaffPilot) say(s PilotSeen) (c PilotChange, err error) {
	p := s.Pilot
	if err := s.mayStaff(); err != nil {
		return c, err
	}
	if w.Roles.Coordinator+w.Roles.Developer+w.Roles.Authoriser != "" || len(w.Roles.Testers) > 0 {
		if p.Roles, err = w.roles(s); err != nil {
			return c, err
		}
	}
	p.Urgency, p.Tracker, p.Expires = either(w.Urgency, p.Urgency), either(w.Tracker, p.Tracker), either(w.Expires, p.Expires)
	if w.Impact != nil {
		p.Impact = w.Impact
	}
	if w.Rollout != nil {
		p.Rollout = w.rollout(p.Rollout)
	}
	if w.InfoSys != nil {
		p.InfoSys = w.InfoSys
	}
	if len(w.Sites) > 0 {
		p.Sites = maps.Clone(p.Sites)
		if p.Sites == nil {
			p.Sites = map[string]desired.PilotSite{}
		}
		maps.Copy(p.Sites, w.Sites)
	}
	p.Audience = append(append([]string(nil), p.Audience...), w.Audience...)
	return PilotChange{Pilot: &p, Title: "Staff pilot " + s.Name, Warnings: s.ineffective()}, nil
}

// mayStaff says why somebody may not say who does what: once there is a coordinator, it is for them and the owner.
func (s PilotSeen) mayStaff() error {
	if s.Pilot.Roles == nil && !(s.known && s.over()) {
		return nil
	}
	return s.may(desired.PilotRecord{Kind: desired.RecordCriterion, By: s.By})
}

func (w StaffPilot) roles(s PilotSeen) (*desired.PilotRoles, error) {
	r := desired.PilotRoles{}
	if s.Pilot.Roles != nil {
		r = *s.Pilot.Roles
	}
	r.Coordinator, r.Developer, r.Authoriser = either(w.Roles.Coordinator, r.Coordinator), either(w.Roles.Developer, r.Developer), either(w.Roles.Authoriser, r.Authoriser)
	if len(w.Roles.Testers) > 0 {
		r.Testers = w.Roles.Testers
	}
	for _, role := range []struct{ name, who string }{{"coordinator", r.Coordinator}, {"developer", r.Developer}, {"authoriser", r.Authoriser}} {
		if role.who == "" {
			return nil, fmt.Errorf("nobody is %[1]s yet: give --%[1]s", role.name)
		}
	}
	if desired.SamePerson(r.Authoriser, r.Developer) {
		return nil, fmt.Errorf("%s cannot both develop and authorise it: name another authoriser", r.Developer)
	}
	for _, t := range r.Testers {
		if desired.SamePerson(t, r.Developer) {
			return nil, fmt.Errorf("%s cannot both develop and test it: name another tester", t)
		}
	}
	return &r, nil
}

// rollout keeps the minimum where waves alone are given, and the other way round.
func (w StaffPilot) rollout(was *desired.Rollout) *desired.Rollout {
	r := *w.Rollout
	if was != nil {
		if r.Minimum == 0 {
			r.Minimum = was.Minimum
		}
		if len(r.Waves) == 0 {
			r.Waves = was.Waves
		}
	}
	return &r
}
