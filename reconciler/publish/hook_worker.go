package publish

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lifeline is the descriptor that ends when whoever asked for the hook wants it to end, or is dead.
const lifeline = 3

// HookWorker stands between a service and one hook, as a process of its own: args are KIBIBYTES PROGRAM ARGUMENTS…. Whatever
// the hook starts, and detaches, becomes the worker's child in the end, so that it leaves nothing behind. It returns the
// exit code.
func HookWorker(args []string) (int, error) {
	if len(args) < 2 {
		return 2, errors.New("no hook: this is for the service only")
	}
	kib, err := strconv.ParseUint(args[0], 10, 53)
	if err != nil {
		return 2, fmt.Errorf("read memory limit: %w", err)
	}
	unix.CloseOnExec(lifeline)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 2, fmt.Errorf("adopt what a hook starts: %w", err)
	}
	// The shell sets the limit: this process could not live within it.
	limited := append([]string{"-c", `ulimit -v "$1" && shift && exec "$@"`, "hook", strconv.FormatUint(kib, 10)}, args[1:]...)
	cmd := exec.Command("/bin/sh", limited...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 2, fmt.Errorf("start hook: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(lifeline, "lifeline")) // until it ends, however
		_ = cmd.Process.Kill()                                       // the rest follows below
	}()
	err = cmd.Wait()
	endChildren()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		return exitCode(cmd.ProcessState), nil
	}
	return 2, fmt.Errorf("wait for hook: %w", err)
}

// exitCode is as a shell has it.
func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// endChildren kills the children of this process, and theirs, which become its own, until there are none.
func endChildren() {
	for {
		for _, pid := range children() {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// children are the processes whose parent is this one.
func children() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PARENT, and a name may hold anything.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}
