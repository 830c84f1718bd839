package plan

import (
	"fmt"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Starts is what is due of a schedule.
type Starts struct {
	Start    []time.Time // cycles to begin now
	Missed   []time.Time // starts that are not made up for, the last of them
	Replace  bool        // what is under way is cancelled first
	Seen     time.Time   // the last start that is dealt with by this; to be recorded
	Next     time.Time   // the start after that
	Why      string      // one is due and does not begin; a sentence
	Doubtful error       // the schedule has no times
}

// mostStarts bounds how many starts are made up for at once.
const mostStarts = 1000

// DueStarts is what is due of a schedule now. Seen is the last start that was dealt with, or when the campaign became active; busy says that
// slices of an earlier start have not ended.
func DueStarts(s desired.Schedule, seen, now time.Time, busy bool) Starts {
	out := Starts{Seen: seen}
	starts, err := s.Starts(seen, now, mostStarts)
	if err != nil {
		out.Doubtful = err
		return out
	}
	if s.Missed() != "all" { // those before the last of so many are missed in any case
		for n := len(starts); err == nil && n >= mostStarts && now.Sub(starts[len(starts)-1]) > s.Late(); {
			last := starts[len(starts)-1:]
			var more []time.Time
			more, err = s.Starts(last[0], now, mostStarts)
			starts, n = append(last, more...), len(more)
		}
	}
	out.Next = s.Next(now)
	var late, due []time.Time
	for _, t := range starts {
		if now.Sub(t) > s.Late() {
			late = append(late, t)
		} else {
			due = append(due, t)
		}
	}
	switch n := len(late); {
	case s.Missed() == "all":
		due, late = starts, nil
	case s.Missed() == "latest" && n > 0 && len(due) == 0:
		due, late = late[n-1:], late[:n-1]
	}
	out.Missed = late
	if len(late) > 0 {
		out.Seen = late[len(late)-1]
	}
	if len(due) == 0 {
		return out
	}
	switch s.Overlap() {
	case "forbid":
		if busy {
			out.Why = fmt.Sprintf("the start of %s waits until slices of the one before have ended", observed.Minute(due[0]))
			if len(late) > 0 && s.Missed() == "latest" {
				out.Missed, out.Seen = nil, seen // until then there may be a later one
			}
			return out
		}
		due = due[:1]
	case "replace":
		out.Missed = append(out.Missed, due[:len(due)-1]...)
		due = due[len(due)-1:]
		out.Replace = busy
	}
	out.Start, out.Seen = due, due[len(due)-1]
	return out
}
