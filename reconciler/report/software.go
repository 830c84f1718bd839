package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// AllSoftware is every software of a site: who wants, gets and runs which version, and what keeps each.
type AllSoftware struct {
	SoftwareSeen
	Of       int            `json:"of"`       // versions, shown or not
	Software []SoftwareLine `json:"software"` // by name
}

// SoftwareSeen is of when and what people see it.
type SoftwareSeen struct {
	Site      string    `json:"site"`
	At        time.Time `json:"at"`
	Wanted    string    `json:"wanted,omitempty"`  // commit that the branch names
	Published *Revision `json:"published"`         // nil: nothing is
	Server    string    `json:"server,omitempty"`  // that the site says serves its tree
	Unread    string    `json:"unread,omitempty"`  // why it is not known what the branch wants
	Trouble   string    `json:"trouble,omitempty"` // why something else is not known
}

// SoftwareLine is one software.
type SoftwareLine struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Responsible string            `json:"responsible,omitempty"`
	OnUpdate    string            `json:"onUpdate,omitempty"`
	OnFail      string            `json:"onFail,omitempty"`
	Versions    []SoftwareVersion `json:"versions"` // the newest first
}

// SoftwareVersion is one version, as many FECs as want, get and run it, and what becomes of it.
type SoftwareVersion struct {
	Version  string          `json:"version"`
	Channel  string          `json:"channel,omitempty"`  // production or dev; empty: nothing declares it any more
	Released string          `json:"released,omitempty"` // as the site has it
	Notes    string          `json:"notes,omitempty"`
	Needs    []string        `json:"needs,omitempty"`
	First    *FirstPublished `json:"first"` // nil: it is not in the tree, or nobody knows
	Wanted   int             `json:"wanted"`
	// WantedUnknown says that nobody knows for how many it is wanted: the branch cannot be read.
	WantedUnknown bool     `json:"wantedUnknown,omitempty"`
	Published     int      `json:"published"`
	Running       int      `json:"running"`
	Pilots        []string `json:"pilots,omitempty"` // that offer it
	InTree        bool     `json:"inTree"`           // of what is published
	Stays         bool     `json:"stays"`            // what the branch wants keeps it there
	Why           string   `json:"why"`              // it does, or not
	// Next says that it goes once the next production version comes.
	Next        bool    `json:"next"`
	Generations []int64 `json:"generations,omitempty"` // that hold it
	// Leaves says when the last generation that holds it may go, and its archives with it; nil: the tree keeps it.
	Leaves *Leaves `json:"leaves"`

	Payload   map[string]desired.Payload `json:"payload,omitempty"`   // by platform, of one software
	Artifacts []SoftwareArtifact         `json:"artifacts,omitempty"` // likewise
}

// FirstPublished is the generation that had a release first.
type FirstPublished struct {
	Commit     string    `json:"commit"`
	Generation int64     `json:"generation"`
	At         time.Time `json:"at"`
	Author     string    `json:"author,omitempty"` // of that commit
	Subject    string    `json:"subject,omitempty"`
}

// Leaves is when a generation may go.
type Leaves struct {
	Generation int64     `json:"generation"`
	Why        string    `json:"why"`                // it is still there
	More       int       `json:"more,omitempty"`     // generations to be published before
	NotBefore  time.Time `json:"notBefore,omitzero"` // of the current one, that is not known
}

// SoftwareArtifact is one archive of a release.
type SoftwareArtifact struct {
	File   string          `json:"file"`
	Path   string          `json:"path"` // in the tree
	Digest artifact.Digest `json:"digest"`
	Size   int64           `json:"size"`
	Bill   string          `json:"bill,omitempty"` // path of its bill of materials
	SBOM   artifact.Digest `json:"sbom,omitzero"`  // digest of that
}

// Software is one software with its FECs.
type Software struct {
	SoftwareSeen
	SoftwareLine
	Names []string      `json:"names"` // of all software of the site
	Of    int           `json:"of"`    // FECs, shown or not
	FECs  []SoftwareFEC `json:"fecs"`  // by name
}

// SoftwareFEC is what a FEC has of a software; an empty version: none.
type SoftwareFEC struct {
	FEC       string   `json:"fec"`
	Groups    []string `json:"groups,omitempty"`
	Wanted    string   `json:"wanted,omitempty"`
	Published string   `json:"published,omitempty"`
	Running   string   `json:"running,omitempty"`
	Known     bool     `json:"known"`   // what it runs
	Differs   bool     `json:"differs"` // these are not one version, as far as they are known
}

// Stages are those at which a FEC has a version.
var Stages = []string{"wanted", "published", "running"}

// Versions of which somebody may ask, by a word.
const (
	VersionUnused  = "unused"  // by any FEC
	VersionDrifts  = "drifts"  // it is not wanted, published and running as often
	VersionLeaving = "leaving" // the tree with the next pass or the next production version, or it has left it
)

// VersionStates are all words by which versions may be asked for.
var VersionStates = append(slices.Clone(Stages), VersionUnused, VersionDrifts, VersionLeaving, desired.Dev)

// Is says whether a word is true of a version.
func (v SoftwareVersion) Is(state string) bool {
	switch state {
	case "wanted":
		return v.Wanted > 0
	case "published":
		return v.Published > 0
	case "running":
		return v.Running > 0
	case VersionUnused:
		return v.Wanted+v.Published+v.Running == 0 && !v.WantedUnknown
	case VersionDrifts:
		return v.Wanted != v.Published && !v.WantedUnknown || v.Published != v.Running
	case VersionLeaving:
		return v.Next || !v.Stays
	case desired.Dev:
		return v.Channel == desired.Dev
	}
	return state == ""
}

// WantedText is for how many it is wanted, for people.
func (v SoftwareVersion) WantedText() string {
	if v.WantedUnknown {
		return notKnown
	}
	return strconv.Itoa(v.Wanted)
}

// notKnown is what people read for what nobody knows.
const notKnown = "not known"

// Only are the versions of a state whose software or own name has a text in it.
func (a AllSoftware) Only(state, text string) AllSoftware {
	a.Of = 0
	var lines []SoftwareLine
	for _, s := range a.Software {
		a.Of += len(s.Versions)
		s.Versions = slices.DeleteFunc(slices.Clone(s.Versions), func(v SoftwareVersion) bool {
			return !v.Is(state) || !strings.Contains(s.Name+" "+v.Version, text)
		})
		if len(s.Versions) > 0 || state == "" && strings.Contains(s.Name, text) {
			lines = append(lines, s)
		}
	}
	a.Software = append([]SoftwareLine{}, lines...)
	return a
}

// SoftwareFilter says which FECs are shown; what is empty restricts nothing.
type SoftwareFilter struct {
	Version string // at Stage, or at any
	Stage   string
	Group   string
	Differs bool
	Text    string // in its name
}

// Only is a software with fewer FECs.
func (s Software) Only(f SoftwareFilter) Software {
	s.Of = len(s.FECs)
	s.FECs = slices.DeleteFunc(slices.Clone(s.FECs), func(x SoftwareFEC) bool { return !f.takes(x) })
	return s
}

func (f SoftwareFilter) takes(x SoftwareFEC) bool {
	has := f.Version == "" && f.Stage == ""
	for i, version := range []string{x.Wanted, x.Published, x.Running} {
		if (f.Stage == "" || f.Stage == Stages[i]) && version != "" && (f.Version == "" || f.Version == version) {
			has = true
		}
	}
	return has && (f.Group == "" || slices.Contains(x.Groups, f.Group)) && (!f.Differs || x.Differs) && strings.Contains(x.FEC, f.Text)
}

// Groups are those of its FECs, in order.
func (s Software) Groups() (all []string) {
	for _, x := range s.FECs {
		all = append(all, x.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// SoftwareMatrix is how many FECs of each group want, get and run each version of a software.
type SoftwareMatrix struct {
	Versions []string    `json:"versions"` // the newest first
	Rows     []MatrixRow `json:"rows"`     // all FECs, then by group, then those without one
	// WantedUnknown says that nobody knows for how many any is wanted: the branch cannot be read.
	WantedUnknown bool `json:"wantedUnknown,omitempty"`
}

// MatrixRow are the FECs of one group. One that is in several counts in each.
type MatrixRow struct {
	Group   string       `json:"group,omitempty"` // empty: see All
	All     bool         `json:"all,omitempty"`   // FECs; else those without a group
	FECs    int          `json:"fecs"`
	Differ  int          `json:"differ"`
	Cells   []MatrixCell `json:"cells"`   // by version, as SoftwareMatrix.Versions
	None    int          `json:"none"`    // run something without it
	Unknown int          `json:"unknown"` // of these nobody knows what they run
}

// MatrixCell are FECs of a group with one version.
type MatrixCell struct {
	Wanted    int `json:"wanted"`
	Published int `json:"published"`
	Running   int `json:"running"`
	Differ    int `json:"differ"` // of all these, as many as have another version at another stage
}

// Empty says that nobody has it.
func (c MatrixCell) Empty() bool { return c == MatrixCell{} }

// Matrix is likewise of all FECs that a software has.
func (s Software) Matrix() SoftwareMatrix {
	m := SoftwareMatrix{Versions: []string{}, Rows: []MatrixRow{}, WantedUnknown: s.Unread != ""}
	if s.Name == "" { // there is none
		return m
	}
	at := map[string]int{}
	for _, v := range s.Versions {
		if v.Wanted+v.Published+v.Running > 0 {
			at[v.Version] = len(m.Versions)
			m.Versions = append(m.Versions, v.Version)
		}
	}
	rows := map[string]*MatrixRow{}
	all, without := &MatrixRow{All: true, Cells: make([]MatrixCell, len(m.Versions))}, &MatrixRow{Cells: make([]MatrixCell, len(m.Versions))}
	for _, x := range s.FECs {
		all.count(x, at)
		for _, group := range x.Groups {
			if rows[group] == nil {
				rows[group] = &MatrixRow{Group: group, Cells: make([]MatrixCell, len(m.Versions))}
			}
			rows[group].count(x, at)
		}
		if len(x.Groups) == 0 {
			without.count(x, at)
		}
	}
	m.Rows = append(m.Rows, *all)
	for _, group := range s.Groups() {
		m.Rows = append(m.Rows, *rows[group])
	}
	if without.FECs > 0 {
		m.Rows = append(m.Rows, *without)
	}
	return m
}

func (r *MatrixRow) count(x SoftwareFEC, at map[string]int) {
	r.FECs++
	if x.Differs {
		r.Differ++
	}
	switch {
	case !x.Known:
		r.Unknown++
	case x.Running == "":
		r.None++
	}
	var counted []int
	for stage, version := range []string{x.Wanted, x.Published, x.Running} {
		i, ok := at[version]
		if !ok {
			continue
		}
		c := &r.Cells[i]
		*[]*int{&c.Wanted, &c.Published, &c.Running}[stage]++
		if x.Differs && !slices.Contains(counted, i) {
			c.Differ++
		}
		counted = append(counted, i)
	}
}

// Fate is what becomes of a version, in a few words.
func (v SoftwareVersion) Fate() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case v.InTree && v.Next:
		add("stays until the next production version comes: %s", v.Why)
	case v.InTree && v.Stays:
		add("stays: %s", v.Why)
	case v.InTree:
		add("goes with the next pass: %s", v.Why)
	case v.Stays:
		add("comes with the next pass: %s", v.Why)
	default:
		add("not in the tree: %s", v.Why)
	}
	if v.Next && !v.InTree {
		add("until the next production version comes")
	}
	if l := v.Leaves; l != nil {
		add("%s", l)
	}
	if v.Running > 0 && !v.InTree {
		add("kept for those FECs that said last that they run it")
	}
	return strings.Join(parts, "; ")
}

// String says when a generation goes.
func (l Leaves) String() string {
	s := fmt.Sprintf("generation %d has it (%s), which goes ", l.Generation, l.Why)
	if l.More > 0 {
		s += fmt.Sprintf("once %d more have been published", l.More)
		if l.NotBefore.IsZero() {
			return s
		}
		s += " and "
	}
	return s + "from " + observed.Minute(l.NotBefore) + " on"
}

// Text writes a table for people.
func (a AllSoftware) Text(w io.Writer) error {
	var b strings.Builder
	a.head(&b)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SOFTWARE\tVERSION\tCHANNEL\tWANTED\tPUBLISHED\tRUNNING\tSINCE\tWHAT BECOMES OF IT")
	for _, s := range a.Software {
		for _, v := range s.Versions {
			v.line(t, s.Name)
		}
	}
	_ = t.Flush() // into memory
	_, err := io.WriteString(w, b.String())
	return err
}

func (s SoftwareSeen) head(b *strings.Builder) {
	if s.Unread != "" {
		fmt.Fprintf(b, "what is wanted is not known: %s\n", observed.Printable(s.Unread))
	}
	if s.Trouble != "" {
		fmt.Fprintf(b, "not all is known: %s\n", observed.Printable(s.Trouble))
	}
}

func (v SoftwareVersion) line(w io.Writer, software string) {
	since := "-"
	if v.First != nil {
		since = observed.Minute(v.First.At)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", observed.Printable(software), observed.Printable(v.Version), cmp.Or(v.Channel, "-"), v.WantedText(), v.Published, v.Running, since,
		observed.Printable(v.Fate()))
}

// Text writes for people how the versions of a software are, their archives, and the FECs that do not have one version.
func (s Software) Text(w io.Writer) error {
	var b strings.Builder
	s.head(&b)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SOFTWARE\tVERSION\tCHANNEL\tWANTED\tPUBLISHED\tRUNNING\tSINCE\tWHAT BECOMES OF IT")
	for _, v := range s.Versions {
		v.line(t, s.Name)
	}
	fmt.Fprintln(t, "\nARCHIVE\tBYTES\tSHA256")
	for _, v := range s.Versions {
		for _, a := range v.Artifacts {
			fmt.Fprintf(t, "%s\t%d\t%s\n", observed.Printable(a.Path), a.Size, a.Digest)
		}
	}
	head := "\nFEC THAT DIFFERS\tWANTED\tPUBLISHED\tRUNNING\n"
	for _, x := range s.FECs {
		if x.Differs {
			wanted, running := cmp.Or(x.Wanted, "-"), cmp.Or(x.Running, "none")
			if s.Unread != "" {
				wanted = notKnown
			}
			if !x.Known {
				running = notKnown
			}
			fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\n", head, observed.Printable(x.FEC), wanted, cmp.Or(x.Published, "-"), running)
			head = ""
		}
	}
	_ = t.Flush() // into memory
	_, err := io.WriteString(w, b.String())
	return err
}
