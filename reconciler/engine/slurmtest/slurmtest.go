// Package slurmtest runs a real Slurm on this machine for tests, with accounting or without: a cluster of its own in a temporary
// folder, that touches no other.
package slurmtest

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

//go:embed slurm-up
var script []byte

// Options of a cluster.
type Options struct {
	Accounting bool     // slurmdbd and its database
	MinJobAge  int      // seconds that an ended job is kept; 0: 300
	CPUs       int      // that jobs may use, more than there are; 0: 64
	Conf       []string // more lines of slurm.conf
}

// Cluster is a running one, with one node.
type Cluster struct {
	Config string // slurm.conf

	dir     string
	watcher *exec.Cmd
}

// packages are Debian's that a cluster needs, by a program of each.
var packages = map[string]string{
	"slurmctld": "slurm-wlm", "munged": "munge", "slurmdbd": "slurmdbd", "mariadbd": "mariadb-server-core", "mariadb": "mariadb-client-core",
}

// New starts a cluster, which ends with the test. Without Debian's packages the test is skipped, but in CI it fails.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	if missing := Missing(); missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("Slurm is missing: .ci/setup must install Debian's packages %s", missing)
		}
		t.Skipf("SKIPPED: no real Slurm here; install Debian's packages %s", missing)
	}
	c, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the controller's log ends in\n%s", c.tail("slurmctld.log"))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Missing are Debian's packages that a cluster needs and that are not there.
func Missing() string {
	var missing []string
	for program, name := range packages {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join("/usr/sbin", program)); err != nil {
			missing = append(missing, name)
		}
	}
	return strings.Join(missing, " ")
}

// Start starts a cluster. It ends with Close, or with this process.
func Start(o Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "pomona-slurm-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, Config: filepath.Join(dir, "d/etc/slurm.conf")}
	for _, name := range []string{"slurm-up", "slurm-down", "slurm-ctl"} {
		if err := os.WriteFile(filepath.Join(dir, name), script, 0o755); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), c.watch()); err != nil {
		return nil, err
	}
	args := []string{"--mode", "lite"}
	if o.Accounting {
		args[1] = "dbd"
	}
	if o.MinJobAge != 0 {
		args = append(args, "--min-job-age", strconv.Itoa(o.MinJobAge))
	}
	if o.CPUs != 0 {
		args = append(args, "--cpus", strconv.Itoa(o.CPUs))
	}
	for _, line := range o.Conf {
		args = append(args, "--extra", line)
	}
	if err := c.script("slurm-up", args...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// watch has a process of its own end the cluster should this one end without doing so.
func (c *Cluster) watch() error {
	c.watcher = exec.Command("/bin/sh", "-c", `while kill -0 "$1" 2>/dev/null; do sleep 2; done; "$2/slurm-down" --dir "$2/d" --purge; rm -rf "$2"`,
		"sh", strconv.Itoa(os.Getpid()), c.dir)
	c.watcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c.watcher.Start()
}

// Close ends it and all its jobs.
func (c *Cluster) Close() error {
	_ = syscall.Kill(-c.watcher.Process.Pid, syscall.SIGKILL) // it has nothing more to do
	_ = c.watcher.Wait()                                      // it was killed
	return errors.Join(c.script("slurm-down", "--purge"), os.RemoveAll(c.dir))
}

// Daemons of a cluster. Without accounting the last two are not there.
const (
	Controller = "slurmctld"
	Node       = "slurmd-n1"
	Accounting = "slurmdbd"
	Database   = "mariadbd"
)

// Kill ends a daemon with SIGKILL.
func (c *Cluster) Kill(daemon string) error { return c.script("slurm-ctl", "kill", daemon) }

// Stop ends a daemon as it wants to be ended.
func (c *Cluster) Stop(daemon string) error { return c.script("slurm-ctl", "stop", daemon) }

// Start starts a daemon that has ended, and waits until it answers.
func (c *Cluster) Start(daemon string) error { return c.script("slurm-ctl", "start", daemon) }

// Pause stops a daemon where it is: connections are taken, and not answered.
func (c *Cluster) Pause(daemon string) error { return c.script("slurm-ctl", "pause", daemon) }

// Resume has a paused daemon go on.
func (c *Cluster) Resume(daemon string) error { return c.script("slurm-ctl", "cont", daemon) }

// Ready waits until the node runs jobs. It was drained if the controller has lost one that runs.
func (c *Cluster) Ready() error { return c.script("slurm-ctl", "ready", "60") }

// Command is one of Slurm's programs for this cluster.
func (c *Cluster) Command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SLURM_CONF="+c.Config)
	return cmd
}

// Run is what one of Slurm's programs prints.
func (c *Cluster) Run(program string, args ...string) (string, error) {
	out, err := c.Command(program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (c *Cluster) script(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.dir, name), append([]string{"--dir", filepath.Join(c.dir, "d")}, args...)...)
	cmd.Dir = c.dir
	cmd.Stdin = nil
	out, err := os.CreateTemp(c.dir, "out-") // no pipe: daemons would hold it open
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name()) // nothing more is known then
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, said)
	}
	return nil
}

// tail is the end of a log.
func (c *Cluster) tail(name string) string {
	b, err := os.ReadFile(filepath.Join(c.dir, "d/log", name))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-3000):])
}

// Counted is a folder of programs that are Slurm's, and how often each was called since the last time that was asked. It is for
// engine.Slurm's Programs.
func Counted(folder string) (calls func() map[string]int, err error) {
	log := filepath.Join(folder, "calls")
	for _, program := range []string{"sbatch", "squeue", "sacct", "scancel", "scontrol", "sdiag"} {
		path, err := exec.LookPath(program)
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf("#!/bin/sh\necho %s >>%s\nexec %s \"$@\"\n", program, log, path)
		if err := os.WriteFile(filepath.Join(folder, program), []byte(text), 0o755); err != nil {
			return nil, err
		}
	}
	return func() map[string]int {
		count := map[string]int{}
		b, _ := os.ReadFile(log) // none: nothing was called
		for _, program := range strings.Fields(string(b)) {
			count[program]++
		}
		_ = os.Remove(log) // it may not be there
		return count
	}, nil
}
