package desired

import (
	"slices"
	"strings"
	"time"
)

// System is an operating system on which prerequisites are installed and tested.
type System struct {
	Description string `json:"description,omitempty"`
	Family      string `json:"family"`
	Release     string `json:"release"`
	Image       string `json:"image,omitempty"`
	Mirror      string `json:"mirror,omitempty"`
}

// Families of systems.
const (
	Debian = "debian"
	RHEL   = "rhel"
	MacOS  = "macos"
)

// Prerequisite is something a platform must provide before software runs.
type Prerequisite struct {
	Description string                        `json:"description"`
	Responsible string                        `json:"responsible"`
	Ecosystem   string                        `json:"ecosystem"`
	Purpose     string                        `json:"purpose,omitempty"`
	Recommended string                        `json:"recommended"`
	Previous    string                        `json:"previous,omitempty"`
	Supported   []string                      `json:"supported"`
	Systems     map[string]Provision          `json:"systems"`
	Verify      []Probe                       `json:"verify"`
	Needs       []string                      `json:"needs,omitempty"`
	Soak        string                        `json:"soak,omitempty"`
	Records     map[string]PrerequisiteRecord `json:"records,omitempty"`
}

// Python is the ecosystem that has an index of its own.
const Python = "python"

// ThePurpose is what it is needed for.
func (p Prerequisite) ThePurpose() string { return or(p.Purpose, "runtime") }

// TheSoak is how long it is used where little depends on it.
func (p Prerequisite) TheSoak() time.Duration { return mustDuration(or(p.Soak, "7d")) }

func (p Prerequisite) records() map[string]PrerequisiteRecord { return p.Records }

// Retired says whether a record of whoever answers for it says that it is needed no more.
func (p Prerequisite) Retired() bool {
	for _, r := range p.Records {
		if r.Kind == RetireRecord && r.Verdict == PassVerdict && p.Responsible != "" && SamePerson(p.Responsible, r.By) {
			return true
		}
	}
	return false
}

// Versions are those that a system can get, the one that it gets by itself first.
func (p Prerequisite) Versions(system string) []string {
	own := p.Systems[system].TheVersion(p)
	others := slices.DeleteFunc(NewestFirst(p.Systems[system].Others), func(v string) bool { return v == own })
	return append([]string{own}, others...)
}

// Source is where a system gets a version, and who provides it there; ok is false when nobody does.
func (p Prerequisite) Source(system, version string) (s Source, provider string, ok bool) {
	at := p.Systems[system]
	s = at.Source
	if version != at.TheVersion(p) {
		if s, ok = at.Others[version]; !ok {
			return s, "", false
		}
	}
	provider = s.provider(p.Ecosystem)
	if at.Exception != nil && s.Has(at.Exception.Provider) {
		provider = at.Exception.Provider
	}
	return s, provider, provider != ""
}

// UpgradeFrom is the version that a system upgrades from to what it gets by itself: the one that was recommended before, where it can get that;
// else empty.
func (p Prerequisite) UpgradeFrom(system string) string {
	if _, ok := p.Systems[system].Others[p.Previous]; ok && p.Systems[system].TheVersion(p) == p.Recommended {
		return p.Previous
	}
	return ""
}

// RoleName is what Ansible calls a prerequisite: its roles have no dashes and dots.
func RoleName(name string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(name) }

// Provision is where a system gets a prerequisite.
type Provision struct {
	Source
	Version   string            `json:"version,omitempty"`
	Others    map[string]Source `json:"others,omitempty"`
	Exception *Exception        `json:"exception,omitempty"`
}

// TheVersion is the version that a system gets by itself.
func (v Provision) TheVersion(p Prerequisite) string { return or(v.Version, p.Recommended) }

// Source is where a package is to be had.
type Source struct {
	Distro     *DistroPackage   `json:"distro,omitempty"`
	Language   *LanguagePackage `json:"language,omitempty"`
	VendorRepo *VendorPackage   `json:"vendorRepo,omitempty"`
	Artifact   *ArtifactFile    `json:"artifact,omitempty"`
}

// DistroPackage is a package of the distribution, as its index said on a day.
type DistroPackage struct {
	Package   string `json:"package"`
	Candidate string `json:"candidate"`
	AsOf      string `json:"asOf"`
}

// LanguagePackage is a package of a language's index, with the digests of the files that may be installed.
type LanguagePackage struct {
	Package string   `json:"package"`
	Version string   `json:"version"`
	SHA256  []string `json:"sha256"`
}

// VendorPackage is a package of somebody else's repository.
type VendorPackage struct {
	Package        string   `json:"package"`
	URL            string   `json:"url"`
	Key            string   `json:"key"`
	KeyFingerprint string   `json:"keyFingerprint"`
	Suite          string   `json:"suite,omitempty"`
	Components     []string `json:"components,omitempty"`
}

// ArtifactFile is a file that is put somewhere.
type ArtifactFile struct {
	URL        string `json:"url"`
	SHA256     string `json:"sha256"`
	Dest       string `json:"dest"`
	Executable bool   `json:"executable,omitempty"`
}

// Providers of packages.
const (
	FromDistro   = "distro"
	FromLanguage = "language"
	FromVendor   = "vendor-repo"
	FromArtifact = "artifact"
)

// Has says whether a provider has it.
func (s Source) Has(provider string) bool {
	switch provider {
	case FromDistro:
		return s.Distro != nil
	case FromLanguage:
		return s.Language != nil
	case FromVendor:
		return s.VendorRepo != nil
	case FromArtifact:
		return s.Artifact != nil
	}
	return false
}

// provider is who provides it where nobody has said otherwise: the distribution, else the language; empty for nobody.
func (s Source) provider(ecosystem string) string {
	switch {
	case s.Distro != nil:
		return FromDistro
	case s.Language != nil && ecosystem == Python:
		return FromLanguage
	}
	return ""
}

// Exception says why a prerequisite does not come from where it should, until its last day has ended.
type Exception struct {
	Provider string `json:"provider"`
	Reason   string `json:"reason"`
	By       string `json:"by"`
	Expires  string `json:"expires"`
}

// Probe is a command that says whether a prerequisite is there.
type Probe struct {
	Run    []string `json:"run,omitempty"`
	Shell  string   `json:"shell,omitempty"`
	Expect string   `json:"expect,omitempty"`
}

// PrerequisiteRecord is evidence about a prerequisite as it was rendered.
type PrerequisiteRecord struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"` // sha256:HEX
	By      string    `json:"by"`
	At      string    `json:"at"`
	Link    string    `json:"link,omitempty"`
	System  string    `json:"system,omitempty"`
	Version string    `json:"version,omitempty"`
	Jobs    TrialJobs `json:"jobs,omitzero"`
	Verdict string    `json:"verdict,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// Kinds of records about prerequisites.
const (
	TrialRecord       = "trial"
	ReviewRecord      = "review"
	IntegrationRecord = "integration"
	RollbackRecord    = "rollback"
	RetireRecord      = "retire"
)

// TrialJobs are what each job of a trial said of itself; nil: it was not run.
type TrialJobs struct {
	Install *JobResult `json:"install,omitempty"`
	Again   *JobResult `json:"again,omitempty"`
	Verify  *JobResult `json:"verify,omitempty"`
	Upgrade *JobResult `json:"upgrade,omitempty"`
}

// JobResult is what one job said itself.
type JobResult struct {
	Exit         int    `json:"exit"`
	Changed      *int   `json:"changed,omitempty"`
	From         string `json:"from,omitempty"`
	Inconclusive string `json:"inconclusive,omitempty"`
}
