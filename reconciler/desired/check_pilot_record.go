package desired

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// recordRule says which fields a kind of record has besides by, at, kind and url.
type recordRule struct {
	must, may []string
	roles     bool // it takes somebody with a role
	ofSites   bool // pilots of FECs have none
}

var recordRules = map[string]recordRule{
	RecordFreeze:        {must: []string{"subject"}, may: []string{"update", "closure"}, roles: true},
	RecordReport:        {must: []string{"subject", "checks"}, may: []string{"update", "compat", "text"}, roles: true},
	RecordAuthorisation: {must: []string{"subject", "decision"}, may: []string{"update", "reason", "text"}, roles: true},
	RecordApproval:      {must: []string{"update", "subject"}, may: []string{"terms", "text"}, roles: true, ofSites: true},
	RecordRejection:     {must: []string{"update", "reason"}, may: []string{"subject", "text"}, roles: true, ofSites: true},
	RecordNotes:         {must: []string{"subject", "text"}, may: []string{"update", "migration"}, roles: true},
	RecordMirror:        {must: []string{"subject"}, may: []string{"update", "location", "checked", "text"}, roles: true, ofSites: true},
	RecordCall:          {must: []string{"closes"}, may: []string{"subject", "text"}, roles: true},
	RecordJoin:          {must: []string{"site", "answer"}, may: []string{"subject", "text", "reason"}, ofSites: true},
	RecordDeployment:    {must: []string{"site", "state"}, may: []string{"subject", "update", "text", "reason"}, ofSites: true},
	RecordResources:     {must: []string{"site", "resources"}, may: []string{"subject", "text"}, ofSites: true},
	RecordProblem:       {must: []string{"problem", "category", "severity", "status", "text"}, may: []string{"site", "subject", "update", "fixedIn"}},
	RecordFeedback:      {must: []string{"text"}, may: []string{"rating", "site", "subject", "update"}},
	RecordCriterion:     {must: []string{"criterion", "met", "subject"}, may: []string{"text"}},
	RecordWaiver:        {must: []string{"check", "reason", "expires", "subject"}, may: []string{"update"}, roles: true},
	RecordHalt:          {must: []string{"reason"}, may: []string{"subject", "update", "site"}},
	RecordResume:        {may: []string{"reason", "subject", "update"}, roles: true},
	RecordClosure:       {must: []string{"outcome"}, may: []string{"reason", "subject", "text"}},
	RecordAgreement:     {must: []string{"terms", "owner", "expires"}, may: []string{"coordinator", "text"}},
}

// What a waiver is of, besides a check of the report.
const (
	SoakOfWave   = "soak"
	TestOfUpdate = "test"
)

// fields says which fields a record has.
func (r PilotRecord) fields() map[string]bool {
	return map[string]bool{
		"terms": r.Terms != "", "owner": r.Owner != "", "coordinator": r.Coordinator != "", "subject": r.Subject != "", "update": r.Update != "", "closure": r.Closure != nil, "compat": r.Compat != "", "checks": len(r.Checks) > 0,
		"decision": r.Decision != "", "text": r.Text != "", "migration": r.Migration != "", "location": r.Location != "", "checked": r.Checked != "", "closes": r.Closes != "",
		"site": r.Site != "", "answer": r.Answer != "", "state": r.State != "", "resources": r.Resources != nil, "problem": r.Problem != "",
		"category": r.Category != "", "severity": r.Severity != "", "status": r.Status != "", "fixedIn": r.FixedIn != "", "rating": r.Rating != 0,
		"criterion": r.Criterion != "", "met": r.Met != "", "check": r.Check != "", "expires": r.Expires != "", "reason": r.Reason != "", "outcome": r.Outcome != "",
	}
}

// evidence checks records one by one, and against those of before.
func (k *pilotChecker) evidence() {
	b := before{joined: map[string]string{}, waived: map[waiverOf]string{}, met: map[string]string{}}
	for _, name := range k.byTime() {
		r := k.Records[name]
		rule, ok := recordRules[r.Kind]
		if !ok {
			continue // the schema has said so
		}
		c := recordChecker{pilotChecker: k, record: name, PilotRecord: r}
		c.fits(rule)
		c.names()
		c.said(&b)
		c.recordAt(c.of("at"), r.At)
	}
	k.migrations()
	k.reports()
	k.agreed()
}

// byTime are the records with the oldest first. Of one second, those that others rest on come first.
func (k *pilotChecker) byTime() []string {
	rank := map[string]int{RecordJoin: -1, RecordWaiver: -1, RecordCriterion: -1}
	names := slices.Clone(k.inOrder)
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(k.Records[a].At, k.Records[b].At), rank[k.Records[a].Kind]-rank[k.Records[b].Kind])
	})
	return names
}

// before is what earlier records say.
type before struct {
	joined map[string]string   // site to its answer
	waived map[waiverOf]string // to the last day
	met    map[string]string   // criterion to what is said of it
}

type waiverOf struct{ check, update, subject string }

type recordChecker struct {
	*pilotChecker
	record string
	PilotRecord
}

func (c recordChecker) of(field ...any) string {
	return c.at(append([]any{"records", c.record}, field...)...)
}

// fits checks that a record has the fields of its kind and of its pilot's scope.
func (c recordChecker) fits(rule recordRule) {
	if rule.ofSites && c.Scope == PilotOfFECs {
		c.problem(c.of("kind"), fmt.Sprintf("%s has no records of kind %s", pilotOf[c.Scope], c.Kind), "remove it")
		return
	}
	has := c.fields()
	for _, field := range rule.must {
		if !has[field] {
			advice := "add it"
			if field == "subject" {
				advice = fmt.Sprintf("add the digest that pomona pilot %s shows: it counts for nothing else", c.name)
			}
			c.problem(c.of(), fmt.Sprintf("a record of kind %s needs %s", c.Kind, field), advice)
		}
	}
	for _, field := range sortedKeys(has) {
		switch {
		case has[field] && !slices.Contains(rule.must, field) && !slices.Contains(rule.may, field):
			c.problem(c.of(field), fmt.Sprintf("a record of kind %s has no %s", c.Kind, field), "remove it")
		case has[field] && c.Scope == PilotOfFECs && slices.Contains(onlySites, field):
			c.problem(c.of(field), fmt.Sprintf("records of %s have no %s", pilotOf[c.Scope], field), "remove it")
		}
	}
}

// onlySites are fields of records that pilots of FECs have none of.
var onlySites = []string{"closure", "site", "update"}

// names checks that there is what a record names.
func (c recordChecker) names() {
	if _, ok := c.Updates[c.Update]; !ok && c.Update != "" && c.Scope == PilotOfSites {
		unknown(c.checker, c.of("update"), "update", c.Update, c.Updates, c.at("updates"))
	}
	if _, ok := c.Sites[c.Site]; !ok && c.Site != "" && c.Scope == PilotOfSites {
		unknown(c.checker, c.of("site"), "site", c.Site, c.Sites, c.at("sites"))
	}
	if _, ok := c.Success[c.Criterion]; !ok && c.Criterion != "" {
		unknown(c.checker, c.of("criterion"), "criterion", c.Criterion, c.Success, c.at("success"))
	}
	c.fixed()
}

// fixed checks what a problem was fixed in: an update or, of FECs, another version.
func (c recordChecker) fixed() {
	switch _, update := c.Updates[c.FixedIn]; {
	case c.Kind != RecordProblem:
	case c.FixedIn == "" && c.Status == "fixed":
		c.problem(c.of(), "a problem that is fixed needs fixedIn", "say in which update or version it is")
	case c.FixedIn != "" && c.Status != "fixed":
		c.problem(c.of("fixedIn"), fmt.Sprintf("a problem whose status is %s is fixed in nothing", c.Status), `remove it, or set status: "fixed"`)
	case c.FixedIn == "" || c.Scope == PilotOfSites && update:
	case c.Scope == PilotOfSites:
		unknown(c.checker, c.of("fixedIn"), "update", c.FixedIn, c.Updates, c.at("updates"))
	default:
		software, known := c.site.Software[c.Software]
		if _, ok := software.Versions[c.FixedIn]; known && !ok {
			unknownVersion(c.checker, c.of("fixedIn"), c.Software, c.FixedIn, software.Versions)
		}
	}
}

// said checks what a record says, and keeps what later ones rest on.
func (c recordChecker) said(b *before) {
	switch c.Kind {
	case RecordReport:
		c.notBy("report on")
		c.report(b)
	case RecordAuthorisation:
		c.notBy("authorise")
		c.reasoned(c.Decision == "deny", "an authorisation that denies")
	case RecordCall:
		c.after(c.Closes, "closes", "the call")
		if c.Closes > c.Pilot.Expires && c.Pilot.Expires != "" {
			c.warning(c.of("closes"), fmt.Sprintf("the call closes on %s, and the pilot ends with %s", c.Closes, c.Pilot.Expires), "let the pilot last longer")
		}
	case RecordJoin:
		b.joined[c.Site] = c.Answer
	case RecordDeployment:
		c.deployment(b)
	case RecordCriterion:
		b.met[c.Criterion] = c.Met
	case RecordWaiver:
		c.waiver(b)
	case RecordResume:
		if c.Update == "" && c.Reason == "" {
			c.problem(c.of(), "nothing says why this pilot may go on", "name the update that fixes it, or give a reason")
		}
	case RecordAgreement:
		c.agreement()
	case RecordClosure:
		c.reasoned(c.Outcome == "withdrawn", "a closure that withdraws")
		c.promoted(b)
	}
}

// notBy checks that the developer does not judge their own work.
func (c recordChecker) notBy(do string) {
	if c.Roles != nil && SamePerson(c.By, c.Roles.Developer) {
		c.problem(c.of("by"), fmt.Sprintf("%s develops this pilot, and cannot %s it", c.By, do), "let somebody else do that")
	}
}

func (c recordChecker) reasoned(needed bool, what string) {
	if needed && c.Reason == "" {
		c.problem(c.of(), what+" needs a reason", "add reason")
	}
}

// day is when a record was made; empty when that is malformed.
func (c recordChecker) day() string {
	if t := recordTime(c.At); !t.IsZero() {
		return t.UTC().Format(time.DateOnly)
	}
	return ""
}

// after checks that a last day is not before the record.
func (c recordChecker) after(day, field, what string) {
	if day != "" && day < c.day() {
		c.problem(c.of(field), fmt.Sprintf("%s ends on %s, before it begins on %s", what, day, c.day()), "give a later day")
	}
}

// NeededChecks are the items that a report on a pilot must speak of.
func (p Pilot) NeededChecks() []string {
	return slices.DeleteFunc(slices.Clone(PilotChecks), func(check string) bool {
		rule := checkRules[check]
		return p.Scope == PilotOfFECs && rule.sites || p.TheUrgency() == FastUrgency && rule.slow
	})
}

// checkRules say which items only pilots of sites have, and which may be left out where it is urgent.
var checkRules = map[string]struct{ sites, slow bool }{
	"installer-config": {slow: true},
	"patch-list":       {sites: true},
	"site-impact":      {slow: true},
	"repo-structure":   {sites: true},
	"repo-closure":     {sites: true},
	"clean-install":    {slow: true},
	"signatures":       {sites: true, slow: true},
}

// report checks that what a report waives is waived.
func (c recordChecker) report(b *before) {
	for _, check := range sortedKeys(c.Checks) {
		if c.Checks[check].Verdict == "waived" && !c.waived(b, check) {
			c.problem(c.of("checks", check), fmt.Sprintf("no waiver of %s for this subject was valid on %s", check, c.day()), "record one before the report: kind waiver, with the same subject, a reason and its last day")
		}
	}
}

func (c recordChecker) waived(b *before, check string) bool {
	until := b.waived[waiverOf{check, c.Update, c.Subject}]
	return until != "" && c.day() <= until
}

// waiver checks who lets something pass, and for how long.
func (c recordChecker) waiver(b *before) {
	c.notBy("waive anything of")
	c.after(c.Expires, "expires", "the waiver")
	if at := recordTime(c.At); !at.IsZero() && c.Expires > at.UTC().AddDate(1, 0, 0).Format(time.DateOnly) {
		c.problem(c.of("expires"), fmt.Sprintf("the waiver ends on %s, more than a year after it begins", c.Expires), "give a day within a year")
	}
	if c.Check == TestOfUpdate && c.Update == "" {
		c.problem(c.of(), "a waiver of the test needs update", "say which one is not tested")
	}
	w := waiverOf{c.Check, c.Update, c.Subject}
	b.waived[w] = max(b.waived[w], c.Expires)
}

// deployment checks that a site which installs has said that it takes part.
func (c recordChecker) deployment(b *before) {
	if c.State != "installed" {
		return
	}
	if c.Subject == "" {
		c.problem(c.of(), "a deployment that is installed needs subject", "add the digest of what was installed")
	}
	if _, known := c.Sites[c.Site]; known && b.joined[c.Site] != "interested" {
		c.problem(c.of("site"), fmt.Sprintf("site %q has not said that it takes part", c.Site), `record that first: kind join, answer "interested"`)
	}
}

// promoted checks that what is promoted has met its criteria.
func (c recordChecker) promoted(b *before) {
	if c.Outcome != "promoted" {
		return
	}
	if unmet := slices.DeleteFunc(sortedKeys(c.Success), func(name string) bool { return b.met[name] == "yes" }); len(unmet) > 0 {
		c.problem(c.of("outcome"), fmt.Sprintf("this pilot is promoted, and no record says that it met %s", Few(unmet)), "record that first: kind criterion, met yes; or withdraw it")
	}
}

// migrations checks that whoever has the version before a breaking one is told what to do: by the last notes, if they came after it was known.
func (k *pilotChecker) migrations() {
	type about struct{ update, subject string }
	breaking, notes := map[about]bool{}, map[about]string{}
	for _, name := range k.inOrder {
		r := k.Records[name]
		switch of := (about{r.Update, r.Subject}); {
		case r.Kind == RecordReport && r.Update == "" && r.Compat != "":
			breaking[of] = r.Compat == BreakingUpdate
			delete(notes, of)
		case r.Kind == RecordNotes:
			notes[of] = name
		}
	}
	for of, name := range notes {
		if (breaking[of] || k.Updates[of.update].Compat == BreakingUpdate && of.update != "") && k.Records[name].Migration == "" {
			k.problem(k.at("records", name), "what these notes are about breaks what there was, and they do not say how to migrate", "record notes with migration")
		}
	}
}

// reports warns that those of what was reported on last leave something out: it is not checked before somebody has.
func (k *pilotChecker) reports() {
	if k.ended {
		return
	}
	type about struct{ update, subject string }
	last, said := map[string]string{}, map[about]map[string]bool{}
	for _, name := range k.inOrder {
		r := k.Records[name]
		if r.Kind != RecordReport {
			continue
		}
		of := about{r.Update, r.Subject}
		if last[r.Update] = name; said[of] == nil {
			said[of] = map[string]bool{"compat": r.Update != ""}
		}
		said[of]["compat"] = said[of]["compat"] || r.Compat != ""
		for check := range r.Checks {
			said[of][check] = true
		}
	}
	for update, name := range last {
		all := said[about{update, k.Records[name].Subject}]
		if left := slices.DeleteFunc(append(k.NeededChecks(), "compat"), func(check string) bool { return all[check] }); len(left) > 0 {
			k.warning(k.at("records", name), "no report on this says anything of "+strings.Join(left, ", "), "report on that too: it is not checked before")
		}
	}
}
