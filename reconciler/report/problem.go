package report

import (
	"strings"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Located is a problem, and the lines of the commit's file around it.
type Located struct {
	desired.Problem
	Source []SourceLine `json:"source,omitempty"` // none: the file cannot be read any more
}

// SourceLine is a line of a file.
type SourceLine struct {
	Number int    `json:"line"`
	Text   string `json:"text"`
	Mark   int    `json:"mark,omitempty"` // where the problem is: the byte in Text, from 1; 0: not in this line, or nobody knows where
	Here   bool   `json:"here,omitempty"` // the problem is in this line
}

// How much of a file is shown with a problem.
const (
	around  = 2   // lines before and after it
	maxLine = 300 // bytes of a line
)

// Locate shows where in a file a problem is.
func Locate(p desired.Problem, text []byte) Located {
	out := Located{Problem: p}
	number := 0
	for line := range strings.Lines(string(text)) {
		if number++; number < p.Line-around || p.Line == 0 {
			continue
		}
		if number > p.Line+around {
			break
		}
		out.Source = append(out.Source, sourceLine(number, strings.TrimRight(line, "\r\n"), p))
	}
	return out
}

func sourceLine(number int, text string, p desired.Problem) SourceLine {
	l := SourceLine{Number: number, Here: number == p.Line}
	at := p.Column - 1
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	if !l.Here || at < 0 || at >= len(text) {
		l.Text = visible(text)
		return l
	}
	before := visible(text[:at])
	l.Text, l.Mark = before+visible(text[at:]), len(before)+1
	return l
}

// visible is a text without what would steer a terminal or turn its words round.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// Parts are what is before the mark, what is marked, and what is after it.
func (l SourceLine) Parts() (p struct{ Before, Marked, After string }) {
	if l.Mark == 0 || l.Mark > len(l.Text) {
		p.Before = l.Text
		return p
	}
	p.Before, p.After = l.Text[:l.Mark-1], l.Text[l.Mark-1:]
	for i := range p.After {
		if i > 0 {
			p.Marked, p.After = p.After[:i], p.After[i:]
			return p
		}
	}
	p.Marked, p.After = p.After, ""
	return p
}
