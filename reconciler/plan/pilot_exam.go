package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotExam is what records say of one subject: of the first release, or of what an update leads to. Each of its steps counts only if it was taken after
// the one before.
type pilotExam struct {
	*pilotJudge
	update, subject string
	test            bool         // reports are wanted
	froze           *pilotRecord // first one; nil: not frozen
	reports         []*pilotRecord
	checks          []Gate
	compat          string // as the last report has it
	mirrored        time.Time
	mirrorKnown     time.Time // since when that is known
	waiversAt       time.Time // when waivers have to be in force

	freezing, authorising, noting, mirroring Gate
}

// exam judges what is known of a subject, since a time.
func (j *pilotJudge) exam(update, subject string, since time.Time) pilotExam {
	e := pilotExam{pilotJudge: j, update: update, subject: subject, test: true, waiversAt: j.at}
	e.test = update == "" || j.p.Updates[update].Test != "skipped"
	e.freeze(since)
	e.report()
	e.authorise()
	e.note()
	e.mirror()
	e.checks = e.judgeChecks()
	return e
}

// gate is a gate that is pending, and who lets it pass by which command.
func (e *pilotExam) gate(name string, who []string, words ...string) Gate {
	if e.update != "" {
		words = append(words, "--update", e.update)
	}
	return Gate{Name: name, Verdict: GatePending, Who: who, Do: e.do(words...)}
}

// evidence are the records of a kind about the subject that count, made since a time; none is if that has not come. If there are none, the gate says why.
func (e *pilotExam) evidence(g *Gate, kind, what string, since time.Time) (found []*pilotRecord) {
	var doubts, early, doubted []string
	for _, r := range e.by[recordKey{e.update, kind}] {
		switch {
		case r.void:
		case e.subject == "" || r.Subject != e.subject:
			early = append(early, r.name+" does not say of what it is")
		case r.doubt != "":
			doubts, doubted = append(doubts, r.doubt), append(doubted, r.name)
		case since.IsZero() || r.at.Before(since):
			early = append(early, r.name+" was written before what it is about")
		default:
			found = append(found, r)
		}
	}
	switch {
	case len(found) > 0:
	case e.subject == "":
		g.Why = "nobody knows what is to be looked at"
	case len(doubts) > 0:
		g.Verdict, g.Why, g.Records = GateNeedsApproval, desired.FewOf(doubts, 3), doubted
	case len(early) > 0:
		g.Why = desired.FewOf(early, 3)
	default:
		g.Why = what
	}
	return found
}

// freeze finds since when nothing changes any more. The last freeze says whether everything is provided that packages require.
func (e *pilotExam) freeze(since time.Time) {
	e.freezing = e.gate("freeze", e.coordinator(), "freeze")
	if found := e.evidence(&e.freezing, desired.RecordFreeze, "nothing is frozen", since); len(found) > 0 {
		e.froze = found[0]
		e.freezing.Verdict, e.freezing.Records = GatePass, recordNames(found[0])
	}
}

func (e *pilotExam) frozenAt() time.Time {
	if e.froze == nil {
		return time.Time{}
	}
	return e.froze.at
}

// authorise finds who let it through: whoever reported on it does not.
func (e *pilotExam) authorise() {
	var who []string
	if e.p.Roles != nil {
		who = []string{e.p.Roles.Authoriser}
	}
	e.authorising = e.gate("authorisation", who, "authorise")
	what := "nobody has authorised it"
	if e.update != "" && e.alone() {
		what = "nobody but whoever approved it has tested it, and nobody has authorised it"
	} else if e.update != "" && !e.breaking() {
		e.authorising = Gate{Name: "authorisation", Verdict: GateNotApplicable, Why: "it changes nothing that others depend on"}
		return
	}
	found := e.evidence(&e.authorising, desired.RecordAuthorisation, what, e.checkedAt())
	if len(found) == 0 {
		return
	}
	last := found[len(found)-1]
	e.authorising.Records = recordNames(last)
	switch {
	case last.Decision != "ok":
		e.authorising.Verdict, e.authorising.Why = GateFail, fmt.Sprintf("%s denied it: %s", last.By, last.Reason)
	case slices.ContainsFunc(e.reports, func(r *pilotRecord) bool { return desired.SamePerson(r.By, last.By) }):
		e.authorising.Verdict, e.authorising.Why = GateNeedsApproval, fmt.Sprintf("%s: %s has tested it too: four eyes are wanted", last.name, last.By)
	default:
		e.authorising.Verdict = GatePass
	}
}

// authorisedAt is when it was authorised; zero: it was not. Where none is wanted that is when it was checked.
func (e *pilotExam) authorisedAt() time.Time {
	if e.authorising.Verdict == GateNotApplicable {
		return e.checkedAt()
	}
	if e.authorising.Verdict != GatePass {
		return time.Time{}
	}
	for _, r := range e.by[recordKey{e.update, desired.RecordAuthorisation}] {
		if !r.void && r.doubt == "" && r.Subject == e.subject && r.Decision == "ok" && !r.at.Before(e.checkedAt()) {
			return r.at
		}
	}
	return time.Time{}
}

// note finds the release notes; those of what is not compatible say how to move.
func (e *pilotExam) note() {
	who := e.coordinator()
	if e.p.Roles != nil {
		who = []string{e.p.Roles.Developer}
	}
	e.noting = e.gate("notes", who, "notes")
	found := e.evidence(&e.noting, desired.RecordNotes, "there are no release notes", e.frozenAt())
	for _, r := range found {
		switch {
		case strings.TrimSpace(r.Text) == "":
			e.noting.Why = r.name + " says nothing"
		case e.breaking() && strings.TrimSpace(r.Migration) == "":
			e.noting.Why = r.name + " does not say what users of the version before must do, with which it is not compatible"
		default:
			e.noting.Verdict, e.noting.Why, e.noting.Records = GatePass, "", recordNames(r)
			return
		}
	}
}

// notedAt is when the notes were there; zero: they are not.
func (e *pilotExam) notedAt() time.Time {
	if e.noting.Verdict != GatePass {
		return time.Time{}
	}
	return e.recordAt(e.noting)
}

// recordAt is when the record was made that a gate passes by.
func (e *pilotExam) recordAt(g Gate) time.Time {
	for _, r := range e.made {
		if len(g.Records) > 0 && r.name == g.Records[0] {
			return r.at
		}
	}
	return time.Time{}
}

// knownOf is since when the record is known that a gate passes by; zero: it passes by none.
func (e *pilotExam) knownOf(g Gate) time.Time {
	for _, r := range e.made {
		if g.Verdict == GatePass && len(g.Records) > 0 && r.name == g.Records[0] {
			return r.known
		}
	}
	return time.Time{}
}

// firstKnown is since when one of some records is known.
func firstKnown(rs []*pilotRecord) time.Time {
	return slices.MinFunc(rs, func(a, b *pilotRecord) int { return a.known.Compare(b.known) }).known
}

// mirror finds when everything was there to be installed. From then on waivers may expire: what they let through stays through.
func (e *pilotExam) mirror() {
	var who []string
	if e.p.Roles != nil {
		who = []string{e.p.Roles.Authoriser, e.p.Roles.Coordinator}
	}
	e.mirroring = e.gate("mirror", who, "mirror")
	ready := later(e.authorisedAt(), e.notedAt())
	if !e.ofSites() {
		e.mirroring = Gate{Name: "mirror", Verdict: GateNotApplicable, Why: "FECs get it from the tree"}
		e.mirrored, e.mirrorKnown = ready, later(e.knownOf(e.authorising), e.knownOf(e.noting))
	} else if found := e.evidence(&e.mirroring, desired.RecordMirror, "nobody has found it where sites are to get it from", ready); len(found) > 0 {
		e.mirroring.Verdict, e.mirroring.Records = GatePass, recordNames(found[0])
		if found[0].Checked != desired.CheckedByDigest {
			e.mirroring.Why = fmt.Sprintf("on trust by %s: nobody has compared it", found[0].By)
		}
		e.mirrored, e.mirrorKnown = found[0].at, firstKnown(found)
	}
	if ready.IsZero() && e.mirroring.Verdict == GatePending {
		e.mirroring.Verdict = GateWaiting // it has to be authorised and noted first
	}
	if !e.mirrored.IsZero() {
		e.waiversAt = e.mirrored
	}
}

// later is the later of two times; zero if one has not come.
func later(a, b time.Time) time.Time {
	if a.IsZero() || b.IsZero() {
		return time.Time{}
	}
	if a.After(b) {
		return a
	}
	return b
}

// breaking says whether it is not compatible with the version before.
func (e *pilotExam) breaking() bool {
	return e.compat == "breaking" || e.update != "" && e.p.Updates[e.update].Compat == "breaking"
}

// freezeGates are those that lead to frozen.
func (e *pilotExam) freezeGates() []Gate {
	return []Gate{e.freezing, e.structureGate(), e.closureGate()}
}

// mirrorGates are those that lead to mirrored.
func (e *pilotExam) mirrorGates() []Gate {
	return []Gate{e.authorising, e.noting, e.mirroring}
}

// structureGate holds if there are the directories that there should be; of an update, if it only adds files.
func (e *pilotExam) structureGate() Gate {
	g := Gate{Name: "structure", Verdict: GatePass}
	if !e.ofSites() {
		return notOfFECs("structure")
	}
	var wrong []string
	if e.update != "" {
		wrong = e.updates[e.update].changes
	} else {
		for _, branch := range sortedKeys(e.p.Branches) {
			wrong = append(wrong, wrongDirectories(branch, e.p.Branches[branch])...)
		}
	}
	switch {
	case e.update == "" && len(e.p.Branches) == 0:
		g.Verdict, g.Why = GatePending, "there are no branches"
	case len(wrong) > 0:
		g.Verdict, g.Why = GateFail, desired.Few(wrong)
	}
	return e.waivable(g, "repo-structure")
}

func wrongDirectories(branch string, directories desired.RPMBranch) (wrong []string) {
	for _, d := range desired.RPMDirectories {
		if packages, ok := directories[d]; !ok || d == desired.ReleaseRPMs && len(packages) == 0 {
			wrong = append(wrong, branch+" lacks "+d)
		}
	}
	for _, d := range sortedKeys(directories) {
		if !slices.Contains(desired.RPMDirectories, d) {
			wrong = append(wrong, branch+" has "+d)
		}
	}
	return wrong
}

// closureGate holds if everything is provided that packages require: by what whoever froze it found, and by what Pomona finds.
func (e *pilotExam) closureGate() Gate {
	g := e.gate("closure", e.coordinator(), "freeze")
	if !e.ofSites() {
		return notOfFECs("closure")
	}
	unmet, known := e.f.Unmet[e.subject]
	var said *pilotRecord
	for _, r := range e.counting(e.update, desired.RecordFreeze) {
		if r.Subject == e.subject && r.Closure != nil {
			said = r
		}
	}
	if said != nil {
		g.Records = recordNames(said)
	}
	switch {
	case e.subject == "" || e.froze == nil:
		g.Why = "nothing is frozen"
	case len(unmet) > 0:
		g.Verdict, g.Why = GateFail, "nothing provides "+desired.FewOf(unmet, 5)
	case said != nil && (said.Closure.Exit != 0 || len(said.Closure.Unmet) > 0):
		g.Verdict, g.Why = GateFail, said.name+": nothing provides "+desired.FewOf(said.Closure.Unmet, 5)
	case !known:
		g.Verdict, g.Why = GateInconclusive, "what its packages require has not been worked out"
	default:
		g.Verdict = GatePass
	}
	return e.waivable(g, "repo-closure")
}

func notOfFECs(name string) Gate {
	return Gate{Name: name, Verdict: GateNotApplicable, Why: "it is for FECs, which have no package repositories"}
}
