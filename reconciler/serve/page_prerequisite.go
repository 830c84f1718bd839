package serve

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// prerequisitesOnPage are as many as a page has.
const prerequisitesOnPage = 50

// prerequisitesShown is what the page of prerequisites shows: what the filter in the URL leaves of them.
type prerequisitesShown struct {
	report.Prerequisites
	System, State, Text string // filters
	States              []string
	Of                  int // without filters
	Leaf                leaf[report.PrerequisiteShown]
}

func prerequisitesPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Prerequisites(r.Context())
	if err != nil {
		return shown{}, err
	}
	q := r.URL.Query()
	x := prerequisitesShown{Prerequisites: all, System: q.Get("system"), State: q.Get("state"), Text: q.Get("q"), Of: len(all.All), States: plan.PrerequisiteStates}
	x.All = slices.DeleteFunc(slices.Clone(all.All), func(p report.PrerequisiteShown) bool { return !x.takes(p) })
	x.Leaf = leafOf(x.All, q, prerequisitesOnPage)
	return shown{"prerequisites", "prerequisites", x, x.Prerequisites}, nil
}

func (x prerequisitesShown) takes(p report.PrerequisiteShown) bool {
	return (x.System == "" || slices.ContainsFunc(p.Provided, func(v report.PrerequisiteProvided) bool { return v.System == x.System })) &&
		(x.State == "" || p.State == x.State) && (x.Text == "" || strings.Contains(p.Name, x.Text) || strings.Contains(p.Description, x.Text))
}

// Rows are what is shown of a prerequisite: what the system that is asked for gets, or all do.
func (x prerequisitesShown) Rows(p report.PrerequisiteShown) []report.PrerequisiteProvided {
	return slices.DeleteFunc(slices.Clone(p.Provided), func(v report.PrerequisiteProvided) bool { return x.System != "" && v.System != x.System })
}

// prerequisiteShown is what the page of one shows.
type prerequisiteShown struct{ report.PrerequisiteShown }

func prerequisitePage(r *http.Request, s *SeenSite) (shown, error) {
	p, err := s.Prerequisite(r.Context(), r.PathValue("name"))
	return shown{"prerequisite", r.PathValue("name"), prerequisiteShown{p}, p}, err
}

// First is the gate that must hold next; nil: all hold.
func (x prerequisiteShown) First() *plan.Gate {
	if g, ok := x.Prerequisite.Next(); ok {
		return &g
	}
	return nil
}
