package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// table prints a line for each figure.
type table struct{}

func (table) heading() {
	fmt.Println("| what | Pomona | peer | ratio | target | |\n|---|---:|---:|---:|---:|---|")
}

// ratio prints a figure of both sides and their ratio; least says that the target is a least one.
func (table) ratio(what string, ours, peer float64, unit, peerName string, target float64, least bool) {
	r, sign, verdict := ours/peer, "≤", "missed"
	if least {
		sign = "≥"
	}
	if r <= target && !least || r >= target && least {
		verdict = "reached"
	}
	if target == 0 {
		fmt.Printf("| %s | %.4g %s | %.4g %s (%s) | %.4f | – | |\n", what, ours, unit, peer, unit, peerName, r)
		return
	}
	fmt.Printf("| %s | %.4g %s | %.4g %s (%s) | %.4f | %s %g | %s |\n", what, ours, unit, peer, unit, peerName, r, sign, target, verdict)
}

// count prints a figure without a peer.
func (table) count(what string, ours float64, unit string, target float64) {
	verdict := "reached"
	if ours > target {
		verdict = "missed"
	}
	fmt.Printf("| %s | %.4g %s | – | – | ≤ %g | %s |\n", what, ours, unit, target, verdict)
}

// rate prints a figure without a peer that is to be at least the target.
func (table) rate(what string, ours float64, unit string, target float64) {
	verdict := "reached"
	if ours < target {
		verdict = "missed"
	}
	fmt.Printf("| %s | %.4g %s | – | – | ≥ %g | %s |\n", what, ours, unit, target, verdict)
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}

// machine says what the figures were measured on.
func machine() string {
	model := "unknown processor"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			model = strings.TrimLeft(strings.TrimSpace(name), ": \t")
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d × %s, %s, load %s\n", runtime.NumCPU(), model, runtime.Version(), strings.Join(strings.Fields(string(load))[:1], " "))
}

// usage is what one run of a command took.
type usage struct {
	seconds float64
	peak    float64 // MiB of memory, all its processes together, sampled
}

// measure runs a command to its end.
func measure(c *exec.Cmd) (usage, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	start := time.Now()
	if err := c.Start(); err != nil {
		return usage{}, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	var u usage
	for {
		select {
		case err := <-done:
			u.seconds = time.Since(start).Seconds()
			if err != nil {
				return u, fmt.Errorf("%s: %w: %s", filepath.Base(c.Path), err, out.String())
			}
			return u, nil
		case <-time.After(20 * time.Millisecond):
			u.peak = max(u.peak, resident(c.Process.Pid))
		}
	}
}

// resident is the memory of a process and its children, in MiB: what is shared between them counts once (PSS).
func resident(pid int) float64 {
	total := 0.0
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Pss:" {
				kib, _ := strconv.ParseFloat(fields[1], 64) // 0 for what is gone
				total += kib / 1024
			}
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				total += resident(n)
			}
		}
	}
	return total
}

// both runs two sides in turn and returns the medians.
func (b *bench) both(runs int, ours, peer func() (usage, error)) (o, p usage, err error) {
	var os, ps [2][]float64
	for range runs {
		for _, side := range []struct {
			run  func() (usage, error)
			into *[2][]float64
		}{{ours, &os}, {peer, &ps}} {
			u, err := side.run()
			if err != nil {
				return o, p, err
			}
			side.into[0] = append(side.into[0], u.seconds)
			side.into[1] = append(side.into[1], u.peak)
		}
	}
	return usage{median(os[0]), median(os[1])}, usage{median(ps[0]), median(ps[1])}, nil
}
