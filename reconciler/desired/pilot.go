package desired

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Pilot is a release offered to named participants first: a grid service to sites, or a release of a software to FECs.
type Pilot struct {
	Scope       string               `json:"scope"` // PilotOfFECs or PilotOfSites
	Description string               `json:"description"`
	Owner       string               `json:"owner"`
	Ticket      string               `json:"ticket,omitempty"`
	Expires     string               `json:"expires"`
	Success     map[string]Criterion `json:"success"`
	Urgency     string               `json:"urgency,omitempty"`
	Tracker     string               `json:"tracker,omitempty"`
	Roles       *PilotRoles          `json:"roles,omitempty"`
	Impact      *PilotImpact         `json:"impact,omitempty"`
	Rollout     *Rollout             `json:"rollout,omitempty"`
	Deadlines   map[string]string    `json:"deadlines,omitempty"`
	Audience    []string             `json:"audience,omitempty"`

	Software string `json:"software,omitempty"` // of FECs
	Version  string `json:"version,omitempty"`

	Service  string                 `json:"service,omitempty"` // of sites
	Branches map[string]RPMBranch   `json:"branches,omitempty"`
	Sites    map[string]PilotSite   `json:"sites,omitempty"`
	InfoSys  *InfoSys               `json:"infosys,omitempty"`
	Updates  map[string]PilotUpdate `json:"updates,omitempty"`

	Records map[string]PilotRecord `json:"records,omitempty"`
}

// Scopes of pilots.
const (
	PilotOfFECs  = "fec"
	PilotOfSites = "grid-service"
)

// Urgencies of pilots.
const (
	NormalUrgency = "normal" // every check of the report counts
	FastUrgency   = "fast"   // those that are not needed to install it safely may be left out
)

// TheUrgency is how much of the report counts.
func (p Pilot) TheUrgency() string { return or(p.Urgency, NormalUrgency) }

// TheWaves are who gets the pilot one after the other: without a rollout, all at once.
func (p Pilot) TheWaves() []PilotWave {
	if p.Rollout == nil || len(p.Rollout.Waves) == 0 {
		return []PilotWave{{}}
	}
	return p.Rollout.Waves
}

// Criterion is something to be measured.
type Criterion struct {
	Description string `json:"description"`
}

// PilotRoles are who does what.
type PilotRoles struct {
	Coordinator string   `json:"coordinator"`
	Developer   string   `json:"developer"`
	Authoriser  string   `json:"authoriser"`
	Testers     []string `json:"testers,omitempty"`
}

// PilotImpact is what a pilot does to those who take part.
type PilotImpact struct {
	Services  []string `json:"services"`
	Resources string   `json:"resources"`
}

// Rollout says who gets a pilot after whom.
type Rollout struct {
	Minimum int         `json:"minimum,omitempty"`
	Waves   []PilotWave `json:"waves"`
}

// PilotWave is who gets a pilot together, and what lets the next wave follow.
type PilotWave struct {
	Success     string   `json:"success,omitempty"` // a percentage
	MaxFailures int      `json:"maxFailures,omitempty"`
	Soak        string   `json:"soak,omitempty"`
	FECs        []string `json:"fecs,omitempty"`
	Groups      []string `json:"groups,omitempty"`
}

// Percent is the share of its participants that must run it.
func (w PilotWave) Percent() int {
	n, err := strconv.Atoi(strings.TrimSuffix(or(w.Success, "100%"), "%"))
	if err != nil {
		return 100 // the schema has said what is wrong with it
	}
	return n
}

// PilotSite is a site that may take part.
type PilotSite struct {
	Contact string `json:"contact"`
	Wave    int    `json:"wave,omitempty"`
}

// TheWave is the wave that the site is in, from 1.
func (s PilotSite) TheWave() int { return or(s.Wave, 1) }

// RPMBranch is the packages of one operating system and architecture, by directory.
type RPMBranch map[string][]RPM

// Directories of a source repository, as EGEE's procedure names them.
const (
	ReleaseRPMs           = "RPMS.Release"
	ExternalRPMs          = "RPMS.externals"
	PilotUpdateRPMs       = "RPMS.pilot_updates"
	ProductionUpdatesRPMs = "RPMS.production_updates"
)

// RPMDirectories are the four.
var RPMDirectories = []string{ReleaseRPMs, ExternalRPMs, PilotUpdateRPMs, ProductionUpdatesRPMs}

// RPM is one package file.
type RPM struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	URL    string `json:"url,omitempty"` // empty: it is in the site's blob store
}

// InfoSys is how resources of a pilot are found in the information system.
type InfoSys struct {
	Type         string `json:"type"`
	ID           string `json:"id,omitempty"`
	QualityLevel string `json:"qualityLevel,omitempty"`
	Server       string `json:"server,omitempty"`
	Base         string `json:"base,omitempty"`
}

// PilotUpdate is packages that come after the first installation.
type PilotUpdate struct {
	Kind     string           `json:"kind"`   // production or pilot
	Reason   string           `json:"reason"` // security, bugfix or enhancement
	Advisory string           `json:"advisory,omitempty"`
	Base     string           `json:"base"`
	Test     string           `json:"test,omitempty"`
	Compat   string           `json:"compat,omitempty"`
	Packages map[string][]RPM `json:"packages"` // by branch
}

// SecurityUpdate is the reason of an update that needs an advisory.
const SecurityUpdate = "security"

// SkippedTest is that an update is not tested; BreakingUpdate, that it needs notes on how to migrate.
const (
	SkippedTest    = "skipped"
	BreakingUpdate = "breaking"
)

// Kinds of updates.
const (
	ProductionUpdate = "production"
	UpdateOfPilot    = "pilot"
)

// Directory is where the packages of an update go.
func (u PilotUpdate) Directory() string {
	if u.Kind == ProductionUpdate {
		return ProductionUpdatesRPMs
	}
	return PilotUpdateRPMs
}

// PilotRecord is something that happened, and who says so. Which fields belong to which kind, check_pilot_record.go says.
type PilotRecord struct {
	Kind    string `json:"kind"`
	By      string `json:"by"`
	At      string `json:"at"` // 2006-01-02T15:04:05Z
	URL     string `json:"url,omitempty"`
	Subject string `json:"subject,omitempty"`
	Update  string `json:"update,omitempty"` // empty: it is about the first release

	Terms       string `json:"terms,omitempty"` // agreement: Pilot.Terms; approval: PilotUpdate.Terms
	Owner       string `json:"owner,omitempty"`
	Coordinator string `json:"coordinator,omitempty"`

	Closure   *RPMClosure            `json:"closure,omitempty"`
	Compat    string                 `json:"compat,omitempty"`
	Checks    map[string]CheckResult `json:"checks,omitempty"`
	Decision  string                 `json:"decision,omitempty"`
	Text      string                 `json:"text,omitempty"`
	Migration string                 `json:"migration,omitempty"`
	Location  string                 `json:"location,omitempty"`
	Checked   string                 `json:"checked,omitempty"` // mirror: CheckedByDigest, or nobody has looked
	Closes    string                 `json:"closes,omitempty"`
	Site      string                 `json:"site,omitempty"`
	Answer    string                 `json:"answer,omitempty"`
	State     string                 `json:"state,omitempty"`
	Resources *SiteResources         `json:"resources,omitempty"`
	Problem   string                 `json:"problem,omitempty"`
	Category  string                 `json:"category,omitempty"`
	Severity  string                 `json:"severity,omitempty"`
	Status    string                 `json:"status,omitempty"`
	FixedIn   string                 `json:"fixedIn,omitempty"`
	Rating    int                    `json:"rating,omitempty"`
	Criterion string                 `json:"criterion,omitempty"`
	Met       string                 `json:"met,omitempty"`
	Check     string                 `json:"check,omitempty"`
	Expires   string                 `json:"expires,omitempty"`
	Reason    string                 `json:"reason,omitempty"`
	Outcome   string                 `json:"outcome,omitempty"`
}

// How it is known that a mirror has what was frozen.
const (
	CheckedByDigest = "digest" // each package was compared
	CheckedByTrust  = "trust"  // whoever wrote the record says so
)

// Kinds of records of a pilot.
const (
	RecordFreeze        = "freeze"
	RecordReport        = "report"
	RecordAuthorisation = "authorisation"
	RecordApproval      = "approval"  // the coordinator's, of an update
	RecordRejection     = "rejection" // of an update
	RecordNotes         = "notes"
	RecordMirror        = "mirror"
	RecordCall          = "call"
	RecordJoin          = "join"
	RecordDeployment    = "deployment"
	RecordResources     = "resources"
	RecordProblem       = "problem"
	RecordFeedback      = "feedback"
	RecordCriterion     = "criterion"
	RecordWaiver        = "waiver"
	RecordHalt          = "halt"
	RecordResume        = "resume"
	RecordClosure       = "closure"
	RecordAgreement     = "agreement" // to what the pilot says of itself
)

// RPMClosure is whether everything that packages require is provided.
type RPMClosure struct {
	Exit  int      `json:"exit"`
	Unmet []string `json:"unmet,omitempty"`
}

// CheckResult is what came of one item of a report.
type CheckResult struct {
	Verdict string `json:"verdict"` // pass, fail, inconclusive or waived
	Log     string `json:"log,omitempty"`
	Text    string `json:"text,omitempty"`
}

// SiteResources is what a site gives.
type SiteResources struct {
	Nodes      int     `json:"nodes"`
	Cores      int     `json:"cores"`
	MemoryGiB  int     `json:"memoryGiB"`
	StorageTiB float64 `json:"storageTiB"`
}

// PilotChecks are the items of a report.
var PilotChecks = []string{"installer-config", "docs", "patch-list", "dependencies", "site-impact", "repo-structure", "repo-closure", "clean-install", "signatures"}

// Snapshot is the packages of a pilot at one time, by path BRANCH/DIRECTORY/FILE.
type Snapshot map[string]RPM

// Snapshot is what is installed first.
func (p Pilot) Snapshot() Snapshot {
	s := Snapshot{}
	for branch, directories := range p.Branches {
		for directory, packages := range directories {
			s.add(branch, directory, packages)
		}
	}
	return s
}

// With is the snapshot after an update.
func (s Snapshot) With(u PilotUpdate) Snapshot {
	next := make(Snapshot, len(s))
	for path, r := range s {
		next[path] = r
	}
	for branch, packages := range u.Packages {
		next.add(branch, u.Directory(), packages)
	}
	return next
}

func (s Snapshot) add(branch, directory string, packages []RPM) {
	for _, r := range packages {
		s[branch+"/"+directory+"/"+r.File] = r
	}
}

// Subject is the digest that records of a snapshot are about, sha256:HEX: that of what sha256sum prints for its packages in the order of
// their paths, which begin with ./ and the branch:
//
//	find . -type f -name '*.rpm' -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum | sha256sum
func (s Snapshot) Subject() string {
	h := sha256.New()
	for _, path := range sortedKeys(s) {
		fmt.Fprintf(h, "%s  ./%s\n", s[path].SHA256, path)
	}
	return subjectOf(h)
}

func subjectOf(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// ReleaseSubject is the digest that records of a FEC pilot are about, sha256:HEX: of the release as it is stated, with all files of the
// repository that its payloads are made of. False: the site has no such release.
func ReleaseSubject(s Site, files artifact.Files, software, version string) (string, bool) {
	r, ok := s.Software[software].Versions[version]
	if !ok {
		return "", false
	}
	h := sha256.New()
	r.Notes, r.Released = "", ""
	_ = json.NewEncoder(h).Encode([]any{software, version, r}) // maps are sorted; what the schema accepts has no value that JSON lacks
	for _, platform := range sortedKeys(r.Payload) {
		p := r.Payload[platform]
		var made artifact.Files
		switch f, ok := files.Find(p.Archive); {
		case p.Git.Commit != "": // that says all
		case p.Folder != "":
			made = files.Under(p.Folder)
		case ok:
			made = artifact.Files{f}
		}
		for _, f := range made {
			fmt.Fprintf(h, "%s %s %s %o\n", platform, f.Path, f.ID, f.Mode)
		}
	}
	return subjectOf(h), true
}

// RecordsInOrder are the names of a pilot's records, the oldest first; those of one second by name.
func (p Pilot) RecordsInOrder() []string {
	names := sortedKeys(p.Records)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(p.Records[a].At, p.Records[b].At) })
	return names
}

func (p Pilot) records() map[string]PilotRecord { return p.Records }

// Ended says that a record closes or denies a pilot, and names somebody who may: it may go, with all its records.
func (p Pilot) Ended() bool {
	var roles PilotRoles
	if p.Roles != nil {
		roles = *p.Roles
	}
	by := func(r PilotRecord, who string) bool { return who != "" && SamePerson(who, r.By) }
	for _, r := range p.Records {
		switch {
		case r.Kind == RecordClosure && (by(r, roles.Coordinator) || r.Outcome == "withdrawn" && by(r, p.Owner)):
			return true
		case r.Kind == RecordAuthorisation && r.Decision == "deny" && r.Update == "" && by(r, roles.Authoriser):
			return true
		}
	}
	return false
}
