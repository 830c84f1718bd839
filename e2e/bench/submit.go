package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/engine/slurmtest"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

const (
	manySlices  = 1000
	manyWatched = 10_000
)

// submit hands slices to a real Slurm with accounting, beside one plain sbatch for each of them, and then watches many. Nothing runs
// while that is measured; once, all of it does.
func (b *bench) submit(ctx context.Context) (err error) {
	if missing := slurmtest.Missing(); missing != "" {
		return fmt.Errorf("install Debian's packages %s", missing)
	}
	c, err := slurmtest.Start(slurmtest.Options{Accounting: true, CPUs: 1024})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	programs := filepath.Join(b.dir, "counted")
	if err := os.Mkdir(programs, 0o755); err != nil {
		return err
	}
	calls, err := slurmtest.Counted(programs)
	if err != nil {
		return err
	}
	counted := engine.Slurm{Config: c.Config, Programs: programs}
	if _, err := c.Run("scontrol", "update", "PartitionName=main", "State=DOWN"); err != nil {
		return err
	}
	if err := b.submitTime(ctx, c); err != nil {
		return err
	}
	if err := b.submitCalls(ctx, c, counted, calls); err != nil {
		return err
	}
	return b.watchCalls(ctx, c, counted, calls)
}

// submitTime is how long it takes until all slices are in Slurm and released, the ledger and launch folders included.
func (b *bench) submitTime(ctx context.Context, c *slurmtest.Cluster) error {
	ours, peer, err := b.both(b.runs, func() (u usage, err error) {
		s, err := b.newSubmitter(ctx, engine.Slurm{Config: c.Config})
		if err != nil {
			return u, err
		}
		defer func() { err = errors.Join(err, s.Close(), empty(c)) }()
		began := time.Now()
		err = s.handIn(ctx, 0, "exit 0")
		u.seconds = time.Since(began).Seconds()
		return u, err
	}, func() (u usage, err error) {
		defer func() { err = errors.Join(err, empty(c)) }()
		script := filepath.Join(b.dir, "job.sh")
		if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			return u, err
		}
		began := time.Now()
		for range manySlices {
			if _, err := c.Run("sbatch", "--parsable", "--output=/dev/null", script); err != nil {
				return u, err
			}
		}
		u.seconds = time.Since(began).Seconds()
		return u, nil
	})
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("submit %d slices to Slurm, released and in the ledger", manySlices), ours.seconds, peer.seconds, "s", "plain sbatch", 1, false)
	return nil
}

// submitCalls counts the calls of all slices' way to their end, and what they have done.
func (b *bench) submitCalls(ctx context.Context, c *slurmtest.Cluster, counted engine.Slurm, calls func() map[string]int) error {
	s, err := b.newSubmitter(ctx, counted)
	if err != nil {
		return err
	}
	defer s.Close() // what matters was recorded
	effects := filepath.Join(s.folder, "effects")
	if err := s.handIn(ctx, 0, `echo "$POMONA_SLICE" >>'`+effects+`'`); err != nil {
		return err
	}
	n, text := sum(calls())
	b.table.ratio("calls for that: "+text, float64(n), manySlices, "", "plain sbatch", 0.1, false)
	if _, err := c.Run("scontrol", "update", "PartitionName=main", "State=UP"); err != nil {
		return err
	}
	done, open := 0, 1
	for deadline := time.Now().Add(10 * time.Minute); open > 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
		if open, done, err = s.step(ctx); err != nil {
			return err
		}
	}
	if _, err := c.Run("scontrol", "update", "PartitionName=main", "State=DOWN"); err != nil {
		return err
	}
	lines, err := os.ReadFile(effects)
	if err != nil {
		return err
	}
	times := map[string]int{}
	for _, slice := range strings.Fields(string(lines)) {
		times[slice]++
	}
	wrong := 0
	for i := range manySlices {
		if times[fmt.Sprintf("s%04d", i)] != 1 {
			wrong++
		}
	}
	b.table.count("slices of those lost or done twice", float64(wrong+manySlices-done), "", 0)
	return nil
}

// watchCalls counts the calls of one interval, when few and when many jobs are watched.
func (b *bench) watchCalls(ctx context.Context, c *slurmtest.Cluster, counted engine.Slurm, calls func() map[string]int) (err error) {
	s, err := b.newSubmitter(ctx, counted)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(), empty(c)) }()
	var few, many int
	var text string
	var slowest time.Duration
	for launches := 0; launches < manyWatched/manySlices; launches++ {
		if err := s.handIn(ctx, launches, "exit 0"); err != nil {
			return err
		}
		calls()
		began := time.Now()
		if _, _, err := s.step(ctx); err != nil {
			return err
		}
		slowest = time.Since(began)
		if many, text = sum(calls()); launches == 0 {
			few = many
		}
	}
	b.table.ratio(fmt.Sprintf("calls to watch %d jobs for one interval: %s", manyWatched, text), float64(many), float64(few), "", fmt.Sprintf("for %d jobs", manySlices), 1, false)
	b.table.count("time of that", slowest.Seconds(), "s", 5)
	return nil
}

// empty ends all jobs of a cluster.
func empty(c *slurmtest.Cluster) error {
	if _, err := c.Run("scancel", "--user="+strconv.Itoa(os.Getuid())); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if out, err := c.Run("squeue", "--noheader"); err != nil || out == "" {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("jobs do not end")
		}
	}
}

// sum is how many calls there were, and which.
func sum(calls map[string]int) (n int, text string) {
	for _, program := range []string{"sbatch", "squeue", "scontrol", "sdiag", "sacct", "scancel"} {
		if calls[program] > 0 {
			n += calls[program]
			text += fmt.Sprintf(", %d %s", calls[program], program)
		}
	}
	return n, strings.TrimPrefix(text, ", ")
}

// submitter is the part of a service that submits and watches.
type submitter struct {
	*ledger.Ledger
	desk   *submit.Desk
	folder string
}

func (b *bench) newSubmitter(ctx context.Context, e engine.Engine) (*submitter, error) {
	dir, err := os.MkdirTemp(b.dir, "submit-")
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(ctx, filepath.Join(dir, "ledger.db"))
	if err != nil {
		return nil, err
	}
	record := func(ctx context.Context, launches []observed.Launch, submissions []observed.Submission) error {
		return l.SetProgress(ctx, time.Now(), same[ledger.Launch](launches), same[ledger.Submission](submissions))
	}
	return &submitter{l, &submit.Desk{Engine: e, Folder: filepath.Join(dir, "launches"), Record: record}, dir}, nil
}

// handIn hands in one launch of many slices, until it is released.
func (s *submitter) handIn(ctx context.Context, launch int, script string) error {
	w := submit.Work{
		Site: filepath.Base(s.folder), Campaign: "many", UID: fmt.Sprintf("many/%d", launch), Stage: "all", Engine: "slurm", Job: desired.Job{Argv: []string{"/bin/sh", "-c", script}},
		Launch: engine.Launch{Resources: engine.Resources{CPUs: 1, Time: time.Hour}},
	}
	for i := range manySlices {
		id := fmt.Sprintf("s%04d", i)
		w.Tasks = append(w.Tasks, submit.Task{Slice: observed.Slice{UID: w.UID, Stage: w.Stage, Epoch: 1, ID: id, Inputs: []string{"/data/" + id}}, Attempt: 1})
	}
	if err := s.desk.Prepare(ctx, w); err != nil {
		return err
	}
	l, submissions := w.Intent(time.Now().UTC())
	if err := s.Intend(ctx, same[ledger.Launch]([]observed.Launch{l}), same[ledger.Submission](submissions)); err != nil {
		return err
	}
	if _, _, err := s.step(ctx); err != nil {
		return err
	}
	launches, err := s.OpenLaunches(ctx, "slurm")
	if err != nil {
		return err
	}
	for _, l := range launches {
		if l.State != string(observed.LaunchReleased) {
			return fmt.Errorf("launch %s is %s: %s", l.Key, l.State, l.Detail)
		}
	}
	return nil
}

// step is one step of all that is open; how many launches there were, and how many submissions of the first are done after it.
func (s *submitter) step(ctx context.Context) (open, done int, err error) {
	launches, err := s.OpenLaunches(ctx, "slurm")
	if err != nil {
		return 0, 0, err
	}
	submissions, err := s.OpenSubmissions(ctx, "slurm")
	if err != nil {
		return 0, 0, err
	}
	var all []submit.Open
	for _, l := range same[observed.Launch](launches) {
		all = append(all, submit.Open{Launch: l, Submissions: same[observed.Submission](submissions[l.Key])})
	}
	if _, err := s.desk.Step(ctx, all); err != nil {
		return 0, 0, err
	}
	first, err := s.Submissions(ctx, "many/0", "", 0, "")
	for _, sub := range first {
		if sub.State == string(observed.SubmissionDone) {
			done++
		}
	}
	return len(all), done, err
}

// same are values with the same fields.
func same[To, From any](all []From) (out []To) {
	for _, from := range all {
		var to To
		a, b := reflect.ValueOf(from), reflect.ValueOf(&to).Elem()
		for i := range a.NumField() {
			if f := b.FieldByName(a.Type().Field(i).Name); f.IsValid() {
				f.Set(a.Field(i).Convert(f.Type()))
			}
		}
		out = append(out, to)
	}
	return out
}
