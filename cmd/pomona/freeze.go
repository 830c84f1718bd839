package main

import (
	"fmt"
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
		at, err := time.Parse("15:04", c.text)
		if c.text == "24:00" {
			at, err = time.Time{}, nil
		}
		if err != nil {
			return f, malformed
		}
		*c.to = time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
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
