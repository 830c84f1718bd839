package plan

import (
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// View is a plan as people look at it: what changes alike is told of once, and no list is longer than they can read. It is small enough to be kept.
type View struct {
	Site    string   `json:"site"`
	Commit  string   `json:"commit"`
	Base    string   `json:"base,omitempty"`
	Summary string   `json:"summary"`
	Because []string `json:"because,omitempty"` // reasons of a new generation
	// Generation is that which is published; 0: none is
	Generation int64  `json:"generation,omitempty"`
	Totals     Totals `json:"totals"`

	Refused    desired.Problems  `json:"refused,omitempty"`
	Blocked    []Blocked         `json:"blocked,omitempty"`
	Pilots     []ViewPilot       `json:"pilots,omitempty"`
	PilotsFrom string            `json:"pilotsFrom,omitempty"`
	FECs       []ViewFECs        `json:"fecs,omitempty"`   // that change alike: what goes away first
	Shared     []ViewShared      `json:"shared,omitempty"` // the blast radius
	Folders    []Change          `json:"folders,omitempty"`
	Campaigns  []CampaignChange  `json:"campaigns,omitempty"`
	Repairs    []observed.Damage `json:"repairs,omitempty"`
	Builds     []Build           `json:"builds,omitempty"`
	Kept       []ViewKept        `json:"kept,omitempty"` // generations and releases, and what goes
	Left       map[string]int    `json:"left,omitempty"` // how many entries of a list are left out, by its name here
}

// ViewFECs are FECs that change alike.
type ViewFECs struct {
	What     string    `json:"what"` // added, changed or removed
	Why      []string  `json:"why"`
	Needs    string    `json:"needs"`
	Download string    `json:"download,omitempty"`
	Groups   string    `json:"groups,omitempty"` // of the site, with how many of them
	Count    int       `json:"count"`
	FECs     []ViewFEC `json:"fecs"` // by name; fewer than Count when some are left out
}

// ViewFEC is one of them.
type ViewFEC struct {
	Name  string `json:"name"`
	Host  string `json:"host"`
	Bytes int64  `json:"bytes"`
}

// Size is what it downloads, for people.
func (f ViewFEC) Size() string { return size(f.Bytes) }

// ViewPilot is what becomes of a pilot.
type ViewPilot struct {
	Name  string   `json:"name"`
	What  string   `json:"what"`
	Lines []string `json:"lines,omitempty"`
}

// ViewShared is something that changes in one place, and whom it touches.
type ViewShared struct {
	What    string   `json:"what"`
	Touches string   `json:"touches"`
	Count   int      `json:"count"`
	FECs    []string `json:"fecs"` // some of them
}

// ViewKept says of a generation or a release whether it stays, and why.
type ViewKept struct {
	Verb string `json:"verb"` // keep, drop or prune
	What string `json:"what"`
	Why  string `json:"why"`
}

// How much of a plan a view has.
const (
	maxViewLines = 200
	maxViewFECs  = 1000 // over all lines
	maxViewNames = 40   // of whom something shared touches
	maxViewText  = 2000 // bytes of one text
)

// View is the plan for people who look at it.
func (p Plan) View() View {
	v := View{Site: p.Site, Commit: p.Commit, Base: p.Base, Summary: cut(p.Summary()), Totals: p.Totals, PilotsFrom: p.PilotsFrom, Left: map[string]int{}}
	v.Totals.Servers = some(&v, "servers", p.Totals.Servers)
	if p.Publish != nil {
		v.Because, v.Generation = mapped(p.Publish.Reasons, cut), p.Publish.Generation.Number
	}
	v.Refused, v.Blocked = some(&v, "refused", p.Refused), some(&v, "blocked", p.Blocked)
	v.Pilots = mapped(some(&v, "pilots", p.Pilots), func(c PilotChange) ViewPilot {
		return ViewPilot{c.Name, cut(c.Sentence()), mapped(some(&v, "lines of pilots", c.Lines()), cut)}
	})
	room := maxViewFECs
	for _, g := range some(&v, "fecs", grouped(p.FECs)) {
		v.FECs = append(v.FECs, g.view(&room))
	}
	v.Shared = mapped(some(&v, "shared", p.Shared), func(s Shared) ViewShared {
		return ViewShared{s.String(), s.touches(), len(s.FECs), s.FECs[:min(len(s.FECs), maxViewNames)]}
	})
	v.Folders = mapped(some(&v, "folders", p.folders()), func(c Change) Change {
		c.Why = mapped(some(&v, "changes of folders", c.Why), cut)
		return c
	})
	v.Campaigns = some(&v, "campaigns", p.Campaigns)
	v.Repairs = some(&v, "repairs", p.Repair.Damage)
	v.Builds = some(&v, "builds", p.Builds)
	var kept []ViewKept
	p.keeps(func(verb, what, why string) { kept = append(kept, ViewKept{verb, what, cut(why)}) })
	v.Kept = some(&v, "kept", kept)
	return v
}

// some are the first of a list.
func some[T any](v *View, name string, all []T) []T {
	if n := len(all) - maxViewLines; n > 0 {
		v.Left[name] += n
	}
	return slices.Clone(all[:min(len(all), maxViewLines)])
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxViewText)], "") }

func (g group) view(room *int) ViewFECs {
	f := ViewFECs{What: g.what, Needs: g.needs, Download: g.download(), Count: len(g.fecs), Why: mapped(g.fecs[0].Why(), cut)}
	f.Why = f.Why[:min(len(f.Why), maxViewLines)]
	if groups := g.groups(); len(groups) > 0 {
		f.Groups = memberships(groups)
	}
	for _, x := range g.fecs[:min(len(g.fecs), *room)] {
		f.FECs = append(f.FECs, ViewFEC{x.Name, x.Host, x.Bytes})
	}
	*room -= len(f.FECs)
	return f
}

// Size is what is downloaded, for people.
func (t Totals) Size() string { return size(t.Bytes) }

// BuildSize is what is built, for people.
func (t Totals) BuildSize() string { return size(t.BuildBytes) }

// Compressed is its size, for people.
func (b Build) Compressed() string { return size(b.Size) }
