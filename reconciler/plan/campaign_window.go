package plan

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// windows is a slice for each span of time that has been over for long enough, of the inputs that ended in it.
func (k *cutting) windows() {
	g := gridOf(k.split)
	lag, err := desired.ParseDuration(k.split.Lag)
	if err != nil {
		lag = 30 * time.Minute
	}
	by := map[time.Time][]observed.Input{}
	var timeless, early []observed.Input
	for _, input := range k.fresh() {
		switch begin, in := g.begin(input.Time); {
		case input.Time.IsZero():
			timeless = append(timeless, input)
		case !in: // before the first window, or after the last: not wanted
		default:
			by[begin] = append(by[begin], input)
		}
	}
	for _, begin := range slices.SortedFunc(maps.Keys(by), time.Time.Compare) {
		end := g.next(begin)
		if due := end.Add(lag); k.Now.Before(due) && (!k.Final || k.grows()) {
			early = append(early, by[begin]...)
			if k.out.Turn.IsZero() || due.Before(k.out.Turn) {
				k.out.Turn = due
			}
			continue
		}
		k.part(g.name(begin), by[begin], map[string]string{"from": begin.Format(time.RFC3339), "until": end.Format(time.RFC3339)})
	}
	k.left(timeless, counted(len(timeless), "input has", "inputs have")+" no time")
	k.left(early, counted(len(early), "input is", "inputs are")+" of a window that is cut at "+observed.Minute(k.out.Turn)+", when no more of it can come")
}

// grid is windows one after another. Days and weeks are those of a time zone, some of which are shorter or longer.
type grid struct {
	from, until time.Time     // until zero: without end
	width       time.Duration // of windows that are no days; else days is set
	days        int
	zone        *time.Location
}

func gridOf(s desired.Split) grid {
	g := grid{zone: time.UTC}
	if zone, err := time.LoadLocation(s.TimeZone); err == nil {
		g.zone = zone
	}
	g.width, _ = desired.ParseDuration(s.Width)
	if strings.HasSuffix(s.Width, "d") || strings.HasSuffix(s.Width, "w") {
		g.days = int(g.width / (24 * time.Hour))
	}
	g.width = max(g.width, time.Second)
	if from, err := time.Parse(time.RFC3339, s.From); err == nil {
		g.from = from.In(g.zone)
	} else {
		g.from = time.Date(1970, 1, 1, 0, 0, 0, 0, g.zone)
		if strings.HasSuffix(s.Width, "w") {
			g.from = time.Date(1970, 1, 5, 0, 0, 0, 0, g.zone) // a Monday
		}
	}
	if until, err := time.Parse(time.RFC3339, s.Until); err == nil {
		g.until = until
	}
	return g
}

// begin is when the window of a moment begins; false if there is none.
func (g grid) begin(t time.Time) (time.Time, bool) {
	if t.Before(g.from) || !g.until.IsZero() && !t.Before(g.until) {
		return time.Time{}, false
	}
	n := int64(t.Sub(g.from) / g.width) // nearly, where days are not of one length
	begin := g.at(n)
	for begin.After(t) {
		n--
		begin = g.at(n)
	}
	for next := g.at(n + 1); !next.After(t); next = g.at(n + 1) {
		n++
		begin = next
	}
	return begin, true
}

// at is when window n begins, from 0.
func (g grid) at(n int64) time.Time {
	if g.days > 0 {
		return g.from.AddDate(0, 0, int(n)*g.days)
	}
	return g.from.Add(time.Duration(n) * g.width)
}

// next is when the window that begins then ends.
func (g grid) next(begin time.Time) time.Time {
	end := begin.Add(g.width)
	if g.days > 0 {
		end = begin.AddDate(0, 0, g.days)
	}
	if !g.until.IsZero() && end.After(g.until) {
		return g.until.In(g.zone)
	}
	return end
}

// name is what a window is called: its first day, or its first second in UTC.
func (g grid) name(begin time.Time) string {
	if local := begin.In(g.zone); g.days > 0 && local.Hour() == 0 && local.Minute() == 0 && local.Second() == 0 {
		return local.Format(time.DateOnly)
	}
	return strings.ToLower(begin.UTC().Format("20060102T150405Z"))
}
