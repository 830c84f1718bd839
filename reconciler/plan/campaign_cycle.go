package plan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A cycle names what belongs together: the slices of one start of a schedule, and of one time around a loop. It is when the start was
// due, RFC 3339, empty without a schedule, and from the second time around #2 and so on after that.

// CycleOf is the cycle of a start, zero without a schedule, for the first time around.
func CycleOf(start time.Time) string {
	if start.IsZero() {
		return ""
	}
	return start.UTC().Format(time.RFC3339)
}

// Iteration is which time around a loop a cycle is, from 1.
func Iteration(cycle string) int {
	if _, n, ok := strings.Cut(cycle, "#"); ok {
		if i, err := strconv.Atoi(n); err == nil && i > 0 {
			return i
		}
	}
	return 1
}

// nextAround is the cycle of the next time around.
func nextAround(cycle string) string {
	start, _, _ := strings.Cut(cycle, "#")
	return start + "#" + strconv.Itoa(Iteration(cycle)+1)
}

// lastAround is the cycle of the time around before; false for the first.
func lastAround(cycle string) (string, bool) {
	start, _, _ := strings.Cut(cycle, "#")
	switch n := Iteration(cycle); n {
	case 1:
		return "", false
	case 2:
		return start, true
	default:
		return start + "#" + strconv.Itoa(n-1), true
	}
}

// startOf is when the start of a cycle was due; zero without a schedule.
func startOf(cycle string) time.Time {
	start, _, _ := strings.Cut(cycle, "#")
	t, _ := time.Parse(time.RFC3339, start)
	return t
}

// byAge are cycles, oldest first.
func byAge(cycles map[string]bool) []string {
	type aged struct {
		name   string
		start  time.Time
		around int
	}
	var all []aged
	for name := range cycles {
		all = append(all, aged{name, startOf(name), Iteration(name)})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Or(a.start.Compare(b.start), a.around-b.around) })
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

// cycleID is a cycle as part of a slice's id: letters, digits and dots.
func cycleID(cycle string) string {
	var parts []string
	if t := startOf(cycle); !t.IsZero() {
		parts = append(parts, t.UTC().Format("20060102t1504z"))
	}
	if n := Iteration(cycle); n > 1 {
		parts = append(parts, "i"+strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}
