package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Text writes the plan for people: a summary on the first line, then what will change and why, what goes away first.
func (p Plan) Text(w io.Writer) error {
	var b strings.Builder
	if p.Site == "" {
		fmt.Fprintf(&b, "nothing is published yet: %s\n", p.Summary())
	} else {
		fmt.Fprintf(&b, "site %s, commit %s%s: %s\n", p.Site, short(p.Commit), p.against(), p.Summary())
	}
	if p.Publish != nil {
		fmt.Fprintf(&b, "  because %s\n", strings.Join(p.Publish.Reasons, "; "))
	}
	for _, x := range p.Refused {
		line(&b, "REFUSED", x.String())
	}
	for _, s := range p.Blocked {
		line(&b, "blocked", s.String())
	}
	for _, d := range p.Repair.Damage {
		line(&b, "repair", d.Path+" "+d.What)
	}
	p.pilots(&b)
	for _, g := range grouped(p.FECs) {
		g.text(&b)
	}
	for _, s := range p.Shared {
		line(&b, "shared", s.String()+" touches "+s.touches())
	}
	for _, c := range p.folders() {
		line(&b, c.What, c.Path+because(c.Why))
	}
	for _, c := range p.Campaigns {
		line(&b, "campaign", c.String())
	}
	for i, x := range p.Builds {
		if i == manyBuilds {
			line(&b, "build", fmt.Sprintf("and %d more", len(p.Builds)-i))
			break
		}
		line(&b, "build", fmt.Sprintf("%s, %s: %s", x.What, size(x.Size), x.Why))
	}
	p.keeps(func(verb, what, why string) { line(&b, verb, what+": "+why) })
	_, err := io.WriteString(w, printable(b.String()))
	return err
}

// pilots are what becomes of pilots, and by what that was judged.
func (p Plan) pilots(b *strings.Builder) {
	for _, c := range p.Pilots {
		line(b, "pilot", c.String())
		for _, l := range c.Lines() {
			line(b, "", l)
		}
	}
	if len(p.Pilots) > 0 && p.PilotsFrom != "" {
		line(b, "note", p.PilotsFrom)
	}
}

// manyBuilds are as many as people read; JSON has all.
const manyBuilds = 20

// folders are the changes without links: each follows from a FEC that comes, goes or gets another host.
func (p Plan) folders() []Change {
	return slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool {
		return strings.HasPrefix(c.Path, "fecs/") && c.Path != globalFolder
	})
}

// line is one line, whatever the text holds: the name of a file may have line breaks.
func line(b *strings.Builder, verb, text string) {
	fmt.Fprintf(b, "  %-8s %s\n", verb, strings.ReplaceAll(text, "\n", string(unicode.ReplacementChar)))
}

func (g group) text(b *strings.Builder) {
	who := g.fecs[0].Name
	if len(g.fecs) > 1 {
		who = count(len(g.fecs), "FEC")
	}
	why := g.why
	if why != "" {
		why = ": " + why
	}
	line(b, g.what, who+why)
	line(b, "", strings.Join(g.details(), "; "))
}

// details are who the FECs are, and what the change costs them.
func (g group) details() (out []string) {
	if len(g.fecs) > 1 {
		out = append(out, desired.Few(g.names()))
	} else if g.fecs[0].Host != g.fecs[0].Name {
		out = append(out, "host "+g.fecs[0].Host)
	}
	if groups := g.groups(); len(groups) > 0 {
		out = append(out, "in "+memberships(groups))
	}
	out = append(out, g.needs)
	if d := g.download(); d != "" {
		out = append(out, d)
	}
	return out
}

// Summary is the plan in one line.
func (p Plan) Summary() string {
	t := p.Totals
	var parts []string
	if p.Publish != nil {
		parts = append(parts, "publish generation "+number(p.Publish.Generation.Number))
	} else if p.Base == "" {
		parts = append(parts, "nothing to publish")
	}
	if n := len(p.Refused); n > 0 {
		parts = append(parts, count(n, "removal")+" refused")
	}
	if n := len(p.Blocked); n > 0 {
		parts = append(parts, count(n, "step")+" blocked")
	}
	if len(p.FECs) > 0 {
		parts = append(parts, p.fecSummary())
	} else if len(p.Changes) > 0 {
		parts = append(parts, "no FEC changes")
	}
	if n := len(p.Pilots); n > 0 {
		parts = append(parts, count(n, "pilot")+" changed")
	}
	if n := len(p.Campaigns); n > 0 {
		parts = append(parts, count(n, "campaign")+" changed")
	}
	for _, c := range []struct {
		n    int
		noun string
	}{{t.Reboots, "reboot"}, {t.Restarts, "restart"}} {
		if c.n > 0 {
			parts = append(parts, count(c.n, c.noun))
		}
	}
	if t.Bytes > 0 {
		parts = append(parts, size(t.Bytes)+" to download"+p.fromServers())
	}
	if t.Builds > 0 {
		parts = append(parts, fmt.Sprintf("%s to build, %s", count(t.Builds, "artifact"), size(t.BuildBytes)))
	}
	if n := len(p.Repair.Damage); n > 0 {
		parts = append(parts, count(n, "repair"))
	}
	if n := len(p.Prune.Remove()); n > 0 {
		parts = append(parts, "prune "+count(n, "generation"))
	}
	if s := p.Prune.Swept; s.Objects > 0 {
		parts = append(parts, fmt.Sprintf("sweep %s, %s", count(s.Objects, "object"), size(s.Bytes)))
	}
	if len(parts) == 0 {
		return "nothing changes"
	}
	return strings.Join(parts, "; ")
}

func (p Plan) fecSummary() string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{p.Totals.Removed, Removed}, {p.Totals.Changed, Changed}, {p.Totals.Added, Added}} {
		if c.n == 0 {
			continue
		}
		if len(parts) == 0 {
			parts = append(parts, count(c.n, "FEC")+" "+c.what)
			continue
		}
		parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
	}
	return strings.Join(parts, ", ")
}

func (p Plan) fromServers() string {
	if n := len(p.Totals.Servers); n > 1 {
		return fmt.Sprintf(" from %d servers", n)
	}
	return ""
}

func (p Plan) against() string {
	if p.Base == "" {
		return ""
	}
	return " against " + short(p.Base)
}

// keeps says of each generation, and of each release of a software of which one is not served, whether it stays, and why.
// What goes comes first.
func (p Plan) keeps(say func(verb, what, why string)) {
	partly := map[string]bool{}
	for _, r := range p.Releases {
		partly[r.Software] = partly[r.Software] || !r.Keep
	}
	for _, keep := range []bool{false, true} {
		for _, r := range p.Releases {
			if r.Keep == keep && partly[r.Software] {
				say(verb(keep, "drop"), "software "+r.Software+" "+r.Version, r.Reason)
			}
		}
		for _, g := range p.Prune.Generations {
			if g.Keep == keep {
				say(verb(keep, "prune"), fmt.Sprintf("generation %d (commit %s)", g.Number, short(g.Commit)), g.Reason)
			}
		}
	}
}

func verb(keep bool, otherwise string) string {
	if keep {
		return "keep"
	}
	return otherwise
}

func because(why []string) string {
	if len(why) == 0 {
		return ""
	}
	return ": " + strings.Join(why, ", ")
}

// printable takes from a text what would steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
