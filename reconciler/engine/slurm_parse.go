package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseQueue reads what squeue prints for queueFields. Lines of jobs that nobody wants may be anything, as their names may hold line
// breaks; one that may be Pomona's may not.
func parseQueue(out string, wanted func(name string) bool) ([]Job, error) {
	var jobs []Job
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(strings.TrimRight(line, "\r\n"), "|"), "|")
		if len(f) < 11 {
			if strings.Contains(line, "pom-") {
				return nil, fmt.Errorf("squeue: a line of another form: %.200q", line)
			}
			continue
		}
		if !wanted(f[8]) {
			continue
		}
		j := Job{Key: f[8], ID: f[1], Node: node(f[9]), Reason: strings.Join(f[10:], "|")}
		var err error
		if j.Task, j.TaskID, err = taskOf(f[1], f[2]); err == nil {
			j.State = stateOf(f[3], j.Reason)
			j.Submitted, j.Began, j.Ended, err = times(f[5], f[6], f[7], j)
		}
		if err == nil && j.exited() {
			j.Exit, j.Signal, err = waitStatus(f[4])
		}
		if err != nil {
			return nil, fmt.Errorf("squeue: %w in %.200q", err, line)
		}
		j.explain(f[3])
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// parsePast reads what sacct prints for pastFields: a job, then its steps.
func parsePast(out string, wanted func(name string) bool) ([]Job, error) {
	var jobs []Job
	began := -1 // first of the last row's jobs
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "|")
		if len(f) < 10 {
			if strings.Contains(line, "pom-") {
				return nil, fmt.Errorf("sacct: a line of another form: %.200q", line)
			}
			continue
		}
		if id, step := stepOf(f[0]); step {
			if began >= 0 && jobs[began].TaskID == id {
				jobs[began].Memory = max(jobs[began].Memory, sizeOf(f[7]))
			}
			continue
		}
		began = -1
		if !wanted(f[8]) || !stateOf(f[1], "").Ended() {
			continue
		}
		row, err := pastRow(f)
		if err != nil {
			return nil, fmt.Errorf("sacct: %w in %.200q", err, line)
		}
		began = len(jobs)
		jobs = append(jobs, row...)
	}
	return jobs, nil
}

// stepOf is the job of a step, ID.NAME. Tasks that wait are many and no step, even if sacct has left some out: [1-9,1...].
func stepOf(word string) (job string, step bool) {
	if strings.Contains(word, "[") {
		return "", false
	}
	job, _, step = strings.Cut(word, ".")
	return job, step
}

// pastRow are the jobs of one row: tasks that never began have one together.
func pastRow(f []string) ([]Job, error) {
	j := Job{Key: f[8], State: stateOf(f[1], ""), CPU: lengthOf(f[6]), Memory: sizeOf(f[7]), Node: node(f[9])}
	id, task, array := strings.Cut(f[0], "_")
	j.ID = id
	var err error
	if j.Task, j.TaskID, err = taskOf(id, "N/A"); err != nil {
		return nil, err
	}
	if j.exited() {
		if j.Exit, j.Signal, err = exitAndSignal(f[2]); err != nil {
			return nil, err
		}
	}
	if j.Submitted, j.Began, j.Ended, err = times(f[3], f[4], f[5], j); err != nil {
		return nil, err
	}
	j.explain(f[1])
	if !array {
		return []Job{j}, nil
	}
	numbers, err := tasksOf(task)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, n := range numbers {
		j.Task, j.TaskID = n, id+"_"+strconv.Itoa(n)
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// taskOf is the number of an array's task, and the id by which it is cancelled.
func taskOf(id, task string) (int, string, error) {
	if _, err := strconv.ParseUint(id, 10, 32); err != nil {
		return 0, "", fmt.Errorf("job id %q", id)
	}
	if task == "N/A" || task == "" {
		return 1, id, nil
	}
	n, err := strconv.ParseUint(task, 10, 31)
	if err != nil {
		return 0, "", fmt.Errorf("task %q", task)
	}
	return int(n), id + "_" + task, nil
}

// mostTasks is more than any launch has.
const mostTasks = 100_000

// tasksOf are the numbers of a task, or of those that wait: [1-3,5,7-11:2%4]. A list that was cut short is an error: the others would
// be taken for lost.
func tasksOf(text string) (numbers []int, err error) {
	if strings.HasPrefix(text, "[") {
		text, _, _ = strings.Cut(text[1:], "%")
		text = strings.TrimSuffix(text, "]")
	}
	for part := range strings.SplitSeq(text, ",") {
		span, by, stepped := strings.Cut(part, ":")
		from, to, ranged := strings.Cut(span, "-")
		if !ranged {
			to = from
		}
		if !stepped {
			by = "1"
		}
		first, err1 := strconv.ParseUint(from, 10, 31)
		last, err2 := strconv.ParseUint(to, 10, 31)
		step, err3 := strconv.ParseUint(by, 10, 31)
		if err1 != nil || err2 != nil || err3 != nil || step == 0 || last >= mostTasks {
			return nil, fmt.Errorf("tasks %q", text)
		}
		for n := first; n <= last && len(numbers) < mostTasks; n += step {
			numbers = append(numbers, int(n))
		}
	}
	return numbers, nil
}

// stateOf is a state of Slurm's. What it is not known to be is not taken for an end.
func stateOf(word, reason string) State {
	word, _, _ = strings.Cut(word, " ") // CANCELLED by UID
	switch strings.TrimSuffix(word, "+") {
	case "PENDING":
		if strings.HasPrefix(reason, "JobHeld") || strings.Contains(reason, "held") {
			return Held
		}
		return Queued
	case "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD":
		return Held
	case "REQUEUED", "REQUEUE_FED":
		return Queued
	case "COMPLETED":
		return Completed
	case "FAILED", "LAUNCH_FAILED", "RECONFIG_FAIL":
		return Failed
	case "CANCELLED", "REVOKED":
		return Cancelled
	case "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY":
		return Exceeded
	case "NODE_FAIL", "BOOT_FAIL", "PREEMPTED":
		return Lost
	}
	return Running
}

// explain puts a job's reason right: that of an ended one is often why it waited once.
func (j *Job) explain(word string) {
	word, _, _ = strings.Cut(word, " ")
	switch {
	case j.State == Exceeded || j.State == Lost:
		j.Reason = word
	case j.State == Completed || j.State == Cancelled, j.Reason == "None":
		j.Reason = ""
	case j.State == Running && word != "RUNNING":
		j.Reason = word
	}
}

// times are when a job was handed in, began and ended; zero if it did not.
func times(submitted, began, ended string, j Job) (s, b, e time.Time, err error) {
	if s, err = timeOf(submitted); err != nil {
		return s, b, e, err
	}
	if j.State != Held && j.State != Queued && j.Node != "" {
		b, err = timeOf(began)
	}
	if err == nil && j.State.Ended() {
		e, err = timeOf(ended)
	}
	return s, b, e, err
}

// timeOf reads seconds since 1970, or a time in UTC as Slurm writes it by itself.
func timeOf(text string) (time.Time, error) {
	switch text {
	case "", "N/A", "Unknown", "None", "(null)":
		return time.Time{}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n <= 0 {
			return time.Time{}, nil
		}
		return time.Unix(n, 0).UTC(), nil
	}
	t, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		return t, fmt.Errorf("time %q", text)
	}
	return t, nil
}

// exited says whether a job ended by itself. How one was ended that did not, the controller and accounting see differently.
func (j *Job) exited() bool { return j.State == Completed || j.State == Failed }

// exitAndSignal reads EXIT:SIGNAL.
func exitAndSignal(text string) (int, int, error) {
	before, after, _ := strings.Cut(text, ":")
	exit, err1 := strconv.ParseUint(before, 10, 16)
	signal, err2 := strconv.ParseUint(after, 10, 16)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("exit status %q", text)
	}
	return int(exit), int(signal), nil
}

// waitStatus reads a status as the system call wait has it: 256 times what the job exited with, or a signal.
func waitStatus(text string) (exit, signal int, err error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("exit status %q", text)
	}
	return int(n >> 8 & 0xff), int(n & 0x7f), nil
}

// lengthOf reads [DAYS-][HOURS:]MINUTES:SECONDS[.FRACTION]; 0 if it is something else.
func lengthOf(text string) time.Duration {
	days, clock, dashed := strings.Cut(text, "-")
	if !dashed {
		days, clock = "0", text
	}
	d, err := strconv.ParseUint(days, 10, 20)
	if err != nil {
		return 0
	}
	total := float64(d) * 24 * 60
	parts := strings.Split(clock, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0
	}
	for i, part := range parts {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil || !(n >= 0 && n < 1e6) {
			return 0
		}
		switch len(parts) - i {
		case 3:
			total += n * 60
		case 2:
			total += n
		case 1:
			total += n / 60
		}
	}
	return time.Duration(total * float64(time.Minute)).Round(time.Millisecond)
}

// sizeOf reads a number with K, M, G, T or P, or bytes; 0 if it is something else.
func sizeOf(text string) int64 {
	unit := 1.0
	for i, letter := range []string{"K", "M", "G", "T", "P"} {
		if number, ok := strings.CutSuffix(text, letter); ok {
			text, unit = number, float64(int64(1)<<(10*(i+1)))
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n*unit < 1<<62) {
		return 0
	}
	return int64(n * unit)
}

// node is where a job ran.
func node(text string) string {
	if text == "None assigned" || text == "(null)" || text == "N/A" {
		return ""
	}
	return text
}

// agentQueue is how many records wait in the controller for accounting.
func agentQueue(sdiag []byte) (int, bool) {
	for line := range strings.Lines(string(sdiag)) {
		if number, ok := strings.CutPrefix(line, "DBD Agent queue size:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// parseSlurmSettings reads scontrol show config. What it does not say is an error, so that nothing is taken for certain that is not.
func parseSlurmSettings(out string) (c slurmSettings, err error) {
	age, storage := "", ""
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "MinJobAge":
			age = strings.TrimSpace(value)
		case "AccountingStorageType":
			storage = strings.TrimSpace(value)
		}
	}
	seconds, ok := strings.CutSuffix(age, " sec")
	n, err := strconv.ParseUint(seconds, 10, 31)
	if err != nil || !ok || storage == "" {
		return c, fmt.Errorf("scontrol show config says MinJobAge %q and AccountingStorageType %q, which is not understood", age, storage)
	}
	return slurmSettings{accounting: strings.HasSuffix(storage, "slurmdbd"), minJobAge: time.Duration(n) * time.Second}, nil
}
