package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// process is one process of this machine, for ever: its number comes again, but not with the same beginning.
type process struct {
	PID   int    `json:"pid"`
	Began uint64 `json:"began"` // ticks since the machine started
	Boot  string `json:"boot"`  // which start of the machine that was
}

// thisProcess is the caller's.
func thisProcess() (process, error) {
	s, err := statOf(os.Getpid())
	if err != nil {
		return process{}, err
	}
	boot, err := bootID()
	return process{PID: s.pid, Began: s.began, Boot: boot}, err
}

// alive says whether it still runs. An error means that this is not known.
func (p process) alive() (bool, error) {
	boot, err := bootID()
	if err != nil || boot != p.Boot {
		return false, err
	}
	s, err := statOf(p.PID)
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil && s.began == p.Began && s.state != "Z" && s.state != "X", err
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// stat is what the system says of a process.
type stat struct {
	pid, parent, session int
	state                string
	began                uint64
	resident             int64 // bytes
}

func statOf(pid int) (stat, error) {
	return readStat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
}

// readStat reads PID (NAME) STATE PARENT GROUP SESSION …, and a name may hold anything.
func readStat(path string) (s stat, err error) {
	b, err := os.ReadFile(path)
	if err == syscall.ESRCH {
		err = os.ErrNotExist
	}
	if err != nil {
		return s, err
	}
	head, rest, found := bytes.Cut(b, []byte(" ("))
	end := bytes.LastIndexByte(rest, ')')
	if !found || end < 0 {
		return s, fmt.Errorf("read %s: it has another form", path)
	}
	fields := strings.Fields(string(rest[end+1:]))
	if len(fields) < 22 {
		return s, fmt.Errorf("read %s: it has another form", path)
	}
	s.state = fields[0]
	numbers := []*int{&s.pid, &s.parent, &s.session}
	for i, text := range []string{string(head), fields[1], fields[3]} {
		if *numbers[i], err = strconv.Atoi(text); err != nil {
			return s, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if s.began, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	s.resident = pages * int64(os.Getpagesize())
	return s, err
}

// processes are all of this machine that can be seen.
func processes() (all []stat) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, path := range paths {
		if s, err := readStat(path); err == nil { // else it has ended
			all = append(all, s)
		}
	}
	return all
}

// below are those that a process has started, and those that they have. Not every kernel lists children: then all are looked at.
func below(pid int) []stat {
	if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(os.Getpid()) + "/children"); err != nil {
		return belowOf(pid, processes())
	}
	var found []stat
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, child := range children(next[0]) {
			if s, err := statOf(child); err == nil { // else it has ended
				found, next = append(found, s), append(next, child)
			}
		}
	}
	return found
}

// children are those that a process has started, as each of its threads lists them.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	for _, list := range lists {
		b, _ := os.ReadFile(list) // it may have ended
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

func belowOf(pid int, all []stat) (found []stat) {
	children := map[int][]stat{}
	for _, s := range all {
		children[s.parent] = append(children[s.parent], s)
	}
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, s := range children[next[0]] {
			found, next = append(found, s), append(next, s.pid)
		}
	}
	return found
}

// leftOf are those of a session that its dead leader has left. Should its number be another's by now, there are none:
// a number is not given away while a session has it.
func leftOf(leader process, all []stat) (left []stat) {
	for _, s := range all {
		if s.pid == leader.PID && s.began != leader.Began {
			return nil
		}
		if s.session == leader.PID && s.pid != leader.PID && s.began >= leader.Began && s.state != "Z" {
			left = append(left, s)
		}
	}
	return left
}
