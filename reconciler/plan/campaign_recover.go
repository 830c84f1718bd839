package plan

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Attempt is a submission of a slice that is due.
type Attempt struct {
	Round, Number int // of the recovery, from 0; in that, from 1
	Inputs        []string
	Resources     desired.Resources
	Params        desired.Params // of the recovery, before all others
}

// AttemptAt is what the next submission of a planned slice is, profile being what jobs may use that do not say. Asked again, the same
// facts have the same answer.
func AttemptAt(f SliceFacts, profile desired.Resources) Attempt {
	j := sliceJudge{SliceFacts: f}
	a := Attempt{Round: f.Slice.Round, Number: 1, Inputs: f.Slice.Inputs, Resources: f.Stage.Job.Resources.Over(profile)}
	for _, s := range f.Tries {
		if s.Round == a.Round {
			a.Number = max(a.Number, s.Attempt+1)
		}
	}
	if a.Round > 0 && a.Round <= len(f.Stage.Recoveries) {
		r := f.Stage.Recoveries[a.Round-1]
		j.Tries = slices.DeleteFunc(slices.Clone(f.Tries), func(s observed.Submission) bool { return s.Round >= a.Round })
		a.Resources, a.Params = r.Resources.Over(a.Resources), r.Params
		if isForAdded(f.Stage, a.Round) {
			a.Inputs = j.addedIn(a.Round)
		} else {
			a.Inputs = j.selected(r.Select)
		}
	}
	a.Resources = withMemory(a.Resources, f.Stage.Job.Retry, ofRound(f.Tries, a.Round))
	return a
}

// Idle says that an attempt at a slice has nothing to work on, although the slice has inputs: its recovery was changed while it waited.
func (a Attempt) Idle(slice observed.Slice) bool {
	return a.Round > 0 && slice.Count > 0 && len(a.Inputs) == 0
}

// withMemory are resources with as much more memory as attempts before want.
func withMemory(r desired.Resources, retry desired.Retry, before []observed.Submission) desired.Resources {
	memory := float64(r.MemoryBytes())
	for _, s := range before {
		if retry.MemoryFactor > 1 && wantsMemory(retry, s) {
			memory *= retry.MemoryFactor
		}
	}
	if more := int64(memory); more > r.MemoryBytes() {
		r.Memory = desired.SizeText(more)
	}
	return r
}

// Asked are the resources that the last of some attempts at a slice of a stage has asked for, profile being what jobs may use that do not say.
func Asked(stage desired.Stage, profile desired.Resources, tries []observed.Submission) desired.Resources {
	r := stage.Job.Resources.Over(profile)
	last := tries[len(tries)-1]
	if last.Round > 0 && last.Round <= len(stage.Recoveries) {
		r = stage.Recoveries[last.Round-1].Resources.Over(r)
	}
	return withMemory(r, stage.Job.Retry, ofRound(tries[:len(tries)-1], last.Round))
}

// addedIn are the inputs that were added with a round.
func (j *sliceJudge) addedIn(round int) []string {
	return slices.DeleteFunc(slices.Clone(j.Slice.Inputs), func(name string) bool { return j.AddedIn[name] != round })
}

// AddedTo are the inputs of a dataset that a recovery could add to a slice: those that no slice of its stage has, and that the split puts
// where it is. Slices of splits that give each of them all inputs get what they lack themselves; a sample gets nothing.
func AddedTo(split desired.Split, slice observed.Slice, dataset []observed.Input, assigned func(input string) bool) (names []string) {
	own := map[string]bool{}
	for _, name := range slice.Inputs {
		own[name] = true
	}
	for _, in := range dataset {
		if own[in.Name] {
			continue
		}
		at, belongs := in.Time.Unix(), !assigned(in.Name)
		switch split.Type {
		case desired.NoSplit, desired.MatrixSplit:
			belongs = true
		case desired.SampleSplit:
			belongs = false
		case desired.RunsSplit, desired.ExistingRunsSplit:
			belongs = belongs && strconv.FormatInt(in.Run, 10) == slice.Params["run"]
		case desired.WindowSplit:
			belongs = belongs && !in.Time.IsZero() && moment(slice.Params["from"]) <= at && at < moment(slice.Params["until"])
		case desired.TagsSplit:
			belongs = belongs && tagOf(split, in.Name) == slice.Params["tag"]
		}
		if belongs {
			names = append(names, in.Name)
		}
	}
	return names
}

// moment is a parameter that is a time, in seconds since 1970; a slice without one has no such time.
func moment(text string) int64 {
	t, _ := time.Parse(time.RFC3339, text)
	return t.Unix()
}

// selected are the inputs that a recovery is for, in their order.
func (j *sliceJudge) selected(which string) []string {
	switch which {
	case "not-consumed":
		return j.notConsumed(false)
	case "failed-or-not-consumed":
		return j.notConsumed(true)
	case "delivered-not-consumed":
		return slices.DeleteFunc(slices.Clone(j.Slice.Inputs), func(name string) bool {
			said := j.Said[name]
			return said != observed.InputDelivered && (said != "" || j.read(name))
		})
	case "missing-output":
		return j.missingOutput()
	case "added-inputs":
		return j.Added
	}
	return nil
}

// notConsumed are inputs that no job has read to their end, and, if asked for, those that a job has failed at. Of what no job has said
// anything, the attempts decide.
func (j *sliceJudge) notConsumed(failedToo bool) []string {
	return slices.DeleteFunc(slices.Clone(j.Slice.Inputs), func(name string) bool {
		switch j.Said[name] {
		case observed.InputConsumed:
			return true
		case observed.InputFailed:
			return !failedToo
		case observed.InputDelivered:
			return false
		}
		return j.read(name)
	})
}

// read says whether an input of which no job has said anything counts as read: an attempt that had it has ended well.
func (j *sliceJudge) read(input string) bool { return j.ended(input, observed.SubmissionDone) }

// missingOutput are inputs of which an output is lacking. A file is of the input whose name, without what follows its first dot, is in its
// own; where no file can be told to be of any input, all are lacking it.
func (j *sliceJudge) missingOutput() []string {
	missing := map[string]bool{}
	for _, name := range sortedKeys(j.Stage.Job.Outputs) {
		each := j.Stage.Job.Outputs[name].Least()
		files := j.Outputs[name]
		if each == 0 || len(files) >= each*max(j.Slice.Count, 1) {
			continue
		}
		of := outputsByInput(j.Slice.Inputs, files)
		for _, input := range j.Slice.Inputs {
			missing[input] = missing[input] || of[input] < each
		}
	}
	return slices.DeleteFunc(slices.Clone(j.Slice.Inputs), func(name string) bool { return !missing[name] })
}

// outputsByInput counts files by the input that they are of: the one with the longest stem that their name has.
func outputsByInput(inputs []string, files []observed.Input) map[string]int {
	out := map[string]int{}
	for _, f := range files {
		best, length := "", 0
		for _, input := range inputs {
			if s := stem(input); len(s) > length && strings.Contains(path.Base(f.Name), s) {
				best, length = input, len(s)
			}
		}
		if best != "" {
			out[best]++
		}
	}
	return out
}

// stem is a file's name without what follows its first dot.
func stem(name string) string {
	s, _, _ := strings.Cut(path.Base(name), ".")
	return s
}
