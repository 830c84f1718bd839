package submit_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
)

// cluster is a batch system in memory. It runs jobs when it is told to, with a real shell, and has the faults of real ones.
type cluster struct {
	t  testing.TB
	mu sync.Mutex

	jobs  []engine.Job
	how   map[string]engine.Launch // by id
	late  []engine.Launch          // accepted, and not to be seen yet
	next  int
	calls map[string]int

	loseAnswers bool // what is handed in is there, and the call fails
	dropCalls   bool // nothing arrives
	delay       bool // what is handed in is seen only after arrive
	uncertain   bool
	down        bool
	looking     func() // called once, before a look has its answer
	found       func() // called when a look has its answer
	refuse      func(engine.Launch) error
	shell       []string
}

var errDown = errors.New("sbatch: Socket timed out on send/recv operation")

func newCluster(t testing.TB) *cluster {
	return &cluster{t: t, how: map[string]engine.Launch{}, calls: map[string]int{}, shell: []string{"/bin/sh"}}
}

func (c *cluster) enter(name string) (leave func(), err error) {
	c.mu.Lock()
	c.calls[name]++
	if c.down {
		err = errDown
	}
	return c.mu.Unlock, err
}

func (c *cluster) Ping(context.Context) error {
	leave, err := c.enter("ping")
	defer leave()
	return err
}

func (c *cluster) Find(_ context.Context, _ time.Time, keys ...string) (engine.Found, error) {
	leave, err := c.enter("find")
	defer leave()
	if err != nil {
		return engine.Found{}, err
	}
	if looking := c.looking; looking != nil {
		c.looking = nil
		looking()
	}
	found := engine.Found{Certain: !c.uncertain}
	for _, j := range c.jobs {
		if len(keys) == 0 || slices.Contains(keys, j.Key) {
			found.Jobs = append(found.Jobs, j)
		}
	}
	if c.found != nil {
		c.found()
	}
	return found, nil
}

func (c *cluster) Submit(_ context.Context, l engine.Launch) error {
	leave, err := c.enter("submit")
	defer leave()
	switch {
	case err != nil:
		return err
	case c.dropCalls:
		return errDown
	case c.delay:
		c.late = append(c.late, l)
		return errDown
	}
	if c.refuse != nil {
		if err := c.refuse(l); err != nil {
			return err
		}
	}
	c.accept(l)
	if c.loseAnswers {
		return errDown
	}
	return nil
}

func (c *cluster) accept(l engine.Launch) {
	c.next++
	id := strconv.Itoa(c.next)
	c.how[id] = l
	for task := 1; task <= l.Tasks; task++ {
		c.jobs = append(c.jobs, engine.Job{Key: l.Key, ID: id, Task: task, TaskID: id + "_" + strconv.Itoa(task), State: engine.Held, Submitted: time.Now()})
	}
}

// arrive has what was handed in late be seen.
func (c *cluster) arrive() {
	leave, _ := c.enter("")
	defer leave()
	for _, l := range c.late {
		c.accept(l)
	}
	c.late = nil
}

func (c *cluster) Release(_ context.Context, ids ...string) error {
	return c.change("release", ids, func(j *engine.Job) {
		if j.State == engine.Held {
			j.State = engine.Queued
		}
	})
}

func (c *cluster) Cancel(_ context.Context, ids ...string) error {
	return c.change("cancel", ids, func(j *engine.Job) {
		if !j.State.Ended() {
			j.State, j.Ended = engine.Cancelled, time.Now()
		}
	})
}

func (c *cluster) change(what string, ids []string, do func(*engine.Job)) error {
	leave, err := c.enter(what)
	defer leave()
	if err != nil {
		return err
	}
	for i := range c.jobs {
		if slices.Contains(ids, c.jobs[i].ID) || slices.Contains(ids, c.jobs[i].TaskID) {
			do(&c.jobs[i])
		}
	}
	return nil
}

// run runs all that is queued to its end.
func (c *cluster) run() {
	c.t.Helper()
	leave, _ := c.enter("")
	defer leave()
	for i := range c.jobs {
		if j := &c.jobs[i]; j.State == engine.Queued {
			c.execute(j)
		}
	}
}

// execute runs one job as a batch system does.
func (c *cluster) execute(j *engine.Job) {
	c.t.Helper()
	l := c.how[j.ID]
	log, err := os.OpenFile(filepath.Join(l.Folder, "log", strconv.Itoa(j.Task)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(c.shell[0], append(slices.Clone(c.shell[1:]), l.Script)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "POMONA_TASK=" + strconv.Itoa(j.Task), "POMONA_JOB=" + j.TaskID, "SECRET_OF_POMONA=1", "CUDA_VISIBLE_DEVICES=0,1"}
	cmd.Stdout, cmd.Stderr = log, log
	j.Began = time.Now()
	err = cmd.Run()
	j.Ended, j.State, j.Exit = time.Now(), engine.Completed, 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		j.State, j.Exit = engine.Failed, failed.ExitCode()
	} else if err != nil {
		c.t.Fatal(err)
	}
}

// forget has some jobs be as if they had never been.
func (c *cluster) forget(which func(engine.Job) bool) {
	leave, _ := c.enter("")
	defer leave()
	c.jobs = slices.DeleteFunc(c.jobs, which)
}

// set changes jobs as only a batch system can.
func (c *cluster) set(do func(*engine.Job)) {
	leave, _ := c.enter("")
	defer leave()
	for i := range c.jobs {
		do(&c.jobs[i])
	}
}
