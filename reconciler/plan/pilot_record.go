package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// always is before anything that is recorded.
var always = time.Unix(0, 0)

// pilotRecord is a record, and whether it counts.
type pilotRecord struct {
	desired.PilotRecord
	name  string
	at    time.Time
	known time.Time // since when: no earlier than at, whatever that says
	doubt string    // why nobody knows that the right person wrote it; empty: he did
	// vouched is which operator vouches for it, and why; empty: none does.
	vouched string
	void    bool // it is about something else than what is there
}

// readRecords reads a pilot's records, the oldest first, and judges who wrote them.
func (c *pilotCase) readRecords() []*pilotRecord {
	c.doubts = map[string]string{}
	all, records := make([]pilotRecord, len(c.p.Records)), make([]*pilotRecord, 0, len(c.p.Records))
	for name := range c.p.Records {
		r := &all[len(records)]
		r.name, r.PilotRecord = name, c.p.Records[name]
		var err error
		if r.at, err = time.Parse(time.RFC3339, r.At); err != nil {
			r.doubt = fmt.Sprintf("%s does not say when it was", name)
		}
		if proof := c.f.Proofs[name]; proof.Vouched() {
			r.vouched = proof.Source
		}
		if r.known = r.at; c.f.ProvenAt[name].After(r.at) {
			r.known = c.f.ProvenAt[name]
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b *pilotRecord) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name, b.name)) })
	frozen, installed := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		r.doubt = cmp.Or(r.doubt, c.unproven(r), c.unfit(r, installed))
		switch {
		case r.doubt == "" && r.Kind == desired.RecordFreeze:
			frozen[r.Subject] = true
		case r.doubt == "" && r.Kind == desired.RecordDeployment && r.State == "installed":
			installed[r.Site] = true
		}
		// Whoever denied what was frozen once has denied the pilot.
		denied := denies(r) && (r.Subject == "" || frozen[r.Subject])
		if r.void = !denied && c.isVoid(r); r.void {
			c.void = append(c.void, r.name)
		}
		if r.doubt != "" {
			c.doubtful(r, r.doubt)
		}
	}
	slices.Sort(c.void)
	return records
}

// denies says whether a record denies a pilot.
func denies(r *pilotRecord) bool {
	return r.Kind == desired.RecordAuthorisation && r.Decision == "deny" && r.Update == ""
}

// unproven says why nobody knows that a record was written by whom it names.
func (c *pilotCase) unproven(r *pilotRecord) string {
	proof, ok := c.f.Proofs[r.name]
	switch {
	case !ok:
		return r.name + ": " + cmp.Or(c.f.Doubts[r.name], "nobody knows who wrote it")
	case !samePerson(proof.By, r.By):
		return fmt.Sprintf("%s: %s wrote it, and not %s (%s)", r.name, proof.By, r.By, proof.Source)
	}
	return ""
}

// unfit says why whom a record names may not write it. Installed are sites that had installed the pilot by then.
func (c *pilotCase) unfit(r *pilotRecord, installed map[string]bool) string {
	may, as := c.p.Writers(&r.PilotRecord, installed)
	switch roles := c.p.Roles; {
	case as == "":
		return ""
	case roles != nil && slices.Contains(separate, r.Kind) && samePerson(roles.Developer, r.By):
		return fmt.Sprintf("%s: %s develops it", r.name, r.By)
	case !slices.ContainsFunc(may, func(who string) bool { return who != "" && samePerson(who, r.By) }):
		return fmt.Sprintf("%s: %s is not %s", r.name, r.By, as)
	}
	return ""
}

// samePerson is desired.SamePerson, which has little to do for one who is always called the same.
func samePerson(a, b string) bool { return a == b || desired.SamePerson(a, b) }

// separate are kinds of records that whoever develops a pilot does not write, also if he has another role.
var separate = []string{desired.RecordReport, desired.RecordAuthorisation, desired.RecordWaiver}

// bound are kinds of records that count for nothing but what they name.
var bound = []string{desired.RecordApproval, desired.RecordCriterion, desired.RecordWaiver}

// isVoid says whether a record is about packages, or an update, that are not there.
func (c *pilotCase) isVoid(r *pilotRecord) bool {
	subject := c.f.Subject
	if r.Update != "" {
		u, ok := c.updates[r.Update]
		if !ok {
			return true
		}
		subject = u.subject
		if r.Kind == desired.RecordApproval && r.Terms != u.Terms() {
			return true
		}
	}
	if r.Subject == "" {
		return slices.Contains(bound, r.Kind)
	}
	if r.Subject == subject {
		return false
	}
	switch r.Kind {
	case desired.RecordDeployment, desired.RecordResources, desired.RecordProblem, desired.RecordFeedback, desired.RecordHalt, desired.RecordResume, desired.RecordClosure,
		desired.RecordCriterion, desired.RecordCall, desired.RecordJoin:
		if r.Subject == c.f.Subject {
			return false
		}
		for _, u := range c.updates {
			if u.subject == r.Subject {
				return false
			}
		}
	}
	return true
}

// counting are the records of a kind that count, the oldest first.
func (j *pilotJudge) counting(update, kind string) (out []*pilotRecord) {
	for _, r := range j.by[recordKey{update, kind}] {
		if !r.void && r.doubt == "" {
			out = append(out, r)
		}
	}
	return out
}

// fast says whether a pilot may leave out checks.
func (c *pilotCase) fast() bool { return c.p.Urgency == "fast" }

// ofSites says whether a pilot is one of sites, and not of FECs.
func (c *pilotCase) ofSites() bool { return c.p.Scope == desired.PilotOfSites }

// coordinator is who runs a pilot, as those who must do something.
func (c *pilotCase) coordinator() []string {
	if c.p.Roles == nil {
		return []string{c.p.Owner}
	}
	return []string{c.p.Roles.Coordinator}
}

// do is a command about a pilot.
func (c *pilotCase) do(words ...string) string {
	return strings.Join(append([]string{"pomona pilot", c.name}, words...), " ")
}

// recordNames are the names of records.
func recordNames(rs ...*pilotRecord) (names []string) {
	for _, r := range rs {
		names = append(names, r.name)
	}
	return names
}
