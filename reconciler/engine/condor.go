package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HTCondor is one schedd of an HTCondor pool, spoken to by HTCondor's own programs, or jobsub_lite's where those hand in. It
// remembers nothing itself.
type HTCondor struct {
	Programs string        // folder of its programs; "": as PATH says
	Schedd   string        // that everything goes to: another one has other jobs
	Pool     string        // its collector; "": as HTCondor is configured
	Jobsub   bool          // hand in, release and remove by jobsub_lite
	Group    string        // of jobsub
	Timeout  time.Duration // of one call; 0: 2 minutes
}

var _ Engine = HTCondor{}

// inQueue is how long a job stays in the queue after its end: the history may be rotated at any time.
const inQueue = 24 * time.Hour

// condorAttributes are what is asked of each job.
const condorAttributes = "ClusterId,ProcId,PomonaKey,JobStatus,HoldReason,HoldReasonCode,LastHoldReason,LastHoldReasonCode,RemoveReason," +
	"QDate,JobStartDate,JobCurrentStartDate,EnteredCurrentStatus,CompletionDate,ExitCode,ExitBySignal,ExitSignal," +
	"RemoteHost,LastRemoteHost,RemoteUserCpu,RemoteSysCpu,ResidentSetSize"

// Ping implements Engine.
func (c HTCondor) Ping(ctx context.Context) error {
	_, err := c.ask(ctx, "condor_q", "-json", "-constraint", "false", "-attributes", "ClusterId")
	return err
}

// Find implements Engine, in two calls: the queue, and then the history, so that no job is missed that goes from one to the other.
func (c HTCondor) Find(ctx context.Context, since time.Time, keys ...string) (Found, error) {
	constraint := keyConstraint(keys)
	queue, err := c.list(ctx, "condor_q", constraint, wanted(keys))
	if err != nil {
		return Found{}, err
	}
	history, err := c.list(ctx, "condor_history", constraint, wanted(keys))
	if err != nil {
		return Found{}, err
	}
	found := Found{Jobs: merge(history, queue), Certain: time.Since(since) < inQueue-clocksDiffer}
	if !found.Certain {
		found.Doubt = fmt.Sprintf("HTCondor keeps ended jobs for %v in its queue, and its history may be rotated", inQueue)
	}
	if len(keys) == 0 {
		found.Jobs = slices.DeleteFunc(found.Jobs, func(j Job) bool { return j.Submitted.Before(since) })
	}
	return found, nil
}

func (c HTCondor) list(ctx context.Context, program, constraint string, wanted func(string) bool) ([]Job, error) {
	out, err := c.ask(ctx, program, "-json", "-constraint", constraint, "-attributes", condorAttributes)
	if err != nil {
		return nil, err
	}
	jobs, err := parseCondor(out, program == "condor_history", wanted)
	if err != nil {
		return nil, fmt.Errorf("read what %s prints: %w", program, err)
	}
	return jobs, nil
}

// keyConstraint asks for some keys by name, for many by having any.
func keyConstraint(keys []string) string {
	if len(keys) == 0 || len(keys) > fewKeys {
		return "PomonaKey =!= undefined"
	}
	var some []string
	for _, key := range keys {
		some = append(some, fmt.Sprintf("PomonaKey == %q", key))
	}
	return strings.Join(some, " || ")
}

// Submit implements Engine.
func (c HTCondor) Submit(ctx context.Context, l Launch) error {
	err := checkCondor(l)
	if err == nil && c.Jobsub {
		err = c.submitByJobsub(ctx, l)
	} else if err == nil {
		call := c.client()
		call.input = []byte(submitFile(l))
		_, err = call.run(ctx, l.Lock, "condor_submit", c.pinned("-terse", "-")...)
	}
	if err != nil {
		return fmt.Errorf("submit %s: %w", l.Key, err)
	}
	return nil
}

// submitFile is what condor_submit reads: the profile's lines first, so that ours count. A job of it runs on machines that have
// the launch folder under the same path.
func submitFile(l Launch) string {
	r := l.Resources
	lines := append(slices.Clone(l.Options),
		"universe = vanilla",
		"executable = /bin/sh",
		"transfer_executable = false",
		"should_transfer_files = NO",
		"arguments = "+condorQuote(l.Script),
		"initialdir = "+condorText(l.Folder),
		"input = /dev/null",
		"output = log/$(pomona_task)",
		"error = log/$(pomona_task)",
		"getenv = false",
		"environment = "+condorQuote("POMONA_TASK=$(pomona_task)", "POMONA_JOB=$(Cluster).$(Process)"),
		"request_cpus = "+strconv.Itoa(max(r.CPUs, 1)),
	)
	for _, o := range []struct {
		said bool
		line string
	}{
		{r.GPUs > 0, fmt.Sprintf("request_gpus = %d", r.GPUs)},
		{r.Memory > 0, fmt.Sprintf("request_memory = %d", upTo(r.Memory, 1<<20))},
		{r.Disk > 0, fmt.Sprintf("request_disk = %d", upTo(r.Disk, 1<<10))},
		{l.Account != "", "accounting_group = " + l.Account},
		{l.Comment != "", "description = " + condorText(l.Comment)},
	} {
		if o.said {
			lines = append(lines, o.line)
		}
	}
	lines = append(lines, launchLines(l)...)
	lines = append(lines, "queue pomona_task from (")
	for task := range l.Tasks {
		lines = append(lines, strconv.Itoa(task+1))
	}
	return strings.Join(append(lines, ")", ""), "\n")
}

// Reasons for which HTCondor holds a job: a user's at submission or later; and limits, from which nothing frees it.
const (
	heldByUser   = 1
	heldAtSubmit = 15
)

var heldByLimit = []int{34, 46, 47} // memory, time of job, time of execution

// launchLines are what makes a launch of a job: its key, that it is held, and how it ends and stays. A job that a limit has put on
// hold would stay for ever; it is removed.
func launchLines(l Launch) []string {
	over := fmt.Sprintf("(JobStatus == 5 && (HoldReasonCode == %d || HoldReasonCode == %d || HoldReasonCode == %d))", heldByLimit[0], heldByLimit[1], heldByLimit[2])
	if t := l.Resources.Time; t > 0 {
		over += fmt.Sprintf(" || (JobStatus == 2 && time() - EnteredCurrentStatus > %d)", upTo(int64(t), int64(time.Second)))
	}
	return []string{
		"hold = true",
		"batch_name = " + l.Key,
		fmt.Sprintf("MY.PomonaKey = %q", l.Key),
		fmt.Sprintf("leave_in_queue = JobStatus == 4 && time() - EnteredCurrentStatus < %d", int(inQueue.Seconds())),
		"periodic_remove = " + over,
	}
}

// condorQuote writes words as the new syntax of arguments and environment has them.
func condorQuote(words ...string) string {
	var quoted []string
	for _, w := range words {
		w = strings.ReplaceAll(strings.ReplaceAll(w, `"`, `""`), "'", "''")
		if !strings.HasPrefix(w, "POMONA_") {
			w = strings.ReplaceAll(w, "$", "$(DOLLAR)")
		}
		quoted = append(quoted, "'"+w+"'")
	}
	return `"` + strings.Join(quoted, " ") + `"`
}

// condorText is a text of which nothing is replaced.
func condorText(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "$", "$(DOLLAR)")
}

// condorRefused are lines that would break what a launch is.
var condorRefused = []string{"arguments", "batch_name", "environment", "error", "executable", "getenv", "hold", "initialdir", "input", "leave_in_queue",
	"max_materialize", "my.pomonakey", "+pomonakey", "on_exit_hold", "on_exit_remove", "output", "periodic_release", "periodic_remove", "pomona_task",
	"queue", "transfer_executable", "universe"}

func checkCondor(l Launch) error {
	switch {
	case l.Tasks < 1:
		return fmt.Errorf("it has %d tasks", l.Tasks)
	case l.AtOnce > 0:
		return errors.New("HTCondor does not limit how many jobs of one launch run at once: use concurrency_limits in the profile's options")
	case l.Partition != "" || l.QOS != "":
		return errors.New("HTCondor knows no partition and no quality of service: take them out of the profile")
	}
	for _, o := range l.Options {
		name, _, found := strings.Cut(o, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !found || name == "" || strings.ContainsAny(name, " \t#@") || strings.ContainsAny(o, "\r\n") || strings.HasSuffix(o, `\`) {
			return fmt.Errorf("option %q of the profile: must be a line NAME = VALUE of a submit file", o)
		}
		if slices.Contains(condorRefused, name) {
			return fmt.Errorf("option %q of the profile: Pomona itself says %s, or it breaks a launch", o, name)
		}
	}
	return nil
}

// submitByJobsub hands in by jobsub_submit, which makes the submit file. Its jobs count from 0, in PROCESS; a script beside ours
// sets that right.
func (c HTCondor) submitByJobsub(ctx context.Context, l Launch) error {
	script := filepath.Join(l.Folder, "jobsub.sh")
	if err := os.WriteFile(script, []byte(jobsubScript(l)), 0o755); err != nil {
		return err
	}
	_, err := c.client().run(ctx, l.Lock, "jobsub_submit", c.jobsubArguments(l, script)...)
	return err
}

func jobsubScript(l Launch) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	return `#!/bin/sh
POMONA_TASK=$((${PROCESS:-0} + 1)) POMONA_JOB=${CLUSTER:-0}.${PROCESS:-0}
export POMONA_TASK POMONA_JOB
exec /bin/sh ` + quote(l.Script) + " >>" + quote(l.Folder) + "/log/$POMONA_TASK 2>&1\n"
}

// jobsubArguments pin the schedd: jobsub would take any, and look in all.
func (c HTCondor) jobsubArguments(l Launch, script string) []string {
	r := l.Resources
	args := []string{"--group", c.Group, "--schedd-for-testing", c.Schedd, "-N", strconv.Itoa(l.Tasks), "--cpu", strconv.Itoa(max(r.CPUs, 1))}
	for _, o := range []struct {
		said        bool
		name, value string
	}{
		{r.Memory > 0, "--memory", fmt.Sprintf("%dMB", upTo(r.Memory, 1<<20))},
		{r.Disk > 0, "--disk", fmt.Sprintf("%dKB", upTo(r.Disk, 1<<10))},
		{r.Time > 0, "--expected-lifetime", fmt.Sprintf("%ds", upTo(int64(r.Time), int64(time.Second)))},
		{r.GPUs > 0, "--lines", fmt.Sprintf("request_gpus = %d", r.GPUs)},
		{l.Account != "", "--subgroup", l.Account},
	} {
		if o.said {
			args = append(args, o.name, o.value)
		}
	}
	for _, line := range append(slices.Clone(l.Options), launchLines(l)...) {
		args = append(args, "--lines", line)
	}
	return append(args, "file://"+script)
}

// Release implements Engine.
func (c HTCondor) Release(ctx context.Context, ids ...string) error {
	return c.order(ctx, "release", fmt.Sprintf("JobStatus == 5 && (HoldReasonCode == %d || HoldReasonCode == %d)", heldAtSubmit, heldByUser), ids)
}

// Cancel implements Engine.
func (c HTCondor) Cancel(ctx context.Context, ids ...string) error {
	return c.order(ctx, "rm", "JobStatus =!= 4 && JobStatus =!= 3", ids)
}

// order releases or removes those jobs that are in a state for it. Whether a program's exit status is an error is told by whether
// there are any left.
func (c HTCondor) order(ctx context.Context, verb, state string, ids []string) error {
	var failed []error
	for some := range slices.Chunk(ids, fewKeys) {
		failed = append(failed, c.orderSome(ctx, verb, state, some))
	}
	return errors.Join(failed...)
}

func (c HTCondor) orderSome(ctx context.Context, verb, state string, ids []string) error {
	which, err := idConstraint(ids)
	if err != nil {
		return err
	}
	constraint := "(" + which + ") && " + state
	if c.Jobsub {
		_, err = c.client().run(ctx, nil, "jobsub_"+verb, "--group", c.Group, "-name", c.Schedd, "-constraint", constraint)
	} else {
		_, err = c.ask(ctx, "condor_"+verb, "-constraint", constraint)
	}
	// jobsub says nothing of what the program that it runs has said.
	if err == nil && !c.Jobsub {
		return nil
	}
	left, lookErr := c.ask(ctx, "condor_q", "-json", "-constraint", constraint, "-attributes", "ClusterId,ProcId")
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case len(strings.TrimSpace(string(left))) == 0:
		return nil
	case err == nil:
		return fmt.Errorf("jobsub_%s has left jobs as they were: %s", verb, strings.Join(strings.Fields(string(left)), " "))
	}
	return err
}

func idConstraint(ids []string) (string, error) {
	var some []string
	for _, id := range ids {
		cluster, process, one := strings.Cut(id, ".")
		_, err := strconv.ParseUint(cluster, 10, 31)
		part := "ClusterId == " + cluster
		if one && err == nil {
			_, err = strconv.ParseUint(process, 10, 31)
			part = "(" + part + " && ProcId == " + process + ")"
		}
		if err != nil {
			return "", fmt.Errorf("%q is no number of an HTCondor job", id)
		}
		some = append(some, part)
	}
	return strings.Join(some, " || "), nil
}

func (c HTCondor) ask(ctx context.Context, program string, args ...string) ([]byte, error) {
	return c.client().run(ctx, nil, program, c.pinned(args...)...)
}

func (c HTCondor) pinned(args ...string) []string {
	pin := []string{"-name", c.Schedd}
	if c.Pool != "" {
		pin = append(pin, "-pool", c.Pool)
	}
	return append(pin, args...)
}

// client gives HTCondor's programs what they find their configuration and credentials by. Jobs see nothing of it.
func (c HTCondor) client() client {
	call := client{programs: c.Programs, timeout: c.Timeout, environment: []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8"}}
	for _, name := range []string{"HOME", "USER", "CONDOR_CONFIG", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "KRB5CCNAME", "XDG_RUNTIME_DIR"} {
		if value := os.Getenv(name); value != "" {
			call.environment = append(call.environment, name+"="+value)
		}
	}
	return call
}
