package serve

import (
	"bytes"
	"context"
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
	Site, Tab string
	uid       string // as it is asked for, until it is found
	query     url.Values
	Turn      turn // of a page of many
}

// campaignTabs are the pages of a campaign.
var campaignTabs = []struct{ Title, Path string }{
	{"stages", ""}, {"sheet", "/sheet"}, {"submissions", "/submissions"}, {"efficiency", "/efficiency"}, {"slices", "/slices"},
}

// Tabs are the pages of a campaign.
func (campaignAt) Tabs() any { return campaignTabs }

// Base is where the pages of the campaign are. A run has no slash there, which proxies may take for another folder.
func (a campaignAt) Base() string { return campaignPath(a.Site, a.uid) }

func campaignPath(site, uid string) string {
	return "/" + url.PathEscape(site) + "/campaigns/" + url.PathEscape(strings.Replace(uid, "/", "~", 1))
}

// Slice is where a slice is shown.
func (a campaignAt) Slice(stage string, epoch int, id string) string {
	return a.Base() + "/slices/" + url.PathEscape(stage) + "/" + strconv.Itoa(epoch) + "/" + url.PathEscape(id)
}

// Is says what the query has of a name.
func (a campaignAt) Is(name string) string { return a.query.Get(name) }

// ofCampaigns are pages of a site that carries campaigns out.
func ofCampaigns(see func(*http.Request, SeenCampaigns, campaignAt) (shown, error)) func(*http.Request, *SeenSite) (shown, error) {
	return func(r *http.Request, s *SeenSite) (shown, error) {
		if s.Campaigns == nil {
			return shown{}, ErrNoSuch
		}
		return see(r, s.Campaigns, campaignAt{Site: r.PathValue("site"), uid: strings.Replace(r.PathValue("campaign"), "~", "/", 1), query: r.URL.Query()})
	}
}

type campaignsShown struct {
	campaignAt
	report.CampaignList
	Filter report.CampaignFilter
	All    []string // states
}

// Path is where a campaign is shown.
func (x campaignsShown) Path(uid string) string { return campaignPath(x.Site, uid) }

func campaignsPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	f := report.CampaignFilter{State: at.Is("state"), Text: at.Is("q"), Archived: at.Is("archived") != "", Page: numberIn(at.query, "page")}
	list, err := seen.CampaignList(r.Context(), f)
	at.Turn = turnOf("page", at.query, list.Page, list.Found, 25)
	return shown{"campaigns", "campaigns", campaignsShown{at, list, f, report.CampaignStates()}, list}, err
}

type campaignShown struct {
	campaignAt
	report.CampaignLine
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

func campaignPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	c, err := seen.CampaignNow(r.Context(), at.uid)
	at.uid = c.UID
	return shown{"campaign", "campaign " + c.UID, campaignShown{at, c}, c}, err
}

type campaignSheetShown struct {
	campaignAt
	report.CampaignSheet
}

func campaignSheetPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	c, err := seen.CampaignSheet(r.Context(), at.uid)
	at.uid, at.Tab = c.UID, "/sheet"
	return shown{"campaign_sheet", "sheet of " + c.UID, campaignSheetShown{at, c}, c}, err
}

type campaignSubmissionsShown struct {
	campaignAt
	report.CampaignSubmissions
	States []observed.SubmissionState
	Bad    []string // times that nobody can read
}

func campaignSubmissionsPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	f := report.SubmissionFilter{Stage: at.Is("stage"), State: observed.SubmissionState(at.Is("state")), Page: numberIn(at.query, "page")}
	var bad []string
	for _, end := range []struct {
		name string
		to   *time.Time
	}{{"from", &f.From}, {"until", &f.Until}} {
		t, err := report.ReadTime(at.Is(end.name))
		why, err := badTime(r, err)
		if err != nil {
			return shown{}, fmt.Errorf("%s: %w", end.name, err)
		}
		if *end.to = t; why != "" {
			bad = append(bad, end.name+": "+why)
		}
	}
	c, err := seen.CampaignSubmissions(r.Context(), at.uid, f)
	at.uid, at.Tab = c.UID, "/submissions"
	at.Turn = turnOf("page", at.query, c.Page, c.Found, report.Rows)
	return shown{"campaign_submissions", "submissions of " + c.UID, campaignSubmissionsShown{at, c, observed.SubmissionStates, bad}, c}, err
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
}

// Histogram draws one.
func (campaignEfficiencyShown) Histogram(title string, h report.Histogram) template.HTML {
	return histogram(title, h)
}

// Bars are the numbers of the bars.
func (campaignEfficiencyShown) Bars() int { return report.Bars }

func campaignEfficiencyPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	c, err := seen.CampaignEfficiency(r.Context(), at.uid)
	at.uid, at.Tab = c.UID, "/efficiency"
	return shown{"campaign_efficiency", "efficiency of " + c.UID, campaignEfficiencyShown{at, c}, c}, err
}

type campaignSlicesShown struct {
	campaignAt
	report.CampaignSlices
	States []observed.SliceState
}

func campaignSlicesPage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	c, err := seen.CampaignSlices(r.Context(), at.uid, report.SliceFilter{Stage: at.Is("stage"), State: observed.SliceState(at.Is("state")), Text: at.Is("q"), Page: numberIn(at.query, "page")})
	at.uid, at.Tab = c.UID, "/slices"
	at.Turn = turnOf("page", at.query, c.Page, c.Found, report.Rows)
	return shown{"campaign_slices", "slices of " + c.UID, campaignSlicesShown{at, c, observed.SliceStates}, c}, err
}

type campaignSliceShown struct {
	campaignAt
	report.PostMortem
	at time.Time
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

func campaignSlicePage(r *http.Request, seen SeenCampaigns, at campaignAt) (shown, error) {
	if strings.Contains(r.PathValue("stage")+r.PathValue("epoch")+r.PathValue("slice"), "/") { // it would name something else
		return shown{}, ErrNoSuch
	}
	p, err := seen.PostMortemNow(r.Context(), at.uid, r.PathValue("stage")+"/"+r.PathValue("epoch")+"/"+r.PathValue("slice"))
	at.uid, at.Tab = p.UID, "/slices/"
	return shown{"campaign_slice", "slice " + p.ID + " of " + p.UID, campaignSliceShown{at, p, time.Now()}, p}, err
}
