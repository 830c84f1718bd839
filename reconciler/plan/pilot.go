package plan

import (
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// States of a pilot: the first eight one after the other, then the ways in which it ends or stops.
const (
	PilotRequested = "requested"
	PilotStaffed   = "staffed"
	PilotFrozen    = "frozen"
	PilotChecked   = "checked"
	PilotMirrored  = "mirrored"
	PilotCalled    = "called"
	PilotDeployed  = "deployed"
	PilotPublished = "published"
	PilotClosed    = "closed"
	PilotDenied    = "denied"
	PilotHalted    = "halted"
	PilotExpired   = "expired"
)

// PilotFacts is what is known of a pilot beyond its declaration.
type PilotFacts struct {
	Subject string // of the release as the site states it now; empty: nobody knows
	// Deployed is what sites have, if the pilot now states something else: what is known of packages is of these.
	Deployed *tree.PilotDeployed
	Proofs   map[string]observed.Proof // by record
	// ProvenAt is when the ledger first saw each record proven: what it says may have been long before, but nobody could know it. Missing: when it was made.
	ProvenAt map[string]time.Time
	Doubts   map[string]string     // by record: why nobody knows that whom it names wrote it
	FECs     []observed.PilotFEC   // of FECs that take part, those of which something is proven
	Reported []string              // FECs that say what they run, and prove nothing
	Probes   []observed.PilotProbe // of sites
	Members  [][]string            // of FECs: who counts in each wave, sorted
	Left     []string              // of them, those that were given it, and belong to the wave no more
	// Masked are the packages of each production update that pilot nodes would never be offered; an update that is missing: nobody knows.
	Masked map[string][]string
	// Unmet is what packages of each subject require and nobody provides, as Pomona worked it out; a subject that is missing: nobody knows.
	Unmet map[string][]string
	// Signed says of each subject what Pomona found of its packages' signatures: empty: good; a subject that is missing: nobody knows.
	Signed map[string]string
	Since  map[string]time.Time // when the ledger first saw it in each state
	// Opened is when the ledger first saw each wave open, by PilotWave.Key: what is open stays so.
	Opened map[string]time.Time
	// Tripped is when the last of those failures was that the ledger saw halt it (PilotNow.Trip), and TrippedWhy which they are: FECs that have gone back say nothing of them any more.
	Tripped    time.Time
	TrippedWhy string
	Agreed     []observed.Agreed    // as the published generation has them: that chain goes on
	Announced  map[string]time.Time // updates of which participants have been told, by UpdateNow.About, and when
}

// PilotNow is how far a pilot is, and why not further.
type PilotNow struct {
	Name     string       `json:"name"`
	Scope    string       `json:"scope"`
	State    string       `json:"state"`
	Since    time.Time    `json:"since,omitzero"`
	Due      time.Time    `json:"due,omitzero"`      // when it has been for too long in its state
	Subject  string       `json:"subject,omitempty"` // of what is there now
	Frozen   string       `json:"frozen,omitempty"`  // subject that was frozen
	Gates    []Gate       `json:"gates"`
	Waves    []PilotWave  `json:"waves"`
	Updates  []UpdateNow  `json:"updates"`
	Sites    []SiteNow    `json:"sites"`
	Problems []ProblemNow `json:"problems"`
	Terms    string       `json:"terms"`              // digest of what it says of itself
	Unagreed string       `json:"unagreed,omitempty"` // why that does not count: nothing goes further; empty: it does
	MayAgree []string     `json:"mayAgree"`           // who may agree to it
	// Agreed are the agreements that count, the first first.
	Agreed  []observed.Agreed `json:"agreed,omitempty"`
	Void    []string          `json:"void,omitempty"`    // records that are about something else than what is frozen
	Doubted []string          `json:"doubted,omitempty"` // records of which nobody knows that the right person wrote them
	// Doubts are why, by record.
	Doubts  map[string]string `json:"-"`
	Overdue time.Duration     `json:"overdue,omitempty"`
	Why     string            `json:"why,omitempty"`    // halted, denied or expired
	LastDay string            `json:"-"`                // that is agreed
	Record  string            `json:"record,omitempty"` // that closed or denied it
	Trip    string            `json:"trip,omitempty"`   // failures that halt it, as they are now: to be remembered
	TripAt  time.Time         `json:"tripAt,omitzero"`  // the last of them
	// Waves and snapshots as the tree is to have them.
	Place tree.PilotPlace `json:"place"`
}

// PilotWave is how far a wave is.
type PilotWave struct {
	Wave     int         `json:"wave"` // from 1
	Subject  string      `json:"subject,omitempty"`
	Open     bool        `json:"open"`
	Members  []string    `json:"members"` // sites or FECs
	Running  []string    `json:"running"`
	Failed   []string    `json:"failed"`
	Verdict  GateVerdict `json:"verdict"`
	Why      string      `json:"why,omitempty"`
	SoakEnds time.Time   `json:"soakEnds,omitzero"`
}

// UpdateNow is how far an update is.
type UpdateNow struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	State   string `json:"state"`             // candidate, approved, frozen, checked, noted, mirrored, announced, rejected, superseded
	Subject string `json:"subject,omitempty"` // of the tree after it
	Gates   []Gate `json:"gates"`
}

// SiteNow is how far a site takes part.
type SiteNow struct {
	Site      string                 `json:"site"`
	Wave      int                    `json:"wave"`
	Contact   string                 `json:"contact"`
	Answer    string                 `json:"answer"` // interested, declined or no-answer
	State     string                 `json:"state"`  // none, installed, failed or withdrawn
	Subject   string                 `json:"subject,omitempty"`
	From      time.Time              `json:"from,omitzero"`
	Resources *desired.SiteResources `json:"resources,omitempty"`
	Published GateVerdict            `json:"published"`
}

// ProblemNow is a problem that somebody had, as its last record has it.
type ProblemNow struct {
	Problem  string    `json:"problem"`
	Site     string    `json:"site,omitempty"`
	By       string    `json:"by"`
	Category string    `json:"category"`
	Severity string    `json:"severity"`
	Status   string    `json:"status"`
	Text     string    `json:"text"`
	FoundIn  string    `json:"foundIn"`
	FixedIn  string    `json:"fixedIn,omitempty"`
	Opened   time.Time `json:"opened"`
}

// Pilot works out how far a pilot is: the furthest state whose gates all hold, unless it was denied, has expired or is halted. What is recorded after
// it has been closed is not looked at. While the terms are not agreed, nothing brings it further.
func Pilot(name string, p desired.Pilot, f PilotFacts, now time.Time) PilotNow {
	judge := func(p desired.Pilot, f PilotFacts) PilotNow { return judgedPilot(name, p, f, now) }
	if f.Deployed != nil {
		return deployed(name, p, f, judge)
	}
	return judge(p, f)
}

func judgedPilot(name string, p desired.Pilot, f PilotFacts, now time.Time) PilotNow {
	c := newPilotCase(name, p, f)
	c.agree(now)
	c.ended()
	for i, r := range c.records {
		if r.Kind != desired.RecordClosure || r.doubt != "" || r.known.After(now) || !c.over(PilotClosed, r) || !c.mayClose(r) {
			continue
		}
		if j := c.judge(c.records[:c.until(i)], r.known, r); j.closes(r) {
			if c.withdraws(r) && len(c.terms.chain) > 0 {
				j.now.Unagreed = "" // it does not matter any more
			}
			return j.end(r)
		}
	}
	if c.terms.unagreed != "" {
		return c.unagreed(now)
	}
	return c.judge(c.records, now, nil).now
}

// pilotCase is what is known of a pilot, whenever it is judged.
type pilotCase struct {
	name    string
	p       desired.Pilot
	f       PilotFacts
	records []*pilotRecord // oldest first
	sites   []string       // sorted
	updates map[string]*pilotUpdate
	void    []string
	doubts  map[string]string // why records do not count, whoever wrote them
	terms   pilotTerms
	lenient bool                         // judge as if the terms were agreed
	fecs    map[string]observed.PilotFEC // by name, once somebody has asked
	met     *time.Time                   // metAt, once somebody has asked
}

// pilotJudge judges a pilot as it is at one time.
type pilotJudge struct {
	*pilotCase
	at      time.Time
	made    []*pilotRecord // by then
	by      map[recordKey][]*pilotRecord
	first   pilotExam
	steps   []pilotStep // what has been mirrored, in its order
	lives   []siteLife
	ran     []time.Time // by step: when a site first had installed that, or what came after; zero: none has
	courses []waveCourse
	blocked []ProblemNow
	trouble pilotTrouble
	bad     []badSteps   // that were halted, until an update let the pilot go on: nobody gets them again
	gone    []badSteps   // that had blockers, until an update: nobody gets them who has not
	closing *pilotRecord // that is to close it; nil: none
	outcome string       // once it is closed
	far     string       // the state that it got to, whatever stops it
	reached bool         // all gates so far hold
	now     PilotNow
}

// recordKey finds records: those of a kind about one update, or about the first release.
type recordKey struct{ update, kind string }

// newPilotCase reads records once.
func newPilotCase(name string, p desired.Pilot, f PilotFacts) *pilotCase {
	c := &pilotCase{name: name, p: p, f: f, sites: sortedKeys(p.Sites)}
	c.updates = updatesOf(p, f.Subject)
	c.records = c.readRecords()
	return c
}

// until is how many records were made no later than one of them was known.
func (c *pilotCase) until(i int) int {
	n := i + 1
	for n < len(c.records) && !c.records[n].at.After(c.records[i].known) {
		n++
	}
	return n
}

// judge walks through the states at one time, by records of which one may be to close it.
func (c *pilotCase) judge(made []*pilotRecord, at time.Time, closing *pilotRecord) *pilotJudge {
	j := &pilotJudge{pilotCase: c, at: at, closing: closing, by: map[recordKey][]*pilotRecord{}, reached: true}
	j.now = PilotNow{Name: c.name, Scope: c.p.Scope, State: PilotRequested, Subject: c.f.Subject, Gates: []Gate{}, Waves: []PilotWave{}, Updates: []UpdateNow{},
		Sites: []SiteNow{}, Problems: []ProblemNow{}, Void: c.void, Doubted: sortedKeys(c.doubts), Doubts: c.doubts,
		Terms: c.terms.now, Unagreed: c.terms.unagreed, MayAgree: c.terms.who, Agreed: c.agreed()}
	j.now.Place.Name = c.name
	for len(made) > 0 && made[len(made)-1].at.After(at) {
		made = made[:len(made)-1]
	}
	j.made = made
	for _, r := range made {
		key := recordKey{r.Update, r.Kind}
		j.by[key] = append(j.by[key], r)
	}
	j.examine()
	for _, s := range []struct {
		state string
		gates func() []Gate
	}{
		{PilotRequested, j.requestGates}, {PilotStaffed, j.staffGates}, {PilotFrozen, j.first.freezeGates}, {PilotChecked, j.first.checkGates},
		{PilotMirrored, j.first.mirrorGates}, {PilotCalled, j.callGates}, {PilotDeployed, j.deployGates}, {PilotPublished, j.publishGates}, {PilotClosed, j.closeGates},
	} {
		j.enter(s.state, s.gates())
	}
	j.stop()
	j.place()
	j.overdue()
	return j
}

// examine finds out what the gates are about.
func (j *pilotJudge) examine() {
	j.first = j.exam("", j.f.Subject, always)
	if j.first.froze != nil {
		j.now.Frozen = j.f.Subject
	}
	if !j.first.mirrored.IsZero() {
		j.steps = append(j.steps, pilotStep{subject: j.f.Subject, at: j.first.mirrored, known: j.first.mirrorKnown, gated: true})
	}
	j.judgeUpdates()
	j.judgeSites()
	j.judgeProblems()
}

// enter lists the gates of a state, and enters it if they hold and it was in the state before.
func (j *pilotJudge) enter(state string, gates []Gate) {
	holds := true
	for _, g := range gates {
		g.State = state
		holds = holds && (g.Verdict.Holds() || j.lenient && g.Name == j.terms.gate.Name)
		if !j.reached && g.Verdict == GatePending {
			g.Verdict = GateWaiting
		}
		if g.Verdict.Holds() {
			g.Who, g.Do = nil, ""
		}
		j.now.Gates = append(j.now.Gates, g)
	}
	j.reached = j.reached && holds
	if j.reached && state != PilotClosed { // only a record closes it
		j.now.State = state
	}
}
