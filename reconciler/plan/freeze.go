package plan

import (
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Freeze is a window of the calendar in which a scope stays as it is.
type Freeze struct {
	Name   string
	Scope  string         // site, fecs.NAME, groups.NAME, campaigns, campaigns.NAME or campaigns.NAME/STAGE
	Reason string         // for people
	Zone   *time.Location // of the wall clock that the rest is read on; nil: UTC

	// A window on each of these days, from one time of day to another, on the next day if that is not later: since
	// midnight on the wall clock, at most 24h. No days: on every day. From and To equal: the whole day.
	Days     []time.Weekday
	From, To time.Duration
	// All of it lies between these two; zero: no bound. Once: everything between them, whatever the time of day.
	Begin, End time.Time
	Once       bool
}

func (f Freeze) id() string { return "freeze." + f.Name }

// ahead is how many days the windows of a calendar are looked up before and after now.
const ahead = 15

// window is an interval of time.
type window struct{ since, until time.Time }

// windows are those around now, ascending, each apart from the next.
func (f Freeze) windows(now time.Time) (out []window) {
	if f.Once {
		return f.clip(window{f.Begin, f.End}, nil)
	}
	zone := f.Zone
	if zone == nil {
		zone = time.UTC
	}
	year, month, today := now.In(zone).Date()
	for day := today - ahead; day <= today+ahead; day++ {
		at := func(day int, clock time.Duration) time.Time { // as the wall clock shows it, whatever summer time does
			return time.Date(year, month, day, int(clock/time.Hour), int(clock/time.Minute)%60, int(clock/time.Second)%60, 0, zone)
		}
		since := at(day, f.From)
		if len(f.Days) > 0 && !slices.Contains(f.Days, at(day, 12*time.Hour).Weekday()) {
			continue
		}
		until := at(day, f.To)
		if f.To <= f.From {
			until = at(day+1, f.To)
		}
		out = f.clip(window{since, until}, out)
	}
	return out
}

// clip adds a window, within the bounds, and as one with the last if they touch.
func (f Freeze) clip(w window, out []window) []window {
	if !f.Begin.IsZero() && f.Begin.After(w.since) {
		w.since = f.Begin
	}
	if !f.End.IsZero() && (w.until.IsZero() || f.End.Before(w.until)) {
		w.until = f.End
	}
	if !w.until.IsZero() && !w.since.Before(w.until) {
		return out
	}
	if n := len(out); n > 0 && !w.since.After(out[n-1].until) {
		out[n-1].until = w.until
		return out
	}
	return append(out, w)
}

// hold is the hold of the window that now lies in, if it lies in one, and the next moment at which that changes; zero: none
// soon.
func (f Freeze) hold(now time.Time) (h observed.Hold, in bool, turn time.Time) {
	for _, w := range f.windows(now) {
		switch {
		case now.Before(w.since):
			return h, false, w.since
		case w.until.IsZero() || now.Before(w.until):
			return observed.Hold{
				ID: f.id(), Scope: f.Scope, Kind: desired.KindFor(f.Scope), Source: observed.FromCalendar,
				Reason: f.Reason, Since: w.since.UTC(), Until: w.until.UTC(),
			}, true, w.until
		}
	}
	return h, false, turn
}
