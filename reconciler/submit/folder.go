package submit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

//go:embed job.sh
var jobScript []byte

// A launch folder is all that jobs see of Pomona, and all that is needed to know again what they are if the ledger is lost:
//
//	launch.json  job.sh  task/N  inputs/N    written before the intent, never changed
//	call/NONCE                               the script of one call of Submit
//	claim/N  end/N                           who does a task, and how it ended: each linked into place once
//	run/N.OWNER.X/  out/N/  log/N            where it runs, what it leaves, what it prints
const (
	launchFile = "launch.json"
	jobFile    = "job.sh"
	taskDir    = "task"
	inputsDir  = "inputs"
	tokenDir   = "token" // where jobs report: a file for each task
	callDir    = "call"
	claimDir   = "claim"
	endDir     = "end"
	runDir     = "run"
	outDir     = "out"
	logDir     = "log"
	lockDir    = "lock" // beside launch folders: a file for each launch that is being handed in
)

// note is what launch.json holds.
type note struct {
	Site        string                `json:"site"`
	Launch      observed.Launch       `json:"launch"`
	Intended    time.Time             `json:"intended"`
	How         engine.Launch         `json:"how"`
	Submissions []observed.Submission `json:"submissions"`
	Slices      []observed.Slice      `json:"slices"` // in the order of submissions, with params and without inputs
	Digest      string                `json:"digest"` // of all that jobs get
}

// Prepare makes the launch folders of works: call it before their intents are recorded. A folder that is there, of whoever died
// before that, is made anew if it says something else, unless something was handed in from it.
func (d *Desk) Prepare(_ context.Context, works ...Work) error {
	if err := d.prepare(works); err != nil {
		return fmt.Errorf("prepare launch in %s: %w", d.Folder, err)
	}
	return nil
}

func (d *Desk) prepare(works []Work) (err error) {
	if err := os.MkdirAll(d.Folder, 0o755); err != nil {
		return err
	}
	dir, err := durable.Open(d.Folder, d.Hook)
	if err != nil {
		return err
	}
	defer dir.Close() // every write reports its own error
	made := map[string]string{}
	for _, w := range works {
		f, err := w.files(d.now())
		if err != nil {
			return err
		}
		key := f.note.Launch.Key
		unlock, used, err := d.used(dir, key)
		if err != nil {
			return err
		}
		if used || made[key] != "" {
			continue
		}
		defer unlock()
		if have, err := d.note(key); err == nil && have.Digest == f.note.Digest {
			continue
		}
		temp := ".new-" + key + "-" + nonce()
		made[key] = temp
		if err := d.write(dir, temp, f); err != nil {
			return errors.Join(err, dir.Remove(temp))
		}
	}
	if len(made) == 0 {
		return nil
	}
	if err := dir.SyncFileSystem(); err != nil {
		return err
	}
	for key, temp := range made {
		if err := replace(dir, temp, key); err != nil {
			return err
		}
	}
	return dir.Sync(".")
}

// used says whether something was handed in from a launch folder, or is just now. Else nobody can until unlock.
func (d *Desk) used(dir *durable.Dir, key string) (unlock func(), used bool, err error) {
	lock, err := d.lock(key)
	if err != nil {
		return nil, true, err
	}
	if lock == nil {
		if !dir.Exists(filepath.Join(key, launchFile)) { // and who makes it may die
			return nil, true, fmt.Errorf("another process is making the launch folder %s", key)
		}
		return nil, true, nil
	}
	called, err := dir.Names(filepath.Join(key, callDir))
	if err != nil || len(called) > 0 {
		lock.Close() // nothing was written
		return nil, true, err
	}
	return func() { lock.Close() }, false, nil // likewise
}

// replace gives a new folder its name. One that has it is moved away and removed.
func replace(dir *durable.Dir, temp, key string) error {
	err := dir.Rename(temp, key)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old := oldPrefix + key + "-" + nonce()
	if err := dir.Rename(key, old); err != nil {
		return err
	}
	return errors.Join(dir.Rename(temp, key), dir.Remove(old))
}

// files are those of a launch folder: of each task what job.sh reads, and the names of its inputs.
type files struct {
	note                  note
	tasks, inputs, tokens []string
}

func (w Work) files(at time.Time) (f files, err error) {
	launch, submissions := w.Intent(at)
	f.note = note{Site: w.Site, Launch: launch, Intended: at, How: w.Launch, Submissions: submissions}
	f.note.How.Key, f.note.How.Tasks, f.note.How.Comment = launch.Key, launch.Tasks, w.comment()
	digest := sha256.New()
	for i, t := range w.Tasks {
		task, err := w.render(i+1, submissions[i].Key)
		if err != nil {
			return files{}, fmt.Errorf("slice %s of %s: %w", t.Slice.ID, w.Stage, err)
		}
		inputs := ""
		if len(t.Slice.Inputs) > 0 {
			inputs = strings.Join(t.Slice.Inputs, "\n") + "\n"
		}
		f.tasks, f.inputs = append(f.tasks, task), append(f.inputs, inputs)
		if w.reports() {
			f.tokens = append(f.tokens, w.Token(submissions[i].Key)+"\n")
		}
		fmt.Fprintf(digest, "%d %d\n%s%s", len(task), len(inputs), task, inputs) // never fails
		s := t.Slice
		s.Inputs, s.State, s.Round, s.Tries = nil, observed.SliceUnderway, t.Round, t.Attempt
		f.note.Slices = append(f.note.Slices, s)
	}
	fmt.Fprintf(digest, "%+v", f.note.How)
	f.note.Digest = hex.EncodeToString(digest.Sum(nil))
	return f, nil
}

// write makes the folder of a launch.
func (d *Desk) write(dir *durable.Dir, folder string, f files) error {
	for _, name := range []string{"", taskDir, inputsDir, callDir, claimDir, endDir, runDir, outDir, logDir} {
		if err := dir.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	if err := d.hand(dir, folder); err != nil {
		return err
	}
	for i := range f.tasks {
		number := strconv.Itoa(i + 1)
		if err := dir.Write(filepath.Join(folder, taskDir, number), []byte(f.tasks[i]), 0o644); err != nil {
			return err
		}
		if err := dir.Write(filepath.Join(folder, inputsDir, number), []byte(f.inputs[i]), 0o644); err != nil {
			return err
		}
	}
	if len(f.tokens) > 0 {
		if err := dir.Mkdir(filepath.Join(folder, tokenDir), 0o755); err != nil {
			return err
		}
	}
	for i, token := range f.tokens { // jobs may be another user's; who else reads it may say what this one job is doing, and nothing more
		if err := dir.Write(filepath.Join(folder, tokenDir, strconv.Itoa(i+1)), []byte(token), 0o644); err != nil {
			return err
		}
	}
	b, err := json.Marshal(f.note)
	if err != nil {
		return err
	}
	if err := dir.Write(filepath.Join(folder, jobFile), jobScript, 0o755); err != nil {
		return err
	}
	return dir.Write(filepath.Join(folder, launchFile), append(b, '\n'), 0o644)
}

// hand gives to the user of jobs what jobs write.
func (d *Desk) hand(dir *durable.Dir, folder string) error {
	if d.User == "" || os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(d.User)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	for _, name := range []string{claimDir, endDir, runDir, outDir, logDir} {
		if err := dir.Root().Lchown(filepath.Join(folder, name), uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// note reads launch.json.
func (d *Desk) note(key string) (n note, err error) {
	b, err := os.ReadFile(filepath.Join(d.Folder, key, launchFile))
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err == nil && (n.Launch.Key != key || len(n.Submissions) != n.Launch.Tasks || len(n.Slices) != n.Launch.Tasks) {
		err = fmt.Errorf("%s is of another launch", filepath.Join(d.Folder, key, launchFile))
	}
	n.Launch.Intended = n.Intended
	for i := range n.Submissions {
		n.Submissions[i].Intended = n.Intended
	}
	return n, err
}

// call writes the script of one call of Submit. Batch systems give the id of a job that they have lost to another one: only the script
// itself tells the two apart. It survives a power cut: a launch without one was never handed in.
func (d *Desk) call(key string) (script string, err error) {
	folder, n := filepath.Join(d.Folder, key), nonce()
	script = filepath.Join(folder, callDir, n)
	text := "#!/bin/sh\nexec /bin/sh " + quote(filepath.Join(folder, jobFile)) + " " + quote(folder) + " " + n + "\n"
	f, err := os.OpenFile(script, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	return script, errors.Join(err, f.Sync(), f.Close(), durable.SyncFolder(filepath.Dir(script)))
}

func nonce() string { return strings.ToLower(rand.Text()[:10]) }
