package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFreezesAreRead(t *testing.T) {
	f, err := parseFreeze("Fri-Mon,Wed 22:30-06:00 Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	days := []time.Weekday{time.Friday, time.Saturday, time.Sunday, time.Monday, time.Wednesday}
	if d := cmp.Diff(days, f.Days); d != "" || f.From != 22*time.Hour+30*time.Minute || f.To != 6*time.Hour || f.Zone.String() != "Europe/Berlin" {
		t.Errorf("from %v to %v in %v (-want +got):\n%s", f.From, f.To, f.Zone, d)
	}
	if f, err := parseFreeze("Sat 00:00-24:00"); err != nil || f.From != 0 || f.To != 0 || f.Zone != time.UTC {
		t.Errorf("%+v, %v", f, err)
	}
	for _, text := range []string{"", "Mon", "Mon 8-18", "Mon 08:00", "Mon 08:00-18:00 Nowhere", "Mo 08:00-18:00", "Mon- 08:00-18:00", "Mon 08:00-25:00", "Mon 08:00-18:00 UTC now"} {
		if f, err := parseFreeze(text); err == nil {
			t.Errorf("%q is read as %+v", text, f)
		}
	}
}
