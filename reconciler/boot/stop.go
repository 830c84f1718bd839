package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// marker is in the environment of all that a FEC starts.
func (f *FEC) marker() string { return "POMONA_SIMULATED_FEC=" + f.Dir }

// Stop kills everything that the FEC has started and that is still alive, as a power cut does. Processes are found by a
// mark in their environment, wherever they went: a daemon in a session of its own is found, one that was started with an
// empty environment is not.
func (f *FEC) Stop() error {
	// Each round kills all that the last one's survivors have forked.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		alive, err := marked(f.marker())
		if err != nil {
			return fmt.Errorf("stop %s: %w", f.Name, err)
		}
		if len(alive) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("stop %s: processes %v survive", f.Name, alive)
		}
		for _, pid := range alive {
			// It may have ended by itself.
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop %s: kill %d: %w", f.Name, pid, err)
			}
		}
	}
}

// marked are the processes that have an environment with the given entry. Zombies have none.
func marked(entry string) ([]int, error) {
	files, err := filepath.Glob("/proc/[1-9]*/environ")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // another user's, or gone
		}
		if err != nil {
			return nil, err
		}
		for _, e := range bytes.Split(b, []byte{0}) {
			if string(e) == entry {
				pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				if err != nil {
					return nil, err
				}
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids, nil
}
