package plan

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the plan for people: what will be published and pruned, and why.
func (p Plan) Text(w io.Writer) error {
	var b strings.Builder
	p.summary(&b)
	for _, x := range p.Refused {
		fmt.Fprintf(&b, "  REFUSED  %s\n", x)
	}
	for _, d := range p.Repair.Damage {
		fmt.Fprintf(&b, "  repair   %s %s\n", d.Path, d.What)
	}
	for _, x := range p.Builds {
		fmt.Fprintf(&b, "  build    %s: %s\n", x.What, x.Why)
	}
	if p.Publish != nil {
		for _, c := range p.Publish.Changes {
			fmt.Fprintf(&b, "  %-8s %s%s\n", c.What, c.Path, because(c.Why))
		}
	}
	for _, r := range p.Releases {
		if !r.Keep {
			fmt.Fprintf(&b, "  drop     software %s %s: %s\n", r.Software, r.Version, r.Reason)
		}
	}
	for _, g := range p.Prune.Generations {
		verb := "prune"
		if g.Keep {
			verb = "keep"
		}
		fmt.Fprintf(&b, "  %-8s generation %d (commit %s): %s\n", verb, g.Number, short(g.Commit), g.Reason)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Plan) summary(b *strings.Builder) {
	fmt.Fprintf(b, "site %s, commit %s: ", p.Site, short(p.Commit))
	if p.Publish == nil {
		b.WriteString("nothing to publish")
	} else {
		tally := map[string]int{}
		for _, c := range p.Publish.Changes {
			tally[c.What]++
		}
		fmt.Fprintf(b, "publish generation %d (%d added, %d changed, %d removed) because %s", p.Publish.Generation.Number,
			tally["added"], tally["changed"], tally["removed"], strings.Join(p.Publish.Reasons, "; "))
	}
	if n := len(p.Prune.Remove()); n > 0 {
		fmt.Fprintf(b, "; prune %s", count(n, "generation"))
	}
	b.WriteString("\n")
}

func because(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return ": " + strings.Join(why, ", ")
}
