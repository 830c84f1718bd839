// Package engine speaks to batch systems. It hands in launches, held, and says what became of their jobs; who decides what is
// handed in, released or cancelled, and who remembers it, is not here.
//
// A launch is found by its key, which is the name of its job. Whether a call succeeded is never told by its exit status, but by
// looking for the key: a batch system that has lost an answer may have the job all the same.
package engine

import (
	"context"
	"os"
	"time"
)

// Launch is what one call hands in: a job, or an array of jobs, its tasks.
type Launch struct {
	Key       string // its name: lower case letters, digits and dashes, at most 63
	Folder    string // that the engine and its jobs see, absolute; a task's output goes to log/TASK in it
	Script    string // the file that each task runs, absolute: POSIX sh. It finds its number, from 1, in POMONA_TASK or SLURM_ARRAY_TASK_ID; else it is 1
	Tasks     int    // at least 1
	AtOnce    int    // tasks that may run at once; 0: no limit
	Resources Resources
	Account   string
	Partition string
	QOS       string
	Options   []string // as the profile has them
	Comment   string
	// Lock, if any, is a descriptor that every program must inherit that hands it in, so that whoever looks for the job waits for one
	// whose Pomona was killed. It is no descriptor of jobs.
	Lock *os.File
}

// Resources are what one task may use.
type Resources struct {
	CPUs, GPUs   int
	Memory, Disk int64 // bytes; 0: nothing is said
	Time         time.Duration
}

// State of a job.
type State string

// States. The last five are ends: such a job never changes again, but may be forgotten.
const (
	Held      State = "held"
	Queued    State = "queued"
	Running   State = "running"
	Completed State = "completed" // exit status 0
	Failed    State = "failed"    // another exit status, or a signal
	Cancelled State = "cancelled"
	Exceeded  State = "exceeded" // time or memory; Reason says which
	Lost      State = "lost"     // with its machine
)

// Ended says whether it is an end.
func (s State) Ended() bool { return s != Held && s != Queued && s != Running }

// states are all of them.
var states = []State{Held, Queued, Running, Completed, Failed, Cancelled, Exceeded, Lost}

// Job is one task as a batch system knows it. Of tasks that have ended more than once, being requeued, it is the last time.
type Job struct {
	Key                     string // of the launch
	ID                      string // of the launch's job, by which it is released and cancelled
	Task                    int    // from 1
	TaskID                  string // by which the task alone is cancelled; people know it by that
	State                   State
	Exit, Signal            int
	Reason                  string // why it waits or what has ended it, in the engine's words
	Node                    string
	Submitted, Began, Ended time.Time
	CPU                     time.Duration // used; 0: not known
	Memory                  int64         // most that was used, bytes; 0: not known
}

// Found is what a batch system answers.
type Found struct {
	Jobs []Job
	// Certain says that a key without jobs has none, and had none since the time that was asked for. Else it may only be forgotten.
	Certain bool
	Doubt   string // why it is not certain, for people
}

// Engine is one batch system. Its methods may be called by many goroutines; each gives up with its context, and then, as with any
// error, nothing is known about what it did.
type Engine interface {
	// Ping says whether it answers.
	Ping(ctx context.Context) error
	// Find are the jobs of some launches, or of all whose key begins with "pom-", that were handed in since a time. An error means
	// that nothing is known: it is never taken for an empty answer. The number of calls does not grow with the number of keys.
	Find(ctx context.Context, since time.Time, keys ...string) (Found, error)
	// Submit hands in a launch, held. Look with Find what came of it, also after an error.
	Submit(ctx context.Context, l Launch) error
	// Release lets held jobs run; ID of each. One that is released already stays so.
	Release(ctx context.Context, ids ...string) error
	// Cancel ends jobs or tasks; ID or TaskID of each. What has ended stays as it is.
	Cancel(ctx context.Context, ids ...string) error
}
