package engine_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/engine/enginetest"
	"github.com/pomona-gitops/pomona/reconciler/engine/slurmtest"
)

// ground is a cluster whose parts fail, and a way to use it.
type ground struct {
	*enginetest.Trial
	*slurmtest.Cluster
}

func newGround(t *testing.T, o slurmtest.Options) ground {
	t.Helper()
	c := slurmtest.New(t, o)
	s := enginetest.Subject{New: func(testing.TB) engine.Engine { return engine.Slurm{Config: c.Config} }, Patience: 4 * time.Minute}
	return ground{enginetest.NewTrial(t, s), c}
}

// find is everything of a launch, with what is said of it.
func (g ground) find(l engine.Launch, since time.Time) engine.Found {
	g.Helper()
	found, err := g.Engine.Find(g.Context(), since, l.Key)
	try(g, err)
	return found
}

// until looks for a launch until something holds.
func (g ground) until(l engine.Launch, since time.Time, what string, holds func(engine.Found) bool) engine.Found {
	g.Helper()
	for deadline := time.Now().Add(g.Patience); ; time.Sleep(200 * time.Millisecond) {
		found := g.find(l, since)
		if holds(found) {
			return found
		}
		if time.Now().After(deadline) {
			g.Fatalf("never %s, but %+v", what, found)
		}
	}
}

func gone(f engine.Found) bool { return len(f.Jobs) == 0 }

// The controller takes a job and does not answer: the client gives up, the job is there all the same.
func TestSlurmHasAJobOfWhichItDidNotAnswer(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{Conf: []string{"MessageTimeout=2"}})
	l := g.Launch("echo ran >>{}/ran", 1)
	try(t, g.Pause(slurmtest.Controller))
	if err := g.Engine.Submit(t.Context(), l); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("submit: %v", err)
	}
	if found, err := g.Engine.Find(t.Context(), g.Since, l.Key); err == nil {
		t.Errorf("find: no error, but %+v", found)
	}
	if err := g.Engine.Ping(t.Context()); err == nil {
		t.Error("ping: no error")
	}
	try(t, g.Resume(slurmtest.Controller))
	jobs := g.Await(l, "held", func(j engine.Job) bool { return j.State == engine.Held })
	g.MustRelease(jobs[0].ID)
	g.AwaitEnd(l)
	if got := g.File(l, "ran"); got != "ran\n" {
		t.Errorf("ran: %q", got)
	}
}

// A call that takes too long ends, and says that nothing is known.
func TestSlurmIsGivenUpAfterItsTimeout(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{})
	try(t, g.Pause(slurmtest.Controller))
	defer func() { try(t, g.Resume(slurmtest.Controller)) }()
	e := engine.Slurm{Config: g.Config, Timeout: time.Second}
	if err := e.Submit(t.Context(), g.Launch("true", 1)); err == nil || !strings.Contains(err.Error(), "no answer within 1s, and what it did is unknown") {
		t.Error(err)
	}
	over, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := g.Engine.Ping(over); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Error(err)
	}
}

// The controller is killed at any moment of a call. When it is back it answers, and has the job once or not at all.
func TestSlurmIsKilledWhileItTakesAJob(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{})
	there := 0
	const trials = 6
	for range trials {
		l := g.Launch("true", 1)
		var wait sync.WaitGroup
		wait.Go(func() { _ = g.Engine.Submit(t.Context(), l) }) // whatever it says
		time.Sleep(rand.N(15 * time.Millisecond))
		try(t, g.Kill(slurmtest.Controller))
		try(t, g.Cluster.Start(slurmtest.Controller))
		wait.Wait()
		found := g.find(l, g.Since)
		if len(found.Jobs) > 1 || !found.Certain {
			t.Errorf("%+v", found)
		}
		there += len(found.Jobs)
	}
	t.Logf("%d of %d jobs survived the controller", there, trials)
	try(t, g.Ready())
}

// A job that was taken is forgotten if the controller dies before it has saved it: that it is not there is certain then.
func TestSlurmForgetsWhatItHasTaken(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{})
	l := g.Launch("true", 1)
	g.HandIn(l)
	try(t, g.Kill(slurmtest.Controller))
	try(t, g.Cluster.Start(slurmtest.Controller))
	found := g.find(l, g.Since)
	if !found.Certain {
		t.Errorf("%+v", found)
	}
	if len(found.Jobs) == 1 {
		t.Log("the controller has saved it before it was killed")
	}
}

// Without accounting, what has ended is soon not known any more, and never taken for certain.
func TestSlurmWithoutAccountingIsNotSure(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{MinJobAge: 2})
	l := g.Launch("exit 4", 1)
	jobs := g.RunToEnd(l)
	if jobs[0].Exit != 4 {
		t.Errorf("%+v", jobs)
	}
	found := g.until(l, g.Since, "forgotten", gone)
	if found.Certain || !strings.Contains(found.Doubt, "no accounting") {
		t.Errorf("%+v", found)
	}
	required := true
	e := engine.Slurm{Config: g.Config, Accounting: &required}
	if err := e.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "no accounting") {
		t.Error(err)
	}
	if found, err := e.Find(t.Context(), g.Since); err == nil {
		t.Errorf("%+v", found)
	}
}

// Accounting knows what the controller has forgotten. While it does not answer, and while records are on their way, nothing is certain.
func TestSlurmAccountingFails(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{Accounting: true, MinJobAge: 2})
	before, during := g.Launch("exit $TASK", 2), g.Launch("exit 5", 1)
	g.RunToEnd(before)
	purged(t, g.Cluster, before.Key)
	found := g.until(before, g.Since, "certain", func(f engine.Found) bool { return f.Certain && len(f.Jobs) == 2 })
	for i, j := range found.Jobs {
		if j.State != engine.Failed || j.Exit != i+1 || j.Node == "" {
			t.Errorf("%+v", j)
		}
	}

	try(t, g.Stop(slurmtest.Accounting))
	g.MustRelease(g.HandIn(during)[0].ID)
	g.AwaitEnd(during)
	purged(t, g.Cluster, during.Key)
	if found := g.find(during, g.Since); len(found.Jobs) > 0 || found.Certain || !strings.Contains(found.Doubt, "sacct") {
		t.Errorf("without accounting: %+v", found)
	}
	try(t, g.Cluster.Start(slurmtest.Accounting))
	found = g.until(during, g.Since, "certain", func(f engine.Found) bool { return f.Certain })
	if len(found.Jobs) != 1 || found.Jobs[0].Exit != 5 {
		t.Errorf("certain too early: %+v", found)
	}

	never := false
	e := engine.Slurm{Config: g.Config, Accounting: &never}
	if found, err := e.Find(t.Context(), g.Since, during.Key); err != nil || found.Certain || len(found.Jobs) > 0 {
		t.Errorf("never asked: %+v, %v", found, err)
	}
}

// purged waits until the controller has forgotten a job.
func purged(t *testing.T, c *slurmtest.Cluster, key string) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		out, err := c.Run("squeue", "--noheader", "--states=all", "--name="+key)
		try(t, err)
		if out == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not forgotten: %s", out)
		}
	}
}

// Nobody has a job run twice by requeueing it.
func TestSlurmDoesNotRequeue(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{})
	l := g.Launch("echo ran >>{}/ran; sleep 2; echo ended >>{}/ran", 1)
	id := g.HandIn(l)[0].ID
	g.MustRelease(id)
	g.AwaitFile(l, "ran")
	if out, err := g.Run("scontrol", "requeue", id); err == nil {
		t.Errorf("requeued: %s", out)
	}
	try(t, g.Kill(slurmtest.Node)) // the job outlives that
	try(t, g.Cluster.Start(slurmtest.Node))
	if got := g.AwaitEnd(l); got[0].State != engine.Completed || g.File(l, "ran") != "ran\nended\n" {
		t.Errorf("%+v, ran: %q", got, g.File(l, "ran"))
	}
}

// A job of another user may have any name.
func TestSlurmJobsOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can hand in jobs of others")
	}
	g := newGround(t, slurmtest.Options{Accounting: true, MinJobAge: 2})
	l := g.Launch("true", 1)
	out, err := g.Run("sbatch", "--parsable", "--uid=nobody", "--chdir=/", "--output=/dev/null", "--job-name="+l.Key, "--wrap=true")
	try(t, err)
	purged(t, g.Cluster, l.Key)
	found := g.until(l, g.Since, "certain", func(f engine.Found) bool { return f.Certain })
	if len(found.Jobs) > 0 {
		t.Errorf("job %s of another: %+v", out, found)
	}
}

// Ten thousand jobs take one call to hand in, and a few to watch.
func TestSlurmCallsDoNotGrowWithJobs(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{Accounting: true, MinJobAge: 20})
	programs := t.TempDir()
	calls, err := slurmtest.Counted(programs)
	try(t, err)
	e := engine.Slurm{Config: g.Config, Programs: programs}
	l := g.Launch("true", 10_000)
	try(t, e.Submit(t.Context(), l))
	if got := calls(); len(got) != 1 || got["sbatch"] != 1 {
		t.Errorf("to hand in: %v", got)
	}
	keys := []string{l.Key}
	for i := range 1000 {
		keys = append(keys, "pom-"+strconv.Itoa(i))
	}
	for _, since := range []time.Time{time.Now(), time.Now().Add(-time.Hour)} {
		found, err := e.Find(t.Context(), since, keys...)
		if err != nil || len(found.Jobs) != 10_000 || found.Jobs[9999].Task != 10_000 {
			t.Errorf("%d jobs: %v", len(found.Jobs), err)
		}
		got := calls()
		if got["squeue"] != 1 || got["scontrol"] != 1 || got["sacct"] > 1 || got["sdiag"] > 1 {
			t.Errorf("to watch: %v", got)
		}
		t.Logf("to watch: %v", got)
	}
	id := g.find(l, g.Since).Jobs[0].ID
	if err := e.Cancel(t.Context(), "--user=root", id); err == nil || !strings.Contains(err.Error(), `"--user=root" is no job id`) {
		t.Error(err)
	}
	if got := calls(); len(got) != 1 || got["scancel"] != 1 {
		t.Errorf("to cancel: %v", got)
	}
	g.AwaitEnd(l)
}

func TestSlurmRefusesAnArrayThatIsTooLong(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{})
	l := g.Launch("true", 20_001)
	if err := g.Engine.Submit(t.Context(), l); err == nil || !strings.Contains(err.Error(), "MaxArraySize") {
		t.Error(err)
	}
	l = g.Launch("true", 1)
	l.Partition = "unheard-of"
	if err := g.Engine.Submit(t.Context(), l); err == nil || !strings.Contains(err.Error(), "invalid partition") {
		t.Error(err)
	}
}

func TestSlurmIsNotInstalled(t *testing.T) {
	t.Parallel()
	for _, programs := range []string{"", "/nowhere"} {
		if programs == "" && slurmtest.Missing() == "" {
			continue
		}
		if err := (engine.Slurm{Programs: programs}).Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "say in the engine's configuration where it is") {
			t.Errorf("%q: %v", programs, err)
		}
	}
}

// What hands a job in keeps the lock of whoever asked for it, and sees nothing of its environment.
func TestSlurmClientKeepsTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	try(t, os.WriteFile(filepath.Join(dir, "sbatch"), []byte("#!/bin/sh\n{ readlink /proc/$$/fd/3; env; } >"+dir+"/out\n"), 0o755))
	lock, err := os.Create(filepath.Join(dir, "lock"))
	try(t, err)
	defer lock.Close()
	try(t, engine.Slurm{Programs: dir, Config: "/etc/slurm.conf"}.Submit(t.Context(), engine.Launch{Key: "pom-x", Folder: dir, Script: "/x", Tasks: 1, Lock: lock}))
	b, err := os.ReadFile(filepath.Join(dir, "out"))
	try(t, err)
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "PATH", "LANG", "HOME", "SLURM_CONF", "PWD", "OLDPWD", "SHLVL", "_", lock.Name():
		default:
			t.Errorf("it sees %s", line)
		}
	}
	if !strings.HasPrefix(string(b), lock.Name()+"\n") {
		t.Errorf("descriptor 3: %.100s", b)
	}
}

// An administrator cancels an array that waits, and the controller forgets it: accounting has one row for most of its tasks.
func TestSlurmAdministratorCancelsAnArray(t *testing.T) {
	t.Parallel()
	g := newGround(t, slurmtest.Options{Accounting: true, MinJobAge: 2})
	const tasks = 70
	l := g.Launch("true", tasks)
	id := g.HandIn(l)[0].ID
	var own []string
	for n := 3; n < tasks; n += 3 {
		own = append(own, id+"_"+strconv.Itoa(n))
	}
	_, err := g.Run("scontrol", "update", "JobId="+strings.Join(own, ","), "Nice=0") // each is a job of its own then
	try(t, err)
	_, err = g.Run("scancel", id)
	try(t, err)
	g.until(l, g.Since, "forgotten by the controller", func(engine.Found) bool {
		out, err := g.Run("squeue", "--noheader", "--all", "--states=all")
		return err == nil && out == ""
	})
	found := g.until(l, g.Since, "certain", func(f engine.Found) bool { return f.Certain })
	for _, j := range found.Jobs {
		if j.State != engine.Cancelled {
			t.Errorf("%+v", j)
		}
	}
	if len(found.Jobs) != tasks {
		t.Errorf("%d of %d tasks are known", len(found.Jobs), tasks)
	}
}
