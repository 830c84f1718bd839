package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PilotChange is what one commit changes in a pilot, and what follows.
type PilotChange struct {
	Name     string            `json:"name"`
	What     string            `json:"what"`               // added, changed or removed
	From     string            `json:"from,omitempty"`     // state
	To       string            `json:"to,omitempty"`       // state
	Why      string            `json:"why,omitempty"`      // it is in that one
	Records  []string          `json:"records"`            // new ones
	Unproven string            `json:"unproven,omitempty"` // what becomes of it until it is proven who wrote these, if that is something else
	Doubts   map[string]string `json:"doubts"`             // new records that do not count: why
	Fields   []string          `json:"fields"`             // of the declaration that are otherwise
	Holds    []Gate            `json:"holds"`              // gates that hold from now on
	Fails    []Gate            `json:"fails"`              // that hold no more, or fail
	Gives    []PilotGift       `json:"gives"`              // what somebody gets that they did not
	Withheld string            `json:"withheld,omitempty"`
	writers  map[string]string // of new records, as they say
}

// PilotGift is what members of a wave get in the place of what they had.
type PilotGift struct {
	Wave int      `json:"wave"`
	To   []string `json:"to"`             // FECs or sites; empty: a wave without any
	What string   `json:"what"`           // software of FECs, or packages
	From string   `json:"from,omitempty"` // version, or subject of packages; empty: nothing
	Now  string   `json:"now,omitempty"`
}

// PilotSide is how the pilots of one commit are.
type PilotSide struct {
	Site     desired.Site // as it states
	Subjects map[string]string
	Pilots   map[string]PilotNow
	Places   []tree.PilotPlace // as they are to be, by name: whether they can be served is another matter
}

// PilotChanges are the pilots that one commit changes in another one, by name.
func PilotChanges(was, now PilotSide) []PilotChange {
	out := []PilotChange{}
	names := maps.Clone(was.Site.Pilots)
	if names == nil {
		names = map[string]desired.Pilot{}
	}
	maps.Copy(names, now.Site.Pilots)
	before, after := was.versions(), now.versions()
	for _, name := range sortedKeys(names) {
		c := PilotChange{Name: name, What: Changed, From: was.Pilots[name].State, To: now.Pilots[name].State, Why: now.Pilots[name].Why,
			Records: []string{}, Doubts: map[string]string{}, Fields: []string{}, Holds: []Gate{}, Fails: []Gate{}, Gives: []PilotGift{}, writers: map[string]string{}}
		old, there := was.Site.Pilots[name]
		p, stays := now.Site.Pilots[name]
		switch {
		case !there:
			c.What = Added
		case !stays:
			c.What, c.Why = Removed, ""
		default:
			c.Fields = slices.DeleteFunc(differing(fields(old), fields(p)), func(f string) bool { return f == "records" })
			c.gates(was.Pilots[name].Gates, now.Pilots[name].Gates)
		}
		c.records(old, p, now.Pilots[name])
		if names[name].Scope == desired.PilotOfFECs {
			c.fecs(before, after)
		} else {
			c.sites(was, now)
		}
		if place, ok := placeIn(now.Places, name); ok {
			c.Withheld = place.Withheld
		}
		if c.What != Changed || c.From != c.To || len(c.Records)+len(c.Fields)+len(c.Holds)+len(c.Fails)+len(c.Gives) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// PilotChangesOnceProven are the pilots that one commit changes in another one, by name, once it is proven who wrote its records; and of each what becomes
// of it until then.
func PilotChangesOnceProven(was, once, until PilotSide) []PilotChange {
	changes, before := PilotChanges(was, once), PilotChanges(was, until)
	for i := range changes {
		c := &changes[i]
		u := slices.IndexFunc(before, func(o PilotChange) bool { return o.Name == c.Name })
		if u < 0 || len(c.Records) == 0 {
			continue
		}
		c.Unproven = c.until(before[u], until.Pilots[c.Name].Unagreed)
	}
	return changes
}

// until is what becomes of a pilot instead, and why it is withheld then; empty: the same.
func (c PilotChange) until(o PilotChange, unagreed string) string {
	if c.To == o.To && c.Why == o.Why && reflect.DeepEqual(c.Gives, o.Gives) && (unagreed == "" || unagreed == c.Withheld) {
		return ""
	}
	says := []string{o.Sentence()}
	if unagreed != "" {
		says = append(says, "withheld: "+unagreed)
	}
	says = append(says, mapped(o.Gives, PilotGift.String)...)
	if len(c.Gives) > 0 && len(o.Gives) == 0 {
		says = append(says, "nobody gets anything else")
	}
	return strings.Join(says, "; ")
}

// records are the new ones, and which of them do not count.
func (c *PilotChange) records(old, p desired.Pilot, now PilotNow) {
	for _, r := range p.RecordsInOrder() {
		if was, there := old.Records[r]; there && reflect.DeepEqual(was, p.Records[r]) {
			continue
		}
		c.Records, c.writers[r] = append(c.Records, r), p.Records[r].By
		if slices.Contains(now.Void, r) {
			c.Doubts[r] = "it is about something else than what is there"
		} else if slices.Contains(now.Doubted, r) {
			c.Doubts[r] = cmp.Or(now.Doubts[r], "nobody knows who wrote it")
		}
	}
}

// gates are those that hold from now on, and those that do no more or that fail.
func (c *PilotChange) gates(was, now []Gate) {
	for _, g := range now {
		i := slices.IndexFunc(was, func(o Gate) bool { return o.State == g.State && o.Name == g.Name })
		held := i >= 0 && was[i].Verdict.Holds()
		fails := g.Verdict == GateFail || g.Verdict == GateBlocked
		switch {
		case g.Verdict.Holds() && !held && i >= 0:
			c.Holds = append(c.Holds, g)
		case !g.Verdict.Holds() && (held || i < 0 || fails && was[i].Verdict != g.Verdict):
			c.Fails = append(c.Fails, g)
		}
	}
}

// gotten is what a FEC gets of a software.
type gotten struct {
	version string
	by      observed.HeldPilot // zero: its own pin
}

// versions are what FECs get, by FEC and software.
func (s PilotSide) versions() map[string]map[string]gotten {
	offered := Offered(s.Site, s.Subjects, s.Places)
	piloted := Piloted(s.Site, offered)
	out := map[string]map[string]gotten{}
	for fec, f := range piloted.FECs {
		out[fec] = map[string]gotten{}
		for name, pin := range f.Software {
			out[fec][name] = gotten{version: pin.Version}
		}
		for _, h := range offered[fec] {
			out[fec][h.Software] = gotten{f.Software[h.Software].Version, h}
		}
	}
	return out
}

// fecs are those that get another version because of the pilot.
func (c *PilotChange) fecs(was, now map[string]map[string]gotten) {
	for _, fec := range sortedKeys(was) {
		for _, name := range sortedKeys(was[fec]) {
			before := was[fec][name]
			after, runs := now[fec][name]
			by := after.by
			if by.Pilot != c.Name {
				by = before.by
			}
			if runs && by.Pilot == c.Name && before.version != after.version {
				c.give(PilotGift{Wave: by.Wave, What: name, From: before.version, Now: after.version}, fec)
			}
		}
	}
}

// give adds somebody to those who get the same.
func (c *PilotChange) give(g PilotGift, to ...string) {
	i := slices.IndexFunc(c.Gives, func(o PilotGift) bool {
		return o.Wave == g.Wave && o.What == g.What && o.From == g.From && o.Now == g.Now
	})
	if i < 0 {
		g.To = []string{}
		i, c.Gives = len(c.Gives), append(c.Gives, g)
	}
	c.Gives[i].To = append(c.Gives[i].To, to...)
}

// packages is what repositories of a wave offer.
const packages = "packages"

// sites are the waves whose repositories offer something else.
func (c *PilotChange) sites(was, now PilotSide) {
	before, _ := placeIn(was.Places, c.Name)
	after, _ := placeIn(now.Places, c.Name)
	members := now.Site.Pilots[c.Name].Sites
	if len(members) == 0 {
		members = was.Site.Pilots[c.Name].Sites
	}
	for i := range max(len(before.Waves), len(after.Waves)) {
		g := PilotGift{Wave: i + 1, What: packages, From: waveOf(before, i), Now: waveOf(after, i)}
		if g.From == g.Now {
			continue
		}
		c.give(g)
		for _, site := range sortedKeys(members) {
			if members[site].TheWave() == i+1 {
				c.give(g, site)
			}
		}
	}
}

func placeIn(places []tree.PilotPlace, name string) (tree.PilotPlace, bool) {
	i := slices.IndexFunc(places, func(p tree.PilotPlace) bool { return p.Name == name })
	if i < 0 {
		return tree.PilotPlace{}, false
	}
	return places[i], true
}

func waveOf(p tree.PilotPlace, i int) string {
	if i < len(p.Waves) {
		return p.Waves[i]
	}
	return ""
}

// String is what becomes of a pilot, in one line.
func (c PilotChange) String() string { return c.Name + ": " + c.Sentence() }

// Sentence is what becomes of a pilot, without its name.
func (c PilotChange) Sentence() string {
	var s string
	switch {
	case c.What == Added:
		s = "added, " + c.To
	case c.What == Removed:
		s = "removed, " + c.From + " before"
	case c.From == c.To:
		s = "stays " + c.To
	default:
		s = c.From + " → " + c.To
	}
	if c.Why != "" {
		s += ": " + c.Why
	}
	return s
}

// Lines are what leads to that and what follows, for people.
func (c PilotChange) Lines() (lines []string) {
	for _, g := range c.Gives {
		lines = append(lines, g.String())
	}
	if c.Withheld != "" {
		lines = append(lines, "withheld: "+c.Withheld)
	}
	counts := slices.DeleteFunc(slices.Clone(c.Records), func(r string) bool { return c.Doubts[r] != "" })
	if len(counts) > 0 {
		lines = append(lines, "by "+strings.Join(mapped(counts, func(r string) string { return r + " of " + c.writers[r] }), ", "))
	}
	if c.Unproven != "" {
		lines = append(lines, "until it is proven who wrote that: "+c.Unproven)
	}
	for _, r := range sortedKeys(c.Doubts) {
		lines = append(lines, fmt.Sprintf("%s does not count: %s", r, c.Doubts[r]))
	}
	if len(c.Fields) > 0 {
		lines = append(lines, "declared otherwise: "+strings.Join(c.Fields, ", "))
	}
	if len(c.Holds) > 0 {
		lines = append(lines, "holds now: "+strings.Join(mapped(c.Holds, Gate.named), ", "))
	}
	for _, g := range c.Fails {
		line := fmt.Sprintf("holds no more: %s %s", g.named(), g.Verdict)
		if g.Verdict == GateFail || g.Verdict == GateBlocked {
			line = fmt.Sprintf("fails now: %s %s", g.named(), g.Verdict)
		} else if g.State == PilotHalted {
			line = fmt.Sprintf("must hold now: %s %s", g.Name, g.Verdict)
		}
		if g.Why != "" && g.Why != c.Why {
			line += ": " + g.Why
		}
		lines = append(lines, line)
	}
	return lines
}

// named is a gate with the state that it leads to.
func (g Gate) named() string { return g.State + " " + g.Name }

// String says who gets what, in the place of what.
func (g PilotGift) String() string {
	who := desired.Few(g.To)
	if g.What != packages {
		return fmt.Sprintf("wave %d: %s: %s %s → %s", g.Wave, who, g.What, g.From, g.Now)
	}
	if len(g.To) == 0 {
		who = "no site yet"
	}
	offers := func(subject string) string { return cmp.Or(short(strings.TrimPrefix(subject, "sha256:")), "nothing") }
	return fmt.Sprintf("wave %d: %s: repositories offer %s → %s", g.Wave, who, offers(g.From), offers(g.Now))
}
