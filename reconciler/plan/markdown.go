package plan

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// MaxComment is what a comment of a pull request holds on GitHub, in characters.
const MaxComment = 65536

// Markdown writes the plan for a pull request in at most limit bytes: a summary first, the details folded. What does not
// fit is left out from the end, and the last line says so. Nothing that a repository names can act as markup, mention
// anybody, or link anywhere.
func (p Plan) Markdown(w io.Writer, limit int) error {
	page := page{limit: limit - noteRoom}
	page.b.WriteString(p.head())
	page.section("refused removals", "", mapped(p.Refused, func(x desired.Problem) string {
		return "> **Refused:** " + escape(x.String()) + "\n\n"
	}), "")
	page.list("blocked steps", "Blocked", mapped(p.Blocked, func(x Blocked) string { return escape(x.String()) }))
	page.list("pilots", "Pilots", mapped(p.Pilots, pilotLine))
	if len(p.Pilots) > 0 && p.PilotsFrom != "" {
		page.section("notes on pilots", "", []string{escape(strings.ToUpper(p.PilotsFrom[:1])+p.PilotsFrom[1:]) + ".\n\n"}, "")
	}
	groups := grouped(p.FECs)
	page.list("lines of FECs that change", "FECs", groupLines(groups))
	page.list("shared things", "Blast radius", mapped(p.Shared, sharedLine))
	page.list("shared folders", "Shared folders", mapped(p.folders(), changeLine))
	page.list("campaigns", "Campaigns", mapped(p.Campaigns, func(c CampaignChange) string { return code(c.Name) + " " + escape(c.Sentence()) }))
	page.list("repairs", "To repair", mapped(p.Repair.Damage, func(d observed.Damage) string { return code(d.Path) + " " + escape(d.What) }))
	page.list("artifacts", "To build", mapped(p.Builds, func(x Build) string {
		return code(x.What) + ", " + size(x.Size) + ": " + escape(x.Why)
	}))
	page.folded("generations and releases", "Pruned and kept", "", p.keepLines())
	page.folded("FECs", "Each FEC", "| FEC | host | groups | line | download |\n|---|---|---|---:|---:|\n", fecRows(groups))
	_, err := io.WriteString(w, page.b.String()+page.note())
	return err
}

// head is what is never left out.
func (p Plan) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Pomona plan for site %s\n\n**%s**\n\n", code(p.Site), escape(p.Summary()))
	against := ""
	if p.Base != "" {
		against = " against " + code(short(p.Base))
	}
	fmt.Fprintf(&b, "Commit %s%s", code(short(p.Commit)), against)
	if p.Publish != nil {
		fmt.Fprintf(&b, ", because %s", escape(strings.Join(p.Publish.Reasons, "; ")))
	}
	b.WriteString(".\n\n| | |\n|---|---:|\n")
	t := p.Totals
	for _, row := range []struct {
		what  string
		value string
		show  bool
	}{
		{"FECs removed", fmt.Sprint(t.Removed), true},
		{"FECs changed", fmt.Sprint(t.Changed), true},
		{"FECs added", fmt.Sprint(t.Added), true},
		{"reboots", fmt.Sprint(t.Reboots), true},
		{"restarts", fmt.Sprint(t.Restarts), true},
		{"to download" + p.fromServers(), size(t.Bytes), true},
		{"artifacts to build", fmt.Sprintf("%d, %s", t.Builds, size(t.BuildBytes)), true},
		{"repairs", fmt.Sprint(len(p.Repair.Damage)), len(p.Repair.Damage) > 0},
		{"generations to prune", fmt.Sprint(len(p.Prune.Remove())), p.Base == ""},
		{"objects to sweep", fmt.Sprintf("%d, %s", p.Prune.Swept.Objects, size(p.Prune.Swept.Bytes)), p.Prune.Sweep},
	} {
		if row.show {
			fmt.Fprintf(&b, "| %s | %s |\n", row.what, row.value)
		}
	}
	b.WriteString("\n")
	return b.String()
}

func groupLines(groups []group) []string {
	return mapped(groups, func(g group) string {
		who := code(g.fecs[0].Name)
		if len(g.fecs) > 1 {
			who = count(len(g.fecs), "FEC")
		}
		if g.why != "" {
			who += ", " + code(g.why)
		}
		return fmt.Sprintf("**%s** %s<br>%s", g.what, who, escape(strings.Join(g.details(), "; ")))
	})
}

func sharedLine(s Shared) string {
	return code(s.String()) + " touches " + escape(s.touches())
}

// pilotLine is a pilot with what leads to its change and what follows.
func pilotLine(c PilotChange) string {
	return strings.Join(append([]string{code(c.Name) + " " + escape(c.Sentence())}, mapped(c.Lines(), escape)...), "<br>")
}

func changeLine(c Change) string { return c.What + " " + code(c.Path) + escape(because(c.Why)) }

func (p Plan) keepLines() (out []string) {
	p.keeps(func(verb, what, why string) {
		out = append(out, fmt.Sprintf("- %s %s: %s\n", verb, code(what), escape(why)))
	})
	return out
}

// fecRows are a row for each FEC, with the number of its line.
func fecRows(groups []group) (rows []string) {
	for i, g := range groups {
		for _, f := range g.fecs {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %d | %s |\n", code(f.Name), code(f.Host), escape(strings.Join(f.Groups, ", ")), i+1, size(f.Bytes)))
		}
	}
	return rows
}

// noteRoom is kept free for the note that says what is left out.
const noteRoom = 800

type page struct {
	b     strings.Builder
	limit int
	out   []string // what is left out
}

// list is a title and numbered lines.
func (p *page) list(name, title string, lines []string) {
	for i, l := range lines {
		lines[i] = fmt.Sprintf("%d. %s\n", i+1, l)
	}
	p.section(name, "#### "+title+"\n\n", lines, "\n")
}

// folded are rows that open on a click.
func (p *page) folded(name, title, head string, rows []string) {
	p.section(name, "<details><summary>"+title+"</summary>\n\n"+head, rows, "\n</details>\n\n")
}

// section writes as many rows as there is room for.
func (p *page) section(name, head string, rows []string, tail string) {
	n, end := 0, p.b.Len()+len(head)+len(tail)
	for n < len(rows) && end+len(rows[n]) <= p.limit {
		end += len(rows[n])
		n++
	}
	if n > 0 {
		p.b.WriteString(head + strings.Join(rows[:n], "") + tail)
	}
	if n < len(rows) {
		p.out = append(p.out, fmt.Sprintf("%d of %d %s", len(rows)-n, len(rows), name))
	}
}

func (p *page) note() string {
	if len(p.out) == 0 {
		return ""
	}
	return "**Left out, for want of room in a comment:** " + strings.Join(p.out, "; ") + ". <code>pomona plan -o json</code> has everything.\n"
}

// code is text that stands for itself, whatever it holds.
func code(s string) string { return "<code>" + escape(s) + "</code>" }

// escape makes characters that mean something in markdown or HTML stand for themselves, also in a table. A mention and the
// number of an issue get a space without width, so that they call nobody and lead nowhere: GitHub looks for them in the
// finished page.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unicode.IsPrint(r):
			b.WriteRune(unicode.ReplacementChar)
		case r == '@', r == '#':
			fmt.Fprintf(&b, "&#%d;&#8203;", r)
		case strings.ContainsRune("&<>\"'`|*_[]~\\!$", r):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return links.Replace(b.String())
}

// links are what markdown of GitHub makes a link of without any brackets.
var links = strings.NewReplacer("www.", "www&#46;", "://", "&#58;//")

func mapped[T, U any](in []T, f func(T) U) []U {
	out := make([]U, len(in))
	for i, x := range in {
		out[i] = f(x)
	}
	return out
}

// Unplanned writes for a pull request why there is no plan of it, and the problems if that is why, in at most limit bytes.
func Unplanned(w io.Writer, site, why string, problems desired.Problems, limit int) error {
	page := page{limit: limit - noteRoom}
	fmt.Fprintf(&page.b, "### Pomona plan for site %s\n\n**%s**\n\n", code(site), escape(why))
	page.list("problems", "Problems", mapped(problems, func(p desired.Problem) string { return escape(p.String()) }))
	_, err := io.WriteString(w, page.b.String()+page.note())
	return err
}

// Escaped is text that stands for itself in a comment of a pull request.
func Escaped(s string) string { return escape(s) }
