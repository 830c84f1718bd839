package load

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/load/wire"
)

// lifetime is how many batches a child answers before another takes its place: CUE keeps every field name that it has
// ever seen.
const lifetime = 200

// child is one evaluation process, its own process group, without environment.
type child struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	conn    *wire.Conn
	stderr  tail
	expired atomic.Bool
	batches int
}

// start runs a child and waits until it is ready. The caller's goroutine must be locked to its thread, since the child
// dies with the thread that started it.
func start(ctx context.Context, o Options) (*child, error) {
	if len(o.Worker) == 0 {
		return nil, fmt.Errorf("start evaluation: no command")
	}
	c := &child{cmd: exec.Command(o.Worker[0], o.Worker[1:]...)}
	c.cmd.Env = []string{"CUE_REGISTRY=none", "CUE_CACHE_DIR=/nonexistent", "HOME=/nonexistent", "GOMAXPROCS=2"}
	c.cmd.Dir = "/"
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start evaluation: %w", err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start evaluation: %w", err)
	}
	c.stdin, c.conn = stdin, wire.New(stdout, stdin)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start evaluation: %w", err)
	}
	if err := c.receive(ctx, o.Deadline, &wire.Frame{}); err != nil {
		c.kill()
		if ctx.Err() != nil {
			return nil, ctx.Err() // it was killed for that
		}
		return nil, fmt.Errorf("start evaluation %q: %w: %s", o.Worker, err, c.stderr.text)
	}
	return c, nil
}

// receive waits for a frame.
func (c *child) receive(ctx context.Context, deadline time.Duration, f *wire.Frame) error {
	return c.within(ctx, deadline, func() error { return c.conn.Receive(f) })
}

// send hands over a batch.
func (c *child) send(ctx context.Context, deadline time.Duration, b wire.Batch) error {
	return c.within(ctx, deadline, func() error { return c.conn.Send(b) })
}

// within kills the child when do lasts longer than the deadline or ctx ends; do then fails.
func (c *child) within(ctx context.Context, deadline time.Duration, do func() error) error {
	timer := time.AfterFunc(deadline, func() {
		c.expired.Store(true)
		c.signal()
	})
	defer timer.Stop()
	defer context.AfterFunc(ctx, c.signal)()
	return do()
}

func (c *child) signal() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

// kill ends the child, if it still lives, and says why evaluation failed. A child that ended by itself is known by how.
func (c *child) kill() death {
	_ = c.stdin.Close()
	if !c.expired.Load() {
		// It closed its pipe: let it finish writing why, but not for long.
		timer := time.AfterFunc(time.Second, c.signal)
		defer timer.Stop()
	}
	err := c.cmd.Wait()
	c.signal() // whatever else is in its group
	status, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	said := string(c.stderr.text)
	switch {
	case c.expired.Load(), status.Signaled() && status.Signal() == syscall.SIGXCPU:
		return death{slow: true}
	case status.ExitStatus() == wire.ExitMemory, strings.Contains(said, "out of memory"),
		strings.Contains(said, "cannot allocate memory"), status.Signaled() && status.Signal() == syscall.SIGKILL:
		return death{text: fmt.Sprintf("evaluation takes more than %d MiB", wire.MaxMemory>>20)}
	case strings.Contains(said, "stack exceeds"):
		return death{text: "evaluation recurses too deeply"}
	}
	first, _, _ := strings.Cut(said, "\n")
	return death{text: fmt.Sprintf("evaluation ends with %v: %s", err, first)}
}

// death is why a child is gone.
type death struct {
	slow bool // it did not answer in time
	text string
}

// tail keeps the beginning of what a child writes, where a Go program says why it dies.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b[:min(len(b), 4096-min(len(t.text), 4096))]...)
	return len(b), nil
}
