package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// toldCampaigns is what was decided last, for those who ask.
type toldCampaigns struct {
	mu      sync.Mutex
	trouble string
	why     map[string][]string // by uid
	plans   map[string]plan.CampaignPlan
	waiting map[string]map[string]string // digests of what waits for approval, by uid and stage
	late    map[string]int               // slices that have taken too long, and go on, by uid
	holds   []observed.Hold              // in force, of campaigns
	last    *report.Campaigns            // as people were told of them; nil: they were not yet
}

// tell notes what people were told.
func (t *toldCampaigns) tell(c report.Campaigns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = &c
}

// lastTold is what people were told, and why nothing is decided since; false: nothing yet.
func (t *toldCampaigns) lastTold() (c report.Campaigns, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil {
		c = *t.last
	}
	c.Trouble = t.trouble
	return c, t.last != nil
}

// hold notes which holds of campaigns are in force.
func (t *toldCampaigns) hold(all []observed.Hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds = slices.DeleteFunc(slices.Clone(all), func(h observed.Hold) bool {
		return h.Scope != desired.SiteScope && !strings.HasPrefix(h.Scope, "campaigns")
	})
}

// inForce are these holds.
func (t *toldCampaigns) inForce() []observed.Hold {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]observed.Hold{}, t.holds...)
}

// stuck notes why nothing is decided; nil: something is.
func (t *toldCampaigns) stuck(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trouble = ""; err != nil {
		t.trouble = err.Error()
	}
}

// say notes why nothing of a campaign moves.
func (t *toldCampaigns) say(uid string, why []string, p plan.CampaignPlan, waiting map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == nil {
		t.why, t.plans = map[string][]string{}, map[string]plan.CampaignPlan{}
		t.waiting = map[string]map[string]string{}
	}
	t.why[uid], t.plans[uid], t.waiting[uid] = why, p, waiting
}

// takeLong notes how many slices of a campaign have taken too long, and go on.
func (t *toldCampaigns) takeLong(uid string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.late == nil {
		t.late = map[string]int{}
	}
	t.late[uid] = n
}

// complete adds to a report what only the service knows.
func (t *toldCampaigns) complete(c *report.Campaigns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Trouble = t.trouble
	for i := range c.Campaigns {
		each := &c.Campaigns[i]
		if plan.CampaignEnded(each.State) {
			continue
		}
		p := t.plans[each.UID]
		each.Why, each.Next, each.Late = append([]string{}, t.why[each.UID]...), p.Starts.Next, t.late[each.UID]
		for j := range each.Stages {
			stage := &each.Stages[j]
			stage.Why, stage.Digest = p.Whys[stage.Name], t.waiting[each.UID][stage.Name]
			stage.Late = slices.Contains(p.Late, stage.Name)
			for _, now := range p.Stages { // cycles come in the order of time: the last counts
				if now.Stage == stage.Name {
					stage.State, stage.Detail = now.State, now.Detail
				}
			}
		}
	}
}

// Campaigns is how far the campaigns are; of one that is named, with its slices. Those that are archived are only there if they are named.
func (s *Campaigner) Campaigns(ctx context.Context, name string) (report.Campaigns, error) {
	c, err := s.Reconciler.Campaigns(ctx, name)
	return s.completed(c), err
}

// EveryCampaign is how far the campaigns are, those that are archived too.
func (s *Campaigner) EveryCampaign(ctx context.Context) (report.Campaigns, error) {
	c, err := s.Reconciler.EveryCampaign(ctx)
	return s.completed(c), err
}

// completed is a report with what only the service knows.
func (s *Campaigner) completed(c report.Campaigns) report.Campaigns {
	s.told.complete(&c)
	c.Engines, c.Services = s.reportEngines(), s.samples.sorted()
	return c
}

// going is how far the campaigns are that have not ended; of the others their states alone, because they may be many.
func (s *Campaigner) going(ctx context.Context) (report.Campaigns, error) {
	c, err := s.Reconciler.campaigns(ctx, "", true, goesOn)
	return s.completed(c), err
}

// goesOn says that a campaign has not ended.
func goesOn(row ledger.Campaign) bool { return !plan.CampaignEnded(row.State) }

// CampaignsNow is how the campaigns were when they were decided about last, in short; nil if there are none. Nothing is counted for it
// that was counted then.
func (s *Campaigner) CampaignsNow(ctx context.Context) (*report.CampaignsNow, error) {
	c, ok := s.told.lastTold()
	if !ok {
		all, err := s.going(ctx)
		return all.Now(), err
	}
	c.Engines, c.Services = s.reportEngines(), s.samples.sorted()
	return c.Now(), nil
}

// CampaignsNow is likewise what the ledger tells without a service.
func (r *Reconciler) CampaignsNow(ctx context.Context) (*report.CampaignsNow, error) {
	var c report.Campaigns
	err := r.campaignsOf(ctx, desired.Site{}, "", true, goesOn, &c)
	return c.Now(), err
}

// Campaigns is likewise what the ledger and the published site tell without a service.
func (r *Reconciler) Campaigns(ctx context.Context, name string) (report.Campaigns, error) {
	return r.campaigns(ctx, name, false, func(row ledger.Campaign) bool { return name == "" || isCalled(row, name) })
}

// EveryCampaign is likewise what they tell of all, those that are archived too.
func (r *Reconciler) EveryCampaign(ctx context.Context) (report.Campaigns, error) {
	return r.campaigns(ctx, "", true, func(ledger.Campaign) bool { return true })
}

// isCalled says whether a campaign is meant by NAME or NAME/RUN.
func isCalled(row ledger.Campaign, name string) bool { return name == row.Name || name == row.UID }

// campaigns counts the slices and submissions of those alone that are to be counted.
func (r *Reconciler) campaigns(ctx context.Context, name string, all bool, counted func(ledger.Campaign) bool) (report.Campaigns, error) {
	out := report.Campaigns{Campaigns: []report.Campaign{}, Engines: []report.Engine{}, Services: []observed.Service{}}
	site, err := r.siteIfAny(ctx)
	if err != nil {
		return out, err
	}
	return out, r.campaignsOf(ctx, site, name, all, counted, &out)
}

// siteIfAny is the published site; an empty one for who has only the ledger.
func (r *Reconciler) siteIfAny(ctx context.Context) (site desired.Site, err error) {
	if r.Repo != nil {
		site, _, err = r.PublishedSite(ctx)
	}
	return site, err
}

// campaignsOf is likewise without reading the site.
func (r *Reconciler) campaignsOf(ctx context.Context, site desired.Site, name string, all bool, counted func(ledger.Campaign) bool, out *report.Campaigns) error {
	return r.Records.Use(ctx, func(l *ledger.Ledger) error {
		rows, err := l.Campaigns(ctx)
		if err != nil {
			return err
		}
		for _, row := range campaignRows(rows, site) {
			c, spec := r.headOf(row, site)
			if c.Archived && !all && !isCalled(row, name) {
				out.Archived++
				continue
			}
			if !counted(row) {
				out.Campaigns = append(out.Campaigns, report.Campaign{Name: row.Name, UID: row.UID, State: row.State, Ended: c.Ended, Archived: c.Archived})
				continue
			}
			err := countStages(ctx, l, row, site, spec, &c, isCalled(row, name))
			if err == nil && isCalled(row, name) {
				err = addDecisions(ctx, l, &c)
			}
			if err != nil {
				return fmt.Errorf("read campaign %s: %w", row.UID, err)
			}
			out.Campaigns = append(out.Campaigns, c)
		}
		return nil
	})
}

// campaignRows are all campaigns that the ledger or the site knows: by name, those that have ended after the others.
func campaignRows(rows map[string]ledger.Campaign, site desired.Site) []ledger.Campaign {
	rows = maps.Clone(rows)
	for name, c := range site.Campaigns {
		if uid := c.UID(name); rows[uid].UID == "" {
			rows[uid] = ledger.Campaign{UID: uid, Name: name, State: c.TheState()}
		}
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b ledger.Campaign) int {
		return cmp.Or(compareBool(plan.CampaignEnded(a.State), plan.CampaignEnded(b.State)), strings.Compare(a.UID, b.UID))
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// headOf is what is known of a campaign without counting anything, and what it is to do.
func (r *Reconciler) headOf(row ledger.Campaign, site desired.Site) (report.Campaign, desired.Campaign) {
	c := report.Campaign{Name: row.Name, UID: row.UID, Wanted: report.Gone, State: row.State, Ended: plan.CampaignEnded(row.State), Detail: row.Detail, Digest: row.Digest, Commit: row.Commit,
		Since: row.At, Why: []string{}, Stages: []report.Stage{}}
	spec, there := site.Campaigns[row.Name]
	if there = there && spec.UID(row.Name) == row.UID; there {
		c.Wanted = spec.TheState()
	} else {
		spec, c.Archived = specOf(row), c.Ended
	}
	if r.Repo == nil { // nobody knows
		c.Wanted, c.Archived = "", false
	}
	c.Reason, c.Requester, c.Assignee, c.Role, c.Test = spec.Reason, spec.Requester, spec.Assignee, spec.TheRole(), spec.IsTest()
	c.Links = linksOf(site.Settings.Campaigns.Links, map[string]string{"campaign": row.Name})
	return c, spec
}

// countStages adds the stages of a campaign as counted; open: and their slices that are not complete.
func countStages(ctx context.Context, l *ledger.Ledger, row ledger.Campaign, site desired.Site, spec desired.Campaign, c *report.Campaign, open bool) error {
	slicesBy, err := l.SliceCounts(ctx, row.UID)
	if err != nil {
		return err
	}
	submissions, err := l.SubmissionCounts(ctx, row.UID)
	if err != nil {
		return err
	}
	var slices map[string][]report.Slice
	if open {
		if slices, err = openSlices(ctx, l, row.UID); err != nil {
			return err
		}
	}
	rows, err := l.CampaignStages(ctx, row.UID)
	for _, name := range plan.StageOrder(spec) {
		c.Stages = append(c.Stages, stageOf(site.Settings, spec, name, rows, slicesBy, submissions, slices[name]))
	}
	return err
}

// addDecisions adds what people have decided about a campaign last.
func addDecisions(ctx context.Context, l *ledger.Ledger, c *report.Campaign) error {
	decided, more, err := l.LastCampaignEvidence(ctx, c.UID, report.MostDecisions)
	c.Decisions, c.MoreDecisions = decisionsOf(decided), more
	return err
}

// stageOf is how far a stage is, as counted.
func stageOf(settings desired.Settings, c desired.Campaign, name string, rows []ledger.CampaignStage, slicesBy map[ledger.SliceGroup]int, submissions map[ledger.SubmissionGroup]int,
	open []report.Slice) report.Stage {
	stage := c.Stages[name]
	s := report.Stage{Name: name, Type: stage.TheType(), Epoch: stage.TheEpoch(), Needs: slices.Sorted(maps.Keys(stage.Needs)), Open: open,
		Slices: map[observed.SliceState]int{}, Tests: map[observed.SliceState]int{}, Submissions: map[observed.SubmissionState]int{}}
	if stage.Job != nil {
		profile, p := settings.ProfileFor(c, stage)
		s.Profile, s.Engine = profile, p.Engine
	}
	for g, n := range slicesBy {
		if g.Stage == name && g.State != string(observed.SliceComplete) && len(open) == report.MostSlices {
			s.More += n
		}
		switch {
		case g.Stage != name || g.Epoch != s.Epoch:
		case g.Test:
			s.Tests[observed.SliceState(g.State)] += n
		default:
			s.Slices[observed.SliceState(g.State)] += n
		}
	}
	s.More = max(0, s.More-len(open)) // of every epoch
	for g, n := range submissions {
		if g.Stage == name && g.Epoch == s.Epoch {
			s.Submissions[observed.SubmissionState(g.State)] += n
		}
	}
	s.State = "waiting"
	for _, row := range rows {
		if row.Stage == name && row.Epoch == s.Epoch { // cycles come in the order of time: the last counts
			s.State, s.Detail = row.State, row.Detail
		}
	}
	return s
}

// openSlices are slices that are not complete, by stage.
func openSlices(ctx context.Context, l *ledger.Ledger, uid string) (map[string][]report.Slice, error) {
	rows, err := l.IncompleteSlices(ctx, uid, report.MostSlices)
	if err != nil {
		return nil, err
	}
	last, err := l.LastSubmissions(ctx, uid, report.MostSlices)
	out := map[string][]report.Slice{}
	for _, row := range rows {
		sub := last[ledger.SliceKey{Stage: row.Stage, Epoch: row.Epoch, Slice: row.ID}]
		out[row.Stage] = append(out[row.Stage], report.Slice{ID: row.ID, Label: row.Label, State: observed.SliceState(row.State), Detail: row.Detail, Inputs: row.Count,
			Round: row.Round, Tries: row.Tries, Since: row.At, Key: sub.Key, Job: sub.Job, Now: observed.SubmissionState(sub.State)})
	}
	return out, err
}

func decisionsOf(all []ledger.CampaignEvidence) (out []report.Decision) {
	for _, e := range all {
		out = append(out, report.Decision{Kind: e.Kind, Stage: e.Stage, Slice: e.Slice, Digest: e.Digest, By: e.By, Source: e.Source, Reason: e.Reason, At: e.At})
	}
	return out
}

// linksOf fills in a site's links to its own pages. Those that need more than is known are left out.
func linksOf(links, words map[string]string) map[string]string {
	out := map[string]string{}
	for title, link := range links {
		for word, value := range words {
			link = strings.ReplaceAll(link, "${"+word+"}", value)
		}
		if !strings.Contains(link, "${") {
			out[title] = link
		}
	}
	return out
}
