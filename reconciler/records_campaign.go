package reconciler

import (
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// What is known of campaigns is the same to the ledger and to everybody else, but that the ledger knows no names of states.

func ledgerSlice(s observed.Slice) ledger.Slice {
	return ledger.Slice{
		UID: s.UID, Stage: s.Stage, Epoch: s.Epoch, ID: s.ID, Label: s.Label, Digest: s.Digest, Count: s.Count, Inputs: s.Inputs, Params: s.Params,
		Cycle: s.Cycle, Test: s.Test, State: string(s.State), Detail: s.Detail, Round: s.Round, Tries: s.Tries, At: s.At, Began: s.Began,
	}
}

func observedSlice(s ledger.Slice) observed.Slice {
	return observed.Slice{
		UID: s.UID, Stage: s.Stage, Epoch: s.Epoch, ID: s.ID, Label: s.Label, Digest: s.Digest, Count: s.Count, Inputs: s.Inputs, Params: s.Params,
		Cycle: s.Cycle, Test: s.Test, State: observed.SliceState(s.State), Detail: s.Detail, Round: s.Round, Tries: s.Tries, At: s.At, Began: s.Began,
	}
}

func ledgerLaunch(l observed.Launch) ledger.Launch {
	return ledger.Launch{
		Key: l.Key, Engine: l.Engine, UID: l.UID, Stage: l.Stage, Profile: l.Profile, Tasks: l.Tasks, Commit: l.Commit, State: string(l.State), Detail: l.Detail,
		Job: l.Job, Calls: l.Calls, Releases: l.Releases, Intended: l.Intended, Called: l.Called, Submitted: l.Submitted, Released: l.Released,
	}
}

func observedLaunch(l ledger.Launch) observed.Launch {
	return observed.Launch{
		Key: l.Key, Engine: l.Engine, UID: l.UID, Stage: l.Stage, Profile: l.Profile, Tasks: l.Tasks, Commit: l.Commit, State: observed.LaunchState(l.State), Detail: l.Detail,
		Job: l.Job, Calls: l.Calls, Releases: l.Releases, Intended: l.Intended, Called: l.Called, Submitted: l.Submitted, Released: l.Released,
	}
}

func ledgerSubmission(s observed.Submission) ledger.Submission {
	return ledger.Submission{
		Key: s.Key, UID: s.UID, Stage: s.Stage, Epoch: s.Epoch, Slice: s.Slice, Round: s.Round, Attempt: s.Attempt, Launch: s.Launch, Task: s.Task,
		Engine: s.Engine, Job: s.Job, State: string(s.State), Detail: s.Detail, Commit: s.Commit, Exit: s.Exit, Signal: s.Signal, Node: s.Node, CPU: s.CPU,
		Memory: s.Memory, Inputs: s.Inputs, Outputs: s.Outputs, Intended: s.Intended, Submitted: s.Submitted, Began: s.Began, Ended: s.Ended,
	}
}

func observedSubmission(s ledger.Submission) observed.Submission {
	return observed.Submission{
		Key: s.Key, UID: s.UID, Stage: s.Stage, Epoch: s.Epoch, Slice: s.Slice, Round: s.Round, Attempt: s.Attempt, Launch: s.Launch, Task: s.Task,
		Engine: s.Engine, Job: s.Job, State: observed.SubmissionState(s.State), Detail: s.Detail, Commit: s.Commit, Exit: s.Exit, Signal: s.Signal, Node: s.Node, CPU: s.CPU,
		Memory: s.Memory, Inputs: s.Inputs, Outputs: s.Outputs, Intended: s.Intended, Submitted: s.Submitted, Began: s.Began, Ended: s.Ended,
	}
}
