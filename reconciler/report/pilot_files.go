package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Excuses are why pilots and their updates are not further, in words that are near to those of Debian's britney.
type Excuses struct {
	Generated time.Time `json:"generatedDate"`
	Sources   []Excuse  `json:"sources"`
}

// Excuse is why one pilot, or one update of it, is not further.
type Excuse struct {
	Item      string               `json:"item-name"` // PILOT or PILOT/UPDATE
	State     string               `json:"state"`
	To        string               `json:"to-state,omitempty"` // empty: it goes no further
	Candidate bool                 `json:"is-candidate"`       // nothing keeps it from that
	Verdict   plan.GateVerdict     `json:"verdict"`
	Excuses   []string             `json:"excuses"`
	Policy    map[string]plan.Gate `json:"policy_info"`
}

// worst orders verdicts, what keeps something back most first.
var worst = []plan.GateVerdict{plan.GateFail, plan.GateBlocked, plan.GateInconclusive, plan.GateNeedsApproval, plan.GatePending, plan.GateWaiting, plan.GateWaived,
	plan.GatePass, plan.GateNotApplicable}

// Excuses are why each of the pilots is not further.
func (p Pilots) Excuses() Excuses {
	out := Excuses{Generated: p.At, Sources: []Excuse{}}
	for _, each := range p.Pilots {
		out.Sources = append(out.Sources, each.Excuses()...)
	}
	return out
}

// Excuses are why a pilot is not further, and its updates.
func (p Pilot) Excuses() []Excuse {
	all := []Excuse{excuse(p.Name, p.State, p.further(), p.Gates)}
	if p.Why != "" {
		all[0].Excuses = append([]string{p.State + ": " + p.Why}, all[0].Excuses...)
	}
	if p.State == plan.PilotHalted || p.State == plan.PilotDenied || p.State == plan.PilotExpired {
		all[0].Verdict, all[0].Candidate = plan.GateBlocked, false
	}
	for _, u := range p.Updates {
		all = append(all, excuse(p.Name+"/"+u.Name, u.State, "", u.Gates))
	}
	return all
}

// further is the state that a pilot gets into next; empty: none.
func (p Pilot) further() string {
	for _, g := range p.Gates {
		if !g.Verdict.Holds() {
			return g.State
		}
	}
	return ""
}

// excuse looks at the gates of one state; empty: at all.
func excuse(item, state, to string, gates []plan.Gate) Excuse {
	e := Excuse{Item: item, State: state, To: to, Verdict: plan.GatePass, Candidate: true, Excuses: []string{}, Policy: map[string]plan.Gate{}}
	for _, g := range gates {
		if to != "" && g.State != to {
			continue
		}
		e.Policy[g.Name] = g
		if slices.Index(worst, g.Verdict) < slices.Index(worst, e.Verdict) {
			e.Verdict = g.Verdict
		}
		if g.Verdict.Holds() {
			continue
		}
		e.Candidate = false
		says := g.Name + ": " + string(g.Verdict)
		if g.Why != "" {
			says += ": " + g.Why
		}
		if len(g.Who) > 0 || g.Do != "" {
			says += "; " + PilotNext{Who: g.Who, Do: g.Do}.text()
		}
		e.Excuses = append(e.Excuses, says)
	}
	return e
}

// Participation is which sites take part, and what they give.
type Participation struct {
	Pilot     string                `json:"pilot"`
	At        time.Time             `json:"at"`
	Answers   map[string]int        `json:"answers"`   // sites by answer
	States    map[string]int        `json:"states"`    // sites by state
	Resources desired.SiteResources `json:"resources"` // of those that run it
	Sites     []plan.SiteNow        `json:"sites"`
}

// Participation is which sites take part in a pilot.
func (p Pilot) Participation(at time.Time) Participation {
	out := Participation{Pilot: p.Name, At: at, Answers: map[string]int{}, States: map[string]int{}, Sites: append([]plan.SiteNow{}, p.Sites...)}
	for _, s := range p.Sites {
		out.Answers[s.Answer]++
		out.States[s.State]++
		if r := s.Resources; r != nil && s.State == "installed" {
			out.Resources.Nodes += r.Nodes
			out.Resources.Cores += r.Cores
			out.Resources.MemoryGiB += r.MemoryGiB
			out.Resources.StorageTiB += r.StorageTiB
		}
	}
	return out
}

// Accounting writes what sites give as CSV. No value is a formula to a spreadsheet.
func (p Pilot) Accounting(w io.Writer) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true // RFC 4180
	rows := [][]string{{"pilot", "site", "contact", "wave", "answer", "state", "from", "subject", "nodes", "cores", "memory_gib", "storage_tib", "published"}}
	for _, s := range p.Sites {
		from := ""
		if !s.From.IsZero() {
			from = s.From.UTC().Format(time.RFC3339)
		}
		r := []string{p.Name, s.Site, s.Contact, strconv.Itoa(s.Wave), s.Answer, s.State, from, s.Subject, "", "", "", "", string(s.Published)}
		if s.Resources != nil {
			r[8], r[9], r[10] = strconv.Itoa(s.Resources.Nodes), strconv.Itoa(s.Resources.Cores), strconv.Itoa(s.Resources.MemoryGiB)
			r[11] = strconv.FormatFloat(s.Resources.StorageTiB, 'f', -1, 64)
		}
		rows = append(rows, r)
	}
	for _, r := range rows {
		for i := range r {
			r[i] = cell(r[i])
		}
		if err := c.Write(r); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// cell is text that no spreadsheet takes for a formula: with a quote before what begins one, and without control characters, behind
// which one could begin.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if t := strings.TrimLeft(s, " \u00a0\u3000\ufeff\u200b"); t != "" && strings.ContainsRune("=+-@＝＋－＠'|%", []rune(t)[0]) {
		return "'" + s
	}
	return s
}

// Ledger writes the records of a pilot in their order, each a line of JSON with how it is known who wrote it.
func (p Pilot) Ledger(w io.Writer) error {
	var b bytes.Buffer
	for _, r := range p.Records {
		if err := json.NewEncoder(&b).Encode(r); err != nil {
			return err
		}
	}
	_, err := b.WriteTo(w)
	return err
}

// Notes are the records with release notes that count, the newest first.
func (p Pilot) Notes() (notes []PilotRecord) {
	for _, r := range slices.Backward(p.Records) {
		if r.Kind == desired.RecordNotes && p.counts(r) {
			notes = append(notes, r)
		}
	}
	return notes
}

// NotesText is these as Markdown.
func (p Pilot) NotesText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Release notes of pilot %s\n", p.Name)
	for _, r := range p.Notes() {
		what := "First release"
		if r.Update != "" {
			what = "Update " + r.Update
		}
		fmt.Fprintf(&b, "\n## %s, %s\n\n%s\n", what, r.At, strings.TrimRight(r.Text, "\n"))
		if r.Migration != "" {
			fmt.Fprintf(&b, "\n### Migration\n\n%s\n", strings.TrimRight(r.Migration, "\n"))
		}
	}
	return b.String()
}
