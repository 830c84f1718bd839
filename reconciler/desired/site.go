// Package desired is what people asked for: a site's values as Go, and what is wrong with them. It does no I/O.
//
// The structs mirror schema/*.cue field by field; load holds a test that they agree. Fields that the schema makes
// optional are empty when a site leaves them out; methods give the defaults.
package desired

import (
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Site is one repository's whole desired state.
type Site struct {
	Settings      Settings                 `json:"site"`
	Software      map[string]Software      `json:"software,omitempty"`
	Configuration map[string]Configuration `json:"configuration,omitempty"`
	FECs          map[string]FEC           `json:"fecs,omitempty"`
	Pilots        map[string]Pilot         `json:"pilots,omitempty"`
	Campaigns     map[string]Campaign      `json:"campaigns,omitempty"`
	Prerequisites map[string]Prerequisite  `json:"prerequisites,omitempty"`
	Holds         map[string]Hold          `json:"holds,omitempty"`
}

// Settings apply to the whole site.
type Settings struct {
	Name             string                  `json:"name"`
	Description      string                  `json:"description,omitempty"`
	Channel          string                  `json:"channel,omitempty"`
	Platforms        map[string]Platform     `json:"platforms"`
	Systems          map[string]System       `json:"systems,omitempty"`
	Groups           map[string]Group        `json:"groups,omitempty"`
	MonitoringGroups map[string]Group        `json:"monitoringGroups,omitempty"`
	Scripts          map[string]GlobalScript `json:"scripts,omitempty"`
	InstallPrefixes  []string                `json:"installPrefixes,omitempty"`
	Boot             Boot                    `json:"boot,omitzero"`
	Retention        Retention               `json:"retention,omitzero"`
	Restarts         Restarts                `json:"restarts,omitzero"`
	Profiles         map[string]Profile      `json:"profiles,omitempty"`
	Campaigns        CampaignPolicy          `json:"campaigns,omitzero"`
	Packages         Packages                `json:"packages,omitzero"`
}

// Group is a set of FECs, or a host group of the monitoring system.
type Group struct {
	Description string `json:"description,omitempty"`
}

// GlobalScript is an init script that every FEC may reuse.
type GlobalScript struct {
	Description string `json:"description,omitempty"`
	File        string `json:"file"`
}

// Boot is fixed in the boot client when it is rendered.
type Boot struct {
	Servers         []string `json:"servers,omitempty"`
	RequireFresh    bool     `json:"requireFresh,omitempty"`
	AllowUnverified bool     `json:"allowUnverified,omitempty"`
	ManifestLife    string   `json:"manifestLife,omitempty"`
}

// Retention says how much of the past stays served.
type Retention struct {
	Production  int    `json:"production,omitempty"`
	ExtraNamed  string `json:"extraNamed,omitempty"` // problem or warning
	Generations int    `json:"generations,omitempty"`
	MaxRemoval  string `json:"maxRemoval,omitempty"` // a percentage
	Grace       string `json:"grace,omitempty"`
}

// TheChannel is the channel of this tree.
func (s Settings) TheChannel() string { return or(s.Channel, "production") }

// Prefixes are the first parts of allowed install paths.
func (s Settings) Prefixes() []string {
	if len(s.InstallPrefixes) == 0 {
		return []string{"/opt"}
	}
	return s.InstallPrefixes
}

// Life is how long a signed manifest is valid.
func (b Boot) Life() time.Duration { return mustDuration(or(b.ManifestLife, "90d")) }

// Keep is how many production versions stay besides the named ones.
func (r Retention) Keep() int { return or(r.Production, 3) }

// KeepGenerations is how many generations stay besides the named ones.
func (r Retention) KeepGenerations() int { return or(r.Generations, 10) }

// RemovalShare is the largest percentage of a kind that one commit takes away without saying so.
func (r Retention) RemovalShare() int {
	n, err := strconv.Atoi(strings.TrimSuffix(or(r.MaxRemoval, "50%"), "%"))
	if err != nil {
		return 0 // the schema has said what is wrong with it
	}
	return n
}

// GracePeriod is how long a superseded generation stays at least.
func (r Retention) GracePeriod() time.Duration { return mustDuration(or(r.Grace, "24h")) }

// Platform is a kind of front-end computer.
type Platform struct {
	Description  string            `json:"description,omitempty"`
	Arch         string            `json:"arch"`
	OS           string            `json:"os"`
	OSRelease    string            `json:"osRelease,omitempty"`
	Unpack       []artifact.Format `json:"unpack"`
	Format       artifact.Format   `json:"format,omitempty"`
	UnpackMemory string            `json:"unpackMemory,omitempty"`
	System       string            `json:"system,omitempty"`
	Provides     []string          `json:"provides,omitempty"`
}

// Prefers is the format that Pomona builds where a payload names none.
func (p Platform) Prefers() artifact.Format { return or(p.Format, artifact.Gzip) }

// Memory is what unpacking may take, in bytes.
func (p Platform) Memory() int64 { return mustSize(or(p.UnpackMemory, "32MiB")) }

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
