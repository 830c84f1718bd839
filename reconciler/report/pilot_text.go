package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// Text writes a line for each pilot.
func (p Pilots) Text(w io.Writer) error {
	var b bytes.Buffer
	if p.Trouble != "" {
		fmt.Fprintf(&b, "not known as it is now: %s\n", observed.Printable(p.Trouble))
	}
	if len(p.Pilots) == 0 {
		b.WriteString("no pilots\n")
		_, err := b.WriteTo(w)
		return err
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PILOT\tSCOPE\tSTATE\tSINCE\tOVERDUE\tNEXT")
	for _, each := range p.Pilots {
		since, overdue, next := "-", "-", "-"
		if !each.Since.IsZero() {
			since = observed.Minute(each.Since)
		}
		if each.Overdue > 0 && !each.Ended() {
			overdue = days(each.Overdue)
		}
		switch {
		case len(each.Next) > 0:
			next = each.Next[0].text()
			if more := len(each.Next) - 1; more > 0 {
				next += fmt.Sprintf(" (and %d more)", more)
			}
		case each.Ended():
		case each.Why != "":
			next = each.Why
		case len(each.Waits()) > 0:
			next = "waits: " + each.Waits()[0]
		default:
			next = cmp.Or(firstOpen(each.Gates), next)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", observed.Printable(each.Name), each.Scope, each.State, since, overdue, observed.Printable(next))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// text is one line: who must do what.
func (n PilotNext) text() string {
	who, do := strings.Join(n.Who, " or "), cmp.Or(n.Do, n.Why)
	return strings.Trim(who+": "+do, ": ")
}

// Text writes for people how far a pilot is, and why not further.
func (p Pilot) Text(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "pilot %s: %s", observed.Printable(p.Name), p.State)
	if !p.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", observed.Minute(p.Since))
	}
	if p.Overdue > 0 && !p.Ended() {
		fmt.Fprintf(&b, ", overdue for %s", days(p.Overdue))
	} else if !p.Due.IsZero() && !p.Ended() {
		fmt.Fprintf(&b, ", overdue from %s on", observed.Minute(p.Due))
	}
	b.WriteByte('\n')
	p.about(&b)
	for _, n := range p.Next {
		line := n.text()
		if n.Why != "" && n.Do != "" {
			line += " (" + n.Why + ")"
		}
		fmt.Fprintf(&b, "  %-11s %s\n", "next", observed.Printable(n.For+": "+line))
	}
	for _, w := range p.Waits() {
		fmt.Fprintf(&b, "  %-11s %s\n", "waits", observed.Printable(p.further()+": "+w))
	}
	if p.Ended() || p.State == plan.PilotHalted {
		fmt.Fprintf(&b, "  %-11s %s\n", "because", observed.Printable(cmp.Or(p.Why, "-")))
	}
	p.tables(&b)
	_, err := b.WriteTo(w)
	return err
}

// about writes what it is.
func (p Pilot) about(b *bytes.Buffer) {
	row := func(what, said string) {
		if said != "" {
			fmt.Fprintf(b, "  %-11s %s\n", what, observed.Printable(said))
		}
	}
	row("offers", p.Offers)
	row("description", p.Description)
	row("owner", p.Owner)
	if r := p.Roles; r != nil {
		row("coordinator", r.Coordinator)
		row("developer", r.Developer)
		row("authoriser", r.Authoriser)
		row("testers", strings.Join(r.Testers, ", "))
	}
	row("urgency", p.Urgency)
	row("ticket", p.Ticket)
	row("tracker", p.Tracker)
	row("expires", p.Expires)
	row("terms", p.Terms)
	row("subject", p.Subject)
	if p.Frozen != p.Subject {
		row("frozen", p.Frozen)
	}
	row("withheld", p.Place.Withheld)
}

// tables writes gates, waves, sites, updates, problems and criteria, as far as there are some.
func (p Pilot) tables(b *bytes.Buffer) {
	gates := []row{}
	for _, g := range p.Gates {
		gates = append(gates, row{g.State, g.Name, string(g.Verdict), g.Why})
	}
	table(b, "TO\tGATE\tVERDICT\tWHY", gates)
	waves := []row{}
	for _, v := range p.Waves {
		open := "closed"
		if v.Open {
			open = "open"
		}
		why := v.Why
		if ends := observed.Minute(v.SoakEnds); !v.SoakEnds.IsZero() && !strings.Contains(why, ends) {
			why = strings.Trim(why+"; soaks until "+observed.Minute(v.SoakEnds), "; ")
		}
		waves = append(waves, row{fmt.Sprint(v.Wave), open, string(v.Verdict), fmt.Sprintf("%d of %d", len(v.Running), len(v.Members)), fmt.Sprint(len(v.Failed)), hexOf(v.Subject), why})
	}
	table(b, "WAVE\tOPEN\tVERDICT\tRUNNING\tFAILED\tSUBJECT\tWHY", waves)
	sites := []row{}
	for _, s := range p.Sites {
		sites = append(sites, row{s.Site, fmt.Sprint(s.Wave), s.Answer, s.State, hexOf(s.Subject), resourcesText(s), string(s.Published)})
	}
	table(b, "SITE\tWAVE\tANSWER\tSTATE\tRUNS\tRESOURCES\tPUBLISHED", sites)
	updates := []row{}
	for _, u := range p.Updates {
		updates = append(updates, row{u.Name, u.Kind, u.State, hexOf(u.Subject), firstOpen(u.Gates)})
	}
	table(b, "UPDATE\tKIND\tSTATE\tSUBJECT\tWHY NOT FURTHER", updates)
	problems := []row{}
	for _, x := range p.Problems {
		problems = append(problems, row{x.Problem, x.Severity, x.Category, x.Status, cmp.Or(x.Site, x.By), observed.Minute(x.Opened), x.Text})
	}
	table(b, "PROBLEM\tSEVERITY\tCATEGORY\tSTATUS\tOF\tOPENED\tTEXT", problems)
	criteria := []row{}
	for _, c := range p.Criteria {
		criteria = append(criteria, row{c.Name, cmp.Or(c.Met, "nobody has said"), c.Description})
	}
	table(b, "CRITERION\tMET\tDESCRIPTION", criteria)
	void := []row{}
	for _, r := range p.Ignored() {
		void = append(void, row{r.Record, r.Kind, r.By, r.Ignored()})
	}
	table(b, "RECORD THAT DOES NOT COUNT\tKIND\tBY\tWHY", void)
	told := []row{}
	for _, x := range slices.Backward(p.Broadcasts) {
		if len(told) == mostTold {
			told = append(told, row{"", "", fmt.Sprintf("and %d before these", len(p.Broadcasts)-mostTold)})
			break
		}
		told = append(told, row{observed.Minute(x.At), string(x.Kind), x.Title})
	}
	table(b, "TOLD\tKIND\tWHAT", told)
}

const mostTold = 10 // broadcasts that people see

type row []string

// table writes rows below their heads, if there are some.
func table(b *bytes.Buffer, head string, rows []row) {
	if len(rows) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\n"+head)
	for _, r := range rows {
		for i := range r {
			r[i] = observed.Printable(cmp.Or(strings.TrimSpace(r[i]), "-"))
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	_ = t.Flush() // into memory
}

// hexOf is the beginning of a subject.
func hexOf(subject string) string {
	hex := strings.TrimPrefix(subject, "sha256:")
	return hex[:min(12, len(hex))]
}

func resourcesText(s plan.SiteNow) string {
	r := s.Resources
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%d nodes, %d cores, %d GiB, %g TiB", r.Nodes, r.Cores, r.MemoryGiB, r.StorageTiB)
}

// firstOpen is why the first gate that says so does not let something through.
func firstOpen(gates []plan.Gate) string {
	for _, g := range gates {
		if !g.Verdict.Holds() && g.Verdict != plan.GateWaiting {
			return g.Name + " " + string(g.Verdict) + ": " + g.Why
		}
	}
	return ""
}
