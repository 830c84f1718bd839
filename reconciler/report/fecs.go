package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// FECs is how the FECs of a site are.
type FECs struct {
	Count map[plan.Condition]int `json:"count"`
	Worst []FECLine              `json:"worst"`         // a few of those that do not run what is published, the worst first
	All   []FECLine              `json:"all,omitempty"` // by name, if somebody asked
}

// FECLine is how one FEC is.
type FECLine struct {
	FEC       string         `json:"fec"`
	Condition plan.Condition `json:"condition"`
	Published int64          `json:"published"`         // serial
	Running   int64          `json:"running,omitempty"` // serial that it said that it runs; 0: none
	At        time.Time      `json:"at,omitzero"`       // when it said so
	Source    string         `json:"source,omitempty"`  // of that: report, token or ssh
	Why       string         `json:"why,omitempty"`     // it does not run what is published
}

// fewFECs are named in a status.
const fewFECs = 5

// NotProven is said of a FEC that takes part in a pilot and proves nothing: the pilot does not count what it reports.
const NotProven = "reported, not proven: give it a token"

// FECsOf judges the FECs of an index by what they said. Piloted are those that take part in pilots.
func FECsOf(fecs []tree.IndexedFEC, said map[string]observed.Said, piloted map[string]bool, now time.Time) FECs {
	out := FECs{Count: map[plan.Condition]int{}}
	for _, c := range plan.Conditions {
		out.Count[c] = 0
	}
	for _, f := range fecs {
		line := lineOf(f, said[f.Name], now)
		if counts := said[f.Name].Counts(); piloted[f.Name] && counts != nil && !counts.Proven() {
			line.Why = joinWhy(line.Why, NotProven)
		}
		out.Count[line.Condition]++
		out.All = append(out.All, line)
	}
	slices.SortFunc(out.All, func(a, b FECLine) int { return cmp.Compare(a.FEC, b.FEC) })
	out.Worst = []FECLine{}
	for _, c := range plan.Conditions {
		for _, line := range out.All {
			if line.Condition == c && c != plan.Runs && len(out.Worst) < fewFECs {
				out.Worst = append(out.Worst, line)
			}
		}
	}
	return out
}

func lineOf(f tree.IndexedFEC, said observed.Said, now time.Time) FECLine {
	line := FECLine{FEC: f.Name, Published: f.Serial}
	counts := said.Counts()
	line.Condition, line.Why = plan.ConditionOf(f.Serial, counts, now)
	if counts != nil {
		line.At, line.Source = counts.At, counts.Source
		if counts.State == "running" || counts.State == "fallback" {
			line.Running = counts.Serial
		}
	}
	if doubt := said.Doubtful(); doubt != nil {
		line.Why = joinWhy(line.Why, fmt.Sprintf("not proven: %s with serial %d at %s", doubt.State, doubt.Serial, observed.Minute(doubt.At)))
	}
	return line
}

// Check is the line for monitoring: its first word is OK, WARNING, CRITICAL or UNKNOWN, as plugins of Nagios and its kin say it.
func (l FECLine) Check() string {
	word := map[plan.Condition]string{plan.Runs: "OK", plan.Boots: "WARNING", plan.Stale: "WARNING", plan.Fails: "CRITICAL", plan.Silent: "UNKNOWN"}[l.Condition]
	if l.Condition == plan.Runs {
		return fmt.Sprintf("%s: %s runs serial %d, which is published, as of %s\n", word, l.FEC, l.Running, observed.Minute(l.At))
	}
	return fmt.Sprintf("%s: %s does not run serial %d, which is published: %s\n", word, l.FEC, l.Published, strings.ReplaceAll(observed.Printable(l.Why), "|", "/")) // after a | there would be figures
}

func joinWhy(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// summary is one line: 3 of 12 run what is published; 1 failed, 8 silent.
func (f FECs) summary() string {
	total := 0
	var others []string
	for _, c := range plan.Conditions {
		total += f.Count[c]
		if n := f.Count[c]; n > 0 && c != plan.Runs {
			others = append(others, fmt.Sprintf("%d %s", n, c))
		}
	}
	s := fmt.Sprintf("%d of %d run what is published", f.Count[plan.Runs], total)
	if len(others) > 0 {
		s += "; " + strings.Join(others, ", ")
	}
	return s
}

// Text writes a table of all.
func (f FECs) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FEC\tCONDITION\tPUBLISHED\tRUNNING\tREPORTED\tBY\tWHY")
	for _, line := range f.All {
		running, at := "-", "-"
		if line.Running > 0 {
			running = fmt.Sprint(line.Running)
		}
		if !line.At.IsZero() {
			at = observed.Minute(line.At)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", line.FEC, line.Condition, line.Published, running, at, cmp.Or(line.Source, "-"), observed.Printable(line.Why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, f.summary())
	return err
}
