package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the machine may know no time zones

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// holdFlags say when a service keeps the whole site as it is, without anybody's placing a hold.
type holdFlags struct {
	freezes []string
	machine string
}

func (f *holdFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.freezes, "freeze", nil, `hours in which nothing changes, for instance "Mon-Fri 08:00-18:00 Europe/Berlin"; may come several times`)
	cmd.Flags().StringVar(&f.machine, "machine-state", "", "file or URL that says on while nothing may change, and else off; what cannot be read counts as on")
}

func (f *holdFlags) read() (freezes []plan.Freeze, machines []observe.MachineSource, err error) {
	for i, text := range f.freezes {
		z, err := parseFreeze(text)
		if err != nil {
			return nil, nil, err
		}
		z.Name = fmt.Sprintf("%d", i+1)
		freezes = append(freezes, z)
	}
	if f.machine == "" {
		return freezes, nil, nil
	}
	m := observe.MachineSource{Name: "state", Scope: desired.SiteScope, Reason: "the machine runs"}
	if u, err := url.Parse(f.machine); err == nil && u.Host != "" {
		m.URL = f.machine
	} else {
		m.File = f.machine
	}
	return freezes, []observe.MachineSource{m}, nil
}

var weekdays = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// parseFreeze reads days, hours and a time zone: Mon-Fri,Sun 08:00-18:00 Europe/Berlin. The zone may be left out.
func parseFreeze(text string) (plan.Freeze, error) {
	malformed := fmt.Errorf("malformed freeze %q: want for instance %q", text, "Mon-Fri 08:00-18:00 Europe/Berlin")
	f := plan.Freeze{Scope: desired.SiteScope, Reason: "freeze " + text, Zone: time.UTC}
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 3 {
		return f, malformed
	}
	for days := range strings.SplitSeq(words[0], ",") {
		first, last, span := strings.Cut(days, "-")
		if !span {
			last = first
		}
		a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if a < 0 || b < 0 {
			return f, malformed
		}
		for d := a; ; d = (d + 1) % 7 {
			f.Days = append(f.Days, time.Weekday(d))
			if d == b {
				break
			}
		}
	}
	from, to, _ := strings.Cut(words[1], "-")
	for _, c := range []struct {
		text string
		to   *time.Duration
	}{{from, &f.From}, {to, &f.To}} {
		at, err := timeOfDay(c.text)
		if err != nil {
			return f, malformed
		}
		*c.to = at
	}
	if len(words) == 3 {
		zone, err := time.LoadLocation(words[2])
		if err != nil {
			return f, fmt.Errorf("malformed freeze %q: %w", text, err)
		}
		f.Zone = zone
	}
	return f, nil
}

// holdsOf are the freezes and the machine states of a configured site.
func holdsOf(conf desired.ServedSite) (freezes []plan.Freeze, machines []observe.MachineSource, err error) {
	for _, name := range slices.Sorted(maps.Keys(conf.Freezes)) {
		f, err := freezeOf(name, conf.Freezes[name])
		if err != nil {
			return nil, nil, err
		}
		freezes = append(freezes, f)
	}
	for _, name := range slices.Sorted(maps.Keys(conf.Machine)) {
		m := conf.Machine[name]
		machines = append(machines, observe.MachineSource{
			Name: name, Scope: cmp.Or(m.Scope, desired.SiteScope), Reason: m.Reason, File: m.File, URL: m.URL,
			Field: m.Field, On: m.Hold, Off: m.Free, Open: m.Otherwise == "free",
		})
	}
	return freezes, machines, nil
}

func freezeOf(name string, conf desired.Freeze) (plan.Freeze, error) {
	f := plan.Freeze{Name: name, Scope: cmp.Or(conf.Scope, desired.SiteScope), Reason: conf.Reason}
	var err error
	if f.Zone, err = time.LoadLocation(conf.Zone); err != nil {
		return f, err
	}
	if conf.From != "" {
		f.Once = true
		var second error
		f.Begin, err = time.ParseInLocation(desired.Moment, conf.From, f.Zone)
		f.End, second = time.ParseInLocation(desired.Moment, conf.To, f.Zone)
		return f, errors.Join(err, second)
	}
	for _, day := range conf.Days {
		f.Days = append(f.Days, time.Weekday(slices.IndexFunc(weekdays, func(d string) bool { return strings.HasPrefix(day, strings.ToLower(d)) })))
	}
	f.From, err = timeOfDay(cmp.Or(conf.Begin, "00:00"))
	if err == nil {
		f.To, err = timeOfDay(cmp.Or(conf.End, "24:00"))
	}
	return f, err
}

// timeOfDay is how long after midnight a clock shows a time, 00:00 to 24:00; the last is the first of the next day.
func timeOfDay(text string) (time.Duration, error) {
	if text == "24:00" {
		return 0, nil
	}
	at, err := time.Parse("15:04", text)
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, err
}
