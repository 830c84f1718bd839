package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// entry is one line of a local job's journal: what was done to it, or what became of one of its tasks.
type entry struct {
	Do   string    `json:"do"` // launch, release, cancel, start or end
	At   time.Time `json:"at"`
	Task int       `json:"task,omitempty"` // of cancel 0: all of them

	Launch *Launch `json:"launch,omitempty"`
	// of launch: as whom it runs, and how long a task that is ended may take to be gone
	User  string        `json:"user,omitempty"`
	Grace time.Duration `json:"grace,omitempty"`

	Keeper *process `json:"keeper,omitempty"` // of start
	Node   string   `json:"node,omitempty"`

	State  State         `json:"state,omitempty"` // of end
	Exit   int           `json:"exit,omitempty"`
	Signal int           `json:"signal,omitempty"`
	Reason string        `json:"reason,omitempty"`
	CPU    time.Duration `json:"cpu,omitempty"`
	Memory int64         `json:"memory,omitempty"`
}

// journal is one local job: a file of entries that is only ever added to, and what they come to. What they say is decided
// under a lock of the file, so that a task that is cancelled never starts, and no task starts twice.
type journal struct {
	id   int
	path string
	log  *slog.Logger

	mu        sync.Mutex
	read      int64 // bytes of the file
	launch    entry
	released  bool
	cancelled time.Time // all of it
	tasks     []localTask
	ended     int // tasks
}

// localTask is what became of a task.
type localTask struct {
	cancelled  time.Time
	start, end *entry
}

// refresh reads what was added to the file. Who calls it holds mu.
func (j *journal) refresh() error {
	f, err := os.Open(j.path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	return j.readFrom(f)
}

func (j *journal) readFrom(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() <= j.read {
		return err
	}
	added := make([]byte, info.Size()-j.read)
	if _, err := f.ReadAt(added, j.read); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// A line without an end is being written, or its writer has died: it does not count.
	for line := range bytes.Lines(added[:bytes.LastIndexByte(added, '\n')+1]) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read %s: %w", j.path, err)
		}
		j.read += int64(len(line))
		j.apply(e)
	}
	return nil
}

func (j *journal) apply(e entry) {
	if e.Do == "launch" {
		j.launch, j.tasks = e, make([]localTask, e.Launch.Tasks)
		return
	}
	if e.Task < 0 || e.Task > len(j.tasks) {
		return
	}
	switch {
	case e.Do == "release":
		j.released = true
	case e.Do == "cancel" && e.Task == 0:
		j.cancelled = e.At
	case e.Task == 0:
	case e.Do == "cancel":
		j.tasks[e.Task-1].cancelled = e.At
	case e.Do == "start":
		j.tasks[e.Task-1].start = &e
	case e.Do == "end" && j.tasks[e.Task-1].end == nil:
		j.tasks[e.Task-1].end = &e
		j.ended++
	}
}

// cancelledAt is when a task was cancelled, or the zero time.
func (j *journal) cancelledAt(task int) time.Time {
	if at := j.tasks[task-1].cancelled; !at.IsZero() {
		return at
	}
	return j.cancelled
}

// add has decide look at the job as it is now, and writes the entries that it wants, durably.
func (j *journal) add(decide func() []entry) error {
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // what is written is synced; frees the lock
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", j.path, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.readFrom(f); err != nil {
		return err
	}
	if j.tasks == nil {
		return fmt.Errorf("read %s: it has no beginning", j.path)
	}
	var lines []byte
	for _, e := range decide() {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	if len(lines) == 0 {
		return nil
	}
	if info, err := f.Stat(); err == nil && info.Size() > j.read {
		j.log.Warn("repaired the file of a local job: whoever wrote to it last died before the end of a line", "job", j.id, "file", j.path)
	}
	// What a writer that died has left unfinished is overwritten.
	if err := f.Truncate(j.read); err != nil {
		return err
	}
	if _, err := f.WriteAt(lines, j.read); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return j.readFrom(f)
}

// jobs are the tasks as others see them.
func (j *journal) jobs() []Job {
	l := j.launch.Launch
	out := make([]Job, 0, len(j.tasks))
	for i := range j.tasks {
		job := Job{Key: l.Key, ID: strconv.Itoa(j.id), Task: i + 1, TaskID: taskID(j.id, i+1, l.Tasks), Submitted: j.launch.At}
		j.describe(i+1, &job)
		out = append(out, job)
	}
	return out
}

// taskID is how people know a task: 12 of a job with one task, else 12.3.
func taskID(job, task, tasks int) string {
	if tasks == 1 {
		return strconv.Itoa(job)
	}
	return fmt.Sprintf("%d.%d", job, task)
}

func (j *journal) describe(task int, job *Job) {
	t := j.tasks[task-1]
	if t.start != nil {
		job.Began, job.Node = t.start.At, t.start.Node
	}
	switch cancelled := j.cancelledAt(task); {
	case t.end != nil:
		e := t.end
		job.State, job.Exit, job.Signal, job.Reason, job.CPU, job.Memory, job.Ended = e.State, e.Exit, e.Signal, e.Reason, e.CPU, e.Memory, e.At
	case t.start != nil:
		job.State = Running
	case !cancelled.IsZero():
		job.State, job.Ended = Cancelled, cancelled
	case j.released:
		job.State, job.Reason = Queued, "waits for a slot"
	default:
		job.State = Held
	}
}

// task is what became of a task so far.
func (j *journal) task(n int) localTask {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tasks[n-1]
}

// over is done for whoever does not hold mu.
func (j *journal) over() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done()
}

// done says whether nothing happens to it any more.
func (j *journal) done() bool {
	if j.ended == len(j.tasks) {
		return true
	}
	for i, t := range j.tasks {
		if t.end == nil && (t.start != nil || j.cancelledAt(i+1).IsZero()) {
			return false
		}
	}
	return true
}

// journals are all local jobs of a folder, by their numbers. Files that have not changed are not read again.
type journals struct {
	folder string
	log    *slog.Logger

	mu    sync.Mutex
	known map[int]*journal
	done  map[int]bool
	as    time.Time // the folder's, when it was read last
	made  int       // the last number that this process has given
}

// settled is after how long a folder that has changed shows it in its time.
const settled = 2 * time.Second

// all are what there is, in order, as it is now.
func (js *journals) all() ([]*journal, error) { return js.some(true) }

// open are those of which something is still to come.
func (js *journals) open() ([]*journal, error) { return js.some(false) }

func (js *journals) some(done bool) (some []*journal, err error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if err := js.list(); err != nil {
		return nil, err
	}
	for id, j := range js.known {
		if !js.done[id] {
			err := js.refresh(j)
			if errors.Is(err, fs.ErrNotExist) {
				delete(js.known, id)
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		if done || !js.done[id] {
			some = append(some, j)
		}
	}
	slices.SortFunc(some, func(a, b *journal) int { return a.id - b.id })
	return some, nil
}

func (js *journals) refresh(j *journal) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if info, err := os.Stat(j.path); err != nil || info.Size() == j.read {
		return err
	}
	if err := j.refresh(); err != nil {
		return err
	}
	if j.tasks == nil {
		return fmt.Errorf("read %s: it has no beginning", j.path)
	}
	js.done[j.id] = j.done()
	return nil
}

// list finds new files, if the folder has changed.
func (js *journals) list() error {
	info, err := os.Stat(js.folder)
	if err != nil || info.ModTime().Equal(js.as) {
		return err
	}
	entries, err := os.ReadDir(js.folder)
	if err != nil {
		return err
	}
	if js.known == nil {
		js.known, js.done = map[int]*journal{}, map[int]bool{}
	}
	there := map[int]bool{}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // one that is being made
		}
		there[id] = true
		if js.known[id] == nil {
			js.known[id] = &journal{id: id, path: filepath.Join(js.folder, e.Name()), log: js.log}
		}
	}
	for id := range js.known {
		if !there[id] {
			delete(js.known, id)
			delete(js.done, id)
		}
	}
	if js.as = (time.Time{}); time.Since(info.ModTime()) > settled {
		js.as = info.ModTime()
	}
	return nil
}

// make begins a job, with the next number.
func (js *journals) make(first entry) (id int, err error) {
	line, err := json.Marshal(first)
	if err != nil {
		return 0, err
	}
	f, err := os.CreateTemp(js.folder, "new-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // it has another name by then
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	if id, err = js.next(); err != nil {
		return 0, err
	}
	for ; ; id++ {
		err := os.Link(f.Name(), filepath.Join(js.folder, strconv.Itoa(id)))
		if err == nil {
			js.mu.Lock()
			js.made = max(js.made, id)
			js.mu.Unlock()
			return id, durable.SyncFolder(js.folder)
		}
		if !errors.Is(err, fs.ErrExist) {
			return 0, err
		}
	}
}

// next is a number that no job has had, unless another process has made one since: the job with the highest is never forgotten.
func (js *journals) next() (int, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.made > 0 {
		return js.made + 1, nil
	}
	highest, err := js.highest()
	return highest + 1, err
}

func (js *journals) highest() (id int, err error) {
	err = js.list()
	for known := range js.known {
		id = max(id, known)
	}
	return id, err
}

// find is one job.
func (js *journals) find(id int) (*journal, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if err := js.list(); err != nil || js.known[id] == nil {
		return nil, err
	}
	return js.known[id], nil
}

// forget removes a job.
func (js *journals) forget(j *journal) error {
	js.mu.Lock()
	defer js.mu.Unlock()
	if highest, err := js.highest(); err != nil || highest == j.id {
		return err
	}
	return os.Remove(j.path)
}
