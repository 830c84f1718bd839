package submit

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Work is what one launch does, for some slices of one stage.
type Work struct {
	Site, Campaign string // names
	UID, Stage     string
	Engine         string // name
	Profile        string // name
	Commit         string
	Job            desired.Job
	Software       map[string]string // name to version, the job's own included
	Environment    map[string]string // of the profile: the job's own goes before
	URL            string            // of the submission API, where jobs report; empty for none
	// Token is what the job of a submission reports with, by key; nil where it does not.
	Token func(key string) string
	// Launch is how it is handed in: resources, account, partition, QOS, options and how many at once. All else in it is set by Prepare.
	Launch engine.Launch
	Tasks  []Task
}

// Task is one attempt at a slice.
type Task struct {
	Slice   observed.Slice    // its Inputs are those of this attempt
	Params  map[string]string // of this attempt, all of them
	Round   int
	Attempt int
}

// Intent is what the ledger has to know before the work is handed in.
func (w Work) Intent(at time.Time) (observed.Launch, []observed.Submission) {
	var submissions []observed.Submission
	keys := w.keys()
	key := LaunchKey(keys)
	for i, k := range keys {
		t := w.Tasks[i]
		submissions = append(submissions, observed.Submission{
			Key: k, UID: w.UID, Stage: w.Stage, Epoch: t.Slice.Epoch, Slice: t.Slice.ID, Round: t.Round, Attempt: t.Attempt,
			Launch: key, Task: i + 1, Engine: w.Engine, State: observed.SubmissionIntent, Commit: w.Commit, Inputs: len(t.Slice.Inputs), Intended: at,
		})
	}
	return observed.Launch{
		Key: key, Engine: w.Engine, UID: w.UID, Stage: w.Stage, Profile: w.Profile, Tasks: len(w.Tasks), Commit: w.Commit, State: observed.LaunchIntent, Intended: at,
	}, submissions
}

func (w Work) keys() []string {
	var keys []string
	for _, t := range w.Tasks {
		keys = append(keys, Key(w.Site, t.Slice, t.Round, t.Attempt))
	}
	return keys
}

// comment is decoration, for people at the batch system.
func (w Work) comment() string {
	if len(w.Tasks) == 1 {
		return fmt.Sprintf("%s %s %s %s", w.Site, w.UID, w.Stage, w.Tasks[0].Slice.ID)
	}
	return fmt.Sprintf("%s %s %s %d slices", w.Site, w.UID, w.Stage, len(w.Tasks))
}
