package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// tend decides about one campaign, records it, and has done what is due. Busy says that more is to come soon.
func (s *Campaigner) tend(ctx context.Context, site siteNow, c tended) (busy bool, err error) {
	if ended, err := s.endedBefore(ctx, &c); ended || err != nil {
		return false, err
	}
	now, err := s.look(ctx, c)
	if err != nil {
		return false, err
	}
	now.digests(site.Settings)
	approved, doubts, err := s.approvals(ctx, site, &now)
	if err != nil {
		return false, err
	}
	now.approved = approved
	troubles, err := s.judgeSlices(ctx, &now)
	if err != nil {
		return true, err
	}
	p := plan.Campaign(s.facts(site, now, doubts))
	why := p.Why
	for _, name := range slices.Sorted(maps.Keys(troubles)) {
		if p.Whys[name] = troubles[name].Error(); !errors.Is(troubles[name], errReading) {
			why = append(why, name+": "+p.Whys[name])
		}
	}
	if err := s.renew(ctx, site, &now, p.Renew); err != nil {
		return true, err
	}
	why = append(why, s.awaitInputs(ctx, &now, &p)...)
	// What leads on in a cycle that is cancelled is cut before that, or it would come back.
	why = append(why, s.cutAll(ctx, site, &now, &p, true)...)
	if err := s.replace(ctx, &now, p); err != nil {
		return true, err
	}
	why = append(why, s.cutAll(ctx, site, &now, &p, false)...)
	for _, name := range plan.StageOrder(c.spec) {
		if p.Stopped[name] != "" || !p.Launch && (!testable(p.State) || now.unapproved(site.Settings)) {
			continue
		}
		said, err := s.submitStage(ctx, site, &now, name, !p.Launch)
		if err != nil {
			said = err.Error()
			why = append(why, name+": "+said)
		}
		p.Whys[name] = cmp.Or(p.Whys[name], said)
	}
	why = append(why, s.sayRefused(now, p)...)
	s.told.say(c.uid, why, p, now.waiting)
	err = s.setCampaign(ctx, site, &now, p)
	return now.busy || len(now.open) > 0, err
}

// mostEdges is how many slices are followed at once, each by itself: meanwhile nobody decides about anything else.
const mostEdges = 300

// cutAll has slices planned that are due, of cycles that are cancelled or of others, and says why some are not.
func (s *Campaigner) cutAll(ctx context.Context, site siteNow, now *campaignNow, p *plan.CampaignPlan, cancelled bool) (why []string) {
	for _, due := range p.Due {
		if slices.Contains(p.CancelCycles, due.Cycle) != cancelled {
			continue
		}
		if due.Each && !cancelled && len(due.Edges) > mostEdges {
			due.Edges, now.busy = due.Edges[:mostEdges], true
		}
		said, err := s.cutDue(ctx, site, now, due)
		if err != nil && !errors.Is(err, errReading) {
			why = append(why, cmp.Or(said, err.Error()))
		}
		if !slices.Contains(p.Late, due.Stage) { // which says more
			p.Whys[due.Stage] = cmp.Or(said, p.Whys[due.Stage])
		}
		if err != nil && due.Cycle != "" {
			p.Starts.Seen = seenBefore(now, p)
		}
	}
	return why
}

// seenBefore is the last start that is dealt with where one that is due is tried again: not those again that were missed before it.
func seenBefore(now *campaignNow, p *plan.CampaignPlan) time.Time {
	seen := now.row.Cycle
	for _, t := range p.Starts.Missed {
		if t.After(seen) {
			seen = t
		}
	}
	return seen
}

// awaitInputs leaves a start that cancels others for later while its datasets cannot be read: the others go on until it can begin. It says why.
func (s *Campaigner) awaitInputs(ctx context.Context, now *campaignNow, p *plan.CampaignPlan) (why []string) {
	begins := func(due plan.DueCut) bool {
		return due.From != plan.FromOutputs && slices.ContainsFunc(p.Starts.Start, func(t time.Time) bool { return plan.CycleOf(t) == due.Cycle })
	}
	waits := false
	for _, due := range p.Due {
		if len(p.CancelCycles) == 0 || due.From != plan.FromDataset || !begins(due) {
			continue
		}
		said, err := s.readable(ctx, now, due)
		if err == nil {
			continue
		}
		waits, p.Whys[due.Stage] = true, "the next start does not begin, and what it replaces goes on: "+said
		if !errors.Is(err, errReading) {
			why = append(why, p.Whys[due.Stage])
		}
	}
	if waits {
		p.Due = slices.DeleteFunc(slices.Clone(p.Due), begins)
		p.CancelCycles, p.Starts.Start, p.Starts.Replace, p.Starts.Seen = nil, nil, false, seenBefore(now, p)
	}
	return why
}

// facts are all that is decided by about a campaign.
func (s *Campaigner) facts(site siteNow, now campaignNow, doubts []string) plan.CampaignFacts {
	f := plan.CampaignFacts{Now: s.Now(), Name: now.name, Spec: now.spec, Wanted: now.wanted, Settings: site.Settings, State: now.row.State, Seen: now.row.Cycle,
		Approved: now.approved.of(""), Doubts: doubts, Holds: site.holds, Services: s.samples.all(), Counts: map[plan.SliceCount]int{}}
	if f.Seen.IsZero() {
		f.Seen = s.Now()
	}
	f.Changed = slices.ContainsFunc(now.evidence, func(e ledger.CampaignEvidence) bool {
		return e.Kind == decidedApproved && e.Stage == "" && e.Digest != now.digest
	})
	for _, r := range now.stages {
		f.Records = append(f.Records, plan.StageRecord{Stage: r.Stage, Epoch: r.Epoch, Cycle: r.Cycle, State: r.State, Detail: r.Detail, At: r.At})
	}
	for g, n := range now.counts {
		f.Counts[plan.SliceCount{Stage: g.Stage, Epoch: g.Epoch, Cycle: g.Cycle, State: observed.SliceState(g.State)}] += n
	}
	for _, e := range now.edges {
		f.Edges = append(f.Edges, plan.Edge{Stage: e.Stage, Epoch: e.Epoch, Slice: e.Slice, Cycle: e.Cycle, Dependent: e.Dependent})
	}
	return f
}

// renew has stages that are to be done again follow all that they need that has ended, once.
func (s *Campaigner) renew(ctx context.Context, site siteNow, now *campaignNow, stages []string) error {
	if len(stages) == 0 {
		return nil
	}
	now.busy = true
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		all, err := l.Slices(ctx, now.uid, "")
		if err != nil {
			return err
		}
		var edges []ledger.SliceEdge
		renewed := map[ledger.CampaignStage]bool{}
		for _, row := range all {
			for _, e := range s.edgesOf(now.spec, observedSlice(row)) {
				if stage, leads := leadsTo(now.spec, e, stages); leads && row.Epoch == now.spec.Stages[row.Stage].TheEpoch() {
					edges = append(edges, e)
					renewed[ledger.CampaignStage{UID: now.uid, Stage: stage, Epoch: now.spec.Stages[stage].TheEpoch(), Cycle: row.Cycle, State: plan.StageOpen, Commit: site.commit}] = true
				}
			}
		}
		rows := slices.Collect(maps.Keys(renewed))
		for i := range rows {
			rows[i].At = s.Now()
		}
		return l.RenewEdges(ctx, edges, rows...)
	})
}

// leadsTo is the stage that an edge leads to, in the epoch that it has now; false if it is none of some.
func leadsTo(c desired.Campaign, e ledger.SliceEdge, stages []string) (string, bool) {
	stage, there := plan.DependentStage(c, e.Dependent)
	return stage, there && slices.Contains(stages, stage)
}

// replace cancels what a plan wants cancelled, and looks again: what is cut after that may have their inputs, and none of them is submitted.
func (s *Campaigner) replace(ctx context.Context, now *campaignNow, p plan.CampaignPlan) error {
	if !p.Cancel && len(p.CancelCycles) == 0 {
		return nil
	}
	if err := s.cancelSlices(ctx, now, p); err != nil {
		return err
	}
	fresh, err := s.look(ctx, now.tended)
	fresh.digest, fresh.waiting, fresh.approved, fresh.busy = now.digest, now.waiting, now.approved, now.busy
	*now = fresh
	return err
}

// cancelSlices cancels what a plan wants cancelled. Their jobs are cancelled by whoever attends their engine.
func (s *Campaigner) cancelSlices(ctx context.Context, now *campaignNow, p plan.CampaignPlan) error {
	var set []observed.Slice
	for _, slice := range now.open {
		if !p.Cancel && !slices.Contains(p.CancelCycles, slice.Cycle) {
			continue
		}
		slice.State, slice.Detail, slice.At = observed.SliceCancelled, "the campaign is closed", s.Now()
		if !p.Cancel {
			slice.Detail = "a later start replaces it"
		}
		set = append(set, slice)
	}
	return s.cancelled(ctx, now, set)
}

// endTests cancels the tests of a campaign that ends: nobody looks after them any more.
func (s *Campaigner) endTests(ctx context.Context, now *campaignNow) error {
	var set []observed.Slice
	for _, slice := range now.open {
		if slice.Test {
			slice.State, slice.Detail, slice.At = observed.SliceCancelled, "the campaign has ended", s.Now()
			set = append(set, slice)
		}
	}
	return s.cancelled(ctx, now, set)
}

// cancelled records slices that are cancelled.
func (s *Campaigner) cancelled(ctx context.Context, now *campaignNow, set []observed.Slice) error {
	if len(set) == 0 {
		return nil
	}
	now.busy = true
	for _, slice := range set {
		defer s.hasten(now.last(slice).Engine)
	}
	return s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Judge(ctx, ledgerSlices(set), nil) })
}

// setCampaign records how far a campaign is, if that is new, and tells people of its end.
func (s *Campaigner) setCampaign(ctx context.Context, site siteNow, now *campaignNow, p plan.CampaignPlan) error {
	was, row := now.row, now.row
	row.State, row.Detail, row.Digest = p.State, p.Detail, p.Digest
	if missed := p.Starts.Missed; len(missed) > 0 {
		s.Log.Warn("starts of a campaign's schedule were missed, and are not made up for", "campaign", row.UID, "starts", len(missed), "last", missed[len(missed)-1])
	}
	if now.wanted {
		spec, err := json.Marshal(now.spec)
		if err != nil {
			return err
		}
		row.Spec, row.Commit = string(spec), site.commit
	}
	switch {
	case p.Starts.Seen.After(was.Cycle):
		row.Cycle = p.Starts.Seen
	case was.Cycle.IsZero() && p.State == plan.CampaignActive:
		row.Cycle = s.Now()
	}
	if row.State != was.State {
		row.At = s.Now()
	}
	if row.Began.IsZero() {
		row.Began = s.Now()
	}
	if row == was || sameBut(row, was) {
		return nil
	}
	if plan.CampaignEnded(row.State) {
		if err := s.endTests(ctx, now); err != nil {
			return err
		}
	}
	if err := s.enterState(ctx, now, p, row); err != nil {
		return err
	}
	now.row, now.busy = row, true
	if row.State != was.State {
		s.Log.Info("campaign is in another state", "campaign", row.UID, "state", row.State, "was", was.State, "because", row.Detail)
		if plan.CampaignEnded(row.State) {
			s.Tell.CampaignEnded(row.UID, row.State, row.Detail, row.State == plan.CampaignComplete)
		}
	}
	return nil
}

// enterState records how far a campaign is. Of one that has ended nobody decides again: that is kept, with how its stages ended.
func (s *Campaigner) enterState(ctx context.Context, now *campaignNow, p plan.CampaignPlan, row ledger.Campaign) error {
	if !plan.CampaignEnded(row.State) {
		return s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.SetCampaign(ctx, row) })
	}
	end := keptEnd{row, s.endedStages(now, p)}
	delete(s.goesOn, now.uid) // if the ledger does not take it, the next look finds it kept
	if err := s.keepEnd(end); err != nil {
		return err
	}
	return s.enterEnd(ctx, end)
}

// endedStages are the stages of a campaign that has ended.
func (s *Campaigner) endedStages(now *campaignNow, p plan.CampaignPlan) (rows []ledger.CampaignStage) {
	for _, stage := range p.Stages {
		row := now.record(stage.Stage, stage.Epoch, stage.Cycle)
		row.UID, row.Stage, row.Epoch, row.Cycle = now.uid, stage.Stage, stage.Epoch, stage.Cycle
		row.State, row.Detail, row.At = stage.State, stage.Detail, s.Now()
		rows = append(rows, row)
	}
	return rows
}

// sameBut says whether two rows differ in nothing but their commit.
func sameBut(a, b ledger.Campaign) bool {
	a.Commit = b.Commit
	return a == b
}

// testable says whether tests of a campaign start that starts nothing else.
func testable(state string) bool {
	return state == plan.CampaignDraft || state == plan.CampaignPaused
}

// submitStage intends submissions for planned slices of a stage, or for tests alone, and says why not for others.
func (s *Campaigner) submitStage(ctx context.Context, site siteNow, now *campaignNow, name string, tests bool) (why string, err error) {
	stage := now.spec.Stages[name]
	if stage.Job == nil {
		return "", nil
	}
	due, why, err := s.attempts(ctx, site, now, name, tests)
	if err != nil {
		return "", err
	}
	if len(due) == 0 {
		return why, nil
	}
	works := s.works(site, now.tended, name, due)
	for _, w := range works {
		if err := s.intend(ctx, now, w); err != nil {
			return "", err
		}
	}
	return why, nil
}

// intend records that some submissions are about to be handed in, with the slices that they are for.
func (s *Campaigner) intend(ctx context.Context, now *campaignNow, w submit.Work) error {
	desk := s.desk(w.Engine)
	if desk == nil {
		return fmt.Errorf("the service has no engine %s", w.Engine)
	}
	if err := s.inputs(ctx, now, &w); err != nil {
		return err
	}
	w, unfit := w.Fit()
	if err := s.failUnfit(ctx, now, unfit); err != nil || len(w.Tasks) == 0 {
		return err
	}
	if err := desk.Prepare(ctx, w); err != nil {
		return err
	}
	launch, submissions := w.Intent(s.Now())
	var underway []ledger.Slice
	for _, t := range w.Tasks {
		slice := t.Slice
		slice.Inputs, slice.Round, slice.Tries, slice.State, slice.Detail, slice.At = nil, t.Round, t.Attempt, observed.SliceUnderway, "", s.Now()
		underway = append(underway, ledgerSlice(slice))
	}
	defer s.hasten(w.Engine)
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		var rows []ledger.Submission
		for _, sub := range submissions {
			rows = append(rows, ledgerSubmission(sub))
		}
		if err := l.Intend(ctx, []ledger.Launch{ledgerLaunch(launch)}, rows); err != nil {
			return err
		}
		return l.Judge(ctx, underway, nil)
	})
}

// failUnfit ends slices whose tasks cannot be handed in: the others of their stage go on without them.
func (s *Campaigner) failUnfit(ctx context.Context, now *campaignNow, unfit []submit.Unfit) error {
	if len(unfit) == 0 {
		return nil
	}
	var set []ledger.Slice
	var edges []ledger.SliceEdge
	for _, u := range unfit {
		slice := u.Task.Slice
		slice.Inputs, slice.State, slice.Detail, slice.At = nil, observed.SliceFailed, "its job cannot be handed in: "+u.Why.Error(), s.Now()
		set = append(set, ledgerSlice(slice))
		edges = append(edges, s.edgesOf(now.spec, slice)...)
	}
	now.busy = true
	return s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Judge(ctx, set, edges) })
}

// inputs reads the inputs of slices as they were frozen, unless an attempt has its own.
func (s *Campaigner) inputs(ctx context.Context, now *campaignNow, w *submit.Work) error {
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		for i := range w.Tasks {
			slice := &w.Tasks[i].Slice
			if slice.Inputs != nil {
				continue
			}
			var err error
			if slice.Inputs, err = l.SliceInputs(ctx, slice.UID, slice.Stage, slice.Epoch, slice.ID); err != nil {
				return err
			}
		}
		return nil
	})
}
