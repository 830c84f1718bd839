package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// rebuild enters into a ledger that knows no campaigns what launch folders tell of them, and what is kept beside those: it may have been
// lost. Until that is done, nothing is planned.
func (s *Campaigner) rebuild(ctx context.Context, site siteNow) (map[string]ledger.Campaign, error) {
	kept, err := s.kept()
	if err != nil {
		return nil, err
	}
	var all []submit.Rebuilt
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		found, errs := s.engines[name].desk.Rebuild()
		if len(errs) > 0 {
			return nil, fmt.Errorf("what was handed to engine %s is not known, as the ledger was lost: %w", name, errors.Join(errs...))
		}
		if all = append(all, found...); len(found) > 0 {
			s.Log.Warn("the ledger knew no campaigns; what was handed in is entered again from launch folders", "engine", name, "launches", len(found))
		}
	}
	if err := s.enterRebuilt(ctx, site, all, kept); err != nil {
		return nil, err
	}
	// Last: as long as the ledger knows no campaigns, this is done again.
	rows := s.rebuiltRows(all, kept)
	return rows, s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.SetCampaigns(ctx, slices.Collect(maps.Values(rows))...) })
}

// rebuiltRows are how far campaigns are: those that have not ended are taken for active until somebody looks at the site.
func (s *Campaigner) rebuiltRows(all []submit.Rebuilt, kept map[string]keptRun) map[string]ledger.Campaign {
	rows := map[string]ledger.Campaign{}
	add := func(uid, commit string, began time.Time) {
		row := rows[uid]
		if row.UID == "" || began.Before(row.Began) {
			row.Began = began
		}
		campaign, _, _ := strings.Cut(uid, "/")
		rows[uid] = ledger.Campaign{UID: uid, Name: campaign, State: plan.CampaignActive, Commit: commit, Cycle: s.Now(), At: s.Now(), Began: row.Began}
	}
	for uid, k := range kept {
		for _, d := range k.decisions {
			add(uid, d.Evidence.Commit, d.Evidence.At)
		}
	}
	for _, r := range all {
		add(r.Launch.UID, r.Launch.Commit, r.Launch.Intended)
	}
	for uid, k := range kept {
		if k.ended != nil {
			rows[uid] = k.ended.Campaign
		}
	}
	return rows
}

// enterRebuilt enters launches, their submissions and slices, and what was decided.
func (s *Campaigner) enterRebuilt(ctx context.Context, site siteNow, all []submit.Rebuilt, kept map[string]keptRun) error {
	slices.SortFunc(all, func(a, b submit.Rebuilt) int { return a.Launch.Intended.Compare(b.Launch.Intended) })
	var launches []observed.Launch
	var submissions []observed.Submission
	for _, r := range all {
		launches, submissions = append(launches, r.Launch), append(submissions, r.Submissions...)
	}
	rows, added := rebuiltSlices(all, kept)
	var edges []ledger.SliceEdge
	for _, row := range rows {
		campaign, _, _ := strings.Cut(row.UID, "/")
		if spec, there := site.Campaigns[campaign]; there && spec.UID(campaign) == row.UID && kept[row.UID].ended == nil {
			edges = append(edges, s.edgesOf(spec, observedSlice(row))...)
		}
	}
	err := s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if err := l.AddSlices(ctx, rows); err != nil {
			return err
		}
		if err := l.Judge(ctx, nil, edges, added...); err != nil {
			return err
		}
		for uid, k := range kept {
			if err := enterKept(ctx, l, uid, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.record(ctx, launches, submissions)
}

// enterKept enters what was decided about a run, and how its stages ended. What is there from a try before is not entered twice.
func enterKept(ctx context.Context, l *ledger.Ledger, uid string, k keptRun) error {
	have, err := l.CampaignEvidence(ctx, uid)
	if err != nil {
		return err
	}
	for _, d := range k.decisions {
		if d.Stage != nil {
			if err := l.SetCampaignStages(ctx, *d.Stage); err != nil {
				return err
			}
		}
	}
	told := slices.DeleteFunc(slices.Clone(k.decisions), func(d keptDecision) bool { return d.Evidence.Kind == decidedAdded })
	for _, d := range told[min(len(have), len(told)):] {
		if err := l.AddCampaignEvidence(ctx, d.Evidence); err != nil {
			return err
		}
	}
	if k.ended == nil {
		return nil
	}
	return l.SetCampaignStages(ctx, k.ended.Stages...)
}

// rebuiltSlices are slices as somebody has decided, or as their last attempts left them. Added are inputs that they were not cut of.
func rebuiltSlices(all []submit.Rebuilt, kept map[string]keptRun) (rows []ledger.Slice, added []ledger.AddedInputs) {
	last, at := map[string]observed.Slice{}, map[string]time.Time{}
	cut, known := map[string][]string{}, map[string][]string{} // inputs of slices: first, and all
	key := func(s observed.Slice) string { return fmt.Sprintf("%s %s %d %s", s.UID, s.Stage, s.Epoch, s.ID) }
	for _, r := range all {
		for i, slice := range r.Slices {
			sub := r.Submissions[i]
			slice.State, slice.At, slice.Began = observed.SliceUnderway, sub.Intended, sub.Intended
			if kept[slice.UID].ended != nil { // nobody judges it again
				slice.State, slice.Detail = endedAs(sub), sub.Detail
			}
			was, seen := last[key(slice)]
			if seen && cmp.Or(cmp.Compare(was.Round, slice.Round), cmp.Compare(was.Tries, slice.Tries)) > 0 {
				continue
			}
			if seen { // later rounds have a part of the inputs, or others that were added
				if more := notIn(known[key(slice)], slice.Inputs); len(more) > 0 {
					added = append(added, addedInputs(plan.Verdict{Slice: slice, Added: more}))
					known[key(slice)] = append(known[key(slice)], more...)
				}
				slice.Inputs, slice.Began = was.Inputs, was.Began
			} else {
				cut[key(slice)], known[key(slice)] = slice.Inputs, slices.Clone(slice.Inputs)
			}
			last[key(slice)], at[key(slice)] = slice, sub.Intended
		}
	}
	for _, k := range kept {
		for _, d := range k.decisions { // the last one stands, unless attempts were made after it
			if d.Slice == nil {
				continue
			}
			if is := observedSlice(*d.Slice); !at[key(is)].After(d.Evidence.At) {
				last[key(is)] = is
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		row := ledgerSlice(last[key])
		row.Inputs = notIn(notIn(cut[key], known[key]), row.Inputs) // what was decided has all of them
		rows = append(rows, row)
	}
	return rows, added
}

// endedAs is how a slice ended whose run has ended, as far as its last attempt tells.
func endedAs(sub observed.Submission) observed.SliceState {
	switch sub.State {
	case observed.SubmissionDone:
		return observed.SliceComplete
	case observed.SubmissionCancelled:
		return observed.SliceCancelled
	}
	return observed.SliceFailed
}

// notIn are the names that are not among others.
func notIn(others, names []string) (more []string) {
	known := map[string]bool{}
	for _, name := range others {
		known[name] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] })
}

// sweepEvery is how often jobs are looked for that appeared after their launches were over.
const sweepEvery = 10 * time.Minute

// sweep cancels jobs that came late.
func (s *Campaigner) sweep(ctx context.Context, e *engineNow) error {
	if s.Now().Before(e.swept.Add(sweepEvery)) {
		return nil
	}
	cancelled, err := e.desk.Sweep(ctx, s.Now().Add(-24*time.Hour), func(keys []string) (over map[string]string, err error) {
		err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
			over, err = l.LaunchesOver(ctx, keys)
			return err
		})
		return over, err
	})
	if err != nil {
		return err
	}
	e.swept = s.Now()
	if len(cancelled) > 0 {
		s.Log.Warn("cancelled held jobs of launches that are over", "engine", e.name, "jobs", cancelled)
	}
	return nil
}
