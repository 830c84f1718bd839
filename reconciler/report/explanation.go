package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Explanation says what a path of a tree is and where it comes from.
type Explanation struct {
	Path   string   `json:"path"` // in the tree, or a CUE path
	What   string   `json:"what"`
	Commit string   `json:"commit"`
	Paths  []string `json:"paths,omitempty"` // of an object: all paths that lead to it
	// of what a FEC runs: what pilots put there
	Pilots  []PilotPin `json:"pilots,omitempty"`
	Sources []Source   `json:"sources"`
}

// Source is one line, file or folder of the repository, and who changed it last.
type Source struct {
	Role    string  `json:"role"`            // what it decides
	Path    string  `json:"path,omitempty"`  // CUE path; empty for a payload
	Value   string  `json:"value,omitempty"` // of a text, number or bool, as JSON
	File    string  `json:"file"`            // or folder; empty when nobody knows
	Line    int     `json:"line,omitempty"`
	Column  int     `json:"column,omitempty"`
	Text    string  `json:"text,omitempty"` // of the line
	Changed *Change `json:"changed"`        // null when nobody knows
	Why     string  `json:"why,omitempty"`  // nobody knows
}

// Change is the last commit that changed a line, file or folder.
type Change struct {
	Commit  string    `json:"commit"`
	Time    time.Time `json:"time"`
	Author  string    `json:"author"`
	Subject string    `json:"subject"`
	Pull    int       `json:"pull,omitempty"` // request that brought it, as the message of its merge says; 0: it says none
}

// Text writes three lines for each source: the value, the place, the commit.
func (e Explanation) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, at commit %s\n", observed.Printable(e.Path), observed.Printable(e.What), short(e.Commit))
	for _, p := range e.Paths {
		fmt.Fprintf(&b, "  leads here: %s\n", p)
	}
	for _, p := range e.Pilots {
		fmt.Fprintf(&b, "  pilot: %s\n", observed.Printable(p.String()))
	}
	for _, s := range e.Sources {
		fmt.Fprintf(&b, "  %s\n    %s\n    %s\n", observed.Printable(s.name()), s.place(), s.change())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Source) name() string {
	name := s.Role
	if s.Path != "" {
		name += "  " + s.Path
	}
	if s.Value != "" {
		name += ": " + s.Value
	}
	return name
}

func (s Source) place() string {
	if s.Line == 0 {
		return observed.Printable(s.File)
	}
	return fmt.Sprintf("%s:%d:%d  %s", observed.Printable(s.File), s.Line, s.Column, observed.Printable(strings.ReplaceAll(s.Text, "\t", " ")))
}

func (s Source) change() string {
	if s.Changed == nil {
		return "changed by: " + observed.Printable(s.Why)
	}
	c := s.Changed
	pull := ""
	if c.Pull > 0 {
		pull = fmt.Sprintf(" (pull request %d)", c.Pull)
	}
	return fmt.Sprintf("%s  %s  %s: %s%s", short(c.Commit), c.Time.UTC().Format("2006-01-02"), observed.Printable(c.Author), observed.Printable(c.Subject), pull)
}
