// Package enginetest holds every batch system to what engine.Engine promises: one suite that each of them passes, on the real
// thing.
package enginetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
)

// Subject is a batch system under test.
type Subject struct {
	// New is the engine as a Pomona that has just started has it: what another one has handed in is there all the same.
	New func(t testing.TB) engine.Engine
	// Folder is where launch folders are made, which its jobs can write; default: one of the test.
	Folder string
	// Resources of the jobs, but for their time; default: one processor.
	Resources engine.Resources
	// Limit is the shortest time that it holds jobs to; 0: that is not tested, and said.
	Limit time.Duration
	// Memory says that a job that takes more than it may is ended for that.
	Memory bool
	// Down has it not answer until up is called; nil: that is not tested, and said.
	Down func(t testing.TB) (up func())
	// Patience is how long a job may take from its release to its end; default 2 minutes.
	Patience time.Duration
}

// Run holds a batch system to the promises, each in a test of its own. Those with others run at once; what takes the batch system
// away comes last.
func Run(t *testing.T, s Subject) {
	s = s.complete(t)
	t.Run("with others", func(t *testing.T) {
		for name, promise := range promises {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				promise(NewTrial(t, s))
			})
		}
	})
	t.Run("gone, it is an error and never an empty answer", func(t *testing.T) { silence(NewTrial(t, s)) })
}

// complete has the defaults in place of what is not said.
func (s Subject) complete(t testing.TB) Subject {
	if s.Folder == "" {
		s.Folder = t.TempDir()
	}
	if s.Resources.CPUs == 0 {
		s.Resources.CPUs = 1
	}
	if s.Patience == 0 {
		s.Patience = 2 * time.Minute
	}
	return s
}

// Trial is one promise being tested.
type Trial struct {
	*testing.T
	Subject
	engine.Engine
	Since time.Time // what Jobs looks back to
}

// NewTrial tests one promise more, of one batch system only.
func NewTrial(t *testing.T, s Subject) *Trial {
	s = s.complete(t)
	return &Trial{T: t, Subject: s, Engine: s.New(t), Since: time.Now().Add(-time.Minute)}
}

// Launch is a launch of a script, which is sh, in a folder of its own. It may say {} for that.
func (t *Trial) Launch(script string, tasks int) engine.Launch {
	t.Helper()
	key := "pom-" + strings.ToLower(rand.Text())
	folder := filepath.Join(t.Folder, key)
	l := engine.Launch{
		Key: key, Folder: folder, Script: filepath.Join(folder, "job.sh"), Tasks: tasks, Resources: t.Resources,
		Comment: `conformance: 50% of "it", it's done`,
	}
	l.Resources.Time = time.Hour
	if err := os.MkdirAll(filepath.Join(folder, "log"), 0o777); err != nil {
		t.Fatal(err)
	}
	script = "#!/bin/sh\nTASK=${POMONA_TASK:-${SLURM_ARRAY_TASK_ID:-1}}\n" + strings.ReplaceAll(script, "{}", folder) + "\n"
	if err := os.WriteFile(l.Script, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

// HandIn hands in a launch, and waits until it is found. It goes with the test.
func (t *Trial) HandIn(l engine.Launch) []engine.Job {
	t.Helper()
	if err := t.Submit(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	jobs := t.Await(l, "all held", func(j engine.Job) bool { return j.State == engine.Held })
	t.Cleanup(func() { _ = t.Cancel(context.Background(), jobs[0].ID) }) // it may be gone
	return jobs
}

// RunToEnd hands in a launch, releases it and waits for its end.
func (t *Trial) RunToEnd(l engine.Launch) []engine.Job {
	t.Helper()
	t.MustRelease(t.HandIn(l)[0].ID)
	return t.AwaitEnd(l)
}

// MustRelease releases, and has the test fail if it cannot.
func (t *Trial) MustRelease(ids ...string) {
	t.Helper()
	if err := t.Release(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
}

// MustCancel cancels, and has the test fail if it cannot.
func (t *Trial) MustCancel(ids ...string) {
	t.Helper()
	if err := t.Cancel(t.Context(), ids...); err != nil {
		t.Fatal(err)
	}
}

// AwaitEnd waits for the end of a launch.
func (t *Trial) AwaitEnd(l engine.Launch) []engine.Job {
	t.Helper()
	return t.Await(l, "all ended", func(j engine.Job) bool { return j.State.Ended() })
}

// Await looks for the jobs of a launch until there is one for each task, and each is as wanted. They are in the order of their
// tasks.
func (t *Trial) Await(l engine.Launch, what string, wanted func(engine.Job) bool) []engine.Job {
	t.Helper()
	for deadline := time.Now().Add(t.Patience); ; time.Sleep(100 * time.Millisecond) {
		jobs := t.Jobs(l.Key)
		if len(jobs) == l.Tasks && !slices.ContainsFunc(jobs, func(j engine.Job) bool { return !wanted(j) }) {
			t.check(l, jobs)
			return jobs
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not %s of %d, but %+v", l.Key, what, l.Tasks, jobs)
		}
	}
}

// Jobs are those of some keys, in the order of tasks.
func (t *Trial) Jobs(keys ...string) []engine.Job {
	t.Helper()
	found, err := t.Find(t.Context(), t.Since, keys...)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(found.Jobs, func(a, b engine.Job) int { return a.Task - b.Task })
	return found.Jobs
}

// check compares what all jobs of a launch have in common.
func (t *Trial) check(l engine.Launch, jobs []engine.Job) {
	t.Helper()
	for i, j := range jobs {
		if j.Key != l.Key || j.ID == "" || j.ID != jobs[0].ID || j.Task != i+1 || j.TaskID == "" {
			t.Fatalf("task %d of %s: %+v", i+1, l.Key, j)
		}
		if j.Submitted.IsZero() {
			t.Errorf("nobody knows when it was handed in: %+v", j)
		}
		if j.State.Ended() && j.State != engine.Cancelled && (j.Began.IsZero() || j.Ended.Before(j.Began)) {
			t.Errorf("began %v, ended %v: %+v", j.Began, j.Ended, j)
		}
	}
}

// File is what a job has left in its folder; "" if nothing.
func (t *Trial) File(l engine.Launch, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.Folder, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// AwaitFile waits until a job has left something.
func (t *Trial) AwaitFile(l engine.Launch, name string) {
	t.Helper()
	for deadline := time.Now().Add(t.Patience); t.File(l, name) == ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never came; %+v", filepath.Join(l.Folder, name), t.Jobs(l.Key))
		}
	}
}

func states(jobs []engine.Job) string {
	var all []string
	for _, j := range jobs {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %d/%d", j.State, j.Exit, j.Signal)))
	}
	return strings.Join(all, ", ")
}

func log(task int) string { return "log/" + strconv.Itoa(task) }
