package submit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// denied is the exit status of a job that finds another owner of its task.
const denied = 75

// evidence is what is known of one task.
type evidence struct {
	launch  observed.Launch
	jobs    []engine.Job // of its key and number
	mark    Mark
	certain bool // that there are no other jobs of its key
	begun   bool // some task of the launch was claimed, or has ended
	gone    bool // the launch folder is not to be seen
	cancel  bool // somebody wants it to end
	now     time.Time
}

// patience is how long a batch system may take to show what it was handed.
const patience = 2 * time.Minute

// markLag is how much later than the end of a job its end mark may be seen, on a file system that machines share.
const markLag = time.Minute

// outcome is what a submission has come to. It is final only if the task has an end mark: else whoever wants to believe that it has
// ended must take it back first.
func (e evidence) outcome(s observed.Submission) observed.Submission {
	switch {
	case e.gone && !e.cancel:
		s.State, s.Detail = observed.SubmissionUnknown, "its launch folder is not to be seen: mount or restore it, or cancel the slice"
		return s
	case e.mark.Err != nil && e.settled():
		s.State, s.Detail = observed.SubmissionCancelled, "as it was wanted; no job of it runs, and what it has left cannot be read: "+e.mark.Err.Error()
		return s
	case e.mark.Err != nil:
		s.State, s.Detail = observed.SubmissionUnknown, e.mark.Err.Error()
		return s
	case e.mark.End != nil && !e.explained(*e.mark.End):
		s.State, s.Detail = observed.SubmissionRunning, "it has ended, and the batch system has not said how yet"
		return s
	case e.mark.End != nil:
		return e.ended(s, *e.mark.End)
	}
	job, there := e.job()
	if !there {
		return e.missing(s)
	}
	s.Job, s.Detail = job.TaskID, job.Reason
	s.Submitted, s.Began, s.Ended = first(s.Submitted, job.Submitted), first(job.Began, s.Began), job.Ended
	s.Node, s.CPU, s.Memory = cmp.Or(job.Node, s.Node), max(job.CPU, s.CPU), max(job.Memory, s.Memory)
	switch job.State {
	case engine.Held:
		s.State = observed.SubmissionSubmitted
		if heldThere(e.launch, job) {
			s.State, s.Detail = observed.SubmissionHeld, cmp.Or(s.Detail, "somebody holds it at the batch system: release it there")
		}
	case engine.Queued:
		s.State = observed.SubmissionQueued
	case engine.Running:
		s.State = observed.SubmissionRunning
	case engine.Completed:
		s.State, s.Detail = observed.SubmissionRunning, "it has ended, and its end mark is not to be seen yet"
		if e.now.Sub(job.Ended) > markLag {
			s.State, s.Detail = observed.SubmissionFailed, "the batch system says that it was completed, but it left no end mark"
		}
	case engine.Cancelled:
		s.State = observed.SubmissionCancelled
	case engine.Lost:
		s.State = observed.SubmissionLost
	default:
		s.State, s.Exit, s.Signal = observed.SubmissionFailed, job.Exit, job.Signal
		if job.State == engine.Failed && job.Exit == denied {
			return e.denied(s)
		}
	}
	return s
}

// ended is how a task ended by its own mark, with what the batch system knows besides.
func (e evidence) ended(s observed.Submission, end End) observed.Submission {
	s.Began, s.Ended, s.Job = first(end.Began, s.Began), first(end.Ended, s.Ended), cmp.Or(end.Job, s.Job)
	s.Node, s.CPU, s.Exit, s.Signal, s.Detail = cmp.Or(end.Node, s.Node), max(end.CPU, s.CPU), end.Exit, 0, ""
	for _, j := range e.jobs {
		if j.TaskID == s.Job {
			s.CPU, s.Memory, s.Submitted = max(j.CPU, s.CPU), max(j.Memory, s.Memory), first(s.Submitted, j.Submitted)
		}
	}
	switch {
	case end.TakenBack != "":
		s.State, s.Detail = takenBackAs(end.TakenBack)
		s.Signal = end.Signal
	case end.Exit == 0:
		s.State = observed.SubmissionDone
	default:
		s.State = observed.SubmissionFailed
		if end.Exit > 128 {
			s.Signal = end.Exit - 128
		}
		e.whyEnded(&s)
	}
	return s
}

// whyEnded says of a task that did not end well what the batch system knows: that it took too much, was cancelled, or was taken from its
// machine to run again, which it will not. A program that is told to end may still say how it did.
func (e evidence) whyEnded(s *observed.Submission) {
	for _, j := range e.jobs {
		switch {
		case j.TaskID != s.Job:
		case j.State == engine.Cancelled:
			s.State, s.Detail = observed.SubmissionCancelled, j.Reason
		case j.State == engine.Exceeded && s.Signal != 0:
			s.Detail = j.Reason
		case !j.State.Ended() && s.Signal != 0:
			s.State, s.Detail = observed.SubmissionLost, "the batch system has ended it and queued it again"
		}
	}
	if e.cancel && s.Signal != 0 {
		s.State = observed.SubmissionCancelled
	}
}

// explained says whether the batch system has ended the job too: only then it knows what that took, and where the end mark alone does not
// say so, why. One that waits again has been requeued, and will find that it has ended.
func (e evidence) explained(end End) bool {
	if end.TakenBack != "" || !slices.ContainsFunc(e.jobs, func(j engine.Job) bool { return j.TaskID == end.Job && j.State == engine.Running }) {
		return true
	}
	clear := end.Exit == 0 || end.Exit <= 128 && !e.cancel
	return clear && e.now.Sub(end.Ended) > markLag
}

// settled says of a submission that is to end whether the batch system alone settles it: it has the job, and that has ended, or is certain
// that there is none.
func (e evidence) settled() bool {
	if !e.cancel || slices.ContainsFunc(e.jobs, func(j engine.Job) bool { return !j.State.Ended() }) {
		return false
	}
	_, there := e.job()
	return there || e.certain
}

// takenBackAs reads why a task was taken back: a state, a colon and the detail.
func takenBackAs(why string) (observed.SubmissionState, string) {
	state, detail, ok := strings.Cut(why, ": ")
	if s := observed.SubmissionState(state); ok && s.Ended() && s != observed.SubmissionDone {
		return s, detail
	}
	return observed.SubmissionLost, why
}

// missing is a task without a job.
func (e evidence) missing(s observed.Submission) observed.Submission {
	l := e.launch
	switch {
	case e.cancel:
		s.State, s.Detail = observed.SubmissionCancelled, "as it was wanted, and nobody knew a job of it"
	case !e.begun && (l.State == observed.LaunchIntent || l.State == observed.LaunchCalled && (e.certain || e.now.Sub(l.Called) < patience)):
		s.State, s.Detail = observed.SubmissionIntent, l.Detail
	case e.certain || e.mark.Owner == pomona:
		s.State, s.Detail = observed.SubmissionLost, "the batch system has it no more, and it left no end mark"
	case l.State == observed.LaunchCalled:
		s.State, s.Detail = observed.SubmissionUnknown, cmp.Or(l.Detail, "it was handed in, and the batch system cannot say what became of it")
	default:
		s.State, s.Detail = observed.SubmissionUnknown, "the batch system does not know it any more, and it left no end mark"
	}
	return s
}

// denied is a task whose job has found another owner: that one may still be at it.
func (e evidence) denied(s observed.Submission) observed.Submission {
	s.State, s.Detail = observed.SubmissionDenied, "task "+e.mark.Owner+" had claimed it before"
	for _, j := range e.jobs {
		if owns(e.mark.Owner, j) && !j.State.Ended() {
			s.State, s.Job, s.Detail = observed.SubmissionRunning, j.TaskID, "as a job that was handed in twice"
			return s
		}
	}
	if !e.certain && e.mark.Owner != pomona && !slices.ContainsFunc(e.jobs, func(j engine.Job) bool { return owns(e.mark.Owner, j) }) {
		s.State, s.Detail = observed.SubmissionUnknown, "another job of its key had claimed it, of which the batch system knows nothing: "+e.mark.Owner
	}
	return s
}

func owns(owner string, j engine.Job) bool {
	id, _, ok := strings.Cut(owner, ".")
	if at := strings.LastIndex(owner, "."); ok {
		id = owner[:at]
	}
	return id != "" && (id == j.TaskID || id == j.ID)
}

// job is the one that was chosen, else one that owns the task.
func (e evidence) job() (engine.Job, bool) {
	for _, j := range e.jobs {
		if j.ID == e.launch.Job {
			return j, true
		}
	}
	for _, j := range e.jobs {
		if e.mark.Owner != "" && owns(e.mark.Owner, j) {
			return j, true
		}
	}
	return engine.Job{}, false
}

// first is the first time that is known.
func first(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
