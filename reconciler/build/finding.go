package build

import (
	"fmt"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Finding is one thing wrong with a payload.
type Finding struct {
	Entry  string // name inside the payload; empty for the payload as a whole
	Text   string // what is wrong
	Advice string // what to do; may be empty
}

// String is the finding on one line.
func (f Finding) String() string {
	s := f.text()
	if f.Advice != "" {
		s += "; " + f.Advice
	}
	return s
}

func (f Finding) text() string {
	if f.Entry == "" {
		return f.Text
	}
	return fmt.Sprintf("%q: %s", f.Entry, f.Text)
}

// Findings are what is wrong with one payload, in its order.
type Findings []Finding

// maxFindings bounds what a hostile archive can make Pomona remember and print.
const maxFindings = 50

func (fs *Findings) add(entry, advice, format string, args ...any) {
	switch {
	case len(*fs) < maxFindings:
		*fs = append(*fs, Finding{Entry: entry, Text: fmt.Sprintf(format, args...), Advice: advice})
	case len(*fs) == maxFindings:
		*fs = append(*fs, Finding{Text: "there are more findings"})
	}
}

// Problems are the findings as problems of the value at a CUE path.
func (fs Findings) Problems(cuePath string) desired.Problems {
	var out desired.Problems
	for _, f := range fs {
		out = append(out, desired.Problem{Path: cuePath, Text: f.text(), Advice: f.Advice})
	}
	return out
}

// LintError says that a payload must not be published as it is: a person must change it, and no retry helps.
type LintError struct{ Findings Findings }

// Error lists the findings, separated by line breaks.
func (e *LintError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}
