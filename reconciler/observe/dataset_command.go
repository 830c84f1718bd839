package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// command has a program of the service's configuration print the names of files, one in a line. Arguments of a site follow its own.
func (d Datasets) command(ctx context.Context, c desired.DatasetCommand, l *inputs) error {
	known, ok := d.Commands[c.Name]
	if !ok || len(known.Command) == 0 {
		return fmt.Errorf("there is no command %q: add it to datasets.commands of the service's configuration", c.Name)
	}
	ctx, stop := context.WithTimeout(ctx, known.Patience())
	defer stop()
	cmd := exec.CommandContext(ctx, known.Command[0], append(known.Command[1:len(known.Command):len(known.Command)], c.Arguments...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of it ends
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}
	out, said := &limited{left: maxDataset}, &limited{left: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s does not end within %s", known.Command[0], known.Patience())
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		if says := lastLine(said.String()); says != "" {
			err = fmt.Errorf("%w: %s", err, says)
		}
		return fmt.Errorf("command %s: %w", c.Name, err)
	case out.cut:
		return fmt.Errorf("%s prints more than %d bytes", known.Command[0], maxDataset)
	}
	lines := bufio.NewScanner(&out.Buffer)
	for lines.Scan() {
		if name := strings.TrimSuffix(lines.Text(), "\r"); name != "" {
			if err := l.add(observed.Input{Name: name}); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// lastLine is the end of what a program said.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return observed.Printable(s[:min(len(s), 200)])
}
