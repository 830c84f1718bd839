package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often a keeper looks whether its job was cancelled, and how much memory it takes. It looks sooner at first: many jobs
// are short.
const (
	firstWatch = 5 * time.Millisecond
	watchEvery = 250 * time.Millisecond
)

// keeper stands by one task of a local job, as a process of its own. Whatever the task starts, and detaches, becomes the keeper's
// child in the end, and ends with it.
type keeper struct {
	journal *journal
	task    int
	launch  Launch
	user    string
	grace   time.Duration

	pid      int // of the job
	began    time.Time
	ended    chan syscall.WaitStatus
	told     chan os.Signal
	why      State // why it was told to end
	reason   string
	resident int64 // most that was seen
}

// KeepLocalJob starts one task and writes down what becomes of it: args are the job's file and the task's number. It is run
// by a hidden command.
func KeepLocalJob(args []string) error {
	if len(args) != 2 {
		return errors.New("no job: this is for the service only")
	}
	task, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("read number of task: %w", err)
	}
	id, err := strconv.Atoi(filepath.Base(args[0]))
	if err != nil {
		return fmt.Errorf("read number of job: %w", err)
	}
	k := &keeper{journal: &journal{id: id, path: args[0], log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, task: task, ended: make(chan syscall.WaitStatus, 1), told: make(chan os.Signal, 1)}
	if err := k.keep(); err != nil {
		return fmt.Errorf("keep job %s: %w", taskID(id, task, 0), err)
	}
	return nil
}

func (k *keeper) keep() error {
	runtime.LockOSThread() // the job dies with the thread that started it
	signal.Notify(k.told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt what it starts: %w", err)
	}
	mine, err := k.claim()
	if err != nil || !mine {
		return err
	}
	end := entry{Do: "end", Task: k.task}
	if err := k.begin(); err != nil {
		end.State, end.Exit, end.Reason = Failed, 127, err.Error()
	} else {
		k.describe(k.watch(), &end)
	}
	k.tidy()
	end.At = time.Now().UTC()
	// As long as it cannot be written down, the job has not ended for anybody: a full disk is not forever.
	for {
		err := k.journal.add(func() []entry { return []entry{end} })
		if err == nil {
			return nil
		}
		fmt.Fprintf(os.Stderr, "enter end of job %s: %v\n", taskID(k.journal.id, k.task, 0), err)
		time.Sleep(time.Second)
	}
}

// claim enters that the task has started, unless it has, or was cancelled.
func (k *keeper) claim() (mine bool, err error) {
	self, err := thisProcess()
	if err != nil {
		return false, err
	}
	node, err := os.Hostname()
	if err != nil {
		return false, err
	}
	err = k.journal.add(func() []entry {
		j := k.journal
		if k.task < 1 || k.task > len(j.tasks) || !j.released || j.tasks[k.task-1].start != nil || !j.cancelledAt(k.task).IsZero() {
			return nil
		}
		mine = true
		k.launch, k.user, k.grace, k.began = *j.launch.Launch, j.launch.User, j.launch.Grace, time.Now().UTC()
		return []entry{{Do: "start", At: k.began, Task: k.task, Keeper: &self, Node: node}}
	})
	return mine && err == nil, err
}

// begin starts the job. A shell sets the limit on files: this process could not write its journal within it.
func (k *keeper) begin() error {
	log, err := k.places()
	if err != nil {
		return err
	}
	defer log.Close() // the job writes to it
	limit := "unlimited"
	if k.launch.Resources.Disk > 0 {
		limit = strconv.FormatInt((k.launch.Resources.Disk+511)/512, 10)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -f "$1" && exec /bin/sh "$2"`, "job", limit, k.launch.Script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.launch.Folder, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Env = k.environment()
	if k.user != "" && os.Getuid() == 0 {
		if cmd.SysProcAttr.Credential, err = credentialOf(k.user); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.pid = cmd.Process.Pid
	// When memory is short, the system shall end jobs before anything else.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", k.pid), []byte("500"), 0) // it may have ended
	go k.reap()
	return nil
}

// places makes what the job finds in its launch folder: the file that its output goes to, and a folder for what it does not
// keep. No other folder is reached, whatever other tasks have put there.
func (k *keeper) places() (log *os.File, err error) {
	root, err := os.OpenRoot(k.launch.Folder)
	if err != nil {
		return nil, err
	}
	defer root.Close() // nothing is written to it
	if err := errors.Join(root.MkdirAll("log", 0o755), root.MkdirAll("tmp", 0o755), root.MkdirAll(k.scratch(), 0o700)); err != nil {
		return nil, err
	}
	logs, err := root.OpenRoot("log") // of the job's user: a link there must not lead to what is not
	if err != nil {
		return nil, err
	}
	defer logs.Close()                                                       // nothing is written to it
	const how = os.O_WRONLY | os.O_CREATE | os.O_APPEND | syscall.O_NONBLOCK // a pipe is not waited for
	log, err = logs.OpenFile(strconv.Itoa(k.task), how, 0o644)
	if err != nil || k.user == "" || os.Getuid() != 0 {
		return log, err
	}
	who, err := credentialOf(k.user)
	if err == nil {
		err = errors.Join(log.Chown(int(who.Uid), int(who.Gid)), root.Lchown(k.scratch(), int(who.Uid), int(who.Gid)))
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return log, nil
}

// scratch is the job's own folder for what it does not keep, in the launch folder.
func (k *keeper) scratch() string { return "tmp/" + strconv.Itoa(k.task) }

// tidy removes what the job did not keep.
func (k *keeper) tidy() {
	if root, err := os.OpenRoot(k.launch.Folder); err == nil {
		_ = root.RemoveAll(k.scratch()) // what stays, stays
		_ = root.Close()
	}
}

func (k *keeper) environment() []string {
	who, err := user.Current()
	if k.user != "" {
		who, err = user.Lookup(k.user)
	}
	if err != nil {
		who = &user.User{Username: strconv.Itoa(os.Getuid()), HomeDir: "/"} // of a number without a name
	}
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + who.HomeDir, "USER=" + who.Username,
		"TMPDIR=" + filepath.Join(k.launch.Folder, k.scratch()), "POMONA_TASK=" + strconv.Itoa(k.task), "POMONA_JOB=" + taskID(k.journal.id, k.task, k.launch.Tasks)}
}

func credentialOf(name string) (*syscall.Credential, error) {
	who, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := who.GroupIds()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	return c, nil
}

// reap waits for children, the job's orphans among them, until there are none.
func (k *keeper) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
		if err == nil && pid == k.pid {
			k.ended <- status
		}
	}
}

// watch waits until the job has ended, or has to, and nothing of it is left.
func (k *keeper) watch() syscall.WaitStatus {
	defer k.killAll()
	every := firstWatch
	tick, late := time.NewTimer(every), make(<-chan time.Time)
	defer tick.Stop()
	if t := k.launch.Resources.Time; t > 0 {
		late = time.After(t)
	}
	var kill <-chan time.Time
	end := func(state State, reason string) {
		if kill == nil {
			k.why, k.reason, kill = state, reason, time.After(k.grace)
			k.signal(syscall.SIGTERM)
		}
	}
	for {
		select {
		case status := <-k.ended:
			return status
		case <-kill:
			k.killAll()
		case <-late:
			end(Exceeded, fmt.Sprintf("it took more than its time, %s", k.launch.Resources.Time))
		case s := <-k.told:
			end(Lost, fmt.Sprintf("this machine ended it (%v)", s))
		case <-tick.C:
			every = min(2*every, watchEvery)
			tick.Reset(every)
			if k.cancelled() {
				end(Cancelled, "")
			}
			if most := k.launch.Resources.Memory; k.measure() > most && most > 0 {
				k.why, k.reason = Exceeded, tooMuch(most)
				k.killAll()
			}
		}
	}
}

// cancelled says whether the job was cancelled. If its file cannot be read just now, it will be later.
func (k *keeper) cancelled() bool {
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	return k.journal.refresh() == nil && !k.journal.cancelledAt(k.task).IsZero()
}

// measure is the memory that the job takes now, in bytes.
func (k *keeper) measure() (sum int64) {
	for _, s := range below(os.Getpid()) {
		sum += s.resident
	}
	k.resident = max(k.resident, sum)
	return sum
}

func (k *keeper) signal(s syscall.Signal) (sent int) {
	for _, p := range below(os.Getpid()) {
		if p.state != "Z" && syscall.Kill(p.pid, s) == nil {
			sent++
		}
	}
	return sent
}

// killAll ends everything that the job has started.
func (k *keeper) killAll() {
	for k.signal(syscall.SIGKILL) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

func tooMuch(memory int64) string {
	return fmt.Sprintf("it took more than %d MiB of memory", memory>>20)
}

// describe says what became of the job.
func (k *keeper) describe(status syscall.WaitStatus, e *entry) {
	var used, own syscall.Rusage
	if err := errors.Join(syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used), syscall.Getrusage(syscall.RUSAGE_SELF, &own)); err == nil {
		e.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
		if e.Memory = k.resident; used.Maxrss > own.Maxrss { // a child begins with what this process has taken
			e.Memory = max(e.Memory, used.Maxrss<<10)
		}
	}
	if e.State = Completed; status.Signaled() {
		e.State, e.Signal = Failed, int(status.Signal())
	} else if e.Exit = status.ExitStatus(); e.Exit != 0 {
		e.State = Failed
	}
	switch most := k.launch.Resources.Memory; {
	case k.why != "":
		e.State, e.Reason = k.why, k.reason
	case e.State == Failed && most > 0 && e.Memory > most: // between two looks
		e.State, e.Reason = Exceeded, tooMuch(most)
	}
	if e.Memory == 0 { // it ended before a look, and took less than this process: no more is known
		e.Memory = used.Maxrss << 10
	}
}
