package reconciler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// What people look at of campaigns. Nobody waits here for a batch system or a catalogue, and nothing is read row by row.

// mostListed is how many campaigns a list has on a page: those alone are counted.
const mostListed = 25

// CampaignList is a page of the campaigns. Those that are archived are only there if they are asked for.
func (s *Campaigner) CampaignList(ctx context.Context, f report.CampaignFilter) (report.CampaignList, error) {
	out := report.CampaignList{Campaigns: []report.CampaignLine{}, States: map[string]int{}, Holds: s.told.inForce(), Engines: s.reportEngines(), Services: s.samples.sorted(), Page: max(1, f.Page)}
	site, err := s.siteIfAny(ctx)
	if err != nil {
		return out, err
	}
	var rows map[string]ledger.Campaign
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		rows, err = l.Campaigns(ctx)
		return err
	})
	if err != nil {
		return out, err
	}
	shown := s.filtered(campaignRows(rows, site), site, f, &out)
	first, last := pageOf(len(shown), mostListed, out.Page)
	for _, row := range shown[first:last] { // others get the ledger between two
		line, err := s.line(ctx, row, site)
		if err != nil {
			return out, err
		}
		out.Campaigns = append(out.Campaigns, line)
	}
	return out, nil
}

// pageOf is what of so many is on a page.
func pageOf(all, size, page int) (first, last int) {
	first = min((max(1, page)-1)*size, all)
	return first, min(first+size, all)
}

// filtered are the rows that a filter lets through; what is counted of all goes into the list.
func (s *Campaigner) filtered(rows []ledger.Campaign, site desired.Site, f report.CampaignFilter, out *report.CampaignList) (shown []ledger.Campaign) {
	all := report.Campaigns{}
	for _, row := range rows {
		c, _ := s.headOf(row, site)
		all.Campaigns = append(all.Campaigns, c)
	}
	s.told.complete(&all)
	out.Trouble = all.Trouble
	for i, c := range all.Campaigns {
		if c.Archived {
			out.Archived++
		} else {
			out.Of++
			out.States[c.State]++
		}
		if f.Takes(c) {
			shown = append(shown, rows[i])
		}
	}
	out.Found = len(shown)
	return shown
}

// countedStages are the stages of a campaign as counted, and when it moved last.
type countedStages struct {
	stages []report.Stage
	moved  time.Time
}

// line is a campaign as counted a moment ago, if that takes long, with what only the service knows now.
func (s *Campaigner) line(ctx context.Context, row ledger.Campaign, site desired.Site) (report.CampaignLine, error) {
	c, spec := s.headOf(row, site)
	n, err := remember(&s.seen, asking{"stages", row.UID, row.Digest}, func() (n countedStages, err error) {
		err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
			of := report.Campaign{Stages: []report.Stage{}}
			if err := countStages(ctx, l, row, site, spec, &of, false); err != nil {
				return fmt.Errorf("count campaign %s: %w", row.UID, err)
			}
			n.stages = of.Stages
			n.moved, err = l.CampaignMoved(ctx, row.UID)
			return err
		})
		return n, err
	})
	if err != nil {
		return report.CampaignLine{}, err
	}
	c.Stages = slices.Clone(n.stages) // what the service knows is written into them
	all := report.Campaigns{Campaigns: []report.Campaign{c}}
	s.told.complete(&all)
	line := report.LineOf(all.Campaigns[0], s.told.inForce(), n.moved)
	if spec.Schedule != nil {
		line.Cycle = &report.CampaignCycle{Cron: spec.Schedule.Cron, TimeZone: cmp.Or(spec.Schedule.TimeZone, "UTC"), Last: row.Cycle}
	}
	return line, nil
}

// CampaignNow is how far a campaign is, by NAME or NAME/RUN, with what was decided about it, and without its slices.
func (s *Campaigner) CampaignNow(ctx context.Context, name string) (line report.CampaignLine, err error) {
	var of ledger.Campaign
	var at desired.Site
	var decided report.Campaign
	err = s.seenCampaign(ctx, name, func(l *ledger.Ledger, site desired.Site, row ledger.Campaign, _ desired.Campaign) error {
		of, at, decided.UID = row, site, row.UID
		return addDecisions(ctx, l, &decided)
	})
	if err != nil {
		return line, err
	}
	line, err = s.line(ctx, of, at)
	line.Decisions, line.MoreDecisions = decided.Decisions, decided.MoreDecisions
	return line, err
}

// seenCampaign reads something of a campaign that the ledger or the published site knows; ErrNoSuch: neither does.
func (r *Reconciler) seenCampaign(ctx context.Context, name string, do func(*ledger.Ledger, desired.Site, ledger.Campaign, desired.Campaign) error) error {
	site, err := r.siteIfAny(ctx)
	if err != nil {
		return err
	}
	return r.Records.Use(ctx, func(l *ledger.Ledger) error {
		rows, err := l.Campaigns(ctx)
		if err != nil {
			return err
		}
		all := map[string]ledger.Campaign{}
		for _, row := range campaignRows(rows, site) {
			all[row.UID] = row
		}
		row, there := all[runOf(all, name)]
		if !there {
			return fmt.Errorf("campaign %s: %w", name, serve.ErrNoSuch)
		}
		_, spec := r.headOf(row, site)
		return do(l, site, row, spec)
	})
}

// CampaignSheet is what a campaign, by NAME or NAME/RUN, did on each day.
func (r *Reconciler) CampaignSheet(ctx context.Context, name string) (out report.CampaignSheet, err error) {
	err = r.seenCampaign(ctx, name, func(l *ledger.Ledger, _ desired.Site, row ledger.Campaign, spec desired.Campaign) error {
		done, err := l.SubmissionDays(ctx, row.UID)
		if err != nil {
			return err
		}
		planned, err := l.SliceDays(ctx, row.UID)
		out = report.NewSheet(row.UID, sheetDays(spec, done, planned))
		return err
	})
	return out, err
}

// sheetDays are the days of a sheet, of what was handed in and what was planned on each. Nothing is pending of stages and epochs that the campaign has no more.
func sheetDays(spec desired.Campaign, done map[ledger.SubmissionDay]ledger.SubmissionSum, planned map[ledger.SliceDay]int) map[string]report.SheetDay {
	days := map[string]report.SheetDay{}
	of := func(t time.Time) report.SheetDay {
		d := days[report.SheetDayOf(t)]
		if d.Exits == nil {
			d.Exits = map[string]int{}
		}
		return d
	}
	for g, sum := range done {
		d := of(g.Day)
		d.Requested, d.Delivered, d.Jobs, d.Outputs = d.Requested+sum.Inputs, d.Delivered+sum.Begun, d.Jobs+sum.Jobs, d.Outputs+sum.Outputs
		switch observed.SubmissionState(g.State) {
		case observed.SubmissionFailed, observed.SubmissionDenied:
			d.Failed += sum.Jobs
			exit := report.ExitText(g.Exit, g.Signal)
			if g.Exit == 0 && g.Signal == 0 {
				exit = report.NoExit
			}
			d.Exits[exit] += sum.Jobs
		case observed.SubmissionLost:
			d.Failed += sum.Jobs
		case observed.SubmissionDone:
			d.Exits[report.ExitText(g.Exit, g.Signal)] += sum.Jobs
		}
		days[report.SheetDayOf(g.Day)] = d
	}
	for g, inputs := range planned {
		if stage, there := spec.Stages[g.Stage]; !there || g.Epoch != stage.TheEpoch() {
			continue
		}
		if state := observed.SliceState(g.State); state != observed.SliceComplete && state != observed.SliceCancelled && inputs > 0 {
			d := of(g.Day)
			d.Pending += inputs
			days[report.SheetDayOf(g.Day)] = d
		}
	}
	return days
}

// CampaignEfficiency is how much of what they asked for the submissions of a campaign, by NAME or NAME/RUN, have used.
func (r *Reconciler) CampaignEfficiency(ctx context.Context, name string) (out report.CampaignEfficiency, err error) {
	err = r.seenCampaign(ctx, name, func(l *ledger.Ledger, site desired.Site, row ledger.Campaign, spec desired.Campaign) error {
		out = report.CampaignEfficiency{UID: row.UID, Stages: []report.StageEfficiency{}}
		cpu, err := l.CPUShares(ctx, row.UID)
		if err != nil {
			return err
		}
		memory, err := l.MemoryUses(ctx, row.UID)
		for _, name := range plan.StageOrder(spec) {
			if stage := spec.Stages[name]; stage.Job != nil {
				out.Stages = append(out.Stages, efficiencyOf(site.Settings, spec, name, cpu, memory))
			}
		}
		return err
	})
	return out, err
}

// efficiencyOf is likewise of one stage. What a second attempt of a round had, whose memory grows with each that wanted more, nobody knows without the first.
func efficiencyOf(settings desired.Settings, spec desired.Campaign, name string, cpu map[ledger.CPUShare]int, memory map[ledger.MemoryUse]int) report.StageEfficiency {
	e, stage := report.StageEfficiency{Stage: name}, spec.Stages[name]
	asked := map[int]report.Asked{}
	of := func(round int) report.Asked {
		if a, known := asked[round]; known {
			return a
		}
		asked[round] = askedOf(settings, spec, stage, []observed.Submission{{Round: round, Attempt: 1}})
		return asked[round]
	}
	for c, n := range cpu {
		if c.Stage == name {
			e.CPU.Add(float64(c.Thousand)/1000/float64(of(c.Round).CPUs), n)
		}
	}
	for m, n := range memory {
		if m.Stage != name {
			continue
		}
		share := float64(m.MiB<<20) / float64(of(m.Round).Memory)
		if m.MiB < 0 || m.Attempt > 1 && stage.Job.Retry.MemoryFactor > 1 {
			share = -1
		}
		e.Memory.Add(share, n)
	}
	return e
}

// CampaignSubmissions is a page of the submissions of a campaign, by NAME or NAME/RUN.
func (r *Reconciler) CampaignSubmissions(ctx context.Context, name string, f report.SubmissionFilter) (out report.CampaignSubmissions, err error) {
	err = r.seenCampaign(ctx, name, func(l *ledger.Ledger, site desired.Site, row ledger.Campaign, spec desired.Campaign) error {
		out = report.CampaignSubmissions{UID: row.UID, Stages: plan.StageOrder(spec), Submissions: []report.Attempt{}, Page: max(1, f.Page), At: r.Now().UTC()}
		found, all, err := l.SubmissionsWithin(ctx, ledger.SubmissionRange{UID: row.UID, Stage: f.Stage, State: string(f.State), From: f.From, Until: f.Until,
			Limit: report.Rows, Offset: (out.Page - 1) * report.Rows})
		for _, s := range found {
			out.Submissions = append(out.Submissions, report.AttemptOf(observedSubmission(s)))
		}
		out.Found = all
		return err
	})
	return out, err
}

// CampaignSlices is a page of the slices of a campaign, by NAME or NAME/RUN.
func (r *Reconciler) CampaignSlices(ctx context.Context, name string, f report.SliceFilter) (out report.CampaignSlices, err error) {
	err = r.seenCampaign(ctx, name, func(l *ledger.Ledger, site desired.Site, row ledger.Campaign, spec desired.Campaign) error {
		out = report.CampaignSlices{UID: row.UID, Stages: plan.StageOrder(spec), Counts: map[observed.SliceState]int{}, Slices: []observed.Slice{}, Page: max(1, f.Page)}
		counts, err := l.SliceCounts(ctx, row.UID)
		if err != nil {
			return err
		}
		for g, n := range counts {
			out.Counts[observed.SliceState(g.State)] += n
			if !slices.Contains(out.Stages, g.Stage) { // the campaign has it no more
				out.Stages = append(out.Stages, g.Stage)
			}
		}
		found, all, err := l.SearchSlices(ctx, ledger.SliceSearch{UID: row.UID, Stage: f.Stage, State: string(f.State), Text: f.Text, Limit: report.Rows, Offset: (out.Page - 1) * report.Rows})
		for _, s := range found {
			out.Slices = append(out.Slices, observedSlice(s))
		}
		out.Found = all
		return err
	})
	return out, err
}

// CampaignSheet is what the sheet was a moment ago, if it takes long to count.
func (s *Campaigner) CampaignSheet(ctx context.Context, name string) (report.CampaignSheet, error) {
	return remember(&s.seen, asking{"sheet", name, nil}, func() (report.CampaignSheet, error) { return s.Reconciler.CampaignSheet(ctx, name) })
}

// CampaignEfficiency is likewise what the efficiency was.
func (s *Campaigner) CampaignEfficiency(ctx context.Context, name string) (report.CampaignEfficiency, error) {
	return remember(&s.seen, asking{"efficiency", name, nil}, func() (report.CampaignEfficiency, error) { return s.Reconciler.CampaignEfficiency(ctx, name) })
}

// CampaignSubmissions is likewise what a page of the submissions was.
func (s *Campaigner) CampaignSubmissions(ctx context.Context, name string, f report.SubmissionFilter) (report.CampaignSubmissions, error) {
	return remember(&s.seen, asking{"submissions", name, f}, func() (report.CampaignSubmissions, error) { return s.Reconciler.CampaignSubmissions(ctx, name, f) })
}

// CampaignSlices is likewise what a page of the slices was.
func (s *Campaigner) CampaignSlices(ctx context.Context, name string, f report.SliceFilter) (report.CampaignSlices, error) {
	return remember(&s.seen, asking{"slices", name, f}, func() (report.CampaignSlices, error) { return s.Reconciler.CampaignSlices(ctx, name, f) })
}

// recounted is what was counted, and how long that took: it is not counted again for ten times as long, however many look. Nobody else can use the
// ledger meanwhile.
type recounted struct {
	mu  sync.Mutex
	all map[asking]counted
}

// asking is what somebody wants counted.
type asking struct {
	what, of string
	filter   any
}

type counted struct {
	value any
	until time.Time
}

// mostRemembered bounds what is remembered, of names that people make up too.
const mostRemembered = 256

// remember counts something unless it is remembered. Who asks while it is counted waits for that.
func remember[T any](r *recounted, what asking, count func() (T, error)) (T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.all[what]; ok && time.Now().Before(c.until) {
		return c.value.(T), nil
	}
	began := time.Now()
	v, err := count()
	if err != nil {
		return v, err
	}
	if r.all == nil || len(r.all) >= mostRemembered {
		r.all = map[asking]counted{}
	}
	now := time.Now()
	r.all[what] = counted{v, now.Add(10 * now.Sub(began))}
	return v, nil
}
