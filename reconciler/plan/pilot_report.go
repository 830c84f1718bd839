package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// What a check that is not one of PilotChecks is called in waivers.
const (
	checkSoak = "soak"
	checkTest = "test"
)

// checksOfSites are checks of packages: of what FECs get, Pomona has built and signed the archives itself.
var checksOfSites = []string{"patch-list", "repo-structure", "repo-closure", "signatures"}

// checksOfFast are checks that a pilot needs however urgent it is: it cannot be installed safely without. They are not waived either.
var checksOfFast = []string{"repo-structure", "repo-closure", "dependencies", "patch-list", "docs"}

// report finds the reports on what is frozen.
func (e *pilotExam) report() {
	var g Gate
	e.reports = e.evidence(&g, desired.RecordReport, "", e.frozenAt())
	for _, r := range e.reports {
		if r.Compat != "" {
			e.compat = r.Compat
		}
	}
}

// checkGates are those that lead to checked.
func (e *pilotExam) checkGates() []Gate { return e.checks }

// judgeChecks says of each check what came of it.
func (e *pilotExam) judgeChecks() (gates []Gate) {
	gates = append(gates, e.compatGate())
	for _, check := range desired.PilotChecks {
		gates = append(gates, e.checkGate(check))
	}
	return gates
}

// compatGate holds if whoever tested it has said with what it is compatible.
func (e *pilotExam) compatGate() Gate {
	g := e.gate("compat", e.testers(), "report")
	switch {
	case !e.test:
		return Gate{Name: "compat", Verdict: GateNotApplicable, Why: "its test is skipped"}
	case e.compat != "":
		g.Verdict, g.Why = GatePass, e.compat
	case e.update != "" && len(e.reports) > 0:
		g.Verdict = GatePass
	case len(e.reports) > 0:
		g.Why, g.Records = "no report says whether it is compatible with the version before", recordNames(e.reports...)
	default:
		e.evidence(&g, desired.RecordReport, "nobody has reported on it", e.frozenAt())
	}
	return g
}

func (e *pilotExam) testers() []string {
	if e.p.Roles == nil {
		return nil
	}
	if len(e.p.Roles.Testers) == 0 {
		return e.coordinator()
	}
	return e.p.Roles.Testers
}

// applies says whether a check is one that this pilot has.
func (e *pilotExam) applies(check string) bool {
	return e.ofSites() || !slices.Contains(checksOfSites, check)
}

// checkGate says what came of a check: the last report that has it counts.
func (e *pilotExam) checkGate(check string) Gate {
	g := e.gate(check, e.testers(), "report")
	if !e.applies(check) {
		return notOfFECs(check)
	}
	if !e.test {
		g = Gate{Name: check, Verdict: GateNotApplicable, Why: "its test is skipped"}
		return e.waivable(e.signed(check, g), check)
	}
	last := e.lastOn(check)
	if last == nil {
		e.evidence(&g, desired.RecordReport, "nobody has reported on it", e.frozenAt())
		if len(e.reports) > 0 {
			g.Why = "no report says anything of it"
		}
		if e.fast() && !slices.Contains(checksOfFast, check) && g.Verdict == GatePending && e.froze != nil {
			g = Gate{Name: check, Verdict: GateNotApplicable, Why: "it is left out: the pilot is fast"}
		}
		return e.waivable(e.signed(check, g), check)
	}
	result := last.Checks[check]
	g.Records = recordNames(last)
	switch result.Verdict {
	case "pass":
		g.Verdict = GatePass
	case "fail":
		g.Verdict, g.Why = GateFail, says(last, result, "it failed")
	case "waived":
		g.Verdict, g.Why = GatePending, says(last, result, "nobody has waived it")
		g.Who, g.Do = e.coordinator(), e.gate(check, nil, "waive", check).Do
	default:
		g.Verdict, g.Why = GateInconclusive, says(last, result, "nobody knows")
	}
	return e.waivable(e.signed(check, g), check)
}

func says(r *pilotRecord, result desired.CheckResult, otherwise string) string {
	if result.Text != "" {
		return r.name + ": " + result.Text
	}
	return r.name + ": " + otherwise
}

// lastOn is the last report that says anything of a check; nil: none does.
func (e *pilotExam) lastOn(check string) *pilotRecord {
	for _, r := range slices.Backward(e.reports) {
		if _, ok := r.Checks[check]; ok {
			return r
		}
	}
	return nil
}

// signed adds what Pomona itself finds of signatures: whoever reports cannot make them good.
func (e *pilotExam) signed(check string, g Gate) Gate {
	if check != "signatures" || e.froze == nil && !g.Verdict.Holds() {
		return g
	}
	switch wrong, known := e.f.Signed[e.subject]; {
	case !known && g.Verdict.Holds():
		g.Verdict, g.Why, g.Who, g.Do = GateInconclusive, "the signatures of its packages have not been looked at", nil, ""
	case wrong != "":
		g.Verdict, g.Why, g.Records = GateFail, wrong, nil
		g.Who, g.Do = e.signers()
	}
	return g
}

// signers are who can do something about packages that nobody has signed who is trusted, and what.
func (e *pilotExam) signers() (who []string, do string) {
	if e.p.Roles != nil {
		who = []string{e.p.Roles.Developer, e.p.Roles.Coordinator}
	}
	again := e.do("add-packages") + "; then coordinator: " + e.do("freeze")
	if e.update != "" { // what is frozen of one is not added again
		again = e.do("update", "ANOTHER", "add") + "; then coordinator: " + e.do("update", e.update, "reject")
	}
	return who, fmt.Sprintf("developer: sign them (rpmsign --addsign), %s; or, unsigned, coordinator: %s", again, e.gate("", nil, "waive", "signatures").Do)
}

// waivable is a gate that passes if somebody has waived its check, and it does not pass by itself.
func (e *pilotExam) waivable(g Gate, check string) Gate {
	if g.Verdict.Holds() || e.subject == "" || e.fast() && slices.Contains(checksOfFast, check) {
		return g
	}
	var w *pilotRecord
	for _, r := range e.waivers(check) {
		if inForce(r, e.waiversAt) {
			w = r
		}
	}
	switch {
	case w != nil:
		g.Verdict, g.Why, g.Records = GateWaived, fmt.Sprintf("%s waived it until %s: %s", w.By, w.Expires, w.Reason), recordNames(w)
	case g.Verdict == GatePending:
		g = e.doubtedWaiver(g, check)
	}
	return g
}

// doubtedWaiver is a gate that would pass if somebody had proven who wrote a waiver.
func (e *pilotExam) doubtedWaiver(g Gate, check string) Gate {
	for _, r := range e.by[recordKey{e.update, desired.RecordWaiver}] {
		if r.Check == check && r.doubt != "" && !r.void {
			g.Verdict, g.Why, g.Records = GateNeedsApproval, r.doubt, recordNames(r)
		}
	}
	return g
}

// waivers are the waivers of a check that count, also those that have expired. Whoever approved an update does not waive its test.
func (e *pilotExam) waivers(check string) []*pilotRecord {
	return slices.DeleteFunc(e.pilotJudge.waivers(e.update, check), func(r *pilotRecord) bool { return check == checkTest && e.approved(r.By) })
}

// approved says whether somebody has approved the update.
func (e *pilotExam) approved(who string) bool {
	return slices.ContainsFunc(e.counting(e.update, desired.RecordApproval), func(r *pilotRecord) bool { return samePerson(r.By, who) })
}

// alone says whether nobody but whoever approved the update has tested it.
func (e *pilotExam) alone() bool {
	return len(e.reports) > 0 && !slices.ContainsFunc(e.reports, func(r *pilotRecord) bool { return !e.approved(r.By) })
}

func (j *pilotJudge) waivers(update, check string) (out []*pilotRecord) {
	for _, r := range j.counting(update, desired.RecordWaiver) {
		if r.Check == check {
			out = append(out, r)
		}
	}
	return out
}

// inForce says whether a waiver that has been given holds at a time: its last day still counts.
func inForce(r *pilotRecord, at time.Time) bool {
	return r.Expires != "" && !desired.Expired(r.Expires, at)
}

// checkedAt is when the last check was first passed or waived, since it was frozen; zero: one never was. What is decided before that does not count.
func (e *pilotExam) checkedAt() time.Time {
	at := e.frozenAt()
	if at.IsZero() {
		return at
	}
	if !e.test {
		for _, r := range e.waivers(checkTest) {
			return later(at, r.at)
		}
		return time.Time{}
	}
	for _, check := range desired.PilotChecks {
		if e.applies(check) {
			at = later(at, e.passedAt(check))
		}
	}
	return at
}

// passedAt is when a check was first passed, waived or left out; zero: it never was.
func (e *pilotExam) passedAt(check string) (at time.Time) {
	for _, r := range e.reports {
		if r.Checks[check].Verdict == "pass" {
			at = r.at
			break
		}
	}
	optional := e.fast() && !slices.Contains(checksOfFast, check)
	if w := e.waivers(check); len(w) > 0 && (optional || !e.fast()) && (at.IsZero() || w[0].at.Before(at)) {
		at = w[0].at
	}
	if at.IsZero() && optional && len(e.reports) > 0 {
		at = e.reports[0].at
	}
	return at
}
