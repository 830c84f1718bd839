package serve

import (
	"cmp"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// fleetShown is what the page of a fleet shows: what the filter in the URL leaves of it.
type fleetShown struct {
	report.Fleet
	By                string
	Filter            report.FleetFilter
	Groups, Locations []string // of all FECs
	Sections          []report.FleetSection
	Conditions        []plan.Condition
}

func fleetPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Fleet(r.Context())
	if err != nil {
		return shown{}, err
	}
	filter, by := fleetFilter(r.URL.Query())
	only := all.Only(filter)
	x := fleetShown{Fleet: only, By: by, Filter: filter, Groups: all.Groups(), Locations: all.Locations(), Sections: only.Sections(by), Conditions: plan.Conditions}
	return shown{"fleet", "fleet", x, only}, nil
}

func fleetFilter(q url.Values) (f report.FleetFilter, by string) {
	return report.FleetFilter{Condition: q.Get("condition"), Group: q.Get("group"), Location: q.Get("location"), Software: q.Get("software"),
		Version: q.Get("version"), Held: q.Get("held") != "", Text: q.Get("q")}, cmp.Or(q.Get("by"), report.ByGroup)
}

// Sign is what a cell shows beside its colour.
func (fleetShown) Sign(c plan.Condition) string {
	return map[plan.Condition]string{plan.Fails: "!", plan.Stale: "~", plan.Silent: "?", plan.Boots: "…", plan.Runs: "·"}[c]
}

// Few says whether so few are shown that there is room for their names.
func (x fleetShown) Few() bool { return len(x.FECs) <= 100 }

// Cells are those of some FECs: written here, since a template takes ten times as long for thousands of them.
func (x fleetShown) Cells(site string, fecs []report.FleetFEC) template.HTML {
	var b strings.Builder
	esc := html.EscapeString // also quotes
	for _, f := range fecs {
		b.WriteString(`<a class="c ` + esc(string(f.Condition)))
		if f.Held != "" {
			b.WriteString(" held")
		}
		b.WriteString(`" href="/` + esc(url.PathEscape(site)) + `/fecs/` + esc(url.PathEscape(f.FEC)) + `" title="` + esc(f.FEC) + ": " + esc(string(f.Condition)))
		if f.Why != "" {
			b.WriteString(": " + esc(f.Why))
		}
		if f.Held != "" {
			b.WriteString("; held by " + esc(f.Held))
		}
		b.WriteString(`">`)
		if x.Few() {
			b.WriteString(esc(f.FEC) + " ")
		}
		b.WriteString(x.Sign(f.Condition) + "</a>")
	}
	return template.HTML(b.String()) // each word in it is escaped
}

// Listed says whether those that do not run what is published are so few that they are told of one by one.
func (x fleetShown) Listed() bool { return x.Few() && x.Count[plan.Runs] < len(x.FECs) }
