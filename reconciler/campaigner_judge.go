package reconciler

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// judgeSlices records what has become of slices, and what those that have ended lead to. Troubles say of which stages a slice could not be
// judged, and why: the others go on.
func (s *Campaigner) judgeSlices(ctx context.Context, now *campaignNow) (troubles map[string]error, err error) {
	troubles = map[string]error{}
	defer func(of string) { s.told.takeLong(of, now.late) }(now.uid)
	now.offers = offers{time.Now(), map[string]*offer{}}
	var set []ledger.Slice
	var edges []ledger.SliceEdge
	var added []ledger.AddedInputs
	enter := func(slice observed.Slice) {
		set = append(set, ledgerSlice(slice))
		edges = append(edges, s.edgesOf(now.spec, slice)...)
	}
	for stage := range now.waiting {
		for _, slice := range plan.JudgeApproval(now.digest, stage, now.awaiting(stage), now.approved.of(stage), s.Now()) {
			enter(slice)
		}
	}
	for _, slice := range now.open {
		v, err := s.judgeSlice(ctx, now, slice)
		if was := troubles[slice.Stage]; err != nil && (was == nil || errors.Is(was, errReading)) {
			troubles[slice.Stage] = fmt.Errorf("slice %s cannot be judged: %w", slice.ID, err)
		}
		next := v.Slice
		if len(v.Added) > 0 {
			added = append(added, addedInputs(v))
		}
		if next.State != slice.State || next.Detail != slice.Detail || next.Round != slice.Round || next.Tries != slice.Tries {
			enter(next)
		}
	}
	if len(set) == 0 {
		return troubles, nil
	}
	if err := s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Judge(ctx, set, edges, added...) }); err != nil {
		return troubles, err
	}
	fresh, err := s.look(ctx, now.tended)
	fresh.digest, fresh.waiting, fresh.approved, fresh.busy = now.digest, now.waiting, now.approved, true
	fresh.late = now.late
	*now = fresh
	return troubles, err
}

// judgeSlice is how far a slice is now.
func (s *Campaigner) judgeSlice(ctx context.Context, now *campaignNow, slice observed.Slice) (plan.Verdict, error) {
	stage, there := now.spec.Stages[slice.Stage]
	last := now.last(slice)
	switch {
	case len(now.spec.Stages) == 0: // nobody knows any more what it was
		return plan.Verdict{Slice: slice}, nil
	case !there:
		slice.State, slice.Detail, slice.At = observed.SliceCancelled, "the campaign has no such stage any more", s.Now()
		return plan.Verdict{Slice: slice}, nil
	case slice.Epoch != stage.TheEpoch():
		slice.State, slice.Detail, slice.At = observed.SliceCancelled, fmt.Sprintf("its stage is in epoch %d now", stage.TheEpoch()), s.Now()
		return plan.Verdict{Slice: slice}, nil
	case slice.State == observed.SlicePlanned && last.Key != "" && !last.Intended.Before(slice.At):
		// Whoever intended it has died before it could say so.
		slice.State, slice.Detail, slice.At = observed.SliceUnderway, "", s.Now()
		slice.Round, slice.Tries = last.Round, last.Attempt
		return plan.Verdict{Slice: slice}, nil
	case slice.State == observed.SliceAwaiting || slice.State == observed.SlicePlanned || slice.State == observed.SliceLate:
		return plan.Verdict{Slice: slice}, nil
	}
	f := plan.SliceFacts{Now: s.Now(), Stage: stage, Slice: slice, Tries: now.tries[keyOf(slice)]}
	var err error
	switch {
	case stage.TheType() == desired.TransferStage:
		err = s.arrived(ctx, now, stage, &f) // one that takes long does so although nobody can look
	case len(f.Tries) > 0 && !now.underway(slice):
		if err = s.evidence(ctx, now.uid, &f); err == nil {
			err = s.offered(ctx, now, &f)
		}
		if err != nil {
			return plan.Verdict{Slice: slice}, err
		}
	}
	v := plan.JudgeSlice(f)
	if v.Late && !v.Slice.State.Ended() && v.Slice.State != observed.SliceLate {
		now.late++
	}
	now.offers.take(slice.Stage, v.Added)
	return v, err
}

// evidence reads what a slice had, and what its attempts have left.
func (s *Campaigner) evidence(ctx context.Context, uid string, f *plan.SliceFacts) (err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		inputs, added, err := l.SliceInputsByRound(ctx, f.Slice.UID, f.Slice.Stage, f.Slice.Epoch, f.Slice.ID)
		if err != nil {
			return err
		}
		f.Slice.Inputs, f.AddedIn = inputs, added
		words, err := l.InputWords(ctx, f.Slice.UID, f.Slice.Stage, f.Slice.Epoch, f.Slice.ID)
		f.Said = saidOf(words, f.Tries)
		return err
	})
	if err != nil {
		return err
	}
	files, clashes, err := s.outputs(ctx, keyOf(f.Slice), uid)
	if err != nil {
		return err
	}
	f.Outputs, f.Clashes = map[string][]observed.Input{}, clashes
	for name, o := range f.Stage.Job.Outputs {
		for _, file := range files {
			if matches(o.Pattern, file.name) {
				f.Outputs[name] = append(f.Outputs[name], observed.Input{Name: path.Join(file.folder, file.name), Size: file.size})
			}
		}
	}
	return nil
}

// saidOf is what jobs have said of the inputs of a slice, the last word last. Of an attempt that did not end well only counts what it failed at:
// nothing that it made of the others is there.
func saidOf(words []ledger.InputWord, tries []observed.Submission) map[string]observed.InputState {
	done := map[string]bool{}
	for _, sub := range tries {
		done[sub.Key] = sub.State == observed.SubmissionDone
	}
	said := map[string]observed.InputState{}
	for _, w := range words {
		state := observed.InputState(w.State)
		if (done[w.Submission] || state == observed.InputFailed) && said[w.Name] != observed.InputConsumed {
			said[w.Name] = state
		}
	}
	return said
}

func (s *Campaigner) inputsOf(ctx context.Context, slice observed.Slice) (inputs []string, err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		inputs, err = l.SliceInputs(ctx, slice.UID, slice.Stage, slice.Epoch, slice.ID)
		return err
	})
	return inputs, err
}

// arrivals are the files that were where a transfer wants them, by the last part of their names, until they are looked for again.
type arrivals struct {
	names map[string]bool
	until time.Time
}

// arrived looks, not too often, which files of a transfer are where they should be.
func (s *Campaigner) arrived(ctx context.Context, now *campaignNow, stage desired.Stage, f *plan.SliceFacts) (err error) {
	if stage.Input == nil {
		return nil
	}
	key := now.uid + " " + f.Slice.Stage
	there, known := s.arrivals[key]
	if !known || !s.Now().Before(there.until) {
		found, err := s.dataset(ctx, stage)
		if err != nil {
			return err
		}
		there = arrivals{map[string]bool{}, s.Now().Add(again)}
		for _, in := range found {
			there.names[path.Base(in.Name)] = true
		}
		s.arrivals[key] = there
	}
	f.Arrived = func(input string) bool { return there.names[path.Base(input)] }
	f.Slice.Inputs, err = s.inputsOf(ctx, f.Slice)
	return err
}

// attempts are the submissions of a stage that are due, or of tests alone, as many as may be under way at once, and why there are no more.
func (s *Campaigner) attempts(ctx context.Context, site siteNow, now *campaignNow, name string, tests bool) (due []attempt, why string, err error) {
	stage := now.spec.Stages[name]
	profileName, profile := site.Settings.ProfileFor(now.spec, stage)
	var planned []observed.Slice
	free := stage.InFlight()
	for _, slice := range now.open {
		switch {
		case slice.Stage != name || slice.Epoch != stage.TheEpoch() || tests && !slice.Test:
		case slice.State == observed.SlicePlanned && now.underway(slice):
			why = "a slice waits until its attempt before has ended"
		case slice.State == observed.SlicePlanned:
			planned = append(planned, slice)
		case now.underway(slice):
			free--
		}
	}
	if len(planned) == 0 {
		return nil, why, nil
	}
	engine := s.engines[profile.Engine]
	if engine == nil {
		return nil, fmt.Sprintf("profile %s wants engine %q, and this service's configuration has none of that name", profileName, profile.Engine), nil
	}
	if err := engine.expired(s.Now()); err != nil {
		return nil, "", fmt.Errorf("profile %s: %w", profileName, err)
	}
	if free <= 0 {
		return nil, fmt.Sprintf("%d submissions are under way: maxInFlight allows no more", stage.InFlight()), nil
	}
	if free, why, err = s.room(ctx, profileName, profile, free); err != nil || free <= 0 {
		return nil, why, err
	}
	if len(planned) > free {
		why = fmt.Sprintf("%d slices wait: not more than %d submissions may be under way", len(planned)-free, stage.InFlight())
	}
	var idle []ledger.Slice
	for _, slice := range planned[:min(free, len(planned))] {
		f := plan.SliceFacts{Now: s.Now(), Stage: stage, Slice: slice, Tries: now.tries[keyOf(slice)]}
		if slice.Round > 0 {
			if err := s.evidence(ctx, now.uid, &f); err != nil {
				return nil, "", fmt.Errorf("slice %s: %w", slice.ID, err)
			}
		}
		a := plan.AttemptAt(f, profile.Resources)
		if a.Idle(slice) {
			slice.State, slice.Detail, slice.At = observed.SliceVerifying, "its recovery was changed, and selects nothing", s.Now()
			idle = append(idle, ledgerSlice(slice))
			continue
		}
		slice.Inputs = a.Inputs
		if slice.Round > 0 && slice.Inputs == nil {
			slice.Inputs = []string{}
		}
		due = append(due, attempt{slice: slice, round: a.Round, number: a.Number, resources: a.Resources, params: a.Params})
	}
	if len(idle) > 0 { // they are judged again
		now.busy = true
		err = s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Judge(ctx, idle, nil) })
	}
	return due, why, err
}

// room is how many submissions a profile has room for, at most so many as are wanted.
func (s *Campaigner) room(ctx context.Context, name string, profile desired.Profile, wanted int) (free int, why string, err error) {
	if profile.MaxLaunches == 0 {
		return wanted, "", nil
	}
	launches := profile.MaxLaunches
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		open, err := l.OpenLaunches(ctx, profile.Engine)
		launches -= len(slices.DeleteFunc(open, func(launch ledger.Launch) bool { return launch.Profile != name }))
		return err
	})
	if launches <= 0 {
		return 0, fmt.Sprintf("%d launches of profile %s are under way: it allows no more", profile.MaxLaunches, name), err
	}
	return min(wanted, launches*profile.Tasks()), "", err
}
