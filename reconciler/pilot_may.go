package reconciler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// may says why a person cannot write a record that counts, and who can.
func (s PilotSeen) may(r desired.PilotRecord) error {
	if r.By == "" {
		return fmt.Errorf("nobody says it: give --by, or have git know who you are: git config user.email")
	}
	if ended, ok := s.closed(); ok && s.over() && s.known && r.Kind != desired.RecordFeedback {
		return fmt.Errorf("pilot %s has ended: %s %s; what is to go on is a new pilot: pomona pilot NAME request", s.Name, ended.Outcome, ended.At)
	}
	who, anybody := s.whoMay(r)
	if anybody {
		return nil
	}
	if s.Pilot.Roles == nil && len(who) == 0 {
		return fmt.Errorf("nobody has a role in pilot %[1]s yet: pomona pilot %[1]s staff", s.Name)
	}
	if r.Site != "" && s.Pilot.Sites[r.Site] == (desired.PilotSite{}) {
		return fmt.Errorf("site %s takes no part in pilot %s%s; its coordinator adds it: pomona pilot %[2]s staff --participant %[1]s=CONTACT", r.Site, s.Name, nearSite(r.Site, s.Pilot))
	}
	if slices.ContainsFunc(who, func(w string) bool { return desired.SamePerson(w, r.By) }) {
		return s.notBoth(r)
	}
	if len(who) == 0 {
		return fmt.Errorf("nobody may say that: the pilot has nobody in that role: pomona pilot %s staff", s.Name)
	}
	return fmt.Errorf("%s may not say that: %s may (say who you are with --by)", r.By, strings.Join(who, " or "))
}

// closed is the last record that closes the pilot, of those by whoever may; else of all.
func (s PilotSeen) closed() (r desired.PilotRecord, ok bool) {
	r, ok = s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordClosure && s.counts(o) })
	if !ok {
		r, ok = s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordClosure })
	}
	return r, ok
}

// counts says whether whom a record names may write it.
func (s PilotSeen) counts(r desired.PilotRecord) bool {
	who, anybody := s.whoMay(r)
	return anybody || slices.ContainsFunc(who, func(w string) bool { return desired.SamePerson(w, r.By) })
}

// over says whether the pilot has ended, which a record alone does not make it.
func (s PilotSeen) over() bool {
	return s.Now.State == plan.PilotClosed || s.Now.State == plan.PilotDenied
}

// ineffective are warnings of a record that would end the pilot, and does not; or does, if it is by whom it names.
func (s PilotSeen) ineffective() []string {
	r, ok := s.closed()
	switch {
	case !ok:
		return nil
	case s.over():
		return []string{fmt.Sprintf("the pilot has ended, if that record counts: %s closed it as %s at %s; whether it does tells --root", r.By, r.Outcome, r.At)}
	}
	return []string{fmt.Sprintf("%s closed it as %s at %s, which does not count: the pilot is %s", r.By, r.Outcome, r.At, s.Now.State)}
}

func nearSite(site string, p desired.Pilot) string {
	if near := didYouMean(site, p.Sites); near != "" {
		return " (" + strings.TrimSuffix(near, "?") + "?)"
	}
	return ""
}

// whoMay are the people whose record of a kind counts.
func (s PilotSeen) whoMay(r desired.PilotRecord) (who []string, anybody bool) {
	who, as := s.Pilot.Writers(&r, s.installed())
	return slices.DeleteFunc(slices.Clone(who), func(w string) bool { return w == "" }), as == ""
}

// notBoth refuses people whose other role forbids it: nobody judges what is their own.
func (s PilotSeen) notBoth(r desired.PilotRecord) error {
	if s.Pilot.Roles == nil {
		return nil
	}
	developer := desired.SamePerson(s.Pilot.Roles.Developer, r.By)
	switch r.Kind {
	case desired.RecordReport, desired.RecordAuthorisation, desired.RecordWaiver:
		if developer {
			return fmt.Errorf("%s develops it, and so may not say that: somebody else must", r.By)
		}
	}
	if r.Kind == desired.RecordAuthorisation {
		report, ok := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordReport && o.Update == r.Update })
		if ok && desired.SamePerson(report.By, r.By) {
			return fmt.Errorf("%s wrote the report, and so may not authorise it: it takes two", r.By)
		}
	}
	return nil
}

// installed are the sites that have said last that they run it.
func (s PilotSeen) installed() map[string]bool {
	sites := map[string]bool{}
	for _, name := range s.Pilot.RecordsInOrder() {
		if r := s.Pilot.Records[name]; r.Kind == desired.RecordDeployment {
			if r.State == "installed" {
				sites[r.Site] = true
			} else {
				delete(sites, r.Site)
			}
		}
	}
	return sites
}
