package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// timeForms are how people write a time: as JSON has it, or as a form for a local time sends it, which is UTC here as everywhere.
var timeForms = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly}

// ReadTime reads a time of a URL or of a command; zero for an empty one. A zone may have a space before it: that is what becomes of a + in a URL.
func ReadTime(s string) (time.Time, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), " UTC")
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1)); err == nil {
		return t.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("malformed time %q: want for instance 2026-11-22T14:25, which is UTC, or 2026-11-22T15:25:00+01:00", s)
}

// FECAside is a FEC as it was, or beside another.
type FECAside struct {
	FEC
	Then    *FECThen   `json:"then,omitempty"`
	Beside  *FECBeside `json:"beside,omitempty"`
	Trouble []string   `json:"trouble,omitempty"` // what is not known, and why
}

// Text writes what was then and what is beside it for people: of what is now, FEC's tells.
func (x FECAside) Text(w io.Writer) error {
	var b bytes.Buffer
	if x.Then != nil {
		x.Then.text(&b, x.Name)
	}
	if x.Beside != nil {
		if x.Then != nil {
			b.WriteString("\nas both are now:\n")
		}
		x.Beside.text(&b, x.Name)
	}
	for _, why := range x.Trouble {
		fmt.Fprintf(&b, "not known: %s\n", observed.Printable(why))
	}
	_, err := b.WriteTo(w)
	return err
}

func (t FECThen) text(b *bytes.Buffer, name string) {
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, observed.Printable(fmt.Sprintf(format, args...)))
	}
	row("fec", "%s at %s UTC", name, t.At.UTC().Format(time.DateTime))
	if t.Wanted != "" {
		row("wanted", "commit %s, as the pass that ended at %s found it: %s", orNone(t.Wanted), observed.Minute(t.Pass.Ended), because(t.Pass.Outcome, t.Pass.Reason))
	}
	if r := t.Published; r != nil {
		row("published", "serial %d since %s, commit %s%s", r.Serial, observed.Minute(r.Since), orNone(r.Commit), generation(r.Generation))
		row("", "%s", r.versions())
	} else {
		row("published", "nothing that is known")
	}
	if r := t.Running; r != nil {
		row("running", "serial %d, as it said at %s, %s", r.Serial, observed.Minute(r.Since), by(r.Source, r.From))
		row("", "%s", r.versions())
	}
	if r := t.Said; r != nil {
		row("said last", "%s", because(fmt.Sprintf("%s with serial %d at %s UTC", r.State, r.Serial, r.At.UTC().Format(time.DateTime)), r.Detail))
	}
	for _, h := range t.Holds {
		row("hold", "%s of %s: %s", h.Kind, h.Scope, h)
	}
	for _, why := range t.Unknown {
		row("not known", "%s", why)
	}
	_ = tw.Flush() // into memory
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func (x FECBeside) text(b *bytes.Buffer, name string) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "DIFFERS\t%s\t%s\n", observed.Printable(name), observed.Printable(x.Name))
	or := func(text string) string {
		if text == "" {
			return "-"
		}
		return observed.Printable(text)
	}
	for _, row := range x.Rows {
		if !row.Same {
			fmt.Fprintf(t, "%s\t%s\t%s\n", observed.Printable(row.Name), or(row.One), or(row.Other))
		}
	}
	_ = t.Flush() // into memory
	fmt.Fprintf(b, "%d of %d facts differ\n", x.Differ, len(x.Rows))
}
