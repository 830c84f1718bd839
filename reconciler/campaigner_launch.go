package reconciler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// edgesOf are what a slice leads to that has just ended.
func (s *Campaigner) edgesOf(c desired.Campaign, slice observed.Slice) (edges []ledger.SliceEdge) {
	if !slice.State.Ended() {
		return nil
	}
	for _, name := range plan.Dependents(c, slice) {
		edges = append(edges, ledger.SliceEdge{UID: slice.UID, Stage: slice.Stage, Epoch: slice.Epoch, Slice: slice.ID, Dependent: name, At: s.Now()})
	}
	return edges
}

// mostTests is how many slices one test has at most: it is a look at what jobs do, and no way around their campaign.
const mostTests = 10

// test plans the slices of a test, of a stage or of those that need no other.
func (s *Campaigner) test(ctx context.Context, c tended, o CampaignOrder) (string, error) {
	site, err := s.siteNow(ctx)
	if err != nil {
		return "", err
	}
	now, err := s.look(ctx, c)
	if err != nil {
		return "", err
	}
	stages, err := testedStages(c, o.Stage)
	if err != nil {
		return "", err
	}
	if err := s.mayTest(ctx, site, &now); err != nil {
		return "", err
	}
	name, text := testName(s.Now()), ""
	var tests []observed.Slice
	for _, stage := range stages {
		cut := s.cutOf(&now, plan.DueCut{Stage: stage, Final: true})
		cut.Test = name
		if cut.Inputs, cut.Bare, err = s.testInputs(ctx, &now, stage); err != nil {
			return "", conflict("nothing is tested: stage %s: %w", stage, err)
		}
		cuts := plan.Cut(cut)
		if len(cuts.Slices) == 0 {
			return "", conflict("nothing is tested: stage %s: %s", stage, cuts.Why)
		}
		if tests = append(tests, cuts.Slices...); len(tests) > mostTests {
			return "", conflict(`nothing is tested: with stage %s it would be %d slices, and a test has at most %d: say less in its testSplit, for instance {type: "sample", n: 1}, or name one stage`,
				stage, len(tests), mostTests)
		}
	}
	if err := s.addTests(ctx, site, now, o, tests); err != nil {
		return "", err
	}
	for _, slice := range tests {
		text += fmt.Sprintf("%s/%s: planned, with %d inputs\n", slice.Stage, slice.ID, slice.Count)
	}
	return text, nil
}

// mayTest says why a campaign is not tested yet: a test does what the campaign does, which somebody may have to approve.
func (s *Campaigner) mayTest(ctx context.Context, site siteNow, now *campaignNow) (err error) {
	now.digests(site.Settings)
	var doubts []string
	if now.approved, doubts, err = s.approvals(ctx, site, now); err != nil || !now.unapproved(site.Settings) {
		return err
	}
	why := fmt.Sprintf("somebody else than %s has to approve it as it is, %s", now.spec.Requester, now.digest)
	return conflict("campaign %s needs approval before it is tested: %s", now.uid, strings.Join(append([]string{why}, doubts...), "; "))
}

func (s *Campaigner) addTests(ctx context.Context, site siteNow, now campaignNow, o CampaignOrder, tests []observed.Slice) error {
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		var decided []keptDecision
		rows := ledgerSlices(tests)
		for i, slice := range tests {
			decided = append(decided, keptDecision{Evidence: ledger.CampaignEvidence{UID: now.uid, Kind: decidedTested, Stage: slice.Stage, Epoch: slice.Epoch, Slice: slice.ID, Digest: slice.Digest, By: o.By,
				Source: string(o.Via), Reason: o.Reason, Commit: site.commit, At: s.Now()}, Slice: &rows[i]})
		}
		if err := s.enterDecisions(ctx, l, decided...); err != nil {
			return err
		}
		if now.row.State == "" { // it is a draft that nobody has seen yet
			if err := l.SetCampaign(ctx, ledger.Campaign{UID: now.uid, Name: now.name, State: plan.CampaignDraft, Commit: site.commit, At: s.Now(), Began: s.Now()}); err != nil {
				return err
			}
		}
		return l.AddSlices(ctx, rows)
	})
}

// testedStages are the stages that a test is of.
func testedStages(c tended, stage string) ([]string, error) {
	if plan.CampaignEnded(c.row.State) {
		return nil, conflict("campaign %s has ended: give it another run to test it", c.uid)
	}
	if stage == "" {
		return plan.FirstStages(c.spec), nil
	}
	of, there := c.spec.Stages[stage]
	switch {
	case !there:
		err := fmt.Errorf("campaign %s has no stage %q", c.name, stage)
		if near := desired.Suggest(stage, plan.StageOrder(c.spec)); near != "" {
			err = fmt.Errorf("%w: did you mean %s?", err, near)
		}
		return nil, refused{err, serve.ErrNoSuch}
	case of.Job == nil:
		return nil, conflict("stage %s runs no jobs: there is nothing to test", stage)
	}
	return []string{stage}, nil
}

// testInputs are what a test of a stage may work on: its dataset, or what the stages that it needs have left so far.
func (s *Campaigner) testInputs(ctx context.Context, now *campaignNow, name string) (inputs []observed.Input, bare bool, err error) {
	stage := now.spec.Stages[name]
	switch plan.SourceOf(stage) {
	case plan.FromDataset:
		inputs, err = s.dataset(ctx, stage)
		return inputs, false, err
	case plan.FromNothing:
		return nil, true, nil
	case plan.FromOthers:
		return nil, false, errors.New("others make its slices, by the submission API")
	}
	var all []ledger.Slice
	err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		all, err = l.Slices(ctx, now.uid, "")
		return err
	})
	for _, slice := range all {
		if _, needs := stage.Needs[slice.Stage]; !needs || err != nil || observed.SliceState(slice.State) != observed.SliceComplete {
			continue
		}
		var more []observed.Input
		more, err = s.left(ctx, now, name, plan.Edge{Stage: slice.Stage, Epoch: slice.Epoch, Slice: slice.ID, Dependent: name})
		inputs = append(inputs, more...)
	}
	return inputs, false, err
}
