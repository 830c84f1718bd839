package plan

import (
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Source is where the inputs of a stage come from.
type Source string

// Sources.
const (
	FromNothing Source = "nothing" // it makes files of its own
	FromDataset Source = "dataset" // its input says where they are
	FromOutputs Source = "outputs" // of the slices of the stages that it needs
	FromOthers  Source = "others"  // whoever makes its slices says so, by the submission API
)

// SourceOf is where the inputs of a stage come from. The input of a transfer is where its files should be, not where they come from.
func SourceOf(s desired.Stage) Source {
	switch {
	case s.TheSplit(false).Type == desired.ExternalSplit:
		return FromOthers
	case s.ReadsDataset():
		return FromDataset
	case len(s.Needs) > 0:
		return FromOutputs
	}
	return FromNothing
}

// StageOrder is the stages of a campaign, those that others need before them.
func StageOrder(c desired.Campaign) []string {
	var order []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		s, there := c.Stages[name]
		if seen[name] || !there {
			return
		}
		seen[name] = true
		for _, need := range sortedKeys(s.Needs) {
			add(need)
		}
		order = append(order, name)
	}
	for _, name := range sortedKeys(c.Stages) {
		add(name)
	}
	return order
}

// FirstStages are those that need no other.
func FirstStages(c desired.Campaign) (first []string) {
	for _, name := range sortedKeys(c.Stages) {
		if len(c.Stages[name].Needs) == 0 {
			first = append(first, name)
		}
	}
	return first
}

// Consumers are the stages that work on the outputs of a stage.
func Consumers(c desired.Campaign, stage string) (names []string) {
	for _, name := range sortedKeys(c.Stages) {
		s := c.Stages[name]
		if _, needs := s.Needs[stage]; needs && SourceOf(s) == FromOutputs {
			names = append(names, name)
		}
	}
	return names
}

// Dependents are the stages that a slice which has just ended leads to: its consumers, and, of the stage of a loop, the first ones. They
// are recorded together with its end, as names that DependentStage reads.
func Dependents(c desired.Campaign, s observed.Slice) (names []string) {
	if s.Test {
		return nil
	}
	for _, name := range Consumers(c, s.Stage) {
		if counts(c.Stages[name].Needs[s.Stage], s.State) {
			names = append(names, dependent(c, name))
		}
	}
	if l := c.Loop; l != nil && l.Stage == s.Stage && s.State == observed.SliceComplete && Iteration(s.Cycle) < l.Max {
		for _, name := range FirstStages(c) {
			names = append(names, dependent(c, name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// counts says whether a slice in such a state is what somebody needs.
func counts(n desired.Need, state observed.SliceState) bool {
	return state == observed.SliceComplete || n.AcceptsAny() && (state == observed.SlicePartial || state == observed.SliceFailed)
}

// Leaves says whether slices of a stage can leave files that others work on: outputs of its job, or, of one without a job, its inputs.
func Leaves(c desired.Campaign, name string) bool { return leaves(c, name, map[string]bool{}) }

func leaves(c desired.Campaign, name string, seen map[string]bool) bool {
	s := c.Stages[name]
	switch {
	case seen[name]:
		return false
	case s.Job != nil:
		return len(s.Job.Outputs) > 0
	case s.Input != nil:
		return true
	}
	seen[name] = true
	for need := range s.Needs {
		if leaves(c, need, seen) {
			return true
		}
	}
	return false
}
