package reconciler

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/propose"
)

// RecordPilot says that something has happened: its own fields are given, the rest is worked out.
type RecordPilot struct{ Record desired.PilotRecord }

// Is a record about the packages or the release as they are; of the others, it does not matter.
var aboutSubject = []string{
	desired.RecordFreeze, desired.RecordReport, desired.RecordAuthorisation, desired.RecordApproval, desired.RecordRejection, desired.RecordNotes,
	desired.RecordMirror, desired.RecordCall, desired.RecordDeployment, desired.RecordProblem, desired.RecordFeedback, desired.RecordCriterion, desired.RecordWaiver,
}

func (w RecordPilot) say(s PilotSeen) (c PilotChange, err error) {
	r := w.Record
	r.By, r.At = s.By, s.At.UTC().Format(time.RFC3339)
	if err := s.may(r); err != nil {
		return c, err
	}
	if slices.Contains(aboutSubject, r.Kind) {
		update := r.Update
		if r.Kind == desired.RecordDeployment && update == "" && r.Subject == "" {
			r.Subject = s.offered(r.Site)
		}
		if r.Kind == desired.RecordCriterion {
			r.Subject = s.running()
		}
		if r.Subject == "" {
			r.Subject, err = s.subject(update)
			anyhow := update == "" && (r.Kind == desired.RecordProblem || r.Kind == desired.RecordFeedback) // also of what has no packages yet
			if err != nil && !anyhow {
				return c, err
			}
		}
	} else if _, err := s.subject(r.Update); r.Update != "" && err != nil {
		return c, err
	}
	if check := wordChecks[r.Kind]; check != nil {
		if c.Warnings, err = check(s, &r); err != nil {
			return c, err
		}
	}
	c.Warnings = append(s.ineffective(), c.Warnings...)
	c.Record, c.Title = &r, title(s.Name, r)
	return c, nil
}

// title is what the commit is called.
func title(pilot string, r desired.PilotRecord) string {
	what := pilot
	if r.Update != "" {
		what = fmt.Sprintf("update %s of %s", r.Update, pilot)
	}
	said := map[string]string{
		desired.RecordFreeze: "Freeze", desired.RecordReport: "Report on", desired.RecordApproval: "Approve", desired.RecordRejection: "Reject", desired.RecordNotes: "Notes of",
		desired.RecordMirror: "Mirror of", desired.RecordCall: "Call for participation in", desired.RecordFeedback: "Feedback on", desired.RecordHalt: "Halt", desired.RecordResume: "Resume",
	}[r.Kind]
	switch r.Kind {
	case desired.RecordAuthorisation:
		said = map[string]string{"ok": "Authorise", "deny": "Deny"}[r.Decision]
	case desired.RecordJoin:
		said = fmt.Sprintf("Site %s is %s in", r.Site, map[string]string{"interested": "interested", "declined": "not interested"}[r.Answer])
	case desired.RecordDeployment:
		said = fmt.Sprintf("Site %s: %s", r.Site, r.State)
	case desired.RecordResources:
		said = fmt.Sprintf("Resources of %s for", r.Site)
	case desired.RecordProblem:
		said = fmt.Sprintf("Problem %s (%s) of", r.Problem, r.Status)
	case desired.RecordCriterion:
		said = fmt.Sprintf("Criterion %s (%s) of", r.Criterion, r.Met)
	case desired.RecordWaiver:
		said = fmt.Sprintf("Waive %s of", r.Check)
	case desired.RecordAgreement:
		said = "Agree to the terms of"
	case desired.RecordClosure:
		said = map[string]string{"promoted": "Promote", "withdrawn": "Withdraw"}[r.Outcome]
	}
	return said + " " + what
}

// offered is what a site has to install now: what its wave is given, else what is offered first.
func (s PilotSeen) offered(site string) string {
	wave := max(s.Pilot.Sites[site].Wave, 1)
	if wave <= len(s.Now.Waves) {
		return s.Now.Waves[wave-1].Subject
	}
	return ""
}

// running is the digest of the last packages that a site runs; empty: none says so.
func (s PilotSeen) running() (subject string) {
	trees, at := s.deployed().Trees(), map[string]int{}
	ordered, _ := s.deployed().UpdatesInOrder()
	for i, name := range ordered {
		at[trees[name].Subject()] = i + 1
	}
	for _, site := range s.Now.Sites {
		if site.State == "installed" && at[site.Subject] >= at[subject] {
			subject = site.Subject
		}
	}
	return subject
}

// frozen is the digest that the last freeze names; empty: none.
func (s PilotSeen) frozen(update string) (subject string) {
	for _, name := range s.Pilot.RecordsInOrder() {
		if r := s.Pilot.Records[name]; r.Kind == desired.RecordFreeze && r.Update == update {
			subject = r.Subject
		}
	}
	return subject
}

// last is the last record that is one of those.
func (s PilotSeen) last(is func(desired.PilotRecord) bool) (desired.PilotRecord, bool) {
	names := s.Pilot.RecordsInOrder()
	for _, name := range slices.Backward(names) {
		if r := s.Pilot.Records[name]; is(r) {
			return r, true
		}
	}
	return desired.PilotRecord{}, false
}

// wordChecks say what cannot count of a kind of record, and what may not.
var wordChecks = map[string]func(PilotSeen, *desired.PilotRecord) ([]string, error){
	desired.RecordFreeze:        PilotSeen.checkFreeze,
	desired.RecordReport:        PilotSeen.checkReport,
	desired.RecordAuthorisation: PilotSeen.checkFrozen,
	desired.RecordNotes:         PilotSeen.checkNotes,
	desired.RecordMirror:        PilotSeen.checkFrozen, // and MirrorPilot looks
	desired.RecordApproval:      PilotSeen.checkUpdate,
	desired.RecordRejection:     PilotSeen.checkUpdate,
	desired.RecordCall:          PilotSeen.checkCall,
	desired.RecordJoin:          PilotSeen.checkJoin,
	desired.RecordDeployment:    PilotSeen.checkDeployment,
	desired.RecordProblem:       PilotSeen.checkProblem,
	desired.RecordCriterion:     PilotSeen.checkCriterion,
	desired.RecordWaiver:        PilotSeen.checkWaiver,
	desired.RecordResume:        PilotSeen.checkResume,
	desired.RecordClosure:       PilotSeen.checkClosure,
}

// checkFrozen refuses what would be void: it is about something else than what was frozen.
func (s PilotSeen) checkFrozen(r *desired.PilotRecord) ([]string, error) {
	verb := fmt.Sprintf("pomona pilot %s freeze", s.Name)
	if r.Update != "" {
		verb = fmt.Sprintf("pomona pilot %s update %s freeze", s.Name, r.Update)
	}
	switch s.frozen(r.Update) {
	case r.Subject:
		return nil, nil
	case "":
		return nil, fmt.Errorf("nothing is frozen yet that it could be about: %s", verb)
	}
	return nil, fmt.Errorf("what was frozen has changed since, so that whatever is said of it is void: freeze it as it is now: %s", verb)
}

func (s PilotSeen) checkFreeze(r *desired.PilotRecord) (doubts []string, err error) {
	if s.Pilot.Scope == desired.PilotOfSites && r.Closure == nil {
		if r.Closure, err = s.closure(*r); err != nil {
			return nil, err
		}
	}
	was, _ := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordFreeze && o.Update == r.Update })
	if was.Subject == r.Subject && reflect.DeepEqual(was.Closure, r.Closure) {
		return nil, fmt.Errorf("this is frozen already, as %s", r.Subject)
	}
	if r.Closure == nil || r.Closure.Exit == 0 || s.waived("repo-closure", *r) {
		return nil, nil
	}
	return nil, fmt.Errorf("packages require what nobody provides%s: add it to %s, or have the coordinator waive it: pomona pilot %s waive repo-closure", listed(r.Closure.Unmet), desired.ExternalRPMs, s.Name)
}

// closure works out whether everything is provided that packages require, as far as they can be read.
func (s PilotSeen) closure(r desired.PilotRecord) (*desired.RPMClosure, error) {
	unmet, known, err := s.unmet(r.Subject)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the packages cannot be read to see whether everything is provided that they require (%v): give --root, or --closure with what dnf repoclosure says", err)
	case !known:
		return nil, fmt.Errorf("nobody knows whether everything is provided that the packages require%s: site.packages.base does not say what nodes have already; give --closure with what dnf repoclosure says", listed(unmet))
	case len(unmet) > 0:
		return &desired.RPMClosure{Exit: 1, Unmet: unmet}, nil
	}
	return &desired.RPMClosure{}, nil
}

func listed(what []string) string {
	if len(what) == 0 {
		return ""
	}
	return ": " + desired.Few(what)
}

// waived says whether the coordinator lets a check of what a record is about be left out today.
func (s PilotSeen) waived(check string, of desired.PilotRecord) bool {
	_, ok := s.last(func(r desired.PilotRecord) bool {
		return r.Kind == desired.RecordWaiver && r.Check == check && r.Update == of.Update && r.Subject == of.Subject && !desired.Expired(r.Expires, s.At)
	})
	return ok
}

func (s PilotSeen) checkReport(r *desired.PilotRecord) (doubts []string, err error) {
	if doubts, err = s.checkFrozen(r); err != nil {
		return nil, err
	}
	said, compat := s.reported(*r)
	var missing []string
	for _, check := range s.Pilot.NeededChecks() {
		if _, ok := r.Checks[check]; !ok && !said[check] {
			missing = append(missing, check)
		}
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("the report says nothing of %s: give --check NAME=VERDICT for each, with pass, fail, inconclusive or waived", strings.Join(missing, ", "))
	case len(r.Checks) == 0:
		return nil, errors.New("the report says nothing: give --check NAME=VERDICT, with pass, fail, inconclusive or waived")
	case r.Compat == "" && compat == "":
		return nil, errors.New("the report must say what it means for whoever has the version before: give --compat new-service, backward-compatible or breaking")
	}
	for _, check := range slices.Sorted(maps.Keys(r.Checks)) {
		if r.Checks[check].Verdict == "waived" && !s.waived(check, *r) {
			doubts = append(doubts, fmt.Sprintf("nobody has waived %[1]s: the coordinator does with pomona pilot %[2]s waive %[1]s", check, s.Name))
		}
	}
	return doubts, nil
}

// reported is what reports have said already of what another one is about.
func (s PilotSeen) reported(on desired.PilotRecord) (checks map[string]bool, compat string) {
	checks = map[string]bool{}
	for _, name := range s.Pilot.RecordsInOrder() {
		o := s.Pilot.Records[name]
		if o.Kind != desired.RecordReport || o.Update != on.Update || o.Subject != on.Subject || !s.counts(o) {
			continue
		}
		for check := range o.Checks {
			checks[check] = true
		}
		compat = cmp.Or(o.Compat, compat)
	}
	return checks, compat
}

func (s PilotSeen) checkNotes(r *desired.PilotRecord) ([]string, error) {
	_, compat := s.reported(*r)
	breaking := compat == "breaking" || r.Update != "" && s.Pilot.Updates[r.Update].Compat == "breaking"
	if breaking && r.Migration == "" {
		return nil, errors.New("it breaks what was there before, so that its notes must say how to move to it: give --migration FILE")
	}
	return s.checkFrozen(r)
}

func (s PilotSeen) checkUpdate(r *desired.PilotRecord) (doubts []string, err error) {
	if r.Update == "" {
		return nil, fmt.Errorf("only updates are approved or rejected; the pilot itself is authorised: pomona pilot %s authorise", s.Name)
	}
	if r.Kind == desired.RecordApproval {
		r.Terms = s.Pilot.Updates[r.Update].Terms()
	}
	last, said := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordRejection && o.Update == r.Update })
	switch {
	case r.Kind != desired.RecordApproval || !said:
	case !s.rejected(r.Update):
		return []string{fmt.Sprintf("%s rejected update %s, which does not count", last.By, r.Update)}, nil
	default:
		return nil, fmt.Errorf("update %s has been rejected: candidate another: pomona pilot %s update NAME add", r.Update, s.Name)
	}
	return nil, nil
}

// rejected says whether an update is: by whoever may, before it was mirrored.
func (s PilotSeen) rejected(update string) bool {
	return slices.ContainsFunc(s.Now.Updates, func(u plan.UpdateNow) bool { return u.Name == update && u.State == plan.UpdateRejected })
}

func (s PilotSeen) checkCall(r *desired.PilotRecord) ([]string, error) {
	if s.Pilot.Scope == desired.PilotOfFECs {
		return nil, fmt.Errorf("pilot %[1]s is of FECs, which are not asked: its first wave opens once it is authorised and noted; pomona pilot %[1]s says what is missing", s.Name)
	}
	switch {
	case desired.Expired(r.Closes, s.At):
		return nil, fmt.Errorf("the call would have closed on %s already: give a later --closes", r.Closes)
	case desired.Expired(r.Closes, s.At.Add(leastCall)):
		return nil, fmt.Errorf("sites would have less than a day to answer until the end of %s: give --closes %s or later", r.Closes, s.At.Add(leastCall).UTC().Format(time.DateOnly))
	case desired.Expired(s.Pilot.Expires, dayAfter(r.Closes)):
		return nil, fmt.Errorf("the pilot itself ends with %s: give an earlier --closes, or the pilot a later day", s.Pilot.Expires)
	case len(s.Pilot.Sites) == 0:
		return nil, fmt.Errorf("no site may take part yet: pomona pilot %s staff --participant SITE=CONTACT", s.Name)
	}
	return nil, nil
}

// leastCall is how long sites have to answer at least.
const leastCall = 24 * time.Hour

// dayAfter is when a last day has passed.
func dayAfter(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{} // the schema says what is wrong with it
	}
	return t
}

func (s PilotSeen) checkJoin(r *desired.PilotRecord) ([]string, error) {
	call, ok := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordCall })
	switch {
	case !ok:
		return []string{"nobody has called for participation yet"}, nil
	case desired.Expired(call.Closes, s.At) && r.Answer == "interested":
		return nil, fmt.Errorf("the call closed with %s: ask %s to call again", call.Closes, s.Pilot.Roles.Coordinator)
	}
	return nil, nil
}

func (s PilotSeen) checkDeployment(r *desired.PilotRecord) ([]string, error) {
	answer, _ := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordJoin && o.Site == r.Site })
	if answer.Answer != "interested" && r.State == "installed" {
		return nil, fmt.Errorf("site %[1]s has not said that it takes part: pomona pilot %[2]s join %[1]s --answer interested", r.Site, s.Name)
	}
	if why := s.shut(*r); why != "" {
		return nil, errors.New(why)
	}
	return nil, nil
}

// shut says why a site can have nothing to say of what it has installed; empty: it can.
func (s PilotSeen) shut(r desired.PilotRecord) string {
	wave := s.Pilot.Sites[r.Site].TheWave()
	switch {
	case r.State == "withdrawn" || wave <= len(s.Now.Waves) && s.Now.Waves[wave-1].Open:
		return ""
	case s.Now.State == plan.PilotHalted && r.State != "installed":
		return ""
	case s.Now.State == plan.PilotHalted:
		return fmt.Sprintf("pilot %[1]s is halted: %[2]s; nobody installs it before it goes on: pomona pilot %[1]s resume", s.Name, s.Now.Why)
	}
	for _, g := range s.Now.Gates {
		if at := slices.Index(pilotStates, g.State); at >= 0 && at <= slices.Index(pilotStates, plan.PilotDeployed) && !g.Verdict.Holds() {
			return fmt.Sprintf("site %s is in wave %d, which is not open yet: first %s (%s); pomona pilot %s says when", r.Site, wave, g.Name, cmp.Or(g.Why, string(g.Verdict)), s.Name)
		}
	}
	return ""
}

// granted is a pilot as it would be if FECs ran it and the information system had all resources, unless the ledger knows.
func (s PilotSeen) granted() PilotSeen {
	if s.known {
		return s
	}
	for _, fec := range slices.Concat(s.facts.Members...) {
		s.facts.FECs = append(slices.Clone(s.facts.FECs), observed.PilotFEC{FEC: fec, State: "running", Version: s.Pilot.Version, Since: time.Unix(1, 0)})
	}
	for _, site := range s.Now.Sites {
		s.facts.Probes = append(slices.Clone(s.facts.Probes), observed.PilotProbe{Pilot: s.Name, Site: site.Site, Seen: true, Right: true, Since: site.From, At: s.when})
	}
	s.Now = plan.Pilot(s.Name, s.Pilot, s.facts, s.when)
	return s
}

// checkClosure refuses to promote what is not ready for it.
func (s PilotSeen) checkClosure(r *desired.PilotRecord) (doubts []string, err error) {
	if r.Outcome != "promoted" {
		return nil, nil
	}
	const closing = "closing"
	s.Pilot.Records, s.facts.Proofs = maps.Clone(s.Pilot.Records), maps.Clone(s.facts.Proofs)
	if s.Pilot.Records == nil {
		s.Pilot.Records = map[string]desired.PilotRecord{}
	}
	s.Pilot.Records[closing], s.facts.Proofs[closing] = *r, observed.Proof{By: r.By, Source: takenForGranted}
	if s.Now = plan.Pilot(s.Name, s.Pilot, s.facts, s.when); !s.known {
		s = s.granted()
		switch {
		case s.Pilot.Scope == desired.PilotOfFECs:
			doubts = append(doubts, "whether FECs run it, and for long enough, knows the service: it is looked up with --root ROOT")
		case s.Pilot.InfoSys != nil && s.Pilot.InfoSys.Server != "":
			doubts = append(doubts, "whether its resources are found in the information system knows the service: it is looked up with --root ROOT")
		}
	}
	if s.Now.State == plan.PilotClosed {
		return doubts, nil
	}
	var open []string
	for _, g := range s.Now.Gates {
		line := fmt.Sprintf("%s: %s", g.Name, cmp.Or(g.Why, string(g.Verdict)))
		if !g.Verdict.Holds() && !(g.State == plan.PilotClosed && g.Name == "closure") && !slices.Contains(open, line) {
			open = append(open, line)
		}
	}
	if slices.Contains([]string{plan.PilotDenied, plan.PilotExpired}, s.Now.State) {
		open = append([]string{s.Now.Why}, open...)
	}
	return nil, fmt.Errorf("pilot %[1]s cannot be promoted before these hold:\n  %[2]s\npomona pilot %[1]s says who does what; close withdrawn ends it without", s.Name, strings.Join(open, "\n  "))
}

func (s PilotSeen) checkProblem(r *desired.PilotRecord) ([]string, error) {
	before, known := s.last(func(o desired.PilotRecord) bool { return o.Kind == desired.RecordProblem && o.Problem == r.Problem })
	if known && r.Status == "" {
		r.Status, r.FixedIn = before.Status, either(r.FixedIn, before.FixedIn)
	}
	r.Status = either(r.Status, "open")
	switch {
	case known && before.Severity == "blocker" && before.Status == "open" && !s.mayResolve(r.By, before):
		return nil, fmt.Errorf("%s blocks the pilot: that it no longer does say %s", r.Problem, strings.Join(s.resolvers(before), " or "))
	case known:
		r.Category, r.Severity = either(r.Category, before.Category), either(r.Severity, before.Severity)
		r.Text, r.Site, r.Subject = either(r.Text, before.Text), either(r.Site, before.Site), before.Subject
	case r.Status != "open":
		ids := s.problems()
		return nil, fmt.Errorf("pilot %s has no problem %q%s", s.Name, r.Problem, listed(ids))
	case r.Category == "" || r.Severity == "" || r.Text == "":
		return nil, errors.New("a new problem needs --kind, --severity and --text")
	case r.Problem == "":
		r.Problem = fmt.Sprintf("p%d", len(s.problems())+1)
		if _, taken := s.Pilot.Records[r.Problem]; taken || slices.Contains(s.problems(), r.Problem) {
			r.Problem += "-" + strings.ToLower(s.At.UTC().Format("150405"))
		}
	}
	if r.FixedIn != "" && s.Pilot.Scope == desired.PilotOfSites {
		if _, ok := s.Pilot.Updates[r.FixedIn]; !ok {
			return nil, fmt.Errorf("pilot %s has no update %q that could fix it", s.Name, r.FixedIn)
		}
	}
	return nil, nil
}

// resolvers are who may say that a blocker is none any more: who had it, who speaks for its site, and the coordinator.
func (s PilotSeen) resolvers(problem desired.PilotRecord) (who []string) {
	first := problem
	for _, name := range slices.Backward(s.Pilot.RecordsInOrder()) {
		if r := s.Pilot.Records[name]; r.Kind == desired.RecordProblem && r.Problem == problem.Problem {
			first = r
		}
	}
	who = []string{first.By}
	if contact := s.Pilot.Sites[problem.Site].Contact; contact != "" && contact != first.By {
		who = append(who, contact)
	}
	if s.Pilot.Roles != nil {
		who = append(who, s.Pilot.Roles.Coordinator)
	}
	return who
}

func (s PilotSeen) mayResolve(by string, problem desired.PilotRecord) bool {
	return slices.ContainsFunc(s.resolvers(problem), func(who string) bool { return desired.SamePerson(who, by) })
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// problems are the names of the problems that somebody had.
func (s PilotSeen) problems() []string {
	ids := map[string]bool{}
	for _, r := range s.Pilot.Records {
		if r.Kind == desired.RecordProblem {
			ids[r.Problem] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func (s PilotSeen) checkCriterion(r *desired.PilotRecord) ([]string, error) {
	if _, ok := s.Pilot.Success[r.Criterion]; !ok {
		return nil, fmt.Errorf("pilot %s has no criterion %q: it has %s", s.Name, r.Criterion, strings.Join(slices.Sorted(maps.Keys(s.Pilot.Success)), ", "))
	}
	if s.Pilot.Scope == desired.PilotOfSites && s.running() == "" {
		return nil, fmt.Errorf("no site runs pilot %[1]s, so that nobody can have measured %[2]s: first a site has to install it: pomona pilot %[1]s deploy SITE installed", s.Name, r.Criterion)
	}
	return nil, nil
}

func (s PilotSeen) checkWaiver(r *desired.PilotRecord) ([]string, error) {
	if desired.Expired(r.Expires, s.At) {
		return nil, fmt.Errorf("the waiver would have ended with %s already: give a later --expires", r.Expires)
	}
	if approval, ok := s.last(func(o desired.PilotRecord) bool {
		return o.Kind == desired.RecordApproval && o.Update == r.Update && o.Subject == r.Subject && desired.SamePerson(o.By, r.By)
	}); ok && r.Check == desired.TestOfUpdate {
		return nil, fmt.Errorf("%s approved update %s, and so may not waive its test: it takes two", approval.By, r.Update)
	}
	if last := s.lastOwn(); r.Check == desired.SoakOfWave && r.Update != last {
		return []string{fmt.Sprintf("waves soak with update %[1]s now, of which this waives nothing: give --update %[1]s", last)}, nil
	}
	return nil, nil
}

// lastOwn is the last update of the pilot itself that is mirrored; empty: none is.
func (s PilotSeen) lastOwn() (last string) {
	ordered, _ := s.Pilot.UpdatesInOrder()
	for _, name := range ordered {
		i := slices.IndexFunc(s.Now.Updates, func(u plan.UpdateNow) bool { return u.Name == name })
		if i >= 0 && s.Now.Updates[i].Kind == desired.UpdateOfPilot && (s.Now.Updates[i].State == plan.UpdateMirrored || s.Now.Updates[i].State == plan.UpdateAnnounced) {
			last = name
		}
	}
	return last
}

func (s PilotSeen) checkResume(*desired.PilotRecord) ([]string, error) {
	switch {
	case s.Now.State == plan.PilotHalted:
		return nil, nil
	case s.over() && !s.known && s.halted(): // if it has not ended, it is
		return nil, nil
	case s.Pilot.Scope == desired.PilotOfFECs && !s.known:
		return []string{"the pilot is not halted, as far as its records say: whether failures of FECs have halted it knows the service, and --root ROOT tells"}, nil
	}
	return nil, fmt.Errorf("pilot %s is %s, and not halted: there is nothing to resume", s.Name, s.Now.State)
}

// halted says whether somebody has halted the pilot and nobody has had it go on.
func (s PilotSeen) halted() bool {
	last, ok := s.last(func(o desired.PilotRecord) bool {
		return (o.Kind == desired.RecordHalt || o.Kind == desired.RecordResume) && s.counts(o)
	})
	return ok && last.Kind == desired.RecordHalt
}

// idle says of a halt that it stops nothing, and what does, by how the pilot is with it.
func (s PilotSeen) idle(r desired.PilotRecord) []string {
	if r.Kind != desired.RecordHalt || s.Now.State == plan.PilotHalted || s.over() {
		return nil
	}
	if s.Now.State == plan.PilotExpired {
		return []string{"it stops nothing: " + s.Now.Why}
	}
	return []string{fmt.Sprintf("it stops nothing: the pilot is %s, so that nobody can have it yet; what is not to go out is denied, pomona pilot %[2]s deny, or withdrawn, pomona pilot %[2]s close withdrawn", s.Now.State, s.Name)}
}

// ReportPilot is a report in which one verdict may stand for all checks that it does not name.
type ReportPilot struct {
	Record desired.PilotRecord
	Rest   string            // verdict; empty: of none
	Logs   map[string]string // by check
}

func (w ReportPilot) say(s PilotSeen) (c PilotChange, err error) {
	r := w.Record
	r.Checks = maps.Clone(r.Checks)
	if w.Rest != "" {
		for _, check := range s.Pilot.NeededChecks() {
			if _, named := r.Checks[check]; !named {
				r.Checks[check] = desired.CheckResult{Verdict: w.Rest}
			}
		}
	}
	for check, log := range w.Logs {
		result, ok := r.Checks[check]
		if !ok {
			return c, fmt.Errorf("there is a log of %s, of which the report says nothing: give --check %[1]s=VERDICT", check)
		}
		result.Log = log
		r.Checks[check] = result
	}
	return RecordPilot{r}.say(s)
}

// MirrorPilot says that what is frozen lies at an address, and looks whether that is so.
type MirrorPilot struct {
	Record  desired.PilotRecord
	OnTrust bool // do not look
}

func (w MirrorPilot) say(s PilotSeen) (c PilotChange, err error) {
	if s.Pilot.Scope == desired.PilotOfFECs {
		return c, fmt.Errorf("pilot %[1]s is of FECs: nothing of it is mirrored, its waves open once it is authorised and noted; pomona pilot %[1]s says what is missing", s.Name)
	}
	w.Record.Checked = desired.CheckedByDigest
	if w.OnTrust {
		w.Record.Checked = desired.CheckedByTrust
	}
	if c, err = (RecordPilot{w.Record}).say(s); err != nil {
		return c, err
	}
	if w.OnTrust {
		c.Warnings = append(c.Warnings, "nobody has looked whether the packages lie there")
		return c, nil
	}
	found, err := s.mirrorAt(c.Record.Subject, c.Record.Location)
	if err != nil {
		return c, fmt.Errorf("look at mirror: %w", err)
	}
	if len(found) > 0 {
		advice := "mirror it again, or give --on-trust if it cannot be reached from here"
		if at := strings.TrimSuffix(strings.TrimSpace(c.Record.Location), "/"); strings.HasSuffix(at, "/snap") {
			advice = fmt.Sprintf("name the snapshot: %s/%s", at, strings.TrimPrefix(c.Record.Subject, "sha256:"))
		}
		return c, fmt.Errorf("what lies at %s is not what is frozen:\n  %s\n%s", c.Record.Location, desired.FewOf(linesOf(found), 10), advice)
	}
	return c, nil
}

// linesOf are differences in a line each.
func linesOf(all observed.Differences) (lines []string) {
	for _, d := range all {
		lines = append(lines, d.String())
	}
	return lines
}

// FeedbackForm is a form that a user has filled in: who they are, it says itself.
type FeedbackForm struct{ Text, Update string }

func (w FeedbackForm) say(s PilotSeen) (c PilotChange, err error) {
	f, err := propose.ReadForm(s.Name, w.Text)
	if err != nil {
		return c, err
	}
	if f.By != "" {
		s.By = f.By
	}
	if _, ok := s.Pilot.Sites[f.Site]; !ok && f.Site != "" {
		return c, fmt.Errorf("site %s takes no part in pilot %s%s: correct it in the form, or leave it empty", f.Site, s.Name, nearSite(f.Site, s.Pilot))
	}
	return RecordPilot{desired.PilotRecord{Kind: desired.RecordFeedback, Update: w.Update, Site: f.Site, Rating: f.Rating, Text: f.Text}}.say(s)
}
