package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hook is a program that is told of generations.
type Hook struct {
	Name        string
	Command     []string // and its arguments
	Timeout     time.Duration
	Memory      int64 // bytes of address space, of each process
	Environment map[string]string

	Worker []string            // command that calls HookWorker
	Mask   func(string) string // takes secrets out of what it says; nil: it may say anything
}

// HookError says that a hook has failed, and what it said last.
type HookError struct {
	Name, Why, Said string
}

// Error is one line, or a few with what the hook said.
func (e *HookError) Error() string {
	text := fmt.Sprintf("hook %s %s", e.Name, e.Why)
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// most is how much of what a hook says is kept: the end of it, in bytes.
const most = 4 << 10

// grace is how long a hook that has been stopped may take to be gone.
const grace = 10 * time.Second

// Run runs the hook with a document on its standard input. It has a folder of its own to work in, a session of its own, and
// nothing of this process's environment; when it ends, or takes too long, or this process dies, everything is killed that it
// started. A failure is a *HookError.
func (h Hook) Run(ctx context.Context, d Document) error {
	d.Hook = h.Name
	document, err := json.Marshal(d)
	if err != nil {
		return h.failed(err.Error(), nil)
	}
	folder, err := os.MkdirTemp("", "pomona-hook-")
	if err != nil {
		return h.failed("cannot run: "+err.Error(), nil)
	}
	defer os.RemoveAll(folder) // what cannot be removed stays in the machine's folder of such things
	life, held, err := os.Pipe()
	if err != nil {
		return h.failed("cannot run: "+err.Error(), nil)
	}
	defer life.Close() // nothing is written
	defer held.Close()

	timed, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	said := end{}
	args := slices.Concat(h.Worker[1:], []string{strconv.FormatInt(h.Memory>>10, 10)}, h.Command)
	cmd := exec.CommandContext(timed, h.Worker[0], args...)
	cmd.Dir, cmd.Env = folder, h.environment(folder)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(document), &said, &said
	cmd.ExtraFiles = []*os.File{life}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = held.Close // the worker sees it, and ends everything
	cmd.WaitDelay = grace
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return h.failed("was stopped", &said)
	case timed.Err() != nil:
		return h.failed(fmt.Sprintf("took longer than %s", h.Timeout), &said)
	case err != nil:
		return h.failed("failed with "+err.Error(), &said)
	}
	return nil
}

func (h Hook) environment(folder string) []string {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TMPDIR": folder}
	maps.Copy(env, h.Environment)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

func (h Hook) failed(why string, said *end) error {
	e := &HookError{Name: h.Name, Why: why}
	if said != nil {
		e.Said = strings.TrimSpace(strings.ToValidUTF8(string(said.text), "\uFFFD"))
	}
	if h.Mask != nil {
		e.Said = h.Mask(e.Said)
	}
	return e
}

// end keeps the end of what is written.
type end struct{ text []byte }

func (e *end) Write(b []byte) (int, error) {
	e.text = append(e.text, b...)
	if over := len(e.text) - most; over > 0 {
		e.text = slices.Delete(e.text, 0, over)
	}
	return len(b), nil
}
