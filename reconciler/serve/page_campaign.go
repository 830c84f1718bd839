package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// SeenCampaigns is what pages show of a site's campaigns, each by NAME or NAME/RUN: ErrNoSuch says that there is none. It is asked from many goroutines,
// and waits for no batch system and no catalogue.
type SeenCampaigns interface {
	CampaignList(context.Context, report.CampaignFilter) (report.CampaignList, error)
	CampaignNow(ctx context.Context, name string) (report.CampaignLine, error)
	CampaignSheet(ctx context.Context, name string) (report.CampaignSheet, error)
	CampaignSubmissions(ctx context.Context, name string, f report.SubmissionFilter) (report.CampaignSubmissions, error)
	CampaignEfficiency(ctx context.Context, name string) (report.CampaignEfficiency, error)
	CampaignSlices(ctx context.Context, name string, f report.SliceFilter) (report.CampaignSlices, error)
	PostMortemNow(ctx context.Context, name, slice string) (report.PostMortem, error)
}

// campaignAt is a page of one campaign: which, and what all of them have.
type campaignAt struct {
	Site, UID, Tab string
	query          url.Values
	Turn           turn // of a page of many
}

// campaignTabs are the pages of a campaign.
var campaignTabs = []struct{ Title, Path string }{
	{"stages", ""}, {"sheet", "/sheet"}, {"submissions", "/submissions"}, {"efficiency", "/efficiency"}, {"slices", "/slices"},
}

// Tabs are the pages of a campaign.
func (campaignAt) Tabs() any { return campaignTabs }

// Base is where the pages of the campaign are. A run has no slash there, which proxies may take for another folder.
func (a campaignAt) Base() string { return campaignPath(a.Site, a.UID) }

func campaignPath(site, uid string) string {
	return "/" + url.PathEscape(site) + "/campaigns/" + url.PathEscape(strings.Replace(uid, "/", "~", 1))
}

// Slice is where a slice is shown.
func (a campaignAt) Slice(stage string, epoch int, id string) string {
	return a.Base() + "/slices/" + url.PathEscape(stage) + "/" + strconv.Itoa(epoch) + "/" + url.PathEscape(id)
}

// Is says what the query has of a name.
func (a campaignAt) Is(name string) string { return a.query.Get(name) }

// seenCampaigns are those of a site, the campaign that a path names, and the query.
func seenCampaigns(r *http.Request, s *SeenSite) (SeenCampaigns, string, url.Values, error) {
	if s.Campaigns == nil {
		return nil, "", nil, ErrNotThere
	}
	return s.Campaigns, strings.Replace(r.PathValue("campaign"), "~", "/", 1), r.URL.Query(), nil
}

// notThere is an error as pages have it.
func notThere(err error) error {
	if errors.Is(err, ErrNoSuch) {
		return fmt.Errorf("%w: %w", ErrNotThere, err)
	}
	return err
}

type campaignsShown struct {
	campaignAt
	report.CampaignList
	Filter report.CampaignFilter
	All    []string // states
}

// Path is where a campaign is shown.
func (x campaignsShown) Path(uid string) string { return campaignPath(x.Site, uid) }

func campaignsPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, _, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	f := report.CampaignFilter{State: q.Get("state"), Text: q.Get("q"), Archived: q.Get("archived") != "", Page: numberIn(q, "page")}
	list, err := seen.CampaignList(r.Context(), f)
	x := campaignsShown{campaignAt{Site: r.PathValue("site"), query: q, Turn: turnOf("page", q, list.Page, list.Found, 25)}, list, f, report.CampaignStates()}
	return shown{"campaigns", "campaigns", x, list}, err
}

type campaignShown struct {
	campaignAt
	report.CampaignLine
	UID string
}

// Graph draws the stages; each leads to its slices.
func (x campaignShown) Graph() (template.HTML, error) {
	var b bytes.Buffer
	err := x.Draw(&b, func(stage string) string { return x.Base() + "/slices?stage=" + url.QueryEscape(stage) })
	return template.HTML(b.String()), err // report escapes each word in it
}

// SlicesOf is where slices of a stage are shown.
func (x campaignShown) SlicesOf(stage string) string {
	return x.Base() + "/slices?stage=" + url.QueryEscape(stage)
}

func campaignPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	c, err := seen.CampaignNow(r.Context(), name)
	x := campaignShown{campaignAt{Site: r.PathValue("site"), UID: c.UID, query: q}, c, c.UID}
	return shown{"campaign", "campaign " + c.UID, x, c}, notThere(err)
}

type campaignSheetShown struct {
	campaignAt
	report.CampaignSheet
	UID string
}

func campaignSheetPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	c, err := seen.CampaignSheet(r.Context(), name)
	x := campaignSheetShown{campaignAt{Site: r.PathValue("site"), UID: c.UID, Tab: "/sheet", query: q}, c, c.UID}
	return shown{"campaign_sheet", "sheet of " + c.UID, x, c}, notThere(err)
}

type campaignSubmissionsShown struct {
	campaignAt
	report.CampaignSubmissions
	UID    string
	States []observed.SubmissionState
}

// minuteIn is how a query has a time, UTC.
const minuteIn = "2006-01-02T15:04"

func campaignSubmissionsPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	f := report.SubmissionFilter{Stage: q.Get("stage"), State: observed.SubmissionState(q.Get("state")), Page: numberIn(q, "page")}
	f.From, _ = time.Parse(minuteIn, q.Get("from")) // else it begins with the first
	f.Until, _ = time.Parse(minuteIn, q.Get("until"))
	c, err := seen.CampaignSubmissions(r.Context(), name, f)
	x := campaignSubmissionsShown{campaignAt{Site: r.PathValue("site"), UID: c.UID, Tab: "/submissions", query: q, Turn: turnOf("page", q, c.Page, c.Found, report.Rows)}, c, c.UID, observed.SubmissionStates}
	return shown{"campaign_submissions", "submissions of " + c.UID, x, c}, notThere(err)
}

// Words are what bars of time are of.
func (campaignSubmissionsShown) Words() []string {
	return []string{"queued", "running", "done", "failed", "cancelled", "kept"}
}

// Bars draws when each submission waited and ran.
func (x campaignSubmissionsShown) Bars() template.HTML {
	var rows []timeRow
	for _, a := range x.Submissions {
		rows = append(rows, timeRow{label: a.Stage + " " + a.Slice, link: x.Slice(a.Stage, a.Epoch, a.Slice), phases: a.Phases(x.At)})
	}
	return timeBars("when the submissions waited and ran", rows)
}

type campaignEfficiencyShown struct {
	campaignAt
	report.CampaignEfficiency
	UID string
}

// Histogram draws one.
func (campaignEfficiencyShown) Histogram(title string, h report.Histogram) template.HTML {
	return histogram(title, h)
}

// Bars are the numbers of the bars.
func (campaignEfficiencyShown) Bars() int { return report.Bars }

func campaignEfficiencyPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	c, err := seen.CampaignEfficiency(r.Context(), name)
	x := campaignEfficiencyShown{campaignAt{Site: r.PathValue("site"), UID: c.UID, Tab: "/efficiency", query: q}, c, c.UID}
	return shown{"campaign_efficiency", "efficiency of " + c.UID, x, c}, notThere(err)
}

type campaignSlicesShown struct {
	campaignAt
	report.CampaignSlices
	UID    string
	States []observed.SliceState
}

func campaignSlicesPage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	c, err := seen.CampaignSlices(r.Context(), name, report.SliceFilter{Stage: q.Get("stage"), State: observed.SliceState(q.Get("state")), Text: q.Get("q"), Page: numberIn(q, "page")})
	x := campaignSlicesShown{campaignAt{Site: r.PathValue("site"), UID: c.UID, Tab: "/slices", query: q, Turn: turnOf("page", q, c.Page, c.Found, report.Rows)}, c, c.UID, observed.SliceStates}
	return shown{"campaign_slices", "slices of " + c.UID, x, c}, notThere(err)
}

type campaignSliceShown struct {
	campaignAt
	report.PostMortem
	UID string
	at  time.Time
}

// Timeline draws the attempts at a slice, and what kept campaigns from going on meanwhile.
func (x campaignSliceShown) Timeline() template.HTML {
	var rows []timeRow
	until := x.Planned
	for _, a := range x.Attempts {
		rows = append(rows, timeRow{label: fmt.Sprintf("attempt %d.%d", a.Round, a.Attempt), phases: a.Phases(x.at), events: a.Events})
		for _, p := range a.Phases(x.at) {
			until = later(until, p.Till)
		}
		for _, e := range a.Events {
			until = later(until, e.At)
		}
	}
	for _, d := range x.Disturbances { // as much of them as was meanwhile
		from, till := later(d.Began, x.Planned), d.Ended
		if till.IsZero() || till.After(until) {
			till = later(until, from)
		}
		rows = append(rows, timeRow{label: d.Kind + " " + d.Name, phases: []report.Phase{{What: d.Kind, From: from, Till: till}}})
	}
	return timeBars("the attempts, and what held or was not well meanwhile", rows)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Took is how long something took; nothing if that is not known.
func (campaignAt) Took(from, till time.Time) string {
	if from.IsZero() || till.IsZero() {
		return "–"
	}
	return max(0, till.Sub(from)).Round(time.Second).String() // jobs say seconds
}

func campaignSlicePage(r *http.Request, s *SeenSite) (shown, error) {
	seen, name, q, err := seenCampaigns(r, s)
	if err != nil {
		return shown{}, err
	}
	if strings.Contains(r.PathValue("stage")+r.PathValue("epoch")+r.PathValue("slice"), "/") { // it would name something else
		return shown{}, ErrNotThere
	}
	p, err := seen.PostMortemNow(r.Context(), name, r.PathValue("stage")+"/"+r.PathValue("epoch")+"/"+r.PathValue("slice"))
	x := campaignSliceShown{campaignAt{Site: r.PathValue("site"), UID: p.UID, Tab: "/slices/", query: q}, p, p.UID, time.Now()}
	return shown{"campaign_slice", "slice " + p.ID + " of " + p.UID, x, p}, notThere(err)
}
