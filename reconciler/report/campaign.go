package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Campaigns is how far the campaigns of a site are.
type Campaigns struct {
	Trouble   string             `json:"trouble,omitempty"`  // why nothing is decided now
	Campaigns []Campaign         `json:"campaigns"`          // by name, those that have ended last
	Archived  int                `json:"archived,omitempty"` // how many more there are that are archived
	Engines   []Engine           `json:"engines"`            // by name
	Services  []observed.Service `json:"services"`           // by name
}

// Campaign is how far one run of a campaign is.
type Campaign struct {
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Wanted    string `json:"wanted"` // as the site has it; gone: it has no such campaign any more; empty: nobody knows without the site
	State     string `json:"state"`
	Ended     bool   `json:"ended,omitempty"`    // for good
	Archived  bool   `json:"archived,omitempty"` // it has ended, and the site has this run of it no more
	Detail    string `json:"detail,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Requester string `json:"requester,omitempty"`
	Assignee  string `json:"assignee,omitempty"`
	Role      string `json:"role,omitempty"`
	Test      bool   `json:"test,omitempty"`
	Digest    string `json:"digest,omitempty"` // of what is done, to which an approval binds
	Commit    string `json:"commit,omitempty"`
	// Why nothing new is started, sentences; none: something is, or nothing is left to be.
	Why    []string          `json:"why"`
	Since  time.Time         `json:"since,omitzero"`
	Next   time.Time         `json:"next,omitzero"`  // start of its schedule
	Late   int               `json:"late,omitempty"` // slices that have taken too long, and go on
	Stages []Stage           `json:"stages"`         // providers first
	Links  map[string]string `json:"links,omitempty"`
	// Decisions are what people have decided about it, the last MostDecisions, oldest first; only of one campaign alone.
	Decisions     []Decision `json:"decisions,omitempty"`
	MoreDecisions int        `json:"moreDecisions,omitempty"` // before those
}

// MostDecisions is how many decisions about a campaign are shown.
const MostDecisions = 100

// Stage is how far a stage of a campaign is.
type Stage struct {
	Name        string                           `json:"name"`
	Type        string                           `json:"type"`
	Epoch       int                              `json:"epoch"`
	Needs       []string                         `json:"needs,omitempty"` // stages
	State       string                           `json:"state"`
	Detail      string                           `json:"detail,omitempty"`
	Profile     string                           `json:"profile,omitempty"`
	Engine      string                           `json:"engine,omitempty"`
	Digest      string                           `json:"digest,omitempty"` // of an approval stage: what waits, to which an approval of all of it binds
	Slices      map[observed.SliceState]int      `json:"slices"`
	Tests       map[observed.SliceState]int      `json:"tests,omitempty"`
	Submissions map[observed.SubmissionState]int `json:"submissions"`
	Why         string                           `json:"why,omitempty"`
	Late        bool                             `json:"late,omitempty"` // others make its slices, and none comes
	// Open are slices that are not complete, at most MostSlices, those that have changed last; only of one campaign alone.
	Open []Slice `json:"open,omitempty"`
	More int     `json:"more,omitempty"` // that are not complete either
}

// StageEnd says that no more slices come of a stage.
type StageEnd struct {
	UID    string `json:"uid"`
	Stage  string `json:"stage"`
	Epoch  int    `json:"epoch"`
	Detail string `json:"detail"`
}

// MostSlices is how many slices of a stage are shown one by one.
const MostSlices = 1000

// Slice is how far a slice is.
type Slice struct {
	ID     string                   `json:"id"`
	Label  string                   `json:"label,omitempty"`
	State  observed.SliceState      `json:"state"`
	Detail string                   `json:"detail,omitempty"`
	Inputs int                      `json:"inputs"`
	Round  int                      `json:"round"`
	Tries  int                      `json:"tries"`
	Since  time.Time                `json:"since"`
	Key    string                   `json:"key,omitempty"` // of its last submission
	Job    string                   `json:"job,omitempty"`
	Now    observed.SubmissionState `json:"now,omitempty"` // state of that submission
}

// Decision is what somebody has decided about a campaign.
type Decision struct {
	Kind   string    `json:"kind"`
	Stage  string    `json:"stage,omitempty"`
	Slice  string    `json:"slice,omitempty"`
	Digest string    `json:"digest,omitempty"`
	By     string    `json:"by"`
	Source string    `json:"source,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Engine is how a batch system is.
type Engine struct {
	Name       string    `json:"name"`
	Kind       string    `json:"kind"`
	Answers    bool      `json:"answers"`
	Trouble    string    `json:"trouble,omitempty"` // why nothing is known or handed in
	Jobs       int       `json:"jobs"`              // whose end is not known yet
	Asked      time.Time `json:"asked,omitzero"`
	Credential time.Time `json:"credential,omitzero"` // when it ends
	Expiring   bool      `json:"expiring,omitempty"`  // that is soon
	// CredentialTrouble is why nobody knows.
	CredentialTrouble string `json:"credentialTrouble,omitempty"`
}

// Find is the campaign of a name: its run that has not ended, else the last one; by NAME/RUN any. False if there is none.
func (c Campaigns) Find(name string) (found Campaign, ok bool) {
	for _, each := range c.Campaigns {
		if each.UID == name {
			return each, true
		}
		if each.Name == name && (!ok || found.Wanted == Gone || each.Wanted != Gone && each.Since.After(found.Since)) {
			found, ok = each, true
		}
	}
	return found, ok
}

// Gone is what the site wants of a campaign that it has no more.
const Gone = "gone"

// tally is how many there are of each state, in some order.
func tally[S ~string](counts map[S]int, order []S) string {
	var said []string
	for _, state := range order {
		if n := counts[state]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(said, ", ")
}

// sliceStates are all states of slices, in the order in which they are shown.
var sliceStates = []observed.SliceState{observed.SliceComplete, observed.SlicePartial, observed.SliceFailed, observed.SliceCancelled, observed.SliceLate,
	observed.SliceAwaiting, observed.SliceVerifying, observed.SliceUnderway, observed.SlicePlanned}

// submissionStates are likewise those of submissions.
var submissionStates = []observed.SubmissionState{observed.SubmissionIntent, observed.SubmissionSubmitted, observed.SubmissionQueued, observed.SubmissionRunning,
	observed.SubmissionHeld, observed.SubmissionUnknown, observed.SubmissionDone, observed.SubmissionFailed, observed.SubmissionDenied, observed.SubmissionLost,
	observed.SubmissionCancelled}

// Text writes a line for each campaign, and what is wrong with engines and services.
func (c Campaigns) Text(w io.Writer) error {
	var b bytes.Buffer
	if c.Trouble != "" {
		fmt.Fprintf(&b, "nothing is decided: %s\n", observed.Printable(c.Trouble))
	}
	if len(c.Campaigns)+c.Archived == 0 {
		b.WriteString("no campaigns\n")
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, each := range c.Campaigns {
		all := map[observed.SliceState]int{}
		for _, s := range each.Stages {
			for state, n := range s.Slices {
				all[state] += n
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", each.UID, each.stateText(), cmp.Or(tally(all, sliceStates), "no slices"), observed.Printable(cmp.Or(first(each.Why), each.Detail)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if c.Archived > 0 {
		fmt.Fprintf(&b, "archived, as they have ended and left the site: %d; pomona campaign --all shows them\n", c.Archived)
	}
	c.surroundings(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (c Campaign) stateText() string {
	if c.Archived {
		return c.State + ", archived"
	}
	return c.State
}

func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// surroundings writes which engines and services are not well.
func (c Campaigns) surroundings(b *bytes.Buffer) {
	for _, e := range c.Engines {
		if e.Trouble != "" {
			fmt.Fprintf(b, "engine %s: %s\n", e.Name, observed.Printable(e.Trouble))
		}
	}
	for _, s := range c.Services {
		if !s.Well {
			fmt.Fprintf(b, "service %s is not well since %s: %s\n", s.Name, observed.Minute(s.At), observed.Printable(s.Why))
		}
	}
}

// shown is how many slices of a stage people see one by one.
const shown = 20

// Text writes for people how far a campaign is, and why nothing moves.
func (c Campaign) Text(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "campaign %s: %s", c.UID, c.stateText())
	if c.Test {
		b.WriteString(", a test")
	}
	if c.Detail != "" {
		fmt.Fprintf(&b, ": %s", observed.Printable(c.Detail))
	}
	b.WriteByte('\n')
	about := func(what, said string) {
		if said != "" {
			fmt.Fprintf(&b, "  %-10s %s\n", what, observed.Printable(said))
		}
	}
	about("reason", c.Reason)
	about("requester", c.Requester)
	about("assignee", c.Assignee)
	about("role", c.Role)
	about("wanted", c.Wanted)
	about("digest", c.Digest)
	if c.Commit != "" {
		about("commit", c.Commit[:min(12, len(c.Commit))])
	}
	if !c.Next.IsZero() {
		about("next start", observed.Minute(c.Next))
	}
	for _, title := range slices.Sorted(maps.Keys(c.Links)) {
		about(title, c.Links[title])
	}
	for _, why := range c.Why {
		about("why not", why)
	}
	for _, s := range c.Stages {
		if s.Digest != "" {
			about("approve", s.Name+" "+s.Digest)
		}
	}
	if err := c.StageTable(&b); err != nil {
		return err
	}
	if err := c.slices(&b); err != nil {
		return err
	}
	if c.MoreDecisions > 0 {
		fmt.Fprintf(&b, "%d more decisions before these; pomona campaign %s slice ID has those about a slice\n", c.MoreDecisions, c.Name)
	}
	for _, d := range c.Decisions {
		what := strings.Trim(strings.Join([]string{d.Stage, d.Slice}, " "), " ")
		fmt.Fprintf(&b, "%s  %s %s by %s", observed.Minute(d.At), d.Kind, cmp.Or(what, "the campaign"), observed.Printable(d.By))
		if said := cmp.Or(d.Reason, d.Source); said != "" {
			fmt.Fprintf(&b, ": %s", observed.Printable(said))
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// StageTable writes a line for each stage.
func (c Campaign) StageTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STAGE\tSTATE\tSLICES\tSUBMISSIONS\tWHY")
	for _, s := range c.Stages {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.State, cmp.Or(tally(s.Slices, sliceStates), "-"), cmp.Or(tally(s.Submissions, submissionStates), "-"),
			observed.Printable(cmp.Or(s.Why, s.Detail, "-")))
		if n := tally(s.Tests, sliceStates); n != "" {
			fmt.Fprintf(t, "\ttests\t%s\t\t\n", n)
		}
	}
	return t.Flush()
}

// elsewhere says where more slices are shown.
func (s Stage) elsewhere() string {
	if s.More > 0 {
		return fmt.Sprintf("-o json shows %d, the submission API all", len(s.Open))
	}
	return "-o json shows them"
}

// slices writes those that are not complete, a few of each stage.
func (c Campaign) slices(b *bytes.Buffer) error {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	head := true
	for _, s := range c.Stages {
		for i, slice := range s.Open {
			if head {
				fmt.Fprintln(t, "SLICE\tSTATE\tSINCE\tINPUTS\tTRY\tJOB\tDETAIL")
				head = false
			}
			if i == shown {
				fmt.Fprintf(t, "%s\tand %d more: %s\t\t\t\t\t\n", s.Name, len(s.Open)-shown+s.More, s.elsewhere())
				break
			}
			try := "-"
			if slice.Tries > 0 {
				try = fmt.Sprintf("%d.%d", slice.Round, slice.Tries)
			}
			job := strings.TrimSpace(slice.Job + " " + string(slice.Now))
			fmt.Fprintf(t, "%s %s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.Name, slice.ID, slice.State, observed.Minute(slice.Since), slice.Inputs, try, cmp.Or(job, "-"),
				observed.Printable(cmp.Or(slice.Detail, "-")))
		}
	}
	return t.Flush()
}
