package serve

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// passesShown is what the page of a timeline shows.
type passesShown struct {
	report.Passes
	Outcomes []string
	Turn     turn
}

func passesPage(r *http.Request, s *SeenSite) (shown, error) {
	q := r.URL.Query()
	all, err := s.Passes(r.Context(), q.Get("outcome"), numberIn(q, "page"))
	x := passesShown{all, []string{observed.Published, observed.Unchanged, observed.Invalid, observed.Failed}, turnOf("page", q, all.Page, all.Of, report.PassesOnPage)}
	return shown{"passes", "passes", x, all}, err
}

// Bar shows the stages of a pass beside those of the longest pass of the page.
func (x passesShown) Bar(p observed.Pass) bar {
	longest := time.Duration(1)
	for _, o := range x.Passes.Passes {
		longest = max(longest, total(o.Stages))
	}
	return barOf(p.Stages, longest)
}

// bar is how long stages took, as an image and in words.
type bar struct {
	Parts []barPart
	Width float64
}

type barPart struct {
	Name, Text string
	X, Width   float64 // of barWidth
}

const barWidth = 200

func total(stages []observed.Stage) (all time.Duration) {
	for _, s := range stages {
		all += s.Took
	}
	return all
}

func barOf(stages []observed.Stage, whole time.Duration) bar {
	b := bar{Width: barWidth}
	at := time.Duration(0)
	scaled := func(d time.Duration) float64 { return float64(d) * barWidth / float64(max(whole, 1)) }
	for _, s := range stages {
		b.Parts = append(b.Parts, barPart{s.Name, tookText(s.Took), scaled(at), scaled(s.Took)})
		at += s.Took
	}
	return b
}

// Text says the same in words.
func (b bar) Text() string {
	words := make([]string, len(b.Parts))
	for i, p := range b.Parts {
		words[i] = p.Name + " " + p.Text
	}
	return strings.Join(words, ", ")
}

// tookText is a duration as people read it.
func tookText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Took is how long a pass took, for people.
func (passesShown) Took(p observed.Pass) string { return tookText(p.Took()) }

// passShown is what the page of a pass shows.
type passShown struct {
	report.Pass
	site string
}

func passPage(r *http.Request, s *SeenSite) (shown, error) {
	p, err := s.Pass(r.Context(), r.PathValue("pass"))
	return shown{"pass", fmt.Sprintf("pass %d", p.Number), passShown{p, r.PathValue("site")}, p}, err
}

// Took is how long it took, for people.
func (x passShown) Took() string { return tookText(x.Pass.Took()) }

// Bar shows its stages.
func (x passShown) Bar() bar { return barOf(x.Stages, total(x.Stages)) }

// Plan is what it had in mind; nil: nothing is known of that.
func (x passShown) Plan() *planShown {
	if x.Told == nil || x.Told.Plan == nil {
		return nil
	}
	return &planShown{x.site, *x.Told.Plan}
}

// planShown is a plan on a page of a site.
type planShown struct {
	Site string
	plan.View
}

// Others are how many FECs of some are not named.
func (planShown) Others(f plan.ViewFECs) int { return f.Count - len(f.FECs) }
