package reconciler

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// again is after how long something is looked at once more that may be otherwise then.
const again = time.Minute

// cutDue has the slices planned that are due, and says why others are not.
func (s *Campaigner) cutDue(ctx context.Context, site siteNow, now *campaignNow, due plan.DueCut) (why string, err error) {
	key := now.lookKey(due)
	if was := s.lookAgain[key]; (due.Growth || was.err != nil) && s.Now().Before(was.due) {
		return was.why, was.err
	}
	if due.From == plan.FromOutputs {
		return s.cutFollowing(ctx, site, now, due)
	}
	c := s.cutOf(now, due)
	if stage := now.spec.Stages[due.Stage]; due.From == plan.FromDataset {
		c.Inputs, err = s.dataset(ctx, stage)
	}
	turn := s.Now().Add(s.AskAgain)
	if err == nil {
		var have stageHas
		have, err = s.had(ctx, c)
		if err == nil {
			s.takeInTurn(ctx, now, &c)
			cuts := have.cut(c)
			if why = cuts.Why; !cuts.Turn.IsZero() && cuts.Turn.Before(turn) {
				turn = cuts.Turn
			}
			if err = cuts.Err; err == nil {
				err = s.addSlices(ctx, site, now, c, cuts, nil)
			}
		}
	}
	if err != nil {
		return s.cannotCut(key, due, err)
	}
	if delete(s.lookAgain, key); !due.Final {
		s.lookAgain[key] = lookAgain{turn, why, nil}
	}
	return why, nil
}

// cannotCut notes why nothing can be cut of a stage, and until when nobody tries again. While its dataset is read once more, that is what was wrong
// the last time.
func (s *Campaigner) cannotCut(key string, due plan.DueCut, err error) (string, error) {
	now := lookAgain{s.Now().Add(s.AskAgain / 4), fmt.Sprintf("no slices can be planned of %s: %v", due.Stage, err), err}
	if !due.Growth { // a start is missed when it is late
		now.due = s.Now().Add(min(s.AskAgain, again) / 4)
	}
	if errors.Is(err, errReading) {
		now.due = s.Now()
		if was := s.lookAgain[key]; was.err != nil {
			now.why, now.err = was.why, was.err
		}
	}
	s.lookAgain[key] = now
	return now.why, now.err
}

// readable says why the dataset of a stage cannot be cut now.
func (s *Campaigner) readable(ctx context.Context, now *campaignNow, due plan.DueCut) (why string, err error) {
	key := now.lookKey(due)
	if was := s.lookAgain[key]; was.err != nil && s.Now().Before(was.due) {
		return was.why, was.err
	}
	if _, err := s.dataset(ctx, now.spec.Stages[due.Stage]); err != nil {
		return s.cannotCut(key, due, err)
	}
	return "", nil
}

func (n *campaignNow) lookKey(due plan.DueCut) string {
	return strings.Join([]string{n.uid, due.Stage, due.Cycle}, " ")
}

// lookAgain is when a dataset is asked again, and why there were no more slices the last time, or no answer.
type lookAgain struct {
	due time.Time
	why string
	err error
}

func (s *Campaigner) cutOf(now *campaignNow, due plan.DueCut) plan.StageCut {
	return plan.StageCut{Now: s.Now(), UID: now.uid, Name: due.Stage, Stage: now.spec.Stages[due.Stage], Cycle: due.Cycle, Sample: now.spec.IsTest(),
		Bare: due.Bare, Final: due.Final, Idle: due.Idle}
}

// cutFollowing plans what follows slices, by what the slices of the stage have, read once.
func (s *Campaigner) cutFollowing(ctx context.Context, site siteNow, now *campaignNow, due plan.DueCut) (why string, err error) {
	have, err := s.had(ctx, s.cutOf(now, due))
	if err != nil {
		return "", err
	}
	if !due.Each {
		return s.cutOutputs(ctx, site, now, due, have, due.Edges...)
	}
	for _, e := range due.Edges {
		if why, err = s.cutOutputs(ctx, site, now, due, have, e); err != nil {
			return "", err
		}
	}
	return why, nil
}

// cutOutputs plans what follows some slices: one alone, or many together. Edges of which something is left over are taken later.
func (s *Campaigner) cutOutputs(ctx context.Context, site siteNow, now *campaignNow, due plan.DueCut, have stageHas, edges ...plan.Edge) (why string, err error) {
	c := s.cutOf(now, due)
	if !due.Each {
		c.Edges = edges
	}
	of := make([][]observed.Input, len(edges))
	for i, e := range edges {
		if of[i], err = s.left(ctx, now, due.Stage, e); err != nil {
			return "", err
		}
		c.Inputs = append(c.Inputs, of[i]...)
	}
	if due.Each {
		parent, err := s.slice(ctx, now.uid, edges[0])
		if err != nil {
			return "", err
		}
		c.Parent = &parent
	}
	cuts := have.cutMore(c)
	rest := map[string]bool{}
	for _, name := range cuts.Rest {
		rest[name] = true
	}
	var taken []ledger.SliceEdge
	for i, e := range edges {
		if due.Each || due.Final || !slices.ContainsFunc(of[i], func(in observed.Input) bool { return rest[in.Name] }) {
			taken = append(taken, ledger.SliceEdge{UID: now.uid, Stage: e.Stage, Epoch: e.Epoch, Slice: e.Slice, Dependent: e.Dependent})
		}
	}
	return cuts.Why, s.addSlices(ctx, site, now, c, cuts, taken)
}

// stageHas is what the slices of a stage in its epoch have: their ids, and their inputs.
type stageHas struct{ known, assigned map[string]bool }

// had is what the slices of a stage have that are recorded.
func (s *Campaigner) had(ctx context.Context, c plan.StageCut) (h stageHas, err error) {
	h.known = map[string]bool{}
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if err := l.SliceIDs(ctx, c.UID, c.Name, c.Stage.TheEpoch(), func(id string) { h.known[id] = true }); err != nil {
			return err
		}
		h.assigned, err = assignedInputs(ctx, l, c.UID, c.Name, c.Stage.TheEpoch())
		return err
	})
	return h, err
}

// assignedInputs are the inputs that slices of a stage have.
func assignedInputs(ctx context.Context, l *ledger.Ledger, uid, stage string, epoch int) (map[string]bool, error) {
	assigned := map[string]bool{}
	return assigned, l.AssignedInputs(ctx, uid, stage, epoch, func(_, _ string, inputs []string) {
		for _, name := range inputs {
			assigned[name] = true
		}
	})
}

// cut has plan cut the input of a stage, by the slices that it has.
func (h stageHas) cut(c plan.StageCut) plan.Cuts {
	c.Assigned, c.Known = func(input string) bool { return h.assigned[input] }, func(id string) bool { return h.known[id] }
	return plan.Cut(c)
}

// cutMore is the same where more is cut after it: the new slices are among those that the stage has then.
func (h stageHas) cutMore(c plan.StageCut) plan.Cuts {
	cuts := h.cut(c)
	for _, slice := range cuts.Slices {
		h.known[slice.ID] = true
		for _, name := range slice.Inputs {
			h.assigned[name] = true
		}
	}
	return cuts
}

// addSlices records new slices of a stage, and takes the edges that led to them.
func (s *Campaigner) addSlices(ctx context.Context, site siteNow, now *campaignNow, c plan.StageCut, cuts plan.Cuts, edges []ledger.SliceEdge) error {
	row := ledger.CampaignStage{UID: now.uid, Stage: c.Name, Epoch: c.Stage.TheEpoch(), Cycle: c.Cycle, State: plan.StageOpen, Detail: cuts.Why, Inputs: len(c.Inputs), Commit: site.commit, At: s.Now()}
	if c.Final && len(cuts.Rest) == 0 {
		row.State = plan.StageUnderway
	}
	was := now.record(c.Name, row.Epoch, c.Cycle)
	if was.State == row.State && was.Detail == row.Detail && cuts.Taken+len(cuts.Slices) == 0 && len(edges) == 0 {
		return nil
	}
	err := s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if len(edges) > 0 {
			return l.TakeSliceEdges(ctx, s.Now(), edges, ledgerSlices(cuts.Slices), row)
		}
		return l.AddSlices(ctx, ledgerSlices(cuts.Slices), row)
	})
	planned := cuts.Taken + len(cuts.Slices)
	if err != nil || planned == 0 {
		return err
	}
	now.begin(cuts.Slices)
	s.Log.Info("planned slices", "campaign", now.uid, "stage", c.Name, "cycle", c.Cycle, "slices", planned)
	return nil
}

// takeInTurn has slices of a dataset recorded while others are cut, some at a time, so that they need little memory. Those that are not
// recorded when Pomona dies are cut once more. Parts of a dataset that changes meanwhile would be others then, and of a sample only a few count.
func (s *Campaigner) takeInTurn(ctx context.Context, now *campaignNow, c *plan.StageCut) {
	if split := c.Stage.TheSplit(c.Sample || c.Test != "").Type; split == desired.ModuloSplit || split == desired.SampleSplit {
		return
	}
	c.Take = func(some []observed.Slice) error {
		err := s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.AddSlices(ctx, ledgerSlices(some)) })
		if err == nil {
			now.begin(some)
		}
		return err
	}
}

// begin has slices of a stage be among those that have not ended, as many as are looked at.
func (n *campaignNow) begin(some []observed.Slice) {
	n.busy = n.busy || len(some) > 0
	room := n.lookedAt()
	for _, slice := range n.open {
		if len(some) > 0 && slice.Stage == some[0].Stage {
			room--
		}
	}
	for _, slice := range some[:min(len(some), max(room, 0))] {
		slice.Inputs = nil
		n.open = append(n.open, slice)
	}
}

func ledgerSlices(all []observed.Slice) []ledger.Slice {
	rows := make([]ledger.Slice, len(all))
	for i, slice := range all {
		rows[i] = ledgerSlice(slice)
	}
	return rows
}

// slice is the one that an edge comes from.
func (s *Campaigner) slice(ctx context.Context, uid string, e plan.Edge) (out observed.Slice, err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		found, there, err := l.Slice(ctx, uid, e.Stage, e.Epoch, e.Slice)
		if err == nil && !there {
			err = fmt.Errorf("there is no slice %s of %s", e.Slice, e.Stage)
		}
		out = observedSlice(found)
		return err
	})
	return out, err
}

// left are the files that a slice has left for a stage: the outputs of its jobs or, of a stage that has none, its inputs.
func (s *Campaigner) left(ctx context.Context, now *campaignNow, name string, e plan.Edge) (inputs []observed.Input, err error) {
	from := now.spec.Stages[e.Stage]
	if from.Job == nil {
		slice, err := s.slice(ctx, now.uid, e)
		for _, in := range slice.Inputs {
			inputs = append(inputs, observed.Input{Name: in})
		}
		return inputs, err
	}
	patterns := patternsOf(*from.Job, now.spec.Stages[name].Needs[e.Stage].Outputs)
	files, _, err := s.outputs(ctx, ledger.SliceKey{Stage: e.Stage, Epoch: e.Epoch, Slice: e.Slice}, now.uid)
	for _, f := range files {
		if slices.ContainsFunc(patterns, func(p string) bool { return matches(p, f.name) }) {
			inputs = append(inputs, observed.Input{Name: path.Join(f.folder, f.name), Size: f.size})
		}
	}
	return inputs, err
}

// patternsOf are the patterns of some outputs of a job, by name; of all of them if none is named.
func patternsOf(j desired.Job, names []string) (patterns []string) {
	for name, o := range j.Outputs {
		if len(names) == 0 || slices.Contains(names, name) {
			patterns = append(patterns, o.Pattern)
		}
	}
	return patterns
}

// matches says whether the name of an output, or its last part for a pattern without folders, is as a pattern says.
func matches(pattern, name string) bool {
	if !strings.Contains(pattern, "/") {
		name = path.Base(name)
	}
	return desired.Matches(pattern, name)
}
