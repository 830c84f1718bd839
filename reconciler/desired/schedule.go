package desired

import (
	"errors"
	"fmt"
	"time"

	"github.com/adhocore/gronx"
)

// Starts are the starts of a schedule after one moment, until another, which is included: oldest first, at most so many. Times are those
// of the clocks of its time zone: one that comes twice, when clocks are put back, starts once, the first time; one that does not come
// starts when clocks have been put forward.
func (s Schedule) Starts(after, until time.Time, most int) ([]time.Time, error) {
	zone, err := s.zone()
	if err != nil {
		return nil, err
	}
	var starts []time.Time
	last := after
	// A calendar without changes of clocks says which times there are, and the zone when they come.
	wall := asUTC(after.In(zone)).Add(-3 * time.Hour) // more than clocks are ever put forward
	for len(starts) < most {
		wall, err = gronx.NextTickAfter(s.Cron, wall, false)
		if err != nil {
			return starts, fmt.Errorf("%q: no such time comes in the next years", s.Cron)
		}
		start := firstOf(wall, zone)
		if start.After(until) {
			return starts, nil
		}
		if start.After(last) {
			starts, last = append(starts, start.UTC()), start
		}
	}
	return starts, nil
}

// Next is the first start after a moment; zero if there is none.
func (s Schedule) Next(after time.Time) time.Time {
	starts, err := s.Starts(after, after.AddDate(10, 0, 0), 1)
	if err != nil || len(starts) == 0 {
		return time.Time{}
	}
	return starts[0]
}

// Problem says what is wrong with when it starts; nil: nothing.
func (s Schedule) Problem(now time.Time) error {
	if !gronx.IsValid(s.Cron) {
		return fmt.Errorf("malformed schedule %q", s.Cron)
	}
	starts, err := s.Starts(now, now.AddDate(10, 0, 0), 1)
	if err == nil && len(starts) == 0 {
		err = errors.New("no such time comes in the next 10 years")
	}
	return err
}

func (s Schedule) zone() (*time.Location, error) { return time.LoadLocation(or(s.TimeZone, "UTC")) }

// asUTC is the same time of day in a zone whose clocks never change.
func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// firstOf is when clocks of a zone first show a time, or would have.
func firstOf(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, zone)
	// Go takes one of two times, and for one that does not come one beside the gap, without saying which.
	_, offset := t.Zone()
	_, before := t.Add(-24 * time.Hour).Zone()
	first := wall.Add(-time.Duration(before) * time.Second) // as if clocks had not changed
	if asUTC(first.In(zone)).Equal(wall) {
		return first
	}
	if offset != before && asUTC(t.In(zone)).Equal(wall) {
		return t
	}
	return first // in the gap: as late as clocks were put forward
}
