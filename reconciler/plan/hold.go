package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Holds is everything that may hold something back.
type Holds struct {
	Placed    []observed.Hold         // by operators and after failures, in the order in which they were placed
	Stated    map[string]desired.Hold // by the site itself
	Freezes   []Freeze
	Machines  []observed.Machine
	Overrides []observed.Override
	Newer     map[string]bool // commits that were rolled back and that a newer one has followed
}

// InForce are the holds in force at one moment. Turn is when that changes by the clock alone; zero: not soon. Those that were
// placed come first, in their order.
//
// When something was placed does not matter, only when it ends: a clock that is put back sets no hold out of force.
func (h Holds) InForce(now time.Time) (in []observed.Hold, turn time.Time) {
	soon := func(t time.Time) {
		if t.After(now) && (turn.IsZero() || t.Before(turn)) {
			turn = t
		}
	}
	add := func(hold observed.Hold) {
		if !h.overridden(hold.ID, now, soon) {
			in = append(in, hold)
		}
	}
	for _, p := range h.Placed {
		if now.Before(p.Until) && (p.Bad == "" || !h.Newer[p.Bad]) {
			soon(p.Until)
			add(p)
		}
	}
	for _, name := range sortedKeys(h.Stated) {
		if hold, yes := stated(name, h.Stated[name], now, soon); yes {
			add(hold)
		}
	}
	for _, f := range h.Freezes {
		hold, yes, next := f.hold(now)
		soon(next)
		if yes {
			add(hold)
		}
	}
	for _, m := range h.Machines {
		if m.Hold {
			add(observed.Hold{ID: machineHold(m.Name), Scope: m.Scope, Kind: desired.KindFor(m.Scope), Source: observed.FromMachine,
				Reason: m.Reason + " (" + m.State + ")"})
		}
	}
	return in, turn
}

// IDs are those of the holds that are in force at one moment, whether or not they are overridden, or that can come into force later.
func (h Holds) IDs(now time.Time) (ids []string) {
	for _, p := range h.Placed {
		if now.Before(p.Until) && (p.Bad == "" || !h.Newer[p.Bad]) {
			ids = append(ids, p.ID)
		}
	}
	for _, name := range sortedKeys(h.Stated) {
		if hold, _ := stated(name, h.Stated[name], now, func(time.Time) {}); now.Before(hold.Until) {
			ids = append(ids, hold.ID)
		}
	}
	for _, f := range h.Freezes {
		if f.End.IsZero() || now.Before(f.End) {
			ids = append(ids, f.id())
		}
	}
	for _, m := range h.Machines {
		ids = append(ids, machineHold(m.Name))
	}
	return ids
}

func machineHold(name string) string { return "machine." + name }

func (h Holds) overridden(id string, now time.Time, soon func(time.Time)) bool {
	for _, o := range h.Overrides {
		if o.Hold == id && now.Before(o.Until) {
			soon(o.Until)
			return true
		}
	}
	return false
}

// stated is a hold of the site itself, if now is one of its days.
func stated(name string, h desired.Hold, now time.Time, soon func(time.Time)) (observed.Hold, bool) {
	first, _ := time.Parse(time.DateOnly, h.From) // zero for none
	last, err := time.Parse(time.DateOnly, h.Until)
	if err != nil {
		return observed.Hold{}, false // the schema has said what is wrong with it
	}
	end := last.AddDate(0, 0, 1)
	soon(first)
	soon(end)
	return observed.Hold{
		ID: "git." + name, Scope: h.Scope, Kind: h.TheKind(), Source: observed.FromGit, Reason: h.Reason, By: h.Responsible, Since: first, Until: end,
	}, !now.Before(first) && now.Before(end)
}

// SiteHolds are those that keep the whole site as it is published.
func SiteHolds(in []observed.Hold) (out []observed.Hold) {
	for _, h := range in {
		if h.Scope == desired.SiteScope && h.Kind == desired.Stay {
			out = append(out, h)
		}
	}
	return out
}

// SiteCommit is the commit at which holds of the whole site keep it: the one that the last rollback names, else the one that
// is published.
func SiteCommit(holds []observed.Hold, published string) string {
	for _, h := range slices.Backward(holds) {
		if h.Bad != "" {
			return h.Commit
		}
	}
	return published
}

// Covers says whether a scope has a FEC in it, by its name and the groups that it is a member of.
func Covers(scope, fec string, groups []string) bool {
	switch what, name := desired.SplitScope(scope); what {
	case desired.SiteScope:
		return true
	case desired.FECScope:
		return name == fec
	case desired.GroupScope:
		return slices.Contains(groups, name)
	}
	return false
}

// NeedsMembers says whether somebody must know who was in which group when the current generation was published.
func NeedsMembers(in []observed.Hold) bool {
	return slices.ContainsFunc(in, func(h observed.Hold) bool { return strings.HasPrefix(h.Scope, desired.GroupScope+".") })
}

// HoldsFECs says whether some of the holds are of FECs or groups.
func HoldsFECs(in []observed.Hold) bool {
	return NeedsMembers(in) || slices.ContainsFunc(in, func(h observed.Hold) bool { return strings.HasPrefix(h.Scope, desired.FECScope+".") })
}

// Side is one commit's FECs, and which of their permissions have passed.
type Side struct {
	Commit  string // 40 hex digits; empty: there is none
	FECs    map[string]desired.FEC
	Expired []string
	Pilots  map[string][]observed.HeldPilot // what FECs have of pilots
}

// HeldFECs are the FECs that stay as an earlier commit says, by name. One that does not run what is published goes back to the
// commit that its hold names, without what pilots have put on it. One that is held already stays as it is; any other, as it is published now; one that only comes
// into a held group with the wanted commit, as that has it.
func HeldFECs(in []observed.Hold, current observed.Generation, published, wanted Side) []observed.Held {
	h := holder{held: map[string]*hold{}, was: map[string]observed.Held{}, published: published, wanted: wanted}
	for _, held := range current.Givens.Held {
		h.was[held.FEC] = held
	}
	for _, hold := range in {
		if hold.Kind != desired.Stay {
			continue
		}
		switch what, name := desired.SplitScope(hold.Scope); what {
		case desired.FECScope:
			h.hold(name, hold.ID, true)
			if hold.Bad != "" {
				h.held[name].back = hold.Commit
			}
		case desired.GroupScope:
			h.group(name, hold.ID)
		}
	}
	out := []observed.Held{}
	for _, name := range sortedKeys(h.held) {
		out = append(out, h.stays(name))
	}
	return out
}

type holder struct {
	held              map[string]*hold
	was               map[string]observed.Held
	published, wanted Side
}

// hold is what holds one FEC. AsPublished: one of them holds it as it is, and does not only meet it in the wanted commit.
type hold struct {
	by          []string
	asPublished bool
	back        string // commit that it goes back to; empty for none
}

func (h *holder) hold(fec, id string, asPublished bool) {
	if h.held[fec] == nil {
		h.held[fec] = &hold{}
	}
	h.held[fec].by = append(h.held[fec].by, id)
	h.held[fec].asPublished = h.held[fec].asPublished || asPublished
}

// stays is as of which commit a FEC stays.
func (h *holder) stays(fec string) observed.Held {
	held := h.held[fec]
	slices.Sort(held.by)
	was, ok := h.was[fec]
	if held.back != "" && held.back != was.Commit {
		return observed.Held{FEC: fec, Commit: held.back, Expired: ExpiredOf(h.published.Expired, fec), By: held.by}
	}
	if ok {
		return observed.Held{FEC: fec, Commit: was.Commit, Expired: append([]string{}, was.Expired...), By: held.by, Pilots: was.Pilots}
	}
	side := h.wanted
	if held.asPublished && h.published.Commit != "" {
		side = h.published
	}
	return observed.Held{FEC: fec, Commit: side.Commit, Expired: ExpiredOf(side.Expired, fec), By: held.by, Pilots: side.Pilots[fec]}
}

// group holds the members of a group: those that it had, those that it will have, and those that are held for it already,
// although a commit has taken them out.
func (h *holder) group(name, id string) {
	members := map[string]bool{} // to whether it is one as published
	add := func(s Side, published bool) {
		for fec, f := range s.FECs {
			if slices.Contains(f.Groups, name) {
				members[fec] = members[fec] || published
			}
		}
	}
	add(h.wanted, false)
	add(h.published, true)
	for fec, was := range h.was {
		if slices.Contains(was.By, id) {
			members[fec] = true
		}
	}
	for fec, published := range members {
		h.hold(fec, id, published)
	}
}

// ExpiredOf are those of some passed permissions that are a FEC's.
func ExpiredOf(expired []string, fec string) []string {
	return slices.DeleteFunc(append([]string{}, expired...), func(path string) bool {
		return !strings.HasPrefix(path, desired.CUEPath(desired.FECScope, fec)+".")
	})
}

// ExpiredFree are those of some passed permissions that are of FECs that nothing holds.
func ExpiredFree(expired []string, held []observed.Held) []string {
	return slices.DeleteFunc(append([]string{}, expired...), func(path string) bool {
		return slices.ContainsFunc(held, func(h observed.Held) bool {
			return strings.HasPrefix(path, desired.CUEPath(desired.FECScope, h.FEC)+".")
		})
	})
}

// Without is a site without some of its FECs.
func Without(s desired.Site, fecs map[string]bool) desired.Site {
	s.FECs = maps.Clone(s.FECs)
	maps.DeleteFunc(s.FECs, func(name string, _ desired.FEC) bool { return fecs[name] })
	return s
}

// With is a site with the FECs of another one besides.
func With(s, other desired.Site) desired.Site {
	s.FECs = maps.Clone(s.FECs)
	if s.FECs == nil {
		s.FECs = map[string]desired.FEC{}
	}
	maps.Copy(s.FECs, other.FECs)
	return s
}

// Only is what some FECs of a site need, and nothing else; and the versions of software that they run.
func Only(s desired.Site, fecs map[string]bool) (desired.Site, map[string][]string) {
	all := s
	s.FECs = maps.Clone(all.FECs)
	maps.DeleteFunc(s.FECs, func(name string, _ desired.FEC) bool { return !fecs[name] })
	s.Software, s.Configuration, s.Settings.Scripts = map[string]desired.Software{}, map[string]desired.Configuration{}, map[string]desired.GlobalScript{}
	releases := map[string][]string{}
	for _, fec := range s.FECs {
		for name, pin := range fec.Software {
			s.Software[name] = all.Software[name]
			if !slices.Contains(releases[name], pin.Version) {
				releases[name] = append(releases[name], pin.Version)
			}
		}
		for name, version := range fec.Configuration {
			item := s.Configuration[name]
			versions := maps.Clone(item.Versions)
			if item = all.Configuration[name]; versions == nil {
				versions = map[string]desired.ConfigurationVersion{}
			}
			versions[version] = item.Versions[version]
			item.Versions = versions
			s.Configuration[name] = item
		}
		for _, i := range fec.Init {
			if i.Global != "" {
				s.Settings.Scripts[i.Global] = all.Settings.Scripts[i.Global]
			}
		}
	}
	return s, releases
}

// Blocked is a step that a hold keeps from being taken.
type Blocked struct {
	Scope  string          `json:"scope"`            // site or fecs.NAME
	What   string          `json:"what"`             // what would change
	Commit string          `json:"commit,omitempty"` // that asks for it
	Holds  []observed.Hold `json:"holds"`            // that block it
}

// String says what is blocked by what.
func (b Blocked) String() string {
	var by []string
	for _, h := range b.Holds {
		by = append(by, h.String())
	}
	return b.Scope + ": " + b.What + "; held by " + strings.Join(by, "; by ")
}

// blocked are the steps that holds keep back: the commit that the branch names, and what the commit that is rendered would
// change in FECs that stay as they were.
func blocked(want Want) []Blocked {
	out := []Blocked{}
	if site := SiteHolds(want.Holds); len(site) > 0 && want.Head != want.Commit && want.Head != "" {
		out = append(out, Blocked{Scope: desired.SiteScope, What: "commit " + short(want.Head) + " is not published", Commit: want.Head, Holds: site})
	}
	was, now := foldersByFEC(want.Tree), foldersByFEC(want.Unheld)
	for _, h := range want.Givens.Held {
		b := Blocked{Scope: desired.FECScope + "." + h.FEC, Commit: want.Commit, Holds: byID(want.Holds, h.By)}
		before, published := was[h.FEC]
		after, wanted := now[h.FEC]
		switch {
		case published && wanted && before.Content() != after.Content():
			b.What = strings.Join(changed(want.Site, *before.Manifest, *after.Manifest).Why(), ", ")
		case published && !wanted:
			b.What = Removed
		case !published && wanted:
			b.What = Added
		default:
			continue
		}
		out = append(out, b)
	}
	return out
}

// Nothing is the plan while the site is held before anything was published.
func Nothing(head string, in []observed.Hold) Plan {
	want := Want{Head: head, Holds: in}
	return Plan{Blocked: blocked(want)}
}

func foldersByFEC(t tree.Tree) map[string]tree.Folder {
	out := map[string]tree.Folder{}
	for _, f := range t.Folders {
		if f.Manifest != nil {
			out[f.Manifest.FEC] = f
		}
	}
	return out
}

func byID(holds []observed.Hold, ids []string) (out []observed.Hold) {
	for _, h := range holds {
		if slices.Contains(ids, h.ID) {
			out = append(out, h)
		}
	}
	return out
}

// namedCommits are the commits that holds name, each with one of these: those in force, and those that the generation states
// that is published after the plan.
func namedCommits(want Want, have observed.Root, pub *Publish) map[string]string {
	out := map[string]string{}
	for _, h := range want.Holds {
		for _, commit := range []string{h.Commit, h.Bad} {
			if commit != "" {
				out[commit] = h.ID
			}
		}
	}
	stated := want.Givens.Held
	if current, published := have.Published(); published && pub == nil {
		stated = slices.Concat(current.Givens.Held, stated)
	}
	for _, h := range stated {
		out[h.Commit] = h.By[0]
	}
	return out
}

// Recorded are the holds in force that a generation states: those that nobody could find out again if the ledger were lost.
func Recorded(in []observed.Hold) []observed.Hold {
	out := slices.DeleteFunc(append([]observed.Hold{}, in...), func(h observed.Hold) bool {
		return h.Source != observed.FromOperator && h.Source != observed.FromFailure
	})
	slices.SortStableFunc(out, func(a, b observed.Hold) int { return cmp.Compare(a.Since.Unix(), b.Since.Unix()) })
	return out
}

// agreedOtherwise says which agreements a new generation would go on from that the current one does not; empty for none.
func agreedOtherwise(was, now observed.Givens) (why []string) {
	for _, a := range now.Agreed {
		if !slices.ContainsFunc(was.Agreed, func(b observed.Agreed) bool {
			return a.Pilot == b.Pilot && a.Record == b.Record && a.Digest == b.Digest
		}) {
			why = append(why, "what pilot "+a.Pilot+" says of itself is agreed to by "+a.Record)
		}
	}
	return why
}

// heldOtherwise says which holds a new generation would state otherwise than the current one; empty for none. Which FECs stay
// needs no generation of its own: as long as none is published, they are those of the one that is.
func heldOtherwise(was, now observed.Givens) (why []string) {
	ids := func(holds []observed.Hold) map[string]bool {
		out := map[string]bool{}
		for _, h := range holds {
			out[h.ID] = true
		}
		return out
	}
	before, after := ids(was.Holds), ids(now.Holds)
	for _, id := range sortedKeys(after) {
		if !before[id] {
			why = append(why, "hold "+id+" is in force")
		}
	}
	for _, id := range sortedKeys(before) {
		if !after[id] {
			why = append(why, "hold "+id+" has ended")
		}
	}
	return why
}
