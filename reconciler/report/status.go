package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Status is how a root is now.
type Status struct {
	Site      string              `json:"site,omitempty"`
	Wanted    string              `json:"wanted,omitempty"` // commit that the branch names
	Attempted *Revision           `json:"attempted"`        // of the last pass; nil: none is known
	Published *Revision           `json:"published"`        // nil: nothing is
	Holds     []observed.Hold     `json:"holds"`            // in force
	Overrides []observed.Override `json:"overrides"`
	Blocked   []plan.Blocked      `json:"blocked"`            // by holds, at the last pass
	Passes    []observed.Pass     `json:"passes"`             // the last ones, newest first
	FECs      *FECs               `json:"fecs"`               // nil: nothing is published, or the ledger cannot be read
	Restarts  *Restarts           `json:"restarts,omitempty"` // of FECs that were restarted; nil: none was, and nothing is paused
	Hooks     []Hook              `json:"hooks"`              // after publication that were not told yet
	Campaigns *CampaignsNow       `json:"campaigns,omitempty"`
	Pilots    *PilotsNow          `json:"pilots,omitempty"`
	Service   *Service            `json:"service"` // nil: none runs
	Trouble   string              `json:"trouble,omitempty"`
}

// Revision is a commit and what became of it.
type Revision struct {
	Commit     string    `json:"commit"`
	Generation int64     `json:"generation,omitempty"`
	At         time.Time `json:"at"`
	Outcome    string    `json:"outcome,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// Hook is a program that could not be told of what is published.
type Hook struct {
	Name    string    `json:"name"`
	Tries   int       `json:"tries"`
	Since   time.Time `json:"since"`
	Trouble string    `json:"trouble"` // of the last try
}

// Service is what a running service does next.
type Service struct {
	Running   time.Time `json:"running,omitzero"` // since when a pass runs
	NextPoll  time.Time `json:"nextPoll,omitzero"`
	NextScrub time.Time `json:"nextScrub,omitzero"`
	NextTurn  time.Time `json:"nextTurn,omitzero"` // when the clock changes which holds are in force

	Unfetched  time.Time `json:"unfetched,omitzero"` // since when another host's repository cannot be fetched
	FetchError string    `json:"fetchError,omitempty"`
}

// Text writes the status for people.
func (s Status) Text(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	if s.Site != "" {
		row("site", "%s", s.Site)
	}
	if s.Published == nil {
		row("published", "nothing yet")
	} else {
		row("published", "commit %s, generation %d, %s", orNone(s.Published.Commit), s.Published.Generation, observed.Minute(s.Published.At))
	}
	if a := s.Attempted; a != nil {
		row("attempted", "commit %s, %s, %s%s", orNone(a.Commit), observed.Minute(a.At), a.Outcome, reasonOf(a.Reason))
	}
	if s.Wanted != "" {
		row("wanted", "commit %s", orNone(s.Wanted))
	}
	if len(s.Holds) == 0 {
		row("holds", "none")
	}
	for _, h := range s.Holds {
		row("hold", "%s of %s: %s", h.Kind, h.Scope, h)
	}
	for _, o := range s.Overrides {
		row("override", "of %s by %s", o.Hold, o)
	}
	for _, x := range s.Blocked {
		row("blocked", "%s", observed.Printable(x.String()))
	}
	if s.FECs != nil {
		row("fecs", "%s", s.FECs.summary())
		for _, line := range s.FECs.Worst {
			row("", "%s %s: %s", line.FEC, line.Condition, observed.Printable(line.Why))
		}
	}
	if s.Restarts != nil {
		if p := s.Restarts.Pause; p.Reason != "" {
			row("restarts", "paused since %s: %s", observed.Minute(p.At), observed.Printable(p.Reason))
		} else {
			row("restarts", "%s", strings.TrimPrefix(s.Restarts.summary(), ", "))
		}
	}
	for _, h := range s.Hooks {
		row("hook", "%s: failed %d times since %s: %s", h.Name, h.Tries, observed.Minute(h.Since), observed.Printable(h.Trouble))
	}
	if s.Campaigns != nil {
		for i, line := range s.Campaigns.lines() {
			row(map[bool]string{true: "campaigns"}[i == 0], "%s", line)
		}
	}
	if s.Pilots != nil {
		for i, line := range s.Pilots.lines() {
			row(map[bool]string{true: "pilots"}[i == 0], "%s", line)
		}
	}
	s.service(row)
	if s.Trouble != "" {
		row("trouble", "%s", observed.Printable(s.Trouble))
	}
	for i, p := range s.Passes {
		if i == 0 {
			row("passes", "%s", passText(p))
		} else {
			row("", "%s", passText(p))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

func (s Status) service(row func(string, string, ...any)) {
	if s.Service == nil {
		row("service", "none runs")
		return
	}
	does := "waits"
	if !s.Service.Running.IsZero() {
		does = "makes a pass since " + second(s.Service.Running)
	}
	row("service", "%s; next poll %s, next scrub %s", does, second(s.Service.NextPoll), second(s.Service.NextScrub))
	if !s.Service.Unfetched.IsZero() {
		row("", "fetching fails since %s: %s", observed.Minute(s.Service.Unfetched), s.Service.FetchError)
	}
	if !s.Service.NextTurn.IsZero() {
		row("", "holds change %s", observed.Minute(s.Service.NextTurn))
	}
}

func second(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("15:04:05 UTC")
}

func passText(p observed.Pass) string {
	return fmt.Sprintf("%s  %s  wanted %s, published %s, generation %d%s", observed.Minute(p.Ended), p.Outcome, orNone(p.Wanted), orNone(p.Published), p.Generation, reasonOf(p.Reason))
}

// reasonOf is the first line of a reason.
func reasonOf(reason string) string {
	first, rest, _ := strings.Cut(reason, "\n")
	if first == "" {
		return ""
	}
	if rest != "" {
		first += " …"
	}
	return ": " + observed.Printable(first)
}

func orNone(commit string) string {
	if commit == "" {
		return "none"
	}
	return commit[:min(len(commit), 12)]
}

// HoldList are the holds in force and the overrides.
type HoldList struct {
	Holds     []observed.Hold     `json:"holds"`
	Overrides []observed.Override `json:"overrides"`
}

// Text writes a table.
func (l HoldList) Text(w io.Writer) error {
	if len(l.Holds)+len(l.Overrides) == 0 {
		_, err := fmt.Fprintln(w, "no hold is in force")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(l.Holds) > 0 {
		fmt.Fprintln(t, "ID\tSCOPE\tKIND\tSOURCE\tBY\tSINCE\tUNTIL\tREASON")
	}
	at := func(ts time.Time) string {
		if ts.IsZero() {
			return "-"
		}
		return observed.Minute(ts)
	}
	for _, h := range l.Holds {
		reason := h.Reason
		if h.Bad != "" {
			reason += " (rolled back from " + orNone(h.Bad) + " to " + orNone(h.Commit) + ")"
		}
		by := h.By
		if by == "" {
			by = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Scope, h.Kind, h.Source, observed.Printable(by), at(h.Since), at(h.Until), observed.Printable(reason))
	}
	for _, o := range l.Overrides {
		fmt.Fprintf(t, "%s\toverridden by %s\n", o.Hold, o)
	}
	return t.Flush()
}
