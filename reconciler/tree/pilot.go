package tree

import (
	"encoding/json"
	"maps"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// PilotPlace is how far a pilot has got, as far as a tree depends on it: a given.
type PilotPlace struct {
	Name  string `json:"name"`
	State string `json:"state"` // as plan.PilotNow has it
	// Snapshots are the digests whose packages are served, the oldest first; only of sites.
	Snapshots []string `json:"snapshots,omitempty"`
	// Waves are what each wave gets, in their order: a snapshot, or of FECs the release's digest; empty: nothing from this pilot.
	Waves []string `json:"waves"`
	// Notes are the release notes of each snapshot that is served, of which it is proven who wrote them.
	Notes map[string]PilotNotes `json:"notes,omitempty"`
	// Published says that its resources are, or are to be, found in the information system.
	Published bool `json:"published,omitempty"`
	// Sites are those that have it installed, if it is published, by name.
	Sites []PilotSite `json:"sites,omitempty"`
	// Kept is what FECs have of a pilot that stays as it was because its terms are not agreed, whatever these say now of who takes part and gets what.
	Kept []PilotPin `json:"kept,omitempty"`
	// Deployed is what sites have of a pilot that now states something else: it stays with them. Nil: it states what they have.
	Deployed *PilotDeployed `json:"deployed,omitempty"`
	// Had are FECs that were given it before, of which the rest of this does not tell: they count still.
	Had []PilotPin `json:"had,omitempty"`
	// Withheld is why a pilot that stays as it was, or is not served at all, is not brought further: another's fault is not every pilot's.
	Withheld string `json:"withheld,omitempty"`
}

// PilotDeployed is what a pilot stated of packages when sites got them: those of its first release, and updates that were mirrored.
type PilotDeployed struct {
	Branches map[string]desired.RPMBranch   `json:"branches"`
	Updates  map[string]desired.PilotUpdate `json:"updates,omitempty"`
}

// Of is a pilot with what is deployed of it, whatever it states of that now, and with its other updates. Of nil, it is as it states.
func (d *PilotDeployed) Of(p desired.Pilot) desired.Pilot {
	if d == nil {
		return p
	}
	p.Branches, p.Updates = d.Branches, maps.Clone(p.Updates)
	if p.Updates == nil {
		p.Updates = map[string]desired.PilotUpdate{}
	}
	maps.Copy(p.Updates, d.Updates)
	return p
}

// PilotPin is what a pilot has put on a FEC.
type PilotPin struct {
	FEC      string `json:"fec"`
	Wave     int    `json:"wave"` // from 1
	Software string `json:"software"`
	Version  string `json:"version"`
}

// PilotNotes are the release notes that a record has.
type PilotNotes struct {
	Record string          `json:"record"`
	Digest artifact.Digest `json:"digest"` // of what it says: a record of that name that says something else is not it
}

// NotesOf are those of a record.
func NotesOf(name string, r desired.PilotRecord) PilotNotes {
	b, _ := json.Marshal(r) // records have only what JSON has
	return PilotNotes{name, artifact.Sum(b)}
}

// PilotSite is a site that has a pilot installed, and what it gives.
type PilotSite struct {
	Site      string                 `json:"site"`
	Resources *desired.SiteResources `json:"resources,omitempty"`
}
