package submit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Mark is what a task has left in the launch folder.
type Mark struct {
	Owner string // who has claimed it: the id of a job, a dot and the nonce of a call; empty for nobody
	End   *End   // nil: it has not ended
	Err   error  // that it cannot be read
}

// none says that nobody has begun it.
func (m Mark) none() bool { return m.Owner == "" && m.End == nil && m.Err == nil }

// End is how a task ended. There is one, whoever noted it.
type End struct {
	TakenBack    string // why Pomona took it back: nothing that a job did for it counts. Empty: a job ended it
	Exit, Signal int    // Signal is not known of one that a job ended
	Began, Ended time.Time
	Job, Node    string
	Tries        int
	CPU          time.Duration
	Folder       string // where it ran, below the launch folder; its outputs are in out/TASK if Exit is 0
}

// Pomona is the owner of tasks that were taken back before anybody claimed them.
const pomona = "pomona"

// marks are those of tasks of a launch, by task. Outputs that a job had no time to put in their place are put there. Jobs can do with
// these folders what they like: what cannot be read concerns nobody else.
func (d *Desk) marks(key string, tasks []int) map[int]Mark {
	folder := filepath.Join(d.Folder, key)
	out := map[int]Mark{}
	claimed, noClaims := numbered(filepath.Join(folder, claimDir))
	ended, noEnds := numbered(filepath.Join(folder, endDir))
	for _, task := range tasks {
		m := Mark{Err: errors.Join(noClaims, noEnds)}
		if claimed[task] && m.Err == nil {
			var b []byte
			b, m.Err = readMark(filepath.Join(folder, claimDir, strconv.Itoa(task)))
			m.Owner = strings.TrimSpace(string(b))
		}
		if ended[task] && m.Err == nil {
			var end End
			end, m.Err = readEnd(folder, task)
			m.End = &end
		}
		out[task] = m
	}
	return out
}

// longestMark is how many bytes a mark may have.
const longestMark = 64 << 10

// readMark reads what a job has left, which may be anything: a link, a pipe, a file without an end.
func readMark(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is no file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, longestMark+1))
	if err == nil && len(b) > longestMark {
		err = fmt.Errorf("read %s: it is longer than %d bytes", name, longestMark)
	}
	return b, err
}

// numbered are the entries of a folder whose names are numbers.
func numbered(folder string) (map[int]bool, error) {
	f, err := os.OpenFile(folder, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	out := make(map[int]bool, len(names))
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			out[n] = true
		}
	}
	return out, errors.Join(err, f.Close())
}

// readEnd reads an end mark, and puts the outputs that it names in their place.
func readEnd(folder string, task int) (End, error) {
	name := filepath.Join(folder, endDir, strconv.Itoa(task))
	b, err := readMark(name)
	if err != nil {
		return End{}, err
	}
	end, err := parseEnd(string(b))
	if err != nil {
		return End{}, fmt.Errorf("read %s: %w", name, err)
	}
	if end.TakenBack != "" || end.Exit != 0 {
		return end, nil
	}
	return end, placeOutputs(folder, end.Folder, task)
}

// placeOutputs puts the outputs of a task in their place, unless the job has done it, or a person has taken them. Nothing outside of the
// launch folder is reached, whatever the job has put there.
func placeOutputs(folder, run string, task int) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close() // nothing is written to it
	err = root.Rename(filepath.Join(run, "outputs"), filepath.Join(outDir, strconv.Itoa(task)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// parseEnd reads the lines of an end mark: a word and what it says. Others are left for later versions.
func parseEnd(text string) (End, error) {
	var e End
	exits, whole := 0, false
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		n, bad := strconv.ParseInt(rest, 10, 64)
		switch word {
		case "exit":
			if bad != nil || n < 0 || n > 255 {
				return End{}, fmt.Errorf("exit status %q", rest)
			}
			e.Exit, exits = int(n), exits+1
		case "signal":
			e.Signal = int(n)
		case "taken-back":
			e.TakenBack = rest
		case "began":
			e.Began = seconds(n)
		case "ended":
			e.Ended = seconds(n)
		case "job":
			e.Job = rest
		case "node":
			e.Node = rest
		case "tries":
			e.Tries = int(n)
		case "cpu":
			e.CPU = used(rest)
		case "folder":
			if !isRunFolder(rest) {
				return End{}, fmt.Errorf("folder %q", rest)
			}
			e.Folder = rest
		case ".":
			whole = true
		}
	}
	if err := lines.Err(); err != nil {
		return End{}, err
	}
	if exits != 1 || !whole || e.TakenBack == "" && e.Folder == "" {
		return End{}, errors.New("it is no end mark")
	}
	return e, nil
}

// isRunFolder says whether a name is that of a folder in run/.
func isRunFolder(name string) bool {
	below, ok := strings.CutPrefix(name, runDir+"/")
	return ok && below != "" && below != "." && below != ".." && !strings.Contains(below, "/")
}

func seconds(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// used adds up times as a shell prints them: 1m2.5s 0m0.1s.
func used(text string) (sum time.Duration) {
	for _, word := range strings.Fields(text) {
		if d, err := time.ParseDuration(word); err == nil && d > 0 {
			sum += d
		}
	}
	return sum
}

// TakeBack has nothing count any more that jobs do for a submission, whatever becomes of them: afterwards it may be done under another
// key. It is recorded as s says: an end, but not done. If the task has ended before, it is as it ended.
func (d *Desk) TakeBack(s observed.Submission) (observed.Submission, error) {
	return d.takeBackWith(s, evidence{cancel: s.State == observed.SubmissionCancelled})
}

// takeBackWith is TakeBack for whoever knows more: its job may have ended just now, of what it was told.
func (d *Desk) takeBackWith(s observed.Submission, e evidence) (observed.Submission, error) {
	end, err := takeBack(filepath.Join(d.Folder, s.Launch), s)
	if err != nil {
		return s, fmt.Errorf("take back task %d of %s: %w", s.Task, s.Launch, err)
	}
	return e.ended(s, end), nil
}

func takeBack(folder string, s observed.Submission) (End, error) {
	if !s.State.Ended() || s.State == observed.SubmissionDone {
		return End{}, fmt.Errorf("%s is no reason", s.State)
	}
	text := fmt.Sprintf("taken-back %s: %s\nexit %d\nsignal %d\nbegan %d\nended %d\njob %s\nnode %s\n.\n", s.State, strings.Join(strings.Fields(s.Detail), " "),
		s.Exit, s.Signal, unix(s.Began), unix(s.Ended), s.Job, s.Node)
	for _, m := range []struct{ dir, text string }{{claimDir, pomona + "\n"}, {endDir, text}} {
		if err := linkOnce(filepath.Join(folder, m.dir), strconv.Itoa(s.Task), m.text); err != nil {
			return End{}, err
		}
	}
	return readEnd(folder, s.Task)
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// linkOnce makes a file, whole, unless it is there. It survives a power cut.
func linkOnce(dir, name, text string) error {
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncFolder(dir)
}

// Outputs are the files that a task has left which has ended well, relative to the folder that is returned, sorted. That the folder is not
// there is an error: a file system that is away is no task without outputs. Files whose names have a line break are left out: they can be
// nobody's input.
func (d *Desk) Outputs(launch string, task int) (folder string, names []string, err error) {
	folder = filepath.Join(d.Folder, launch, outDir, strconv.Itoa(task))
	err = filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(name, "\n") {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		names = append(names, rel)
		return err
	})
	if err != nil {
		return folder, nil, fmt.Errorf("read outputs of task %d of launch %s: %w", task, launch, err)
	}
	slices.Sort(names)
	return folder, names, nil
}

// withOutputs is a submission with the number of files that it has left, if it has ended well; those that cannot be read are counted as none.
func (d *Desk) withOutputs(s observed.Submission) observed.Submission {
	if s.State == observed.SubmissionDone {
		_, names, _ := d.Outputs(s.Launch, s.Task)
		s.Outputs = len(names)
	}
	return s
}

// Inputs are what a task works on, in its order.
func (d *Desk) Inputs(launch string, task int) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(d.Folder, launch, inputsDir, strconv.Itoa(task)))
	if err != nil {
		return nil, fmt.Errorf("read inputs of task %d of launch %s: %w", task, launch, err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), nil
}

// Log is the file that a task's output is in.
func (d *Desk) Log(launch string, task int) string {
	return filepath.Join(d.Folder, launch, logDir, strconv.Itoa(task))
}
