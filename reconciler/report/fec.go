package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// FEC is what is wanted of a FEC, what is published for it, what it runs, and why these differ.
type FEC struct {
	Name      string               `json:"name"`
	Host      string               `json:"host,omitempty"`
	Platform  string               `json:"platform,omitempty"`
	Condition plan.Condition       `json:"condition,omitempty"` // empty: nothing is published for it, or the ledger cannot be read
	Wanted    *Release             `json:"wanted"`              // by the branch; nil: it is not in it, or that is not known
	Published *Release             `json:"published"`           // nil: nothing is
	Running   *Release             `json:"running"`             // nil: it is not known what
	Pilots    []PilotPin           `json:"pilots,omitempty"`    // what pilots put there, or are to
	Differs   []string             `json:"differs"`             // why what is wanted is not published, and that not running
	Holds     []observed.Hold      `json:"holds"`               // that keep it as it is
	Restart   *Restart             `json:"restart"`             // of the service, of what is published; nil: none is on record
	Inhibit   string               `json:"inhibit,omitempty"`   // why the site lets nobody restart it
	Said      observed.Said        `json:"said"`
	Reports   []observed.FECReport `json:"reports"` // the last ones, newest first
}

// Restart is how far a FEC has come that the service restarts.
type Restart struct {
	State  string    `json:"state"` // of observed.Rollout
	Need   string    `json:"need"`  // desired.Restart or desired.Reboot
	Wave   int64     `json:"wave,omitempty"`
	Group  string    `json:"group,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	Paused string    `json:"paused,omitempty"` // why all restarts are
}

// Release is what a FEC has at one stage.
type Release struct {
	Commit        string            `json:"commit,omitempty"`
	Generation    int64             `json:"generation,omitempty"` // that published it first
	Serial        int64             `json:"serial,omitempty"`
	Since         time.Time         `json:"since,omitzero"`
	Software      map[string]string `json:"software,omitempty"` // name to version
	Configuration map[string]string `json:"configuration,omitempty"`
	Known         bool              `json:"known"` // which versions it has
	Source        string            `json:"source,omitempty"`
	From          string            `json:"from,omitempty"`
	Dev           string            `json:"dev,omitempty"`
}

// versions are those of a release on a line.
func (r Release) versions() string {
	if !r.Known {
		return "nothing is known of what was published with it"
	}
	list := func(of map[string]string) string {
		var words []string
		for _, name := range slices.Sorted(maps.Keys(of)) {
			words = append(words, name+" "+of[name])
		}
		return strings.Join(words, ", ")
	}
	parts := []string{"no software"}
	if len(r.Software) > 0 {
		parts[0] = list(r.Software)
	}
	if len(r.Configuration) > 0 {
		parts = append(parts, "configuration "+list(r.Configuration))
	}
	return strings.Join(parts, "; ")
}

// Text writes it for people.
func (f FEC) Text(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, observed.Printable(fmt.Sprintf(format, args...)))
	}
	where := ""
	if f.Host != "" {
		where = ", host " + f.Host + ", platform " + f.Platform
	}
	row("fec", "%s%s", f.Name, where)
	if r := f.Wanted; r != nil {
		row("wanted", "commit %s", orNone(r.Commit))
		row("", "%s", r.versions())
	}
	for _, p := range f.Pilots {
		row("pilot", "%s", p)
	}
	if r := f.Published; r == nil {
		row("published", "nothing")
	} else {
		row("published", "serial %d since %s, commit %s%s", r.Serial, observed.Minute(r.Since), orNone(r.Commit), generation(r.Generation))
		row("", "%s", r.versions())
	}
	if r := f.Running; r == nil && f.Condition == plan.Fails {
		row("running", "unknown: its last boot did not succeed")
	} else if r == nil {
		row("running", "unknown")
	} else {
		row("running", "serial %d since %s, %s", r.Serial, observed.Minute(r.Since), by(r.Source, r.From))
		row("", "%s", r.versions())
		if r.Dev != "" {
			row("", "and of pomona dev: %s", r.Dev)
		}
	}
	for i, why := range f.Differs {
		name := "differs"
		if i > 0 {
			name = ""
		}
		row(name, "%s", why)
	}
	if len(f.Differs) == 0 {
		row("differs", "no: it runs what is published")
	}
	for _, h := range f.Holds {
		row("hold", "%s of %s: %s", h.Kind, h.Scope, h)
	}
	if f.Inhibit != "" {
		row("inhibit", "%s", f.Inhibit)
	}
	if r := f.Restart; r != nil {
		row("restart", "%s", r)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	f.reports(&b)
	_, err := b.WriteTo(w)
	return err
}

// String is a restart in a few words.
func (r Restart) String() string {
	s := fmt.Sprintf("%s: %s since %s", r.Need, r.State, observed.Minute(r.Since))
	if r.Wave > 0 && r.Group != "" {
		s += fmt.Sprintf(", wave %d of %s", r.Wave, r.Group)
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	if r.Paused != "" {
		s += "; all are paused: " + r.Paused
	}
	return s
}

func (f FEC) reports(b *bytes.Buffer) {
	if len(f.Reports) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nREPORTED\tSTATE\tSERIAL\tBY\tFROM\tDETAIL")
	for _, r := range f.Reports {
		detail := r.Detail
		if r.Preview > 0 {
			detail = joinWhy(fmt.Sprintf("preview %d", r.Preview), detail)
		}
		if r.Dev != "" {
			detail = joinWhy("dev "+r.Dev, detail)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", r.At.UTC().Format("2006-01-02 15:04:05 UTC"), observed.Printable(r.State), r.Serial, r.Source, r.From, observed.Printable(detail))
	}
	_ = t.Flush() // into memory
}

func generation(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", generation %d", n)
}

func by(source, from string) string {
	if from != "" {
		from = " from " + from
	}
	switch source {
	case observed.FromToken:
		return "proven by its token" + from
	case observed.FromSSH:
		return "proven over ssh"
	}
	return "as somebody reported" + from + ", not proven"
}
