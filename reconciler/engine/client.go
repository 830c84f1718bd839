package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// client runs the programs of a batch system. They see nothing of this process' environment but what they are given.
type client struct {
	programs    string // folder; "": as PATH says
	environment []string
	timeout     time.Duration // of one call; 0: 2 minutes
	input       []byte        // that the program reads
}

// mostOutput is how much a program may print, in bytes; mostErrors what of its complaints is told.
const (
	mostOutput = 256 << 20
	mostErrors = 2 << 10
)

// run is what a program prints. keep, unless nil, stays open while the program lives, even if that outlives this process. After
// an error nothing is known of what it did.
func (c client) run(ctx context.Context, keep *os.File, program string, args ...string) ([]byte, error) {
	if c.timeout == 0 {
		c.timeout = 2 * time.Minute
	}
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(timed, filepath.Join(c.programs, program), args...)
	cmd.Env = c.environment
	cmd.WaitDelay = time.Second
	out, complaint := bounded{most: mostOutput}, bounded{most: mostErrors, cut: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.input), &out, &complaint
	if keep != nil {
		cmd.ExtraFiles = []*os.File{keep}
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", program, ctx.Err())
	case timed.Err() != nil:
		return nil, fmt.Errorf("%s: no answer within %v, and what it did is unknown", program, c.timeout)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: install it, or say in the engine's configuration where it is", err)
	case err != nil && complaint.b.Len() > 0:
		return nil, complained{fmt.Sprintf("%s: %s", program, strings.Join(complaint.lines(), "; ")), complaint.lines(), err}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return out.b.Bytes(), nil
}

// complained is the error of a program that has said why.
type complained struct {
	text  string
	lines []string
	err   error
}

// Error implements error.
func (c complained) Error() string { return c.text }

// Unwrap has errors.As find what ended the program.
func (c complained) Unwrap() error { return c.err }

// bounded keeps what is written up to a length; beyond that it cuts, or is an error.
type bounded struct {
	b    bytes.Buffer
	most int
	cut  bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.b.Len()
	if len(p) <= room {
		return b.b.Write(p)
	}
	if !b.cut {
		return 0, fmt.Errorf("more than %d bytes of output", b.most)
	}
	b.b.Write(p[:room])
	return len(p), nil
}

func (b *bounded) lines() (lines []string) {
	for line := range strings.Lines(b.b.String()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
