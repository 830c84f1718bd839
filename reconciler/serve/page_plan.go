package serve

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/report"
)

// plansShown is what the page of pull requests shows.
type plansShown struct {
	Forge bool // pull requests are looked at
	Rows  leaf[report.Proposal]
}

func plansPage(r *http.Request, s *SeenSite) (shown, error) {
	all, err := s.Plans(r.Context())
	if err != nil {
		return shown{}, err
	}
	return shown{"plans", "pull requests", plansShown{all.Forge, leafOf(all.Proposals, r.URL.Query(), shownRows)}, all}, nil
}

// proposalShown is what the page of a pull request shows.
type proposalShown struct {
	report.Proposal
	site string
}

func planPage(r *http.Request, s *SeenSite) (shown, error) {
	p, err := s.Plan(r.Context(), r.PathValue("plan"))
	if err != nil {
		return shown{}, err
	}
	title := fmt.Sprintf("plan of pull request %d", p.Number)
	if p.Number == 0 {
		title = fmt.Sprintf("plan of commit %.12s", p.Head)
	}
	return shown{"plan", title, proposalShown{p, r.PathValue("site")}, p}, nil
}

// View is the plan; nil: there is none.
func (x proposalShown) View() *planShown {
	if x.Plan == nil {
		return nil
	}
	return &planShown{x.site, *x.Plan}
}

// PreviewLink says whether the address of the preview leads anywhere from here.
func (x proposalShown) PreviewLink() bool {
	return strings.HasPrefix(x.Preview.URL, "https://") || strings.HasPrefix(x.Preview.URL, "http://")
}
