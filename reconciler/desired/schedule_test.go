package desired_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// A time that clocks show twice starts once, one that they skip when they have been put forward.
func TestStartsWhenClocksChange(t *testing.T) {
	for _, c := range []struct{ cron, zone, after, want string }{
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "28T01:30 29T01:30 30T00:30"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "24T00:30 25T00:30 26T01:30"},
		{"0 3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "29T01:00 30T01:00 31T01:00"},
		{"30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "24T23:30 25T00:30 25T02:30"},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-02T00:00:00Z", "02T15:45 03T15:45 04T15:15"},
		{"0 0 L * *", "", "2026-01-01T00:00:00Z", "31T00:00 28T00:00 31T00:00"},
		{"0 6 * * 7", "", "2026-10-10T00:00:00Z", "11T06:00 18T06:00 25T06:00"},
		{"0 6 * * MON#1", "", "2026-10-10T00:00:00Z", "02T06:00 07T06:00 04T06:00"},
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		starts, err := desired.Schedule{Cron: c.cron, TimeZone: c.zone}.Starts(after, after.AddDate(2, 0, 0), 3)
		var got []string
		for _, s := range starts {
			got = append(got, s.Format("02T15:04"))
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s in %s: %v, %v, want %s", c.cron, c.zone, got, err, c.want)
		}
	}
}

// Starts come out the same however often somebody asks, and none twice.
func TestStartsAreTheSameAskedInParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := desired.Schedule{
			Cron:     rapid.SampledFrom([]string{"*/7 * * * *", "30 2 * * *", "0 */5 * * *", "15 1-3 * * 0,6", "59 23 * * *"}).Draw(t, "cron"),
			TimeZone: rapid.SampledFrom([]string{"", "Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata"}).Draw(t, "zone"),
		}
		from := time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(t, "month")), rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		to := from.Add(72 * time.Hour)
		all, err := s.Starts(from, to, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		middle := from.Add(time.Duration(rapid.IntRange(0, 72*60).Draw(t, "minutes")) * time.Minute)
		first, _ := s.Starts(from, middle, 10_000)
		second, _ := s.Starts(middle, to, 10_000)
		parts := append(first, second...)
		if len(parts) != len(all) {
			t.Fatalf("%d starts, in parts %d", len(all), len(parts))
		}
		for i, start := range all {
			if !parts[i].Equal(start) || !start.After(from) || start.After(to) || i > 0 && !start.After(all[i-1]) {
				t.Fatalf("start %d is %v, in parts %v", i, start, parts[i])
			}
		}
	})
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1 << 20: "1048576B", 1 << 30: "1048576KiB", 10_000_001: "9766KiB", 1 << 40: "1048576MiB"} {
		if got := desired.SizeText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<52).Draw(t, "n")
		if got, err := desired.ParseSize(desired.SizeText(n)); err != nil || got < n || float64(got) > 1.001*float64(n)+1 {
			t.Fatalf("%d is %s, %v", n, desired.SizeText(n), err)
		}
	})
}
