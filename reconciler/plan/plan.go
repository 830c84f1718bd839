// Package plan is the difference between what is wanted and what is there, as a value, with a reason for each step.
// It decides and does nothing: the verbs act on what it says.
package plan

import (
	"maps"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Want is one commit's tree and where it comes from.
type Want struct {
	Commit  string // 40 hex digits
	GitTree string // 40 hex digits
	Pomona  string // version
	Tree    tree.Tree
	Givens  observed.Givens
	Keys    []string // numbers of the keys that sign
	// fingerprint of the key that signs repositories of pilots; empty: what is signed stays as it is
	PilotKey string
	// messages of the commits since the published one: they may allow a removal
	Messages []string
	Site     desired.Site
	Budget   *desired.Retention // that says how much may be removed; nil: the site's own
	Builds   []Build            // parts that had to be built for the tree

	Head   string          // the commit that the branch names: another one while the site is held
	Unheld tree.Tree       // as Tree would be if nothing held its FECs
	Holds  []observed.Hold // in force
}

// Plan is what a pass will do.
type Plan struct {
	Site    string   `json:"site"`
	Commit  string   `json:"commit"`
	Base    string   `json:"base,omitempty"` // the commit that it is compared with, in place of a root
	Totals  Totals   `json:"totals"`
	FECs    []FEC    `json:"fecs"`    // that change, by name
	Shared  []Shared `json:"shared"`  // what changes in one place and touches several FECs, the most first
	Changes []Change `json:"changes"` // of shared folders and links, by path
	Builds  []Build  `json:"builds"`
	Publish *Publish `json:"publish"` // nil: what is published is what is wanted
	Prune   Prune    `json:"prune"`
	Repair  Repair   `json:"repair"` // before all else
	// removals that the commit must announce; nothing is published then
	Refused  desired.Problems `json:"refused"`
	Blocked  []Blocked        `json:"blocked"` // what holds keep back
	Releases []Retained       `json:"releases"`
	// of a comparison with another commit: what becomes otherwise in campaigns, by name
	Campaigns []CampaignChange `json:"campaigns"`
	// what becomes otherwise in pilots, by name
	Pilots     []PilotChange `json:"pilots"`
	PilotsFrom string        `json:"pilotsFrom,omitempty"` // by what pilots were judged
	Tree       tree.Tree     `json:"-"`
}

// Empty says whether there is nothing to do.
func (p Plan) Empty() bool {
	return p.Publish == nil && p.Prune.Empty() && p.Repair.Empty() && len(p.Refused)+len(p.Builds)+len(p.FECs)+len(p.Changes)+len(p.Campaigns)+len(p.Pilots) == 0
}

// Publish is the generation to come.
type Publish struct {
	Generation observed.Generation `json:"generation"`
	Reasons    []string            `json:"reasons"`
	Seals      map[string]Seal     `json:"-"` // FEC to its manifest's seal
	// by path: published folders that hold signatures of the pilot key, and that stay
	Kept map[string]artifact.Digest `json:"-"`
}

// Seal is what a manifest says beyond its content, or the folder that stays as it is published now.
type Seal struct {
	Serial  int64
	Expires int64           // minutes since 1970
	Folder  artifact.Digest // of the published folder; zero: seal anew
}

// difference is what a tree changes in another one.
func difference(want Want, have observed.Root) Plan {
	p := Plan{
		Site: want.Tree.Site, Commit: want.Commit, Tree: want.Tree, Releases: Retain(want.Site), Builds: append([]Build{}, want.Builds...),
		FECs: fecs(want.Site, want.Tree, have), Changes: changes(want.Tree, have), Pilots: []PilotChange{},
	}
	p.Shared = blast(want.Site, want.Tree, have, p.FECs)
	p.Totals = p.totals(want.Site)
	return p
}

// Make compares a tree with a root. It is pure: now is an argument.
func Make(want Want, have observed.Root, now time.Time) Plan {
	p := difference(want, have)
	p.Blocked = blocked(want)
	p.Publish = publish(want, have, len(p.FECs)+len(p.Changes), now)
	budget := want.Site.Settings.Retention
	if want.Budget != nil {
		budget = *want.Budget
	}
	if p.Refused = overBudget(want.Tree, have, budget, want.Messages); len(p.Refused) > 0 {
		p.Publish = nil
		return p
	}
	p.Prune = prune(want.Site.Settings.Retention, have, p.Publish, namedCommits(want, have, p.Publish), now)
	return p
}

// publish decides whether a new generation is due, and for which reasons.
func publish(want Want, have observed.Root, changes int, now time.Time) *Publish {
	current, published := have.Published()
	pub := &Publish{Seals: map[string]Seal{}, Generation: observed.Generation{
		Number: have.Newest() + 1, Site: want.Tree.Site, Commit: want.Commit, GitTree: want.GitTree,
		Tree: want.Tree.Digest(), Pomona: want.Pomona, Givens: want.Givens, Keys: want.Keys, Published: now.UTC().Truncate(time.Second),
	}}
	resign := published && !slices.Equal(current.Keys, want.Keys)
	pub.Generation.Serial = have.HighestSerial()
	renewed := pub.seal(want.Tree, have, resign, now)
	resignPilots := pub.keep(want, have, current.PilotKey)
	switch {
	case !published:
		pub.Reasons = append(pub.Reasons, "nothing is published yet")
	case current.Tree != pub.Generation.Tree:
		pub.Reasons = append(pub.Reasons, "the tree differs from generation "+number(current.Number))
	}
	if why := have.Damaged[current.Number]; published && why != "" {
		pub.Reasons = append(pub.Reasons, "generation "+number(current.Number)+" is damaged: "+why)
	} else if published && len(pub.Reasons) == 0 && changes > 0 {
		pub.Reasons = append(pub.Reasons, "the index differs from the tree")
	}
	if published && current.Commit != want.Commit {
		pub.Reasons = append(pub.Reasons, "commit "+short(current.Commit)+" is published")
	}
	if resign {
		pub.Reasons = append(pub.Reasons, "other keys sign")
	}
	if published && resignPilots {
		pub.Reasons = append(pub.Reasons, "another key signs repositories of pilots")
	}
	if published {
		pub.Reasons = append(pub.Reasons, heldOtherwise(current.Givens, want.Givens)...)
		pub.Reasons = append(pub.Reasons, agreedOtherwise(current.Givens, want.Givens)...)
	}
	if renewed > 0 {
		pub.Reasons = append(pub.Reasons, count(renewed, "manifest")+" to renew before expiry")
	}
	if len(pub.Reasons) == 0 {
		return nil
	}
	return pub
}

// seal gives each FEC its serial and expiry, and the generation the highest serial so far. A FEC whose content is
// published and not due for renewal keeps its folder, byte for byte. It returns how many are renewed although their
// content stays.
func (p *Publish) seal(t tree.Tree, have observed.Root, resign bool, now time.Time) (renewed int) {
	published := map[string]tree.IndexedFEC{}
	for _, f := range have.Index.FECs {
		published[f.Name] = f
	}
	minutes := now.Unix() / 60
	for _, f := range t.Folders {
		if f.Manifest == nil {
			continue
		}
		was, ok := published[f.Manifest.FEC]
		due := was.Expires-minutes <= t.Life/3
		switch {
		case ok && was.Content == f.Content() && !resign && !due && !have.Gone[was.Folder]:
			p.Seals[f.Manifest.FEC] = Seal{was.Serial, was.Expires, was.Folder}
			continue
		case ok && was.Content == f.Content():
			// The content stays, and so does its serial.
			p.Seals[f.Manifest.FEC] = Seal{Serial: was.Serial, Expires: minutes + t.Life}
			if due {
				renewed++
			}
		case ok:
			p.Seals[f.Manifest.FEC] = Seal{Serial: max(was.Serial+1, minutes), Expires: minutes + t.Life}
		default:
			// A FEC that comes back must not find a serial below the one that it has seen.
			p.Seals[f.Manifest.FEC] = Seal{Serial: max(have.HighestSerial()+1, minutes), Expires: minutes + t.Life}
		}
		p.Generation.Serial = max(p.Generation.Serial, p.Seals[f.Manifest.FEC].Serial)
	}
	return renewed
}

// SealsOf are the seals with which a published generation was made.
func SealsOf(x tree.Index) map[string]Seal {
	out := map[string]Seal{}
	for _, f := range x.FECs {
		out[f.Name] = Seal{Serial: f.Serial, Expires: f.Expires}
	}
	return out
}

// Expired are the permissions of a site that have passed and thereby change what starts, as givens: CUE paths, sorted.
func Expired(s desired.Site, now time.Time) []string {
	paths := map[string]bool{}
	for name, fec := range s.FECs {
		for sw, pin := range fec.Software {
			dev := s.Software[sw].Versions[pin.Version].IsDev(pin.Version)
			if desired.Expired(pin.Until, now) && pin.Starts(dev, false) != pin.Starts(dev, true) {
				paths[tree.StartPermission(name, sw)] = true
			}
		}
	}
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(paths))))
}
