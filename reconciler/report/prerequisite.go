package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// PrerequisiteNext is what keeps a prerequisite from being further, in a line.
func PrerequisiteNext(p plan.Prerequisite) string {
	g, ok := p.Next()
	if !ok {
		return "-"
	}
	return gateText(g)
}

func gateText(g plan.Gate) string {
	text := fmt.Sprintf("%s: %s", g.Name, g.Verdict)
	if g.Why != "" {
		text += ", " + strings.ReplaceAll(g.Why, "\n", "; ")
	}
	return text
}

// Prerequisite shows every gate of a prerequisite.
func Prerequisite(w io.Writer, p plan.Prerequisite) error {
	fmt.Fprintf(w, "%s %s: %s\nanswers for it: %s\ndigest: %s\n\n", p.Name, p.Recommended, p.State, cmp.Or(p.Responsible, "nobody knows"), p.Digest) // errors come with Flush
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FOR\tGATE\tVERDICT\tRECORD\tWHY")
	for _, g := range p.Gates {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", g.State, g.Name, g.Verdict, dash(strings.Join(g.Records, ", ")), dash(strings.ReplaceAll(g.Why, "\n", "; ")))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(p.Void) > 0 {
		if _, err := fmt.Fprintf(w, "\nvoid, since something else is rendered now: %s\n", strings.Join(p.Void, ", ")); err != nil {
			return err
		}
	}
	g, ok := p.Next()
	if !ok || g.Do == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nnext: %s\n", g.Do)
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
