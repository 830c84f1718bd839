package observed

import "time"

// Slice is one part of a stage's input, as it was frozen when it was planned.
type Slice struct {
	UID    string `json:"uid"` // of the campaign: NAME/RUN
	Stage  string `json:"stage"`
	Epoch  int    `json:"epoch"`
	ID     string `json:"id"` // within stage and epoch; the same slice planned again has the same
	Label  string `json:"label"`
	Digest string `json:"digest"` // of inputs and parameters: sha256:HEX
	Count  int    `json:"count"`  // inputs
	// Inputs and Params are what its jobs get; not always read.
	Inputs []string          `json:"inputs,omitempty"`
	Params map[string]string `json:"params,omitempty"`
	Cycle  string            `json:"cycle,omitempty"` // of the schedule: when it was due, RFC 3339
	Test   bool              `json:"test,omitempty"`
	State  SliceState        `json:"state"`
	Detail string            `json:"detail,omitempty"` // why it is in that state
	Round  int               `json:"round"`            // 0, or how many recoveries there were
	Tries  int               `json:"tries"`            // attempts in this round, from 1; 0: none yet
	At     time.Time         `json:"at"`               // since when it is in this state
	Began  time.Time         `json:"planned"`
}

// SliceState is how far a slice is.
type SliceState string

// States of slices. The last four are ends.
const (
	SlicePlanned   SliceState = "planned"   // waits for a submission
	SliceUnderway  SliceState = "underway"  // has one
	SliceVerifying SliceState = "verifying" // its jobs have ended, and what they left is looked for
	SliceAwaiting  SliceState = "awaiting"  // approval
	SliceLate      SliceState = "late"      // and somebody must decide
	SliceComplete  SliceState = "complete"
	SlicePartial   SliceState = "partial"
	SliceFailed    SliceState = "failed"
	SliceCancelled SliceState = "cancelled"
)

// SliceStates are all.
var SliceStates = []SliceState{SlicePlanned, SliceUnderway, SliceVerifying, SliceAwaiting, SliceLate, SliceComplete, SlicePartial, SliceFailed, SliceCancelled}

// Ended says whether it is an end.
func (s SliceState) Ended() bool {
	return s == SliceComplete || s == SlicePartial || s == SliceFailed || s == SliceCancelled
}

// Submission is one attempt at a slice: one job of a batch system.
type Submission struct {
	Key                               string          `json:"key"` // names it for ever
	UID                               string          `json:"uid"`
	Stage                             string          `json:"stage"`
	Epoch                             int             `json:"epoch"`
	Slice                             string          `json:"slice"`
	Round                             int             `json:"round"`   // of recovery, from 0
	Attempt                           int             `json:"attempt"` // from 1
	Launch                            string          `json:"launch"`  // key of the launch that it is a task of
	Task                              int             `json:"task"`    // of that, from 1
	Engine                            string          `json:"engine"`
	Job                               string          `json:"job,omitempty"` // as the engine and people know it
	State                             SubmissionState `json:"state"`
	Detail                            string          `json:"detail,omitempty"`
	Commit                            string          `json:"commit,omitempty"` // that it was planned as
	Exit                              int             `json:"exit"`
	Signal                            int             `json:"signal,omitempty"`
	Node                              string          `json:"node,omitempty"`
	CPU                               time.Duration   `json:"cpu,omitempty"`
	Memory                            int64           `json:"memory,omitempty"`  // bytes
	Inputs                            int             `json:"inputs,omitempty"`  // that it was handed in with
	Outputs                           int             `json:"outputs,omitempty"` // files that it had left when its good end was seen
	Intended, Submitted, Began, Ended time.Time       `json:"-"`
}

// SubmissionState is how far a submission is.
type SubmissionState string

// States of submissions. The last five are ends.
const (
	SubmissionIntent    SubmissionState = "intent"    // is about to be handed in, or was, without an answer
	SubmissionSubmitted SubmissionState = "submitted" // is there, held
	SubmissionQueued    SubmissionState = "queued"
	SubmissionRunning   SubmissionState = "running"
	SubmissionHeld      SubmissionState = "held" // by the batch system or somebody there
	SubmissionUnknown   SubmissionState = "unknown"
	SubmissionDone      SubmissionState = "done"   // exit status 0
	SubmissionFailed    SubmissionState = "failed" // otherwise
	SubmissionDenied    SubmissionState = "denied" // it found another owner of its key
	SubmissionLost      SubmissionState = "lost"
	SubmissionCancelled SubmissionState = "cancelled"
)

// SubmissionStates are all, in the order in which a submission may go through them.
var SubmissionStates = []SubmissionState{SubmissionIntent, SubmissionSubmitted, SubmissionQueued, SubmissionRunning, SubmissionHeld, SubmissionUnknown,
	SubmissionDone, SubmissionFailed, SubmissionDenied, SubmissionLost, SubmissionCancelled}

// Ended says whether it is an end.
func (s SubmissionState) Ended() bool {
	switch s {
	case SubmissionDone, SubmissionFailed, SubmissionDenied, SubmissionLost, SubmissionCancelled:
		return true
	}
	return false
}

// Launch is what one call hands to a batch system: a job, or an array of jobs, whose tasks are submissions.
type Launch struct {
	Key       string      `json:"key"` // name of its job
	Engine    string      `json:"engine"`
	UID       string      `json:"uid"`
	Stage     string      `json:"stage"`
	Profile   string      `json:"profile,omitempty"`
	Tasks     int         `json:"tasks"`
	Commit    string      `json:"commit,omitempty"`
	State     LaunchState `json:"state"`
	Detail    string      `json:"detail,omitempty"`
	Job       string      `json:"job,omitempty"` // id of the one that was chosen among all of that key
	Calls     int         `json:"calls"`         // how often it was handed in
	Releases  int         `json:"releases"`
	Intended  time.Time   `json:"-"`
	Called    time.Time   `json:"-"` // last
	Submitted time.Time   `json:"-"` // when its job was seen first
	Released  time.Time   `json:"-"` // last
}

// LaunchState is how far a launch is.
type LaunchState string

// States of launches.
const (
	LaunchIntent    LaunchState = "intent"    // nobody has handed it in
	LaunchCalled    LaunchState = "called"    // it was handed in, or perhaps not: nobody has seen its job
	LaunchSubmitted LaunchState = "submitted" // its job is there, and was held when it was seen
	LaunchReleased  LaunchState = "released"
	LaunchOver      LaunchState = "over" // every submission of it has ended
)

// Input is a file of a dataset. What is not known of it is zero.
type Input struct {
	Name string
	Run  int64
	Time time.Time // when it ended
	Size int64     // bytes
}

// InputState is what jobs have said of an input.
type InputState string

// States of inputs; none: nobody has said anything.
const (
	InputDelivered InputState = "delivered" // handed to a job
	InputConsumed  InputState = "consumed"  // read to its end
	InputFailed    InputState = "failed"    // and the job could not do anything with it
)
