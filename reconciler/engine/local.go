package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LocalOptions are those of the local engine.
type LocalOptions struct {
	Folder string // of launches; what the engine itself remembers is in .local there
	Slots  int    // processors that jobs may take at once; 0: those of the machine
	User   string // as whom jobs run; "": as this process. What they write in a launch folder belongs to that user before
	// Keeper is the command that calls KeepLocalJob; default: this program and job-keeper.
	Keeper []string
	Grace  time.Duration // that a job has between being told to end and being killed; 0: 10 s
	Keep   time.Duration // how long ended jobs are remembered; 0: 90 days
	Log    *slog.Logger  // what stands in Run's way, what it repairs, and what jobs it has lost; nil: nobody is told
}

// Local runs jobs as processes of this machine, which live on when this process dies: each has a keeper, a process that writes
// down what becomes of it. All that is known lies in files, so that many processes may ask and order; Run of one of them
// starts jobs.
type Local struct {
	o    LocalOptions
	jobs journals
	node string
	wake chan struct{}

	mu      sync.Mutex
	keepers map[numbers]bool // that this process has started, and that live
}

// numbers are those of a job and one of its tasks.
type numbers struct{ job, task int }

// NewLocal opens the engine of a folder, which is made if need be.
func NewLocal(o LocalOptions) (*Local, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("open local engine: %w", err)
	}
	l := &Local{o: o, jobs: journals{folder: filepath.Join(o.Folder, ".local", "jobs"), log: o.Log}, wake: make(chan struct{}, 1), keepers: map[numbers]bool{}}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil {
		return nil, fmt.Errorf("open local engine: %w", err)
	}
	// Nobody but its writer may read it: who could write there could have anything run.
	if err := os.MkdirAll(l.jobs.folder, 0o700); err != nil {
		return nil, fmt.Errorf("open local engine: %w", err)
	}
	var err error
	if l.node, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("open local engine: %w", err)
	}
	return l, nil
}

func (o *LocalOptions) complete() error {
	if !filepath.IsAbs(o.Folder) {
		return fmt.Errorf("folder %q is not absolute", o.Folder)
	}
	if o.Slots == 0 {
		o.Slots = runtime.NumCPU()
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Keep == 0 {
		o.Keep = 90 * 24 * time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Keeper == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own program: %w", err)
		}
		o.Keeper = []string{self, "job-keeper"}
	}
	if o.User == "" {
		return nil
	}
	other, err := user.Lookup(o.User)
	if err != nil {
		return err
	}
	if os.Getuid() != 0 && other.Uid != strconv.Itoa(os.Getuid()) {
		return fmt.Errorf("jobs cannot run as %s: only root may do that", o.User)
	}
	return nil
}

// Ping says whether its files can be read.
func (l *Local) Ping(ctx context.Context) error {
	_, err := l.jobs.open()
	return l.wrap("ask", errors.Join(err, ctx.Err()))
}

func (l *Local) wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s local engine: %w", what, err)
	}
	return nil
}

// Find are the jobs of launches. What it says of a key is certain, as far back as it remembers.
func (l *Local) Find(ctx context.Context, since time.Time, keys ...string) (Found, error) {
	found := Found{Certain: time.Since(since) < l.o.Keep}
	all, err := l.jobs.all()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return Found{}, l.wrap("ask", err)
	}
	wanted := map[string]bool{}
	for _, key := range keys {
		wanted[key] = true
	}
	for _, j := range all {
		j.mu.Lock()
		key, late := j.launch.Launch.Key, !j.launch.At.Before(since)
		if wanted[key] || len(keys) == 0 && late && strings.HasPrefix(key, "pom-") {
			found.Jobs = append(found.Jobs, j.jobs()...)
		}
		j.mu.Unlock()
	}
	return found, nil
}

// Submit writes a launch down, held. Its account means nothing here.
func (l *Local) Submit(ctx context.Context, launch Launch) error {
	if err := l.submit(ctx, launch); err != nil {
		return fmt.Errorf("submit %s: %w", launch.Key, err)
	}
	return nil
}

func (l *Local) submit(ctx context.Context, launch Launch) error {
	switch {
	case launch.Tasks < 1:
		return fmt.Errorf("it has %d tasks", launch.Tasks)
	case !filepath.IsAbs(launch.Folder) || !filepath.IsAbs(launch.Script):
		return errors.New("its folder and its script need absolute paths")
	case launch.Resources.GPUs > 0:
		return errors.New("the local engine knows no GPUs: choose a profile of another engine")
	case launch.Partition != "" || launch.QOS != "" || len(launch.Options) > 0:
		return errors.New("the local engine knows no partition, quality of service or options: take them out of the profile")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	launch.Lock = nil // no program hands it in
	_, err := l.jobs.make(entry{Do: "launch", At: time.Now().UTC(), Launch: &launch, User: l.o.User, Grace: l.o.Grace})
	return err
}

// Release lets held jobs run.
func (l *Local) Release(ctx context.Context, ids ...string) error {
	return l.order(ctx, "release", ids)
}

// Cancel ends jobs or tasks. What is not there has ended.
func (l *Local) Cancel(ctx context.Context, ids ...string) error {
	return l.order(ctx, "cancel", ids)
}

func (l *Local) order(ctx context.Context, do string, ids []string) error {
	defer l.hurry()
	var failed []error
	tasks := map[int][]int{} // by job
	for _, id := range ids {
		job, task, err := parseTaskID(id)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s job %s: %w", do, id, err))
			continue
		}
		tasks[job] = append(tasks[job], task)
	}
	for _, job := range slices.Sorted(maps.Keys(tasks)) {
		err := ctx.Err()
		if err == nil {
			err = l.orderOne(do, job, tasks[job])
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s job %d: %w", do, job, err))
		}
	}
	return errors.Join(failed...)
}

// orderOne orders something of tasks of a job; 0 is all of them.
func (l *Local) orderOne(do string, job int, tasks []int) error {
	j, err := l.jobs.find(job)
	if err == nil && j == nil && do == "release" {
		err = errors.New("there is none")
	}
	if err != nil || j == nil {
		return err
	}
	return j.add(func() (orders []entry) {
		for _, task := range tasks {
			if task <= len(j.tasks) && !(do == "release" && j.released) && !j.done() {
				orders = append(orders, entry{Do: do, At: time.Now().UTC(), Task: task})
			}
		}
		return orders
	})
}

func parseTaskID(id string) (job, task int, err error) {
	first, second, ofTask := strings.Cut(id, ".")
	if job, err = strconv.Atoi(first); err == nil && ofTask {
		task, err = strconv.Atoi(second)
	}
	if err != nil || job < 1 || task < 0 || ofTask && task == 0 {
		return 0, 0, errors.New("this is no number of a local job")
	}
	return job, task, nil
}

// hurry has Run look at once.
func (l *Local) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// slotsOf is how many slots a task of a launch takes: all of them, if it wants more than there are.
func (l *Local) slotsOf(launch *Launch) int {
	return min(max(launch.Resources.CPUs, 1), l.o.Slots)
}
