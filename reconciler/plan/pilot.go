package plan

import (
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
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
	Subject string                    // of the release as the site states it now; empty: nobody knows
	Proofs  map[string]observed.Proof // by record
	Doubts  map[string]string         // by record: why nobody knows that whom it names wrote it
	FECs    []observed.PilotFEC       // of FECs that take part, those of which something is proven
	Probes  []observed.PilotProbe     // of sites
	Members [][]string                // of FECs: who belongs to each wave, sorted
	// Masked are the packages of each production update that pilot nodes would never be offered; an update that is missing: nobody knows.
	Masked map[string][]string
	// Unmet is what packages of each subject require and nobody provides, as Pomona worked it out; a subject that is missing: nobody knows.
	Unmet map[string][]string
	// Signed says of each subject what Pomona found of its packages' signatures: empty: good; a subject that is missing: nobody knows.
	Signed map[string]string
	Since  map[string]time.Time // when the ledger first saw it in each state
}

// PilotNow is how far a pilot is, and why not further.
type PilotNow struct {
	Name     string        `json:"name"`
	Scope    string        `json:"scope"`
	State    string        `json:"state"`
	Since    time.Time     `json:"since,omitzero"`
	Subject  string        `json:"subject,omitempty"` // of what is there now
	Frozen   string        `json:"frozen,omitempty"`  // subject that was frozen
	Gates    []Gate        `json:"gates"`
	Waves    []PilotWave   `json:"waves"`
	Updates  []UpdateNow   `json:"updates"`
	Sites    []SiteNow     `json:"sites"`
	Problems []ProblemNow  `json:"problems"`
	Void     []string      `json:"void,omitempty"` // records that are about something else than what is frozen
	Overdue  time.Duration `json:"overdue,omitempty"`
	Why      string        `json:"why,omitempty"` // halted, denied or expired
	// Waves and snapshots as the tree is to have them.
	Place observed.PilotPlace `json:"place"`
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

// Pilot works out how far a pilot is: the furthest state whose gates all hold.
func Pilot(name string, p desired.Pilot, f PilotFacts, now time.Time) PilotNow {
	return PilotNow{Name: name, Scope: p.Scope, State: PilotRequested, Subject: f.Subject, Gates: []Gate{}, Waves: []PilotWave{}, Updates: []UpdateNow{},
		Sites: []SiteNow{}, Problems: []ProblemNow{}, Place: observed.PilotPlace{Name: name, State: PilotRequested, Waves: []string{}}}
}
