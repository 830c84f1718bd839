package serve

import (
	"fmt"
	"html"
	"html/template"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// timeRow is a line of a drawing of times.
type timeRow struct {
	label, link string
	phases      []report.Phase
	events      []report.Event
}

// phaseClass is how a phase looks, beside its name.
func phaseClass(what string) string {
	switch what {
	case "queued", "running", "done", "cancelled":
		return what
	case "failed", "lost", "denied":
		return "failed"
	}
	return "kept"
}

// Sizes of a drawing of times.
const (
	barsWide, barsLabel, barsRow, barsHead = 1000, 190, 18, 24
	barsEnd                                = 90 // for the words behind the bars
	labelLength                            = 26
)

// timeBars draws what was when, a line each. What it says is in a table beside it, so that it is one picture.
func timeBars(title string, rows []timeRow) template.HTML {
	from, till := timeSpan(rows)
	if from.IsZero() {
		return ""
	}
	span := max(till.Sub(from), time.Second)
	x := func(t time.Time) float64 {
		return barsLabel + float64(t.Sub(from))/float64(span)*(barsWide-barsLabel-barsEnd)
	}
	esc := html.EscapeString
	height := barsHead + len(rows)*barsRow + 4
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="times" role="img" aria-label="%s" viewBox="0 0 %d %d" width="%d" height="%d"><title>%[1]s</title>`, esc(title), barsWide, height, barsWide, height)
	const ticks = 4
	for i := range ticks + 1 {
		at := from.Add(span * time.Duration(i) / ticks)
		fmt.Fprintf(&b, `<line class="tick" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tick" x="%.1f" y="12" text-anchor="middle">%s</text>`,
			x(at), x(at), barsHead-6, height, x(at), tickText(at, span))
	}
	for i, r := range rows {
		y := barsHead + i*barsRow
		label := []rune(r.label)
		if len(label) > labelLength {
			label = append(label[:labelLength-1], '…')
		}
		fmt.Fprintf(&b, `<g><title>%s</title><text x="0" y="%d">%s</text>`, esc(r.label), y+13, esc(string(label)))
		end, word := float64(barsLabel), ""
		for _, p := range r.phases {
			from, till := x(p.From), x(p.Till)
			fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s: %s, %s to %s</title></rect>`, phaseClass(p.What), from, y+2, max(2, till-from), barsRow-5,
				esc(r.label), esc(p.What), p.From.UTC().Format(time.DateTime), p.Till.UTC().Format(time.DateTime))
			end, word = max(end, till, from+2), p.What
		}
		for _, e := range r.events {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="2.5"><title>%s: %s %s</title></circle>`, x(e.At), y+barsRow/2, e.At.UTC().Format(time.DateTime), esc(e.State), esc(e.Detail))
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text></g>`, end+4, y+13, esc(word))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // each word in it is escaped
}

// timeSpan is from when to when there is something to draw.
func timeSpan(rows []timeRow) (from, till time.Time) {
	see := func(t time.Time) {
		if from.IsZero() || t.Before(from) {
			from = t
		}
		till = later(till, t)
	}
	for _, r := range rows {
		for _, p := range r.phases {
			see(p.From)
			see(p.Till)
		}
		for _, e := range r.events {
			see(e.At)
		}
	}
	return from, till
}

func tickText(t time.Time, span time.Duration) string {
	switch {
	case span > 7*24*time.Hour:
		return t.UTC().Format(time.DateOnly)
	case span > 10*time.Minute:
		return t.UTC().Format("01-02 15:04")
	}
	return t.UTC().Format(time.TimeOnly)
}

// histogram draws one: a bar for each tenth, with its number on it.
func histogram(title string, h report.Histogram) template.HTML {
	const bar, high, head, foot = 56, 120, 18, 20
	esc := html.EscapeString
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="histogram" role="img" aria-label="%s" viewBox="0 0 %d %d" width="%[2]d" height="%[3]d"><title>%[1]s</title>`, esc(title), bar*report.Bars, head+high+foot)
	for i, n := range h.Bars {
		tall := float64(high) * float64(n) / float64(h.Most())
		fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%d" height="%.1f"><title>%s: %d</title></rect><text x="%d" y="%.1f" text-anchor="middle">%d</text>`,
			i*bar+3, head+high-tall, bar-6, tall, h.Of(i), n, i*bar+bar/2, head+high-tall-4, n)
		of := fmt.Sprintf("%d%%", i*10)
		if i == report.Bars-1 {
			of = "≥100%"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, i*bar+bar/2, head+high+14, of)
	}
	fmt.Fprintf(&b, `<line x1="0" x2="%d" y1="%d" y2="%[2]d"/></svg>`, bar*report.Bars, head+high)
	return template.HTML(b.String()) // each word in it is escaped
}
