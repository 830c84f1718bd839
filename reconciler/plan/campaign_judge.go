package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// SliceFacts is all that is known of a slice that has not ended.
type SliceFacts struct {
	Now   time.Time
	Stage desired.Stage
	Slice observed.Slice        // with its inputs, those that were added last; only their number if no recovery is to be chosen
	Tries []observed.Submission // all of it, oldest first
	// AddedIn are the rounds in which inputs were added, by name: of all others the slice was cut.
	AddedIn map[string]int
	// Outputs are files that attempts which ended well have left, by the name that the job has for them.
	Outputs map[string][]observed.Input
	// Said is what jobs have reported of inputs, by name; those that it lacks are taken to be as the last attempt at them.
	Said map[string]observed.InputState
	// Clashes are names of files that several rounds have left of different inputs: neither stands for the other.
	Clashes []string
	// Added are inputs that the dataset has got since and no slice has; only of stages that WantsAdded.
	Added []string
	// Arrived says that a file is where it should be: only of a transfer, and nil if nobody could look.
	Arrived func(input string) bool
}

// WantsAdded says whether a stage recovers inputs that were added later.
func WantsAdded(s desired.Stage) bool {
	return slices.ContainsFunc(s.Recoveries, func(r desired.Recovery) bool { return r.Select == "added-inputs" })
}

// Verdict is what is to become of a slice.
type Verdict struct {
	Slice  observed.Slice // with its new state; planned means that another attempt is due
	Cancel bool           // its jobs are to be cancelled
	Late   bool           // it has taken too long, and people are to be told
	Added  []string       // inputs that its new round gives it, which are its own from then on
}

// JudgeSlice says how far a slice is. What has ended stays as it is.
func JudgeSlice(f SliceFacts) Verdict {
	j := sliceJudge{SliceFacts: f, v: Verdict{Slice: f.Slice}}
	switch state := f.Slice.State; {
	case state.Ended(), state == observed.SliceAwaiting, state == observed.SlicePlanned, state == observed.SliceLate:
		return j.v
	case f.Stage.TheType() == desired.TransferStage:
		j.transfer()
	default:
		j.work()
	}
	if j.v.Slice.State != f.Slice.State || j.v.Slice.Round != f.Slice.Round || j.v.Slice.Tries != f.Slice.Tries {
		j.v.Slice.At = f.Now
	}
	return j.v
}

type sliceJudge struct {
	SliceFacts
	v Verdict
}

func (j *sliceJudge) end(state observed.SliceState, format string, a ...any) {
	j.v.Slice.State, j.v.Slice.Detail = state, fmt.Sprintf(format, a...)
}

// transfer judges a slice whose files only have to be somewhere.
func (j *sliceJudge) transfer() {
	if j.Stage.Input == nil || len(j.Stage.Needs) == 0 {
		j.end(observed.SliceComplete, "nothing says where its files should be")
		return
	}
	if w := j.Stage.Completion.WhenLate(); j.Arrived == nil && (w == "fail" || w == "accept") {
		return // what is there decides about it
	}
	if j.Arrived == nil {
		seen, _, _ := strings.Cut(j.Slice.Detail, notComplete) // what was said of the delay is said anew
		j.v.Slice.Detail = strings.TrimSuffix(seen, "; ")
		j.late(j.Slice.Began, 0)
		return
	}
	there := 0
	for _, name := range j.Slice.Inputs {
		if j.Arrived(name) {
			there++
		}
	}
	if enough(there, len(j.Slice.Inputs), j.Stage.Completion) {
		j.end(observed.SliceComplete, "%d of %s have arrived", there, counted(len(j.Slice.Inputs), "file", "files"))
		return
	}
	j.v.Slice.Detail = fmt.Sprintf("%d of %s have arrived", there, counted(len(j.Slice.Inputs), "file", "files"))
	j.late(j.Slice.Began, there)
}

// work judges a slice by its jobs and by what they have left.
func (j *sliceJudge) work() {
	if len(j.Tries) == 0 {
		return
	}
	last := j.Tries[len(j.Tries)-1]
	for _, s := range j.Tries {
		if s.State == observed.SubmissionUnknown {
			j.v.Slice.Detail = "nobody knows what became of " + s.Key + ": " + s.Detail
		}
		if !s.State.Ended() {
			j.v.Slice.State = observed.SliceUnderway
			if s.State != observed.SubmissionUnknown {
				j.v.Slice.Detail = ""
			}
			j.late(cmp.Or(s.Submitted, s.Intended), 0) // of an earlier attempt somebody has decided already
			return
		}
	}
	have, want, lacks := j.share()
	switch done := enough(have, want, j.Stage.Completion); {
	case done && j.addMore():
	case done && len(j.Clashes) > 0:
		j.incomplete(have, "", last)
	case done:
		j.complete(have, want, lacks)
	case last.State == observed.SubmissionDenied && last.Round == j.Slice.Round:
		j.deniedAttempt(last)
	case last.State == observed.SubmissionCancelled:
		j.incomplete(have, "its job was cancelled", last)
	case j.again(last):
	case j.recover():
	default:
		j.incomplete(have, lacks, last)
	}
}

func (j *sliceJudge) complete(have, want int, lacks string) {
	if have < want {
		j.end(observed.SliceComplete, "%s, which is enough: %s", lacks, j.threshold())
		return
	}
	j.end(observed.SliceComplete, "")
}

func (j *sliceJudge) threshold() string {
	return cmp.Or(j.Stage.Completion.Threshold, "100%") + " of its inputs"
}

// incomplete ends a slice for which nothing is left to try. What is only there in part is not complete.
func (j *sliceJudge) incomplete(have int, lacks string, last observed.Submission) {
	state := observed.SliceFailed
	if have > 0 {
		state = observed.SlicePartial
	}
	var said []string
	if lacks != "" {
		said = append(said, lacks)
	}
	if len(j.Clashes) > 0 {
		said = append(said, fmt.Sprintf("several rounds have left files %s, each of other inputs: accept it to have all of them handed on, retry it with all inputs, or have jobs put $POMONA_KEY into the names",
			desired.FewOf(j.Clashes, mostNamed)))
	}
	if last.State != observed.SubmissionDone {
		said = append(said, attemptText(last))
	}
	switch n := len(j.Stage.Recoveries); {
	case lacks == "":
	case n > 0 && j.Slice.Round == 0:
		said = append(said, "no recovery is for what it lacks")
	case n > 0:
		said = append(said, "its recoveries did not help")
	}
	j.end(state, "%s", strings.Join(said, "; "))
}

// mostNamed is how many files are named of which there may be very many.
const mostNamed = 5

// attemptText says how an attempt ended.
func attemptText(s observed.Submission) string {
	text := fmt.Sprintf("the last attempt, %s, is %s", cmp.Or(s.Job, s.Key), s.State)
	switch {
	case s.Signal != 0:
		text += fmt.Sprintf(" by signal %d", s.Signal)
	case s.State == observed.SubmissionFailed && s.Exit != 0:
		text += fmt.Sprintf(" with exit status %d", s.Exit)
	}
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

// isForAdded says whether a round of a stage is for inputs that were added: it says nothing of any others.
func isForAdded(s desired.Stage, round int) bool {
	return round > 0 && round <= len(s.Recoveries) && s.Recoveries[round-1].Select == "added-inputs"
}

// had says whether an attempt had an input: one in the round of the input had all of that, later ones what was lacking.
func (j *sliceJudge) had(s observed.Submission, input string) bool {
	since := j.AddedIn[input]
	return s.Round == since || s.Round > since && !isForAdded(j.Stage, s.Round)
}

// ended says whether an attempt that had an input ended in one of some states.
func (j *sliceJudge) ended(input string, states ...observed.SubmissionState) bool {
	return slices.ContainsFunc(j.Tries, func(s observed.Submission) bool { return slices.Contains(states, s.State) && j.had(s, input) })
}

// share is how much of what is wanted there is: inputs that are done, or files that were left. Lacks says what is not there.
func (j *sliceJudge) share() (have, want int, lacks string) {
	inputs := max(j.Slice.Count, 1)
	if j.Stage.ByOutputs() {
		return j.files(inputs)
	}
	wells := []observed.SubmissionState{observed.SubmissionDone}
	if j.Stage.Completion.CountFailedAsDone {
		wells = append(wells, observed.SubmissionFailed)
	}
	if j.Slice.Count == 0 {
		if j.ended("", wells...) {
			return 1, 1, ""
		}
		return 0, 1, "it has not run well"
	}
	lacking := slices.DeleteFunc(j.notConsumed(true), func(name string) bool { return j.Stage.Completion.CountFailedAsDone && j.ended(name, wells...) })
	if have = inputs - len(lacking); have == inputs {
		return have, inputs, ""
	}
	return have, inputs, fmt.Sprintf("%d of %s are done", have, counted(inputs, "input", "inputs"))
}

// files is how many of the files that are wanted there are, of the kind of which most are lacking; in shares of the inputs.
func (j *sliceJudge) files(inputs int) (have, want int, lacks string) {
	have, want = inputs, inputs
	for _, name := range sortedKeys(j.Stage.Job.Outputs) {
		each := j.Stage.Job.Outputs[name].Least()
		if each == 0 {
			continue
		}
		if n := min(len(j.Outputs[name])/each, inputs); n < have {
			have, lacks = n, fmt.Sprintf("there are %d of %d files %s", len(j.Outputs[name]), each*inputs, name)
		}
	}
	return have, want, lacks
}

// enough says whether a share reaches the threshold.
func enough(have, want int, c desired.Completion) bool { return have*100 >= want*c.Percent() }

// again has the same inputs tried once more, where that was asked for: with more memory, or because a job was lost.
func (j *sliceJudge) again(last observed.Submission) bool {
	r := j.Stage.Job.Retry
	if last.Round != j.Slice.Round || j.attempts() > r.Max || !retryable(r, last) {
		return false
	}
	j.end(observed.SlicePlanned, "again: %s", attemptText(last))
	return true
}

// retryable says whether a failure is one after which an attempt is worth another.
func retryable(r desired.Retry, s observed.Submission) bool {
	return s.State == observed.SubmissionLost || r.MemoryFactor > 1 && wantsMemory(r, s)
}

// wantsMemory says whether an attempt may have failed for want of memory.
func wantsMemory(r desired.Retry, s observed.Submission) bool {
	detail := strings.ToLower(s.Detail)
	return s.State == observed.SubmissionFailed &&
		(slices.Contains(r.OnExit, s.Exit) || s.Signal == 9 || strings.Contains(detail, "memory") || strings.Contains(detail, "oom"))
}

// attempts is how many there were in the present round, but for those that were denied.
func (j *sliceJudge) attempts() int { return len(ofRound(j.Tries, j.Slice.Round)) }

// ofRound are the attempts of a round that had a chance.
func ofRound(tries []observed.Submission, round int) (out []observed.Submission) {
	for _, s := range tries {
		if s.Round == round && s.State != observed.SubmissionDenied {
			out = append(out, s)
		}
	}
	return out
}

// mostDenied bounds how often a slice is tried again because its jobs found others at work.
const mostDenied = 5

func (j *sliceJudge) deniedAttempt(last observed.Submission) {
	denied := 0
	for _, s := range j.Tries {
		if s.State == observed.SubmissionDenied && s.Round == j.Slice.Round {
			denied++
		}
	}
	if denied >= mostDenied {
		j.end(observed.SliceFailed, "it was denied %d times: %s", denied, last.Detail)
		return
	}
	j.end(observed.SlicePlanned, "again: %s", attemptText(last))
}

// addMore says that inputs were added which a recovery is for, and begins it.
func (j *sliceJudge) addMore() bool {
	for i := j.Slice.Round; i < len(j.Stage.Recoveries); i++ {
		if r := j.Stage.Recoveries[i]; r.Select == "added-inputs" && len(j.Added) >= r.Least() {
			j.round(i+1, j.Added)
			return true
		}
	}
	return false
}

// recover begins the next round for which there is enough to do.
func (j *sliceJudge) recover() bool {
	for i := j.Slice.Round; i < len(j.Stage.Recoveries); i++ {
		r := j.Stage.Recoveries[i]
		if inputs := j.selected(r.Select); len(inputs) >= r.Least() || j.Slice.Count == 0 && r.Select != "added-inputs" {
			j.round(i+1, inputs)
			return true
		}
	}
	return false
}

func (j *sliceJudge) round(n int, inputs []string) {
	j.v.Slice.Round, j.v.Slice.Tries = n, 0
	if isForAdded(j.Stage, n) {
		j.v.Added = inputs
		j.v.Slice.Inputs = append(slices.Clone(j.Slice.Inputs), inputs...)
		j.v.Slice.Count, j.v.Slice.Digest = len(j.v.Slice.Inputs), InputsDigest(j.v.Slice.Inputs, j.Slice.Params)
	}
	j.end(observed.SlicePlanned, "recovery %d of %d: %s, %s", n, len(j.Stage.Recoveries), j.Stage.Recoveries[n-1].Select, counted(len(inputs), "input", "inputs"))
}

// notComplete begins what is said of a slice that has taken too long.
const notComplete = "it is not complete "

// late does what is to be done with a slice that has taken too long since a time.
func (j *sliceJudge) late(since time.Time, have int) {
	c := j.Stage.Completion
	if since.IsZero() || j.Now.Sub(since) <= c.Patience() {
		return
	}
	j.v.Late = true
	says := notComplete + cmp.Or(c.Timeout, "2d") + " after it was submitted"
	if j.Stage.TheType() == desired.TransferStage {
		says = notComplete + cmp.Or(c.Timeout, "2d") + " after its files were left"
	}
	switch c.WhenLate() {
	case "hold":
		j.end(observed.SliceLate, "%s: retry, accept or cancel it; nothing more of the stage starts until then", says)
	case "fail":
		j.v.Cancel = true
		j.incomplete(have, says, observed.Submission{State: observed.SubmissionDone})
	case "accept":
		j.v.Cancel = true
		j.end(observed.SliceComplete, "%s, and is accepted as it is", says)
	default:
		j.v.Slice.Detail = strings.TrimPrefix(j.v.Slice.Detail+"; "+says, "; ")
	}
}

// JudgeApproval says which slices of an approval stage are approved: those whose own digest, or that of all together, is. Approved are
// digests, and who gave each.
func JudgeApproval(spec, stage string, waiting []observed.Slice, approved map[string]string, now time.Time) (out []observed.Slice) {
	all := approved[StageDigest(spec, stage, waiting...)]
	for _, s := range waiting {
		if by := cmp.Or(all, approved[StageDigest(spec, stage, s)]); by != "" {
			s.State, s.Detail, s.At = observed.SliceComplete, "approved by "+by, now
			out = append(out, s)
		}
	}
	return out
}
