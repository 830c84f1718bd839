package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// What people decide about a run, and that it has ended, launch folders do not tell. It is kept beside them before the ledger has it, so
// that a ledger that was lost is made anew with it.

// keptEnd is how a run ended.
type keptEnd struct {
	Campaign ledger.Campaign        `json:"campaign"`
	Stages   []ledger.CampaignStage `json:"stages,omitempty"`
}

// keptDecision is what somebody has decided, and what a slice or a stage is by it.
type keptDecision struct {
	Evidence ledger.CampaignEvidence `json:"evidence"`
	Slice    *ledger.Slice           `json:"slice,omitempty"` // with inputs
	Stage    *ledger.CampaignStage   `json:"stage,omitempty"`
}

// keep keeps something beside the launch folders of every engine: campaigns change their engines. One folder that takes it is enough.
func (s *Campaigner) keep(do func(*submit.Desk) error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		if err := do(s.engines[name].desk); err != nil {
			errs = append(errs, fmt.Errorf("engine %s: %w", name, err))
		}
	}
	err := errors.Join(errs...)
	if err != nil && len(errs) < len(s.engines) {
		s.Log.Warn("what was decided about a campaign is not kept in the folder of every engine", "err", err)
		return nil
	}
	return err
}

// keepEnd keeps how a run ended.
func (s *Campaigner) keepEnd(end keptEnd) error {
	b, err := json.Marshal(end)
	if err != nil {
		return err
	}
	return s.keep(func(d *submit.Desk) error { return d.KeepEnd(end.Campaign.UID, append(b, '\n')) })
}

// enterDecisions keeps and then enters what somebody has decided about a run.
func (s *Campaigner) enterDecisions(ctx context.Context, l *ledger.Ledger, decided ...keptDecision) error {
	if len(decided) == 0 {
		return nil
	}
	if err := s.keepDecisions(decided...); err != nil {
		return err
	}
	for _, each := range decided {
		if err := l.AddCampaignEvidence(ctx, each.Evidence); err != nil {
			return err
		}
	}
	return nil
}

// keepDecisions keeps one or more decisions about a run.
func (s *Campaigner) keepDecisions(decided ...keptDecision) error {
	for i := range decided {
		decided[i].Evidence.At = decided[i].Evidence.At.UTC()
	}
	b, err := json.Marshal(decided)
	if err != nil {
		return err
	}
	first := decided[0].Evidence
	return s.keep(func(d *submit.Desk) error { return d.KeepDecision(first.UID, first.At, append(b, '\n')) })
}

// withInputs is a slice with its inputs, as they were frozen.
func withInputs(ctx context.Context, l *ledger.Ledger, slice ledger.Slice) (*ledger.Slice, error) {
	var err error
	slice.Inputs, err = l.SliceInputs(ctx, slice.UID, slice.Stage, slice.Epoch, slice.ID)
	return &slice, err
}

// keptRun is what is kept of a run in the folders of all engines.
type keptRun struct {
	ended     *keptEnd
	decisions []keptDecision // oldest first
	known     map[ledger.CampaignEvidence]bool
}

// kept is what is kept of runs, by UID.
func (s *Campaigner) kept() (map[string]keptRun, error) {
	all := map[string]keptRun{}
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		runs, err := s.engines[name].desk.Kept()
		if err != nil {
			return nil, fmt.Errorf("what was decided about campaigns is not known: engine %s: %w", name, err)
		}
		for _, r := range runs {
			k := all[r.UID]
			if err := k.add(r); err != nil {
				return nil, fmt.Errorf("read what was decided about campaign %s: engine %s: %w", r.UID, name, err)
			}
			all[r.UID] = k
		}
	}
	return all, nil
}

// add adds what one folder has of it. Most of it is in others too.
func (k *keptRun) add(r submit.KeptRun) error {
	if r.Ended != nil && k.ended == nil {
		k.ended = new(keptEnd)
		if err := json.Unmarshal(r.Ended, k.ended); err != nil {
			return err
		}
	}
	if k.known == nil {
		k.known = map[ledger.CampaignEvidence]bool{}
	}
	for _, b := range r.Decisions {
		var some []keptDecision
		if err := json.Unmarshal(b, &some); err != nil {
			return err
		}
		for _, d := range some {
			if !k.known[d.Evidence] {
				k.known[d.Evidence] = true
				k.decisions = append(k.decisions, d)
			}
		}
	}
	slices.SortStableFunc(k.decisions, func(a, b keptDecision) int { return a.Evidence.At.Compare(b.Evidence.At) })
	return nil
}

// endedBefore ends a run in the ledger whose end was kept before the ledger had it: whoever kept it has died, or the ledger did not take
// it. It looks once, and again after an end was kept. Who calls it is deciding.
func (s *Campaigner) endedBefore(ctx context.Context, c *tended) (bool, error) {
	if s.goesOn[c.uid] || plan.CampaignEnded(c.row.State) {
		return false, nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		b, err := s.engines[name].desk.KeptEnd(c.uid)
		if err != nil {
			return false, fmt.Errorf("whether it has ended is not known: engine %s: %w", name, err)
		}
		if b == nil {
			continue
		}
		var end keptEnd
		if err := json.Unmarshal(b, &end); err != nil || !plan.CampaignEnded(end.Campaign.State) {
			return false, errors.Join(fmt.Errorf("how it ended is not known: engine %s has %.100q", name, b), err)
		}
		c.row = end.Campaign
		return true, s.enterEnd(ctx, end)
	}
	s.goesOn[c.uid] = true
	return false, nil
}

func (s *Campaigner) enterEnd(ctx context.Context, end keptEnd) error {
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if err := l.SetCampaignStages(ctx, end.Stages...); err != nil {
			return err
		}
		return l.SetCampaign(ctx, end.Campaign)
	})
}
