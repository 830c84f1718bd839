package serve

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// fleetRows are as many FECs as one page lists of those that differ.
const fleetRows = 100

// fleetShown is what the page of a fleet shows: what the filter in the URL leaves of it.
type fleetShown struct {
	report.Fleet
	By                string
	Filter            report.FleetFilter
	Groups, Locations []string // of all FECs
	Sections          []report.FleetSection
	Conditions        []plan.Condition
	Rows              leaf[report.FleetFEC] // that differ
}

func fleetPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Fleet(r.Context())
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	filter, by := fleetFilter(q)
	only := all.Only(filter)
	x := fleetShown{Fleet: only, By: by, Filter: filter, Groups: all.Groups(), Locations: all.Locations(), Sections: only.Sections(by), Conditions: plan.Conditions,
		Rows: leafOf(only.Differing(), q, fleetRows)}
	return shown{"fleet", "fleet", x, only}, nil
}

func fleetFilter(q url.Values) (f report.FleetFilter, by string) {
	return report.FleetFilter{Condition: q.Get("condition"), Group: q.Get("group"), Location: q.Get("location"), Software: q.Get("software"),
		Version: q.Get("version"), Held: q.Get("held") != "", Otherwise: q.Get("otherwise") != "", Text: q.Get("q")}, cmp.Or(q.Get("by"), report.ByGroup)
}

// Sign is what a cell shows beside its colour.
func (fleetShown) Sign(c plan.Condition) string {
	return map[plan.Condition]string{plan.Fails: "!", plan.Stale: "~", plan.Silent: "?", plan.Boots: "…", plan.Runs: "·"}[c]
}

// Few says whether so few are shown that there is room for their names.
func (x fleetShown) Few() bool { return len(x.FECs) <= 100 }

// After is the part of the page after one.
func (fleetShown) After(part int) int { return part + 1 }

// First is the first that the page lists, from 1.
func (x fleetShown) First() int { return (x.Rows.Number-1)*fleetRows + 1 }

// Last is the last that it lists.
func (x fleetShown) Last() int { return x.First() + len(x.Rows.Items) - 1 }

// Cells are those of some FECs: written here, since a template takes ten times as long for thousands of them. Between locations, or groups,
// there is a gap.
func (x fleetShown) Cells(site string, fecs []report.FleetFEC) template.HTML {
	var b strings.Builder
	b.Grow(200 * len(fecs))
	esc := template.HTMLEscapeString // also quotes
	to, before := `" href="/`+esc(url.PathEscape(site))+`/fecs/`, ""
	for i, f := range fecs {
		place := f.Location
		if x.By == report.ByLocation {
			place = f.FirstGroup()
		}
		b.WriteString(`<a class="c `)
		b.WriteString(esc(string(f.Condition)))
		if f.Held != "" {
			b.WriteString(" held")
		}
		if f.Wanted != "" {
			b.WriteString(" otherwise")
		}
		if i > 0 && place != before {
			b.WriteString(" gap")
		}
		before = place
		name := esc(f.FEC)
		b.WriteString(to)
		b.WriteString(esc(url.PathEscape(f.FEC)))
		b.WriteString(`" title="`)
		b.WriteString(name)
		if place != "" {
			b.WriteString(", " + esc(place))
		}
		b.WriteString(": " + esc(string(f.Condition)))
		if f.Why != "" {
			b.WriteString(": " + esc(f.Why))
		}
		if f.Wanted != "" {
			b.WriteString("; wanted: " + esc(f.Wanted))
		}
		if f.Held != "" {
			b.WriteString("; held by " + esc(f.Held))
		}
		b.WriteString(`">`)
		b.WriteString(name)
		b.WriteString(" <b>")
		b.WriteString(x.Sign(f.Condition))
		b.WriteString("</b></a>")
	}
	return template.HTML(b.String()) // each word in it is escaped
}
