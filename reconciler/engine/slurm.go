package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Slurm is a Slurm cluster, spoken to by its own programs: at least 20.11. It remembers nothing itself.
type Slurm struct {
	Programs   string        // folder of its programs; "": as PATH says
	Config     string        // slurm.conf; "": as Slurm finds it
	Cluster    string        // that all calls go to; "": that of slurm.conf
	Accounting *bool         // nil: as slurm.conf says; true: without accounting everything is an error; false: it is never asked
	Timeout    time.Duration // of one call; 0: 2 minutes
}

var _ Engine = Slurm{}

// Ping implements Engine.
func (s Slurm) Ping(ctx context.Context) error {
	if _, err := s.run(ctx, "scontrol", "ping"); err != nil {
		return err
	}
	_, err := s.settings(ctx)
	return err
}

// Find implements Engine. It asks squeue of everything, at once, and accounting if something may be forgotten or has ended: two to
// four calls.
func (s Slurm) Find(ctx context.Context, since time.Time, keys ...string) (Found, error) {
	asked := time.Now()
	jobs, err := s.queue(ctx, keys)
	if err != nil {
		return Found{}, err
	}
	c, err := s.settings(ctx)
	if err != nil {
		return Found{}, err
	}
	found := Found{Certain: c.remembers(since, asked)}
	if c.accounting && (!found.Certain || slices.ContainsFunc(jobs, func(j Job) bool { return j.State.Ended() })) {
		jobs, found.Certain, found.Doubt = s.account(ctx, since, keys, jobs, found.Certain)
	} else if !found.Certain {
		found.Doubt = fmt.Sprintf("Slurm has no accounting, and forgets a job %v after its end", c.minJobAge)
	}
	found.Jobs = jobs
	return found, nil
}

// account adds what accounting knows to what squeue does, and says whether that is all: it answers, and nothing is on its way to
// it. It must be asked after squeue, so that what ends in between is not missed by both.
func (s Slurm) account(ctx context.Context, since time.Time, keys []string, jobs []Job, certain bool) ([]Job, bool, string) {
	waiting, err := s.run(ctx, "sdiag")
	doubt := ""
	switch n, known := agentQueue(waiting); {
	case err != nil:
		doubt = err.Error()
	case !known:
		doubt = "sdiag does not say what is on its way to accounting"
	case n > 0:
		doubt = fmt.Sprintf("%d records are on their way to accounting", n)
	}
	past, err := s.past(ctx, since, keys)
	if err != nil {
		doubt = err.Error()
	}
	if certain {
		return merge(jobs, past), true, ""
	}
	return merge(jobs, past), doubt == "", doubt
}

// queueFields are what squeue is asked for. The name is none that could hold a |, unless the job is not Pomona's.
const queueFields = "JobID:|,ArrayJobID:|,ArrayTaskID:|,State:|,exit_code:|,SubmitTime:|,StartTime:|,EndTime:|,Name:|,NodeList:|,Reason:|"

// queue is what the controller knows.
func (s Slurm) queue(ctx context.Context, keys []string) ([]Job, error) {
	out, err := s.run(ctx, "squeue", "--noheader", "--all", "--array", "--states=all", s.own(), "--Format="+queueFields)
	if err != nil {
		return nil, err
	}
	return parseQueue(string(out), wanted(keys))
}

// pastFields are what sacct is asked for. Figures of memory are those of a job's steps, which follow it.
const pastFields = "JobID,State,ExitCode,Submit,Start,End,TotalCPU,MaxRSS,JobName,NodeList"

// endStates are the states that a job does not leave. Rows of others prove nothing: of a job that the controller has lost they stay.
const endStates = "BOOT_FAIL,CANCELLED,COMPLETED,DEADLINE,FAILED,NODE_FAIL,OUT_OF_MEMORY,PREEMPTED,TIMEOUT"

// fewKeys is how many keys accounting is asked for by name; else it is asked for all.
const fewKeys = 200

// past is what accounting knows of jobs that have ended. One id may be there more than once.
func (s Slurm) past(ctx context.Context, since time.Time, keys []string) ([]Job, error) {
	args := []string{"--noheader", "--parsable2", "--duplicates", s.own(), "--state=" + endStates, "--format=" + pastFields,
		"--starttime=" + since.UTC().Format("2006-01-02T15:04:05"), "--endtime=now"}
	if len(keys) > 0 && len(keys) <= fewKeys {
		args = append(args, "--name="+strings.Join(keys, ","))
	}
	out, err := s.run(ctx, "sacct", args...)
	if err != nil {
		return nil, err
	}
	return parsePast(string(out), wanted(keys))
}

// own keeps to jobs of this user: others could give theirs any name.
func (s Slurm) own() string { return "--user=" + strconv.Itoa(os.Getuid()) }

// wanted says of a job's name whether it is looked for.
func wanted(keys []string) func(string) bool {
	if len(keys) == 0 {
		return func(name string) bool { return strings.HasPrefix(name, "pom-") }
	}
	set := map[string]bool{}
	for _, key := range keys {
		set[key] = true
	}
	return func(name string) bool { return set[name] }
}

// slurmSettings are Slurm's, as far as they matter here.
type slurmSettings struct {
	accounting bool
	minJobAge  time.Duration // that an ended job is kept; 0: for ever
}

func (s Slurm) settings(ctx context.Context) (slurmSettings, error) {
	out, err := s.run(ctx, "scontrol", "show", "config")
	if err != nil {
		return slurmSettings{}, err
	}
	c, err := parseSlurmSettings(string(out))
	switch {
	case err != nil:
		return slurmSettings{}, err
	case s.Accounting != nil && *s.Accounting && !c.accounting:
		return slurmSettings{}, errors.New("Slurm has no accounting, which the service's configuration wants: set AccountingStorageType in slurm.conf, or accounting: false")
	case s.Accounting != nil:
		c.accounting = *s.Accounting
	}
	return c, nil
}

// clocksDiffer is by how much clocks of Slurm's machine and of this one may.
const clocksDiffer = 10 * time.Second

// remembers says whether the controller still has every job since a time.
func (c slurmSettings) remembers(since, now time.Time) bool {
	return c.minJobAge == 0 || now.Sub(since) < c.minJobAge-clocksDiffer
}

// Submit implements Engine.
func (s Slurm) Submit(ctx context.Context, l Launch) error {
	if err := checkSlurmOptions(l.Options); err != nil {
		return fmt.Errorf("submit %s: %w", l.Key, err)
	}
	_, err := s.client().run(ctx, l.Lock, "sbatch", s.pinned(submitArguments(l)...)...)
	if err != nil && strings.Contains(err.Error(), "Invalid job array") {
		err = fmt.Errorf("%w; maxTasks of the profile must be less than MaxArraySize of slurm.conf", err)
	}
	if err != nil {
		return fmt.Errorf("submit %s: %w", l.Key, err)
	}
	return nil
}

// submitArguments are sbatch's. Those that matter come after the profile's, so that they count; the first of them may be taken for
// the value of the profile's last. All of the environment is what this package has given sbatch: other values of --export have
// each job run a login shell first.
func submitArguments(l Launch) []string {
	r := l.Resources
	args := append([]string{"--nodes=1", "--ntasks=1"}, l.Options...)
	args = append(args, "--parsable", "--hold", "--no-requeue", "--export=ALL", "--job-name="+l.Key, "--chdir="+l.Folder, "--open-mode=append",
		"--cpus-per-task="+strconv.Itoa(max(r.CPUs, 1)))
	task := "1"
	if l.Tasks > 1 {
		task = "%a"
		args = append(args, "--array=1-"+strconv.Itoa(l.Tasks)+limit(l.AtOnce))
	}
	args = append(args, "--output="+strings.ReplaceAll(filepath.Join(l.Folder, "log"), "%", "%%")+"/"+task)
	for _, o := range []struct {
		said  bool
		value string
	}{
		{r.Memory > 0, fmt.Sprintf("--mem=%dM", upTo(r.Memory, 1<<20))},
		{r.Disk > 0, fmt.Sprintf("--tmp=%dM", upTo(r.Disk, 1<<20))},
		{r.GPUs > 0, fmt.Sprintf("--gres=gpu:%d", r.GPUs)},
		{r.Time > 0, fmt.Sprintf("--time=%d", upTo(int64(r.Time), int64(time.Minute)))},
		{l.Account != "", "--account=" + l.Account},
		{l.Partition != "", "--partition=" + l.Partition},
		{l.QOS != "", "--qos=" + l.QOS},
		{l.Comment != "", "--comment=" + l.Comment},
	} {
		if o.said {
			args = append(args, o.value)
		}
	}
	return append(args, l.Script)
}

// limit is how an array says how many of it may run at once.
func limit(n int) string {
	if n == 0 {
		return ""
	}
	return "%" + strconv.Itoa(n)
}

// upTo is n in units, rounded up.
func upTo(n, unit int64) int64 { return (n + unit - 1) / unit }

// refused are options that would break what a launch is: one job or array of that name, held, in this cluster, of this user, whose
// end nobody waits for.
var refused = []string{"array", "chdir", "clusters", "dependency", "error", "export", "export-file", "gid", "help",
	"job-name", "output", "requeue", "test-only", "uid", "usage", "version", "wait", "wrap"}

// checkSlurmOptions refuses what would break a launch. sbatch takes the beginning of a name for it.
func checkSlurmOptions(options []string) error {
	for _, o := range options {
		name, long := strings.CutPrefix(o, "--")
		name, _, _ = strings.Cut(name, "=")
		if !long || name == "" {
			return fmt.Errorf("option %q of the profile: must be --NAME or --NAME=VALUE", o)
		}
		for _, r := range refused {
			if strings.HasPrefix(r, name) {
				return fmt.Errorf("option %q of the profile: Pomona itself says --%s, or it breaks a launch", o, r)
			}
		}
	}
	return nil
}

// Release implements Engine.
func (s Slurm) Release(ctx context.Context, ids ...string) error {
	return s.each(ids, func(some []string) error {
		_, err := s.run(ctx, "scontrol", "release", strings.Join(some, ","))
		return harmless(err, "invalid job id", "already finished", "already completing", ": no error", "suspend error")
	})
}

// Cancel implements Engine. Of a task that waits in its array nothing would be left, so it first becomes a job of its own by a
// change that changes nothing.
func (s Slurm) Cancel(ctx context.Context, ids ...string) error {
	return s.each(ids, func(some []string) error {
		tasks := slices.DeleteFunc(slices.Clone(some), func(id string) bool { return !strings.Contains(id, "_") })
		if len(tasks) > 0 {
			_, err := s.run(ctx, "scontrol", "update", "JobId="+strings.Join(tasks, ","), "Nice=0")
			if err = harmless(err, "invalid job id", "already finished", "already completing", ": no error", "update_job error"); err != nil {
				return err
			}
		}
		_, err := s.run(ctx, "scancel", append([]string{"--quiet"}, some...)...)
		return err
	})
}

// mostIDs are how many one call may name.
const mostIDs = 1000

var slurmID = regexp.MustCompile(`^[0-9]+(_[0-9]+)?$`)

// each hands on ids, so many at once. One that is none is an error, which the others do not suffer from.
func (s Slurm) each(ids []string, do func([]string) error) error {
	var errs []error
	var sound []string
	for _, id := range ids {
		if slurmID.MatchString(id) {
			sound = append(sound, id)
		} else {
			errs = append(errs, fmt.Errorf("%q is no job id of Slurm", id))
		}
	}
	for some := range slices.Chunk(sound, mostIDs) {
		errs = append(errs, do(some))
	}
	return errors.Join(errs...)
}

// harmless takes away an error of which every line is one that may be.
func harmless(err error, may ...string) error {
	var c complained
	if !errors.As(err, &c) {
		return err
	}
	for _, line := range c.lines {
		line = strings.ToLower(line)
		if !slices.ContainsFunc(may, func(m string) bool { return strings.Contains(line, m) }) {
			return err
		}
	}
	return nil
}

// run calls a program that reads or changes what there is. sacct is to name all tasks of an array, not as many as 64 letters hold.
func (s Slurm) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	c := s.client()
	c.environment = append(c.environment, "SLURM_TIME_FORMAT=%s", "TZ=UTC", "SLURM_BITSTR_LEN=0")
	return c.run(ctx, nil, program, s.pinned(args...)...)
}

func (s Slurm) pinned(args ...string) []string {
	if s.Cluster == "" {
		return args
	}
	return append([]string{"--clusters=" + s.Cluster}, args...)
}

// client gives Slurm's programs an environment of which jobs may see all.
func (s Slurm) client() client {
	c := client{programs: s.Programs, timeout: s.Timeout, environment: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}}
	if home := os.Getenv("HOME"); home != "" {
		c.environment = append(c.environment, "HOME="+home)
	}
	if s.Config != "" {
		c.environment = append(c.environment, "SLURM_CONF="+s.Config)
	}
	return c
}

// merge is what the controller and accounting know together. Of a job that both have the controller knows better how far it is, and
// accounting what it used.
func merge(now, past []Job) []Job {
	type task struct{ key, id string }
	all := map[task]Job{}
	for _, j := range past {
		at := task{j.Key, j.TaskID}
		if old, twice := all[at]; !twice || !j.Ended.Before(old.Ended) {
			all[at] = j
		}
	}
	for _, j := range now {
		if old, both := all[task{j.Key, j.TaskID}]; both && j.State.Ended() {
			j.CPU, j.Memory = old.CPU, old.Memory
		}
		all[task{j.Key, j.TaskID}] = j
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Job) int {
		if n := strings.Compare(a.Key, b.Key); n != 0 {
			return n
		}
		if n := byNumber(a.ID, b.ID); n != 0 {
			return n
		}
		return a.Task - b.Task
	})
}

// byNumber has the lowest id come first.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
