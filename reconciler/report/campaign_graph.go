package report

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// sliceColours are those of a stage's bar.
var sliceColours = map[observed.SliceState]string{
	observed.SliceComplete: "#2e7d32", observed.SlicePartial: "#f9a825", observed.SliceFailed: "#c62828", observed.SliceCancelled: "#757575", observed.SliceLate: "#e65100",
	observed.SliceAwaiting: "#6a1b9a", observed.SliceVerifying: "#00838f", observed.SliceUnderway: "#1565c0", observed.SlicePlanned: "#b0bec5",
}

// DOT writes the stages of a campaign and what they need of each other as Graphviz has it.
func (c Campaign) DOT(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "digraph %s {\n\trankdir=LR\n\tlabel=%s\n\tnode [shape=box, style=rounded, fontname=\"sans-serif\"]\n", dotText(c.UID), dotText(c.title()))
	for _, s := range c.Stages {
		fmt.Fprintf(&b, "\t%s [label=%s, color=%s]\n", dotText(s.Name), dotText(strings.Join(s.lines(), "\n")), dotText(s.colour()))
	}
	for _, s := range c.Stages {
		for _, from := range c.needed(s) {
			fmt.Fprintf(&b, "\t%s -> %s\n", dotText(from), dotText(s.Name))
		}
	}
	b.WriteString("}\n")
	_, err := b.WriteTo(w)
	return err
}

// dotText is a quoted text; in Graphviz's, backslashes begin escapes.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// title is what a drawing says of the campaign itself.
func (c Campaign) title() string {
	s := c.UID + ": " + c.State
	if len(c.Why) > 0 {
		s += ": " + observed.Printable(c.Why[0])
	}
	return s
}

// needed are the stages that one needs, as far as the campaign has them.
func (c Campaign) needed(s Stage) (names []string) {
	for _, name := range s.Needs {
		if slices.ContainsFunc(c.Stages, func(other Stage) bool { return other.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// lines are what a drawing says of a stage.
func (s Stage) lines() []string {
	lines := []string{s.Name, s.Type + ": " + s.State}
	counts := strings.Split(tally(s.Slices, sliceStates), ", ")
	for some := range slices.Chunk(counts, 2) {
		lines = append(lines, cmp.Or(strings.Join(some, ", "), "no slices"))
	}
	return lines
}

// colour is that of the state that most wants somebody to look, or of the furthest.
func (s Stage) colour() string {
	for _, state := range []observed.SliceState{observed.SliceFailed, observed.SliceLate, observed.SlicePartial, observed.SliceAwaiting, observed.SliceUnderway, observed.SliceVerifying,
		observed.SlicePlanned, observed.SliceComplete} {
		if s.Slices[state] > 0 {
			return sliceColours[state]
		}
	}
	return sliceColours[observed.SlicePlanned]
}

// Sizes of a drawing, in pixels.
const (
	boxWidth, lineHeight = 210, 17
	columnGap, rowGap    = 70, 22
	margin, headHeight   = 20, 40
	characters           = 28 // that fit into a box
	headLine             = 20
	headCharacter        = 8.5 // of the heading: few are wider
)

// node is a stage in a drawing or, without one, a place where a long edge passes.
type node struct {
	stage        *Stage
	column       int
	x, y, height float64
	from         []*node // of the column before
}

// middle is where edges begin and end.
func (n *node) middle() float64 { return n.y + n.height/2 }

// SVG draws the stages of a campaign and what they need of each other, providers first, with the share of each state.
func (c Campaign) SVG(w io.Writer) error { return c.Draw(w, nil) }

// Draw is SVG for a page, where each stage leads somewhere: link gives the address; nil: a picture for itself.
func (c Campaign) Draw(w io.Writer, link func(stage string) string) error {
	columns := c.columns()
	width, height := place(columns)
	head := wrapped(observed.Printable(c.title()), int((width-2*margin)/headCharacter))
	down := float64((len(head) - 1) * headLine)
	height += down
	var b bytes.Buffer
	role := "img"
	if link != nil { // nothing in a picture can be followed
		role = "group"
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="%s" aria-label="%s" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n",
		role, xmlText("stages of "+c.title()), width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n", xmlText(c.title()))
	for i, line := range head {
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" font-size=\"15\" fill=\"#212121\">%s</text>\n", margin, margin+8+i*headLine, xmlText(line))
	}
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#616161"/></marker></defs>` + "\n")
	for _, column := range columns {
		for _, n := range column {
			n.y += down
		}
	}
	for _, column := range columns {
		for _, n := range column {
			if n.stage != nil {
				drawEdges(&b, n)
				drawLinked(&b, n, link)
			}
		}
	}
	legend(&b, height)
	b.WriteString("</svg>\n")
	_, err := b.WriteTo(w)
	return err
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(observed.Printable(s))) // into memory
	return b.String()
}

// wrapped are the lines of a text of at most so many characters each, between words where there are any.
func wrapped(text string, most int) (lines []string) {
	rest := []rune(text)
	for len(rest) > most {
		cut, next := most, most
		for i := most; i > 0; i-- {
			if rest[i] == ' ' {
				cut, next = i, i+1
				break
			}
		}
		lines, rest = append(lines, string(rest[:cut])), rest[next:]
	}
	return append(lines, string(rest))
}

// columns puts each stage behind all that it needs, with places between where edges pass over columns, in an order with few crossings.
func (c Campaign) columns() [][]*node {
	byName := map[string]*node{}
	for i := range c.Stages {
		s := &c.Stages[i]
		byName[s.Name] = &node{stage: s, height: float64(len(s.lines())*lineHeight + 26)}
	}
	for range c.Stages { // a circle, which only a loop may be, ends so too
		moved := false
		for _, s := range c.Stages {
			for _, from := range c.needed(s) {
				if n := byName[s.Name]; n.column <= byName[from].column && n.column < len(c.Stages)-1 && from != s.Name {
					n.column, moved = byName[from].column+1, true
				}
			}
		}
		if !moved {
			break
		}
	}
	var columns [][]*node
	add := func(n *node) {
		for len(columns) <= n.column {
			columns = append(columns, nil)
		}
		columns[n.column] = append(columns[n.column], n)
	}
	for _, s := range c.Stages {
		add(byName[s.Name])
	}
	for _, s := range c.Stages {
		for _, from := range c.needed(s) {
			last := byName[from]
			for column := last.column + 1; column < byName[s.Name].column; column++ {
				pass := &node{column: column, height: lineHeight, from: []*node{last}}
				add(pass)
				last = pass
			}
			byName[s.Name].from = append(byName[s.Name].from, last)
		}
	}
	for i := range columns {
		order(columns[i])
	}
	return columns
}

// order sorts a column by the middle of what its members need, as far as the column before is placed.
func order(column []*node) {
	y := 0.0
	for _, n := range column {
		for _, from := range n.from {
			n.y += from.y / float64(len(n.from))
		}
	}
	slices.SortStableFunc(column, func(a, b *node) int { return cmp.Compare(a.y, b.y) })
	for _, n := range column {
		n.y = y
		y += n.height + rowGap
	}
}

// place gives each node its coordinates, columns centred, and returns the size of the drawing.
func place(columns [][]*node) (width, height float64) {
	tallest := 0.0
	heights := make([]float64, len(columns))
	for i, column := range columns {
		for _, n := range column {
			heights[i] = max(heights[i], n.y+n.height)
		}
		tallest = max(tallest, heights[i])
	}
	for i, column := range columns {
		for _, n := range column {
			n.x = margin + float64(i)*(boxWidth+columnGap)
			n.y += margin + headHeight + (tallest-heights[i])/2
		}
	}
	width = max(2*margin+float64(len(columns))*(boxWidth+columnGap)-columnGap, 2*margin+float64(len(sliceStates))*90)
	return width, tallest + 2*margin + headHeight + 40
}

// drawEdges draws the lines that end at a stage, back to where each begins.
func drawEdges(b *bytes.Buffer, n *node) {
	for _, from := range n.from {
		path := fmt.Sprintf("%.0f %.0f", n.x, n.middle())
		for at, ahead := from, n; ; {
			right := at.x + boxWidth
			path = fmt.Sprintf("%.0f %.0fC%.0f %.0f %.0f %.0f %s", right, at.middle(), right+columnGap/2, at.middle(), ahead.x-columnGap/2, ahead.middle(), path)
			if at.stage != nil {
				break
			}
			path = fmt.Sprintf("%.0f %.0fL%s", at.x, at.middle(), path)
			at, ahead = at.from[0], at
		}
		fmt.Fprintf(b, "<path d=\"M%s\" fill=\"none\" stroke=\"#616161\" marker-end=\"url(#arrow)\"/>\n", path)
	}
}

// drawLinked draws a stage, which leads to a page if there is one.
func drawLinked(b *bytes.Buffer, n *node, link func(stage string) string) {
	if link == nil {
		drawStage(b, n)
		return
	}
	fmt.Fprintf(b, "<a href=\"%s\">", xmlText(link(n.stage.Name)))
	drawStage(b, n)
	b.WriteString("</a>\n")
}

func drawStage(b *bytes.Buffer, n *node) {
	s := n.stage
	fmt.Fprintf(b, "<g><title>%s</title>\n<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%.0f\" rx=\"6\" fill=\"#fafafa\" stroke=\"%s\" stroke-width=\"2\"/>\n",
		xmlText(cmp.Or(s.Why, s.Detail, s.Name)), n.x, n.y, boxWidth, n.height, s.colour())
	for i, line := range s.lines() {
		weight := ""
		if i == 0 {
			weight = ` font-weight="bold"`
		}
		if runes := []rune(line); len(runes) > characters {
			line = string(runes[:characters-1]) + "…"
		}
		fmt.Fprintf(b, "<text x=\"%.0f\" y=\"%.0f\" fill=\"#212121\"%s>%s</text>\n", n.x+10, n.y+float64((i+1)*lineHeight)+2, weight, xmlText(line))
	}
	drawBar(b, s.Slices, n.x+10, n.y+n.height-14, boxWidth-20)
	b.WriteString("</g>\n")
}

// drawBar draws the share of each state.
func drawBar(b *bytes.Buffer, counts map[observed.SliceState]int, x, y, width float64) {
	total := 0
	for n := range maps.Values(counts) {
		total += n
	}
	if total == 0 {
		fmt.Fprintf(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"6\" fill=\"#eceff1\"/>\n", x, y, width)
		return
	}
	for _, state := range sliceStates {
		if n := counts[state]; n > 0 {
			part := width * float64(n) / float64(total)
			fmt.Fprintf(b, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"6\" fill=\"%s\"><title>%d %s</title></rect>\n", x, y, part, sliceColours[state], n, state)
			x += part
		}
	}
}

// legend says which colour is which state.
func legend(b *bytes.Buffer, height float64) {
	for i, state := range sliceStates {
		x := margin + i*90
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"%.0f\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%.0f\" fill=\"#424242\">%s</text>\n", x, height-margin-9, sliceColours[state], x+14, height-margin, state)
	}
}
