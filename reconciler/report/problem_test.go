package report_test

import (
	"strings"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

func TestAProblemIsShownInItsLines(t *testing.T) {
	text := "one\ntwo\n\tthreé: 4\r\nfour\nfive\n" + strings.Repeat("é", 400) + "\x1b[2Jsix\u202e"
	for name, c := range map[string]struct {
		line, column int
		want         string
	}{
		"in the middle":     {3, 2, "one|two|\t<t>hreé: 4|four|five"},
		"of several bytes":  {3, 6, "one|two|\tthre<é>: 4|four|five"},
		"in the first line": {1, 1, "<o>ne|two|\tthreé: 4"},
		"behind the line":   {2, 9, "one|two|\tthreé: 4|four"},
		"without a column":  {2, 0, "one|two|\tthreé: 4|four"},
		"in a long line":    {6, 500, "four|five|" + strings.Repeat("é", 150)},
		"beyond the file":   {90, 1, ""},
		"without a line":    {0, 0, ""},
	} {
		l := report.Locate(desired.Problem{File: "a.cue", Line: c.line, Column: c.column}, []byte(text))
		var got []string
		for _, s := range l.Source {
			p := s.Parts()
			if p.Marked != "" {
				p.Marked = "<" + p.Marked + ">"
			}
			got = append(got, p.Before+p.Marked+p.After)
			if s.Here != (s.Number == c.line) || p.Marked != "" && !s.Here {
				t.Errorf("%s: line %+v", name, s)
			}
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q, want %q", name, strings.Join(got, "|"), c.want)
		}
	}
	l := report.Locate(desired.Problem{File: "a.cue", Line: 1, Column: 3}, []byte("a\x1b\xff\u202eb\n"))
	if p := l.Source[0].Parts(); p.Before != "a�" || p.Marked != "�" || p.After != "�b" {
		t.Errorf("hostile: %q", p)
	}
}
