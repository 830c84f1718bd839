package desired

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is something that a person must change in the site.
type Problem struct {
	File    string `json:"file"`             // in the repository
	Line    int    `json:"line"`             // from 1; 0 when unknown
	Column  int    `json:"column"`           // from 1, in bytes; 0 when unknown
	Path    string `json:"path,omitempty"`   // CUE path
	Text    string `json:"text"`             // what is wrong
	Advice  string `json:"advice,omitempty"` // what to do
	Warning bool   `json:"warning,omitempty"`
	Missing string `json:"-"` // the declaration that a reference does not find, for instance software.bpm
}

// String is the problem on one line: file:line:col: path: text; advice.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Advice != "" {
		b.WriteString("; " + p.Advice)
	}
	return b.String()
}

// Problems are all problems of one site; as an error, they say that a person must act and that no retry helps.
type Problems []Problem

// Error lists the problems, a line each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Sorted are the problems by file, line, column, path and text, each once.
func (ps Problems) Sorted() Problems {
	out := slices.Clone(ps)
	slices.SortFunc(out, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Advice, b.Advice))
	})
	return slices.Compact(out)
}

// Blocking are the problems that are not warnings.
func (ps Problems) Blocking() Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return p.Warning })
}

// Below puts problems whose paths lie below a value under the value's own path.
func (ps Problems) Below(path string) Problems {
	out := slices.Clone(ps)
	for i := range out {
		out[i].Path = path + "." + out[i].Path
	}
	return out
}

// WithoutEchoes leaves out problems that known ones cause: those at or below a path that has one already, and references
// to declarations that are there but have problems of their own. Broken names those; lost says that some declarations
// could not even be named, and then only references that are near a known word stay.
func (ps Problems) WithoutEchoes(known Problems, broken map[string]bool, lost bool) Problems {
	paths := map[string]bool{}
	for _, p := range known {
		paths[p.Path] = true
	}
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool {
		for at := p.Path; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
			if paths[at] {
				return true
			}
		}
		switch {
		case p.Missing == "":
			return false
		case broken[p.Missing], broken["site"] && strings.HasPrefix(p.Missing, "site."):
			return true
		}
		return lost && !strings.HasPrefix(p.Advice, "did you mean")
	})
}
