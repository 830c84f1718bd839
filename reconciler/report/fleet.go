package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Fleet is every FEC that a site publishes, at a glance.
type Fleet struct {
	Site      string                 `json:"site"`
	At        time.Time              `json:"at"`
	Wanted    string                 `json:"wanted,omitempty"`  // commit that the branch names
	Published *Revision              `json:"published"`         // nil: nothing is
	Differs   string                 `json:"differs,omitempty"` // why what is wanted is not published
	Holds     []observed.Hold        `json:"holds"`             // in force
	Count     map[plan.Condition]int `json:"count"`             // of FECs that are shown
	Held      int                    `json:"held"`              // likewise
	Otherwise int                    `json:"otherwise"`         // likewise, of which something is wanted that is not published
	Of        int                    `json:"of"`                // as many there are, shown or not
	FECs      []FleetFEC             `json:"fecs"`              // by name
	Trouble   string                 `json:"trouble,omitempty"` // why something is not known
	Unread    string                 `json:"unread,omitempty"`  // why it is not known what the branch wants
}

// FleetFEC is one of them. A FEC that runs what is published runs what is wanted too, unless it is held or nothing newer can be published.
type FleetFEC struct {
	FECLine
	Groups   []string          `json:"groups,omitempty"`
	Location string            `json:"location,omitempty"`
	Held     string            `json:"held,omitempty"`   // by which hold, and why
	Wanted   string            `json:"wanted,omitempty"` // of it, and not published; empty: what is published
	Since    time.Time         `json:"since,omitzero"`   // it differs; zero: it does not, or nobody knows
	Software map[string]string `json:"software,omitempty"`
}

// FirstGroup is the group under which a FEC is shown; empty: it is in none.
func (x FleetFEC) FirstGroup() string {
	if len(x.Groups) == 0 {
		return ""
	}
	return x.Groups[0]
}

// FleetFilter says which FECs are shown; what is empty restricts nothing.
type FleetFilter struct {
	Condition, Group, Location, Software, Version string
	Held, Otherwise                               bool
	Text                                          string // in its name, or in why it does not run what is published
}

// FleetSection is a part of a fleet.
type FleetSection struct {
	Name string
	FECs []FleetFEC
}

// By says how a fleet is divided.
const (
	ByGroup    = "group"
	ByLocation = "location"
)

// Only is a fleet with fewer FECs.
func (f Fleet) Only(filter FleetFilter) Fleet {
	f.Of = len(f.FECs)
	f.FECs = slices.DeleteFunc(slices.Clone(f.FECs), func(x FleetFEC) bool { return !filter.takes(x) })
	f.Count, f.Held, f.Otherwise = map[plan.Condition]int{}, 0, 0
	for _, c := range plan.Conditions {
		f.Count[c] = 0
	}
	for _, x := range f.FECs {
		f.Count[x.Condition]++
		if x.Held != "" {
			f.Held++
		}
		if x.Wanted != "" {
			f.Otherwise++
		}
	}
	return f
}

func (filter FleetFilter) takes(x FleetFEC) bool {
	version, has := x.Software[filter.Software]
	return (filter.Condition == "" || string(x.Condition) == filter.Condition) &&
		(filter.Group == "" || slices.Contains(x.Groups, filter.Group)) &&
		(filter.Location == "" || x.Location == filter.Location) &&
		(filter.Software == "" || has) && (filter.Version == "" || version == filter.Version) &&
		(!filter.Held || x.Held != "") && (!filter.Otherwise || x.Wanted != "") &&
		(filter.Text == "" || strings.Contains(x.FEC, filter.Text) || strings.Contains(x.Why, filter.Text))
}

// Differing are those for which wanted, published and running are not the same, or that are held: the worst first.
func (f Fleet) Differing() (out []FleetFEC) {
	for _, x := range f.FECs {
		if x.Condition != plan.Runs || x.Held != "" || x.Wanted != "" {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b FleetFEC) int {
		return cmp.Compare(slices.Index(plan.Conditions, a.Condition), slices.Index(plan.Conditions, b.Condition))
	})
	return out
}

// Sections divide a fleet: by the first group of each FEC and then its location, or the other way round. Those without come last.
func (f Fleet) Sections(by string) (sections []FleetSection) {
	type placed struct {
		first, second string
		at            int
	}
	all := make([]placed, len(f.FECs))
	for i, x := range f.FECs {
		all[i] = placed{x.FirstGroup(), x.Location, i}
		if by == ByLocation {
			all[i].first, all[i].second = x.Location, x.FirstGroup()
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		if c := emptyLast(a.first, b.first); c != 0 {
			return c
		}
		if c := emptyLast(a.second, b.second); c != 0 {
			return c
		}
		return a.at - b.at
	})
	for _, p := range all {
		if len(sections) == 0 || sections[len(sections)-1].Name != p.first {
			sections = append(sections, FleetSection{Name: p.first})
		}
		s := &sections[len(sections)-1]
		s.FECs = append(s.FECs, f.FECs[p.at])
	}
	return sections
}

func emptyLast(a, b string) int {
	if a == "" || b == "" {
		return len(b) - len(a) // one of them has none
	}
	return strings.Compare(a, b)
}

// Groups are those of all FECs, Locations theirs, in order: what may be filtered by.
func (f Fleet) Groups() []string { return f.words(func(x FleetFEC) []string { return x.Groups }) }

// Locations are those of all FECs, in order.
func (f Fleet) Locations() []string {
	return f.words(func(x FleetFEC) []string { return []string{x.Location} })
}

func (f Fleet) words(of func(FleetFEC) []string) (all []string) {
	for _, x := range f.FECs {
		all = append(all, of(x)...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}
