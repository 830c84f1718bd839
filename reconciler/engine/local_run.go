package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// How often Run looks whether other processes have ordered something, and how often it forgets old jobs.
const (
	lookEvery   = 500 * time.Millisecond
	forgetEvery = time.Hour
)

// Run starts released jobs, in their order, as slots become free, and finds those whose keeper has died, until ctx ends. Jobs
// go on then. Of all processes that run the engine of a folder one does it; the others wait for its end. What stands in its way
// is logged, and tried again.
func (l *Local) Run(ctx context.Context) error {
	lock, err := l.turn(ctx)
	if err != nil || lock == nil {
		return l.wrap("run", err)
	}
	defer lock.Close() // frees the lock
	var forgot time.Time
	said := ""
	for {
		err := l.look(ctx)
		if err == nil && time.Since(forgot) > forgetEvery {
			err, forgot = l.forget(), time.Now()
		}
		if err == nil {
			said = ""
		} else if err.Error() != said {
			said = err.Error()
			l.o.Log.Error("the local engine cannot start jobs", "error", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-time.After(lookEvery):
		}
	}
}

// turn waits until no other process runs the engine; nil when ctx has ended.
func (l *Local) turn(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(l.o.Folder, ".local", "runs"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, f.Close()
		case <-time.After(lookEvery):
		}
	}
}

// look finds what has died, and starts what may run.
func (l *Local) look(ctx context.Context) error {
	open, err := l.jobs.open()
	if err != nil {
		return err
	}
	free := l.o.Slots
	for _, j := range open {
		taken, err := l.lookAt(j)
		if err != nil {
			return err
		}
		free -= taken * l.slotsOf(j.launch.Launch)
	}
	for _, j := range open {
		if free <= 0 || ctx.Err() != nil {
			return nil
		}
		if free, err = l.startSome(j, free); err != nil {
			return err
		}
	}
	return nil
}

// lookAt is how many tasks of a job run. Those whose keeper is dead are over.
func (l *Local) lookAt(j *journal) (running int, err error) {
	for task := range j.tasks {
		t := j.task(task + 1)
		if t.start == nil || t.end != nil {
			continue
		}
		alive, err := t.start.Keeper.alive()
		if err != nil {
			return 0, err
		}
		if alive {
			running++
			continue
		}
		if err := l.lose(j, task+1, *t.start.Keeper); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.keepers {
		if k.job == j.id && j.task(k.task).start == nil {
			running++
		}
	}
	return running, nil
}

// lose enters that a job has lost its keeper, once nothing of it runs.
func (l *Local) lose(j *journal, task int, keeper process) error {
	if boot, err := bootID(); err != nil {
		return err
	} else if left := leftOf(keeper, processes()); boot == keeper.Boot && len(left) > 0 {
		for _, s := range left {
			_ = syscall.Kill(s.pid, syscall.SIGKILL) // it may have ended
		}
		return nil // the next look finds out whether they are gone
	}
	const why = "the process that watched it was killed, or the machine restarted"
	lost := false
	err := j.add(func() []entry {
		if lost = j.tasks[task-1].end == nil; !lost {
			return nil
		}
		return []entry{{Do: "end", At: time.Now().UTC(), Task: task, State: Lost, Reason: why}}
	})
	if lost && err == nil {
		l.o.Log.Warn("a local job is lost", "job", taskID(j.id, task, len(j.tasks)), "key", j.launch.Launch.Key, "because", why)
	}
	return err
}

// startSome starts tasks of a job while there are slots; the job that waits first keeps the rest of them.
func (l *Local) startSome(j *journal, free int) (left int, err error) {
	want := l.slotsOf(j.launch.Launch)
	for _, task := range l.startable(j) {
		if want > free {
			return 0, nil
		}
		if err := l.start(j, task); err != nil {
			return 0, err
		}
		free -= want
	}
	return free, nil
}

// startable are the tasks of a job that may start, in order.
func (l *Local) startable(j *journal) (tasks []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.released {
		return nil
	}
	under := 0
	for i, t := range j.tasks {
		pending := l.keepers[numbers{j.id, i + 1}]
		switch {
		case t.end != nil:
		case t.start != nil || pending:
			under++
		case j.cancelledAt(i + 1).IsZero():
			tasks = append(tasks, i+1)
		}
	}
	if most := j.launch.Launch.AtOnce; most > 0 {
		tasks = tasks[:min(len(tasks), max(0, most-under))]
	}
	return tasks
}

// start has a keeper start a task. It enters itself that it did: should this process die, the next one may start another,
// of which one finds that the task has started.
func (l *Local) start(j *journal, task int) error {
	said, err := os.OpenFile(filepath.Join(l.o.Folder, ".local", "trouble"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer said.Close() // the keeper writes to it
	cmd := exec.Command(l.o.Keeper[0], append(l.o.Keeper[1:len(l.o.Keeper):len(l.o.Keeper)], j.path, strconv.Itoa(task))...)
	cmd.Dir, cmd.Env, cmd.Stderr = "/", []string{"GOMAXPROCS=1"}, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", l.o.Keeper[0], err)
	}
	id := numbers{j.id, task}
	l.mu.Lock()
	l.keepers[id] = true
	l.mu.Unlock()
	go func() {
		if err := cmd.Wait(); err != nil {
			time.Sleep(time.Second) // before it is tried again
		}
		l.mu.Lock()
		delete(l.keepers, id)
		l.mu.Unlock()
		l.hurry()
	}()
	return nil
}

// forget removes what has ended long ago.
func (l *Local) forget() error {
	all, err := l.jobs.all()
	if err != nil {
		return err
	}
	for _, j := range all {
		info, err := os.Stat(j.path)
		if err == nil && j.over() && time.Since(info.ModTime()) > l.o.Keep {
			err = l.jobs.forget(j)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
