package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Command is any other batch system, spoken for by a program, as docs/engines.md tells: it is run with a verb as its last
// argument, reads a JSON document, and prints one. An exit status other than 0 is an error, and what it says on its standard error
// is told.
type Command struct {
	Program []string      // an absolute path and arguments
	Timeout time.Duration // of one call; 0: 2 minutes
}

var _ Engine = Command{}

// commandVersion is that of the documents.
const commandVersion = 1

// commandLaunch is what the program reads at submit.
type commandLaunch struct {
	Version   int              `json:"version"`
	Key       string           `json:"key"`
	Folder    string           `json:"folder"`
	Script    string           `json:"script"`
	Tasks     int              `json:"tasks"`
	AtOnce    int              `json:"atOnce"` // 0: no limit
	Resources commandResources `json:"resources"`
	Account   string           `json:"account"`
	Partition string           `json:"partition"`
	QOS       string           `json:"qos"`
	Options   []string         `json:"options"`
	Comment   string           `json:"comment"`
}

type commandResources struct {
	CPUs   int   `json:"cpus"`
	GPUs   int   `json:"gpus"`
	Memory int64 `json:"memory"` // bytes; 0: nothing is said
	Disk   int64 `json:"disk"`
	Time   int64 `json:"time"` // seconds
}

// commandQuestion is what it reads at find.
type commandQuestion struct {
	Version int       `json:"version"`
	Since   time.Time `json:"since"`
	Keys    []string  `json:"keys"` // empty: all that begin with pom-
}

// commandIDs is what it reads at release and cancel.
type commandIDs struct {
	Version int      `json:"version"`
	IDs     []string `json:"ids"`
}

// commandAnswer is what it prints at find.
type commandAnswer struct {
	Jobs    *[]commandJob `json:"jobs"`
	Certain bool          `json:"certain"`
	Doubt   string        `json:"doubt"`
}

type commandJob struct {
	Key       string    `json:"key"`
	ID        string    `json:"id"`
	Task      int       `json:"task"`   // default 1
	TaskID    string    `json:"taskID"` // default: the id
	State     State     `json:"state"`
	Exit      int       `json:"exit"`
	Signal    int       `json:"signal"`
	Reason    string    `json:"reason"`
	Node      string    `json:"node"`
	Submitted time.Time `json:"submitted"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended"`
	CPU       float64   `json:"cpu"`    // seconds
	Memory    int64     `json:"memory"` // bytes
}

// Ping implements Engine.
func (c Command) Ping(ctx context.Context) error {
	_, err := c.ask(ctx, nil, "ping", struct {
		Version int `json:"version"`
	}{commandVersion})
	return err
}

// Find implements Engine, in one call.
func (c Command) Find(ctx context.Context, since time.Time, keys ...string) (Found, error) {
	out, err := c.ask(ctx, nil, "find", commandQuestion{commandVersion, since.UTC(), append([]string{}, keys...)})
	if err != nil {
		return Found{}, err
	}
	found, err := parseAnswer(out, wanted(keys))
	if err != nil {
		return Found{}, fmt.Errorf("read what %s prints at find: %w", c.Program[0], err)
	}
	return found, nil
}

// parseAnswer is strict: what is not understood might be a job.
func parseAnswer(out []byte, wanted func(string) bool) (Found, error) {
	var a commandAnswer
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return Found{}, err
	}
	if a.Jobs == nil {
		return Found{}, errors.New("there is no list of jobs; without any it is jobs: []")
	}
	if d.More() {
		return Found{}, errors.New("there is more than one document")
	}
	found := Found{Certain: a.Certain, Doubt: a.Doubt}
	for _, j := range *a.Jobs {
		job, err := j.job()
		if err != nil {
			return Found{}, err
		}
		if wanted(job.Key) {
			found.Jobs = append(found.Jobs, job)
		}
	}
	return found, nil
}

func (j commandJob) job() (Job, error) {
	if j.Task == 0 {
		j.Task = 1
	}
	if j.TaskID == "" {
		j.TaskID = j.ID
	}
	switch {
	case j.Key == "" || j.ID == "":
		return Job{}, fmt.Errorf("a job has no key or no id: %+v", j)
	case j.Task < 1:
		return Job{}, fmt.Errorf("job %s has task %d, but they count from 1", j.ID, j.Task)
	case !slices.Contains(states, j.State):
		return Job{}, fmt.Errorf("job %s has state %q, which must be one of %v", j.ID, j.State, states)
	}
	return Job{
		Key: j.Key, ID: j.ID, Task: j.Task, TaskID: j.TaskID, State: j.State, Exit: j.Exit, Signal: j.Signal, Reason: j.Reason, Node: j.Node,
		Submitted: j.Submitted, Began: j.Began, Ended: j.Ended, CPU: time.Duration(j.CPU * float64(time.Second)), Memory: j.Memory,
	}, nil
}

// Submit implements Engine.
func (c Command) Submit(ctx context.Context, l Launch) error {
	_, err := c.ask(ctx, l.Lock, "submit", commandLaunch{
		Version: commandVersion, Key: l.Key, Folder: l.Folder, Script: l.Script, Tasks: l.Tasks, AtOnce: l.AtOnce,
		Resources: commandResources{CPUs: max(l.Resources.CPUs, 1), GPUs: l.Resources.GPUs, Memory: l.Resources.Memory, Disk: l.Resources.Disk,
			Time: upTo(int64(l.Resources.Time), int64(time.Second))},
		Account: l.Account, Partition: l.Partition, QOS: l.QOS, Options: append([]string{}, l.Options...), Comment: l.Comment,
	})
	if err != nil {
		return fmt.Errorf("submit %s: %w", l.Key, err)
	}
	return nil
}

// Release implements Engine.
func (c Command) Release(ctx context.Context, ids ...string) error {
	return c.order(ctx, "release", ids)
}

// Cancel implements Engine.
func (c Command) Cancel(ctx context.Context, ids ...string) error { return c.order(ctx, "cancel", ids) }

func (c Command) order(ctx context.Context, verb string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := c.ask(ctx, nil, verb, commandIDs{commandVersion, ids})
	return err
}

// ask runs the program with a verb. Of this process's environment it sees HOME only, and PATH and LANG are set.
func (c Command) ask(ctx context.Context, lock *os.File, verb string, document any) ([]byte, error) {
	in, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	environment := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}
	if home := os.Getenv("HOME"); home != "" {
		environment = append(environment, "HOME="+home)
	}
	call := client{environment: environment, timeout: c.Timeout, input: append(in, '\n')}
	return call.run(ctx, lock, c.Program[0], append(c.Program[1:len(c.Program):len(c.Program)], verb)...)
}
