package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// States of a prerequisite, each after the one before. They are derived from evidence, and nobody types them.
const (
	PrerequisiteProposed   = "proposed"
	PrerequisiteRendered   = "rendered"
	PrerequisiteTested     = "tested"
	PrerequisiteAccepted   = "accepted"
	PrerequisiteProduction = "production"
	PrerequisiteRetired    = "retired"
)

// prerequisiteStates are those that gates lead to, in their order.
var prerequisiteStates = []string{PrerequisiteRendered, PrerequisiteTested, PrerequisiteAccepted, PrerequisiteProduction}

// RecordProof is who wrote a record, or why nobody knows.
type RecordProof struct {
	Who, Source string // as far as they are known
	Doubt       string // empty: it counts
	Later       bool   // that may be known later, whatever anybody does
}

// PrerequisiteFacts are what the gates of one prerequisite are judged by.
type PrerequisiteFacts struct {
	Name      string
	Spec      desired.Prerequisite
	Systems   map[string]desired.System
	Digest    string            // sha256:HEX of what is rendered
	Unfit     string            // why it cannot be rendered; empty: it is
	PagesSame bool              // pages and scripts carry that digest
	Authors   map[string]string // who wrote what it says, and how that is known
	Unsure    string            // why not everybody is known who did
	// Unproven are the commits that wrote some of it and that nobody is known to have signed, each with whoever approved what brought it.
	Unproven map[string][]string
	// Answers is who answers for it, as somebody has declared it who could; empty: nobody knows.
	Answers       string
	Unagreed      string // why that is not whom it names; empty: it is
	UnagreedLater bool   // that may be otherwise later, whatever anybody does
	Proofs        map[string]RecordProof
	// ProvenAt is since when each record is known to be by whom it names: what it says may have been long before. Missing: since it was made.
	ProvenAt map[string]time.Time
	Needs    map[string]string // states of what it needs
}

// Prerequisite is how far a prerequisite is, and what keeps it from being further.
type Prerequisite struct {
	Name        string   `json:"name"`
	State       string   `json:"state"`
	Digest      string   `json:"digest,omitempty"`
	Recommended string   `json:"recommended"`
	Responsible string   `json:"responsible"` // who answers for it; empty: nobody knows
	Gates       []Gate   `json:"gates"`
	Void        []string `json:"void,omitempty"` // records of something that was rendered before
}

// Next is the first gate that does not hold; false when there is none.
func (p Prerequisite) Next() (Gate, bool) {
	for _, g := range p.Gates {
		if !g.Verdict.Holds() && p.State != PrerequisiteRetired {
			return g, true
		}
	}
	return Gate{}, false
}

// PrerequisiteStates are all of them, in their order.
var PrerequisiteStates = append(append([]string{PrerequisiteProposed}, prerequisiteStates...), PrerequisiteRetired)

// PrerequisiteOf judges all gates of a prerequisite.
func PrerequisiteOf(f PrerequisiteFacts, now time.Time) Prerequisite {
	p := Prerequisite{Name: f.Name, State: PrerequisiteProposed, Digest: f.Digest, Recommended: f.Spec.Recommended, Responsible: f.Answers}
	for _, name := range sortedKeys(f.Spec.Records) {
		if r := f.Spec.Records[name]; r.Subject != f.Digest && r.Kind != desired.RetireRecord {
			p.Void = append(p.Void, name)
		}
	}
	p.Gates = append(p.Gates, f.rendered())
	p.Gates = append(p.Gates, f.trials()...)
	p.Gates = append(p.Gates, f.reviewed(), f.pages(), f.exceptions(now), f.others(PrerequisiteAccepted))
	p.Gates = append(p.Gates, f.recorded(PrerequisiteProduction, desired.IntegrationRecord, "try what needs it with it"), f.soaked(now),
		f.recorded(PrerequisiteProduction, desired.RollbackRecord, "try the way back"), f.others(PrerequisiteProduction))
	for _, state := range prerequisiteStates {
		if slices.ContainsFunc(p.Gates, func(g Gate) bool { return g.State == state && !g.Verdict.Holds() }) {
			break
		}
		p.State = state
	}
	if f.Unagreed != "" {
		p.Gates = append(p.Gates, f.answers())
	}
	switch g := f.retired(); {
	case g.Verdict.Holds():
		p.State = PrerequisiteRetired
	case g.Verdict == GateNeedsApproval:
		p.Gates = append(p.Gates, g)
	}
	return p
}

func (f PrerequisiteFacts) rendered() Gate {
	g := Gate{State: PrerequisiteRendered, Name: "rendered", Verdict: GatePass}
	if f.Unfit != "" {
		g.Verdict, g.Why = GateFail, f.Unfit
	}
	return g
}

// latest is the newest record of what is rendered now that some are, of those whose author is known; doubt is that of the newest other one.
func (f PrerequisiteFacts) latest(is func(desired.PrerequisiteRecord) bool) (name string, doubt string, doubted []string) {
	var newest, newestDoubted string
	for _, n := range sortedKeys(f.Spec.Records) {
		r := f.Spec.Records[n]
		if !is(r) || r.Subject != f.Digest && r.Kind != desired.RetireRecord {
			continue
		}
		proof, ok := f.Proofs[n]
		switch {
		case ok && proof.Doubt == "":
			if newest == "" || r.At >= f.Spec.Records[newest].At {
				newest = n
			}
		case newestDoubted == "" || r.At >= f.Spec.Records[newestDoubted].At:
			newestDoubted, doubt = n, cmp.Or(proof.Doubt, "nobody has looked who wrote it")
		}
	}
	if newestDoubted != "" {
		doubted = []string{newestDoubted}
	}
	return newest, doubt, doubted
}

// judged is a gate that a record decides, if there is one whose author is known.
func (f PrerequisiteFacts) judged(g Gate, is func(desired.PrerequisiteRecord) bool, judge func(g *Gate, r desired.PrerequisiteRecord, proof RecordProof)) Gate {
	name, doubt, doubted := f.latest(is)
	switch {
	case name != "":
		g.Records = []string{name}
		judge(&g, f.Spec.Records[name], f.Proofs[name])
	case doubt != "":
		by := f.Spec.Records[doubted[0]].By
		again := "say it again in a commit that " + by + " signs"
		if g.Do != "" {
			again += " (" + g.Do + " --sign KEY)"
		}
		g.Verdict, g.Why, g.Records, g.Do = GateNeedsApproval, doubt, doubted, again+", or have "+by+" approve the pull request that brought it"
		if f.Proofs[doubted[0]].Later {
			g.Do = "look again once it can be known who wrote it"
		}
	default:
		g.Verdict = GatePending
	}
	if g.Verdict.Holds() {
		g.Do, g.Who = "", nil
	}
	return g
}

// TrialGate is the name of the gate of a version's trial on a system.
func TrialGate(version, system string) string {
	return fmt.Sprintf("trial of %s on %s", version, system)
}

// trials are a gate for each system and each version that it can get.
func (f PrerequisiteFacts) trials() (gates []Gate) {
	for _, system := range sortedKeys(f.Spec.Systems) {
		for i, v := range f.Spec.Versions(system) {
			g := Gate{State: PrerequisiteTested, Name: TrialGate(v, system), Do: "pomona prerequisites test " + system}
			if f.Systems[system].Family == desired.MacOS {
				g.Verdict, g.Why, g.Do = GateNotApplicable, "there is no clean machine of macos: nobody has tested it there", ""
				gates = append(gates, g)
				continue
			}
			from := ""
			if i == 0 {
				from = f.Spec.UpgradeFrom(system)
			}
			gates = append(gates, f.judged(g, func(r desired.PrerequisiteRecord) bool {
				return r.Kind == desired.TrialRecord && r.System == system && r.Version == v
			}, func(g *Gate, r desired.PrerequisiteRecord, _ RecordProof) {
				g.Verdict, g.Why = TrialVerdict(r.Jobs, from)
			}))
		}
	}
	return gates
}

// TrialVerdict is what the jobs of a trial say together: each by its own end, and the worst of them. From is the version from which an upgrade has to
// be tried, if any.
func TrialVerdict(jobs desired.TrialJobs, from string) (GateVerdict, string) {
	verdict, why := GatePass, ""
	worse := func(v GateVerdict, text string) {
		order := []GateVerdict{GatePass, GatePending, GateInconclusive, GateFail}
		if slices.Index(order, v) > slices.Index(order, verdict) {
			verdict, why = v, text
		}
	}
	for _, j := range []struct {
		name   string
		result *desired.JobResult
	}{{"install", jobs.Install}, {"again", jobs.Again}, {"verify", jobs.Verify}, {"upgrade", jobs.Upgrade}} {
		r := j.result
		switch {
		case j.name == "upgrade" && from == "":
		case r == nil:
			worse(GatePending, "job "+j.name+" was not run")
		case r.Inconclusive != "":
			worse(GateInconclusive, "job "+j.name+": "+r.Inconclusive)
		case r.Exit != 0:
			worse(GateFail, fmt.Sprintf("job %s ended with %d", j.name, r.Exit))
		case j.name == "again" && r.Changed == nil:
			worse(GateInconclusive, "job again does not say what it changed")
		case j.name == "again" && *r.Changed != 0:
			worse(GateFail, fmt.Sprintf("installing once more changed %d things", *r.Changed))
		case j.name == "upgrade" && r.From != from:
			worse(GatePending, fmt.Sprintf("the upgrade from %s was not tried", from))
		}
	}
	return verdict, why
}

// reviewed wants that somebody else has read it: whoever answers for it, or is named as that, and whoever wrote any of it, does not.
func (f PrerequisiteFacts) reviewed() Gate {
	g := Gate{State: PrerequisiteAccepted, Name: "review", Do: "pomona prerequisites review " + f.Name}
	own := map[string]string{f.Spec.Responsible: "answers for it", f.Answers: "answers for it"}
	maps.Copy(own, f.Authors)
	return f.judged(g, func(r desired.PrerequisiteRecord) bool { return r.Kind == desired.ReviewRecord }, func(g *Gate, r desired.PrerequisiteRecord, proof RecordProof) {
		if who := among(own, r, proof); who != "" {
			g.Verdict, g.Why = GateBlocked, fmt.Sprintf("%s %s: somebody else must review it", r.By, own[who])
			return
		}
		if f.Unsure != "" {
			g.Verdict, g.Why = GateInconclusive, "nobody knows who wrote it: "+f.Unsure
			return
		}
		if g.said(r); g.Verdict == GateFail {
			g.Who = []string{r.By}
			g.Why = fmt.Sprintf("%s objects: %s", r.By, r.Reason)
			g.Do = fmt.Sprintf("meet the objection of %s, who then looks again: %s", r.By, g.Do)
		}
		if commit := f.unread(r, proof); commit != "" && g.Verdict.Holds() && !f.second(own, r, proof) {
			g.Verdict, g.Why = GateInconclusive, fmt.Sprintf("nobody knows who wrote it: commit %.12s is not signed by anybody, and %[2]s may have made it", commit, r.By)
			g.Do = fmt.Sprintf("have somebody else than %s review it too (%s), approve the pull request that brought commit %.12s, or write that in a commit that he signs", r.By, g.Do, commit)
		}
	})
}

// among is whoever of some people a record is by; empty: nobody.
func among(people map[string]string, r desired.PrerequisiteRecord, proof RecordProof) string {
	for _, who := range sortedKeys(people) {
		if who != "" && (desired.SamePerson(who, proof.Who) || desired.SamePerson(who, r.By)) {
			return who
		}
	}
	return ""
}

// unread is a commit that wrote some of it, and of which nobody but a reviewer is known to have seen it.
func (f PrerequisiteFacts) unread(r desired.PrerequisiteRecord, proof RecordProof) string {
	for _, commit := range sortedKeys(f.Unproven) {
		if !slices.ContainsFunc(f.Unproven[commit], func(who string) bool { return !desired.SamePerson(who, proof.Who) && !desired.SamePerson(who, r.By) }) {
			return commit
		}
	}
	return ""
}

// second says whether one more person has reviewed it, and not objected since.
func (f PrerequisiteFacts) second(own map[string]string, first desired.PrerequisiteRecord, proof RecordProof) bool {
	verdicts, at := map[string]string{}, map[string]string{}
	for _, name := range sortedKeys(f.Spec.Records) {
		r, by := f.Spec.Records[name], f.Proofs[name]
		switch {
		case r.Kind != desired.ReviewRecord, r.Subject != f.Digest, by.Doubt != "", by.Who == "", among(own, r, by) != "":
		case desired.SamePerson(by.Who, proof.Who), desired.SamePerson(by.Who, first.By), desired.SamePerson(r.By, proof.Who):
		case r.At >= at[by.Who]:
			verdicts[by.Who], at[by.Who] = r.Verdict, r.At
		}
	}
	return slices.Contains(slices.Collect(maps.Values(verdicts)), desired.PassVerdict)
}

// answers is a gate that tells of somebody who is named as answering for it, and does not yet.
func (f PrerequisiteFacts) answers() Gate {
	g := Gate{State: PrerequisiteRetired, Name: "who answers for it", Verdict: GateNeedsApproval, Why: f.Unagreed,
		Do: "have an operator take the commit as it is (pomona kick --accept)"}
	if f.Answers != "" {
		g.Who = []string{f.Answers}
		g.Do = fmt.Sprintf("set it back to %[1]s, who then signs the commit that hands it over, have %[1]s approve the pull request that brought it, or %[2]s", f.Answers, g.Do)
	}
	if f.UnagreedLater {
		g.Do = "look again once it can be known who wrote it"
	}
	return g
}

// said takes over what a record says.
func (g *Gate) said(r desired.PrerequisiteRecord) {
	g.Why = r.Reason
	switch r.Verdict {
	case desired.PassVerdict:
		g.Verdict, g.Why = GatePass, ""
	case desired.FailVerdict:
		g.Verdict = GateFail
	default:
		g.Verdict = GateInconclusive
	}
}

func (f PrerequisiteFacts) pages() Gate {
	g := Gate{State: PrerequisiteAccepted, Name: "pages and scripts are one", Verdict: GatePass}
	if !f.PagesSame {
		g.Verdict, g.Why = GateFail, "the pages are not of what the scripts do"
	}
	return g
}

// exceptions want that none has ended.
func (f PrerequisiteFacts) exceptions(now time.Time) Gate {
	g := Gate{State: PrerequisiteAccepted, Name: "exceptions", Verdict: GateNotApplicable}
	for _, system := range sortedKeys(f.Spec.Systems) {
		e := f.Spec.Systems[system].Exception
		switch {
		case e == nil:
		case desired.Expired(e.Expires, now):
			g.Verdict, g.Why, g.Who, g.Do = GateBlocked, fmt.Sprintf("the exception on %s ended with %s", system, e.Expires), []string{f.Spec.Responsible}, "do without it, or renew it"
			return g
		default:
			g.Verdict, g.Why = GateWaived, fmt.Sprintf("%s on %s until %s: %s", e.Provider, system, e.Expires, e.Reason)
		}
	}
	return g
}

// others want that what it needs has got as far.
func (f PrerequisiteFacts) others(state string) Gate {
	g := Gate{State: state, Name: "what it needs", Verdict: GateNotApplicable}
	for _, name := range sortedKeys(f.Needs) {
		got := f.Needs[name]
		if slices.Index(prerequisiteStates, got) < slices.Index(prerequisiteStates, state) {
			g.Verdict, g.Why, g.Do = GateWaiting, fmt.Sprintf("%s, which it needs, is %s", name, got), "pomona prerequisites show "+name
			return g
		}
		g.Verdict = GatePass
	}
	return g
}

// recorded is a gate that a record of one kind decides.
func (f PrerequisiteFacts) recorded(state, kind, why string) Gate {
	g := Gate{State: state, Name: kind, Why: why, Do: strings.Join([]string{"pomona prerequisites", kind, f.Name}, " ")}
	return f.judged(g, func(r desired.PrerequisiteRecord) bool { return r.Kind == kind }, func(g *Gate, r desired.PrerequisiteRecord, _ RecordProof) { g.said(r) })
}

// retired wants that whoever answers for it has said that it is needed no more.
func (f PrerequisiteFacts) retired() Gate {
	return f.judged(Gate{State: PrerequisiteRetired, Name: desired.RetireRecord}, func(r desired.PrerequisiteRecord) bool {
		return r.Kind == desired.RetireRecord && f.Answers != "" && desired.SamePerson(f.Answers, r.By)
	}, func(g *Gate, r desired.PrerequisiteRecord, _ RecordProof) { g.said(r) })
}

// soaked wants that it has been in use for a while since it was integrated, and that was known. Approval never shortens that, nor does a record of the past.
func (f PrerequisiteFacts) soaked(now time.Time) Gate {
	g := Gate{State: PrerequisiteProduction, Name: "soak", Verdict: GatePending}
	if f.Spec.TheSoak() <= 0 {
		g.Verdict = GateNotApplicable
		return g
	}
	name, _, _ := f.latest(func(r desired.PrerequisiteRecord) bool { return r.Kind == desired.IntegrationRecord })
	r := f.Spec.Records[name]
	since, err := time.Parse(time.RFC3339, r.At)
	if known := f.ProvenAt[name]; known.After(since) {
		since = known
	}
	switch {
	case name == "" || r.Verdict != desired.PassVerdict || err != nil:
		g.Why = "it begins with its integration"
	case now.Before(since.Add(f.Spec.TheSoak())):
		g.Why, g.Records = "until "+since.Add(f.Spec.TheSoak()).UTC().Format(time.RFC3339), []string{name}
	default:
		g.Verdict, g.Records = GatePass, []string{name}
	}
	return g
}
