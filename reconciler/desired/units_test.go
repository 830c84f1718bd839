package desired_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1s": time.Second, "90s": 90 * time.Second, "5m": 5 * time.Minute, "24h": 24 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour,
		"9999999w": math.MaxInt64,
	} {
		if got, err := desired.ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "s", "5", "0s", "05s", "-5s", "+5s", "1.5h", "1h30m", "5 m", "5ms", "5S", "12345678s", "٣s"} {
		if got, err := desired.ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0B": 0, "512B": 512, "1KiB": 1024, "64MiB": 64 << 20, "2GiB": 2 << 30, "8388607TiB": 8388607 << 40, "9999999TiB": math.MaxInt64,
	} {
		if got, err := desired.ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "B", "5", "64MB", "64mib", "05B", "-1B", "1.5GiB", "10000000B", "1 KiB"} {
		if got, err := desired.ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", s, got)
		}
	}
}

// Everything that the schema accepts parses, and nothing overflows.
func TestSchemaUnitsParse(t *testing.T) {
	durations, sizes := fromSchema(t, "#Duration"), fromSchema(t, "#Size")
	rapid.Check(t, func(t *rapid.T) {
		s := durations.Draw(t, "duration")
		if d, err := desired.ParseDuration(s); err != nil || d <= 0 {
			t.Fatalf("ParseDuration(%q) = %v, %v", s, d, err)
		}
		s = sizes.Draw(t, "size")
		if n, err := desired.ParseSize(s); err != nil || n < 0 {
			t.Fatalf("ParseSize(%q) = %v, %v", s, n, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90s", "5m", "24h", "9999999w", "0s", "1h30m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := desired.ParseDuration(s)
		if err == nil && d <= 0 {
			t.Errorf("ParseDuration(%q) = %v", s, d)
		}
		// The units that Go knows too mean the same.
		if g, ok := time.ParseDuration(s); err == nil && ok == nil && d != g {
			t.Errorf("ParseDuration(%q) = %v, want %v", s, d, g)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0B", "512B", "64MiB", "9999999TiB", "1KB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := desired.ParseSize(s)
		if err == nil && (n < 0 || !strings.HasSuffix(s, "B")) {
			t.Errorf("ParseSize(%q) = %v", s, n)
		}
	})
}

func TestExpired(t *testing.T) {
	east := time.FixedZone("UTC+2", 2*60*60)
	for _, c := range []struct {
		until string
		now   time.Time
		want  bool
	}{
		{"2026-05-04", time.Date(2026, 5, 4, 23, 59, 59, 0, time.UTC), false},
		{"2026-05-04", time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC), true},
		{"2026-05-04", time.Date(2026, 5, 5, 1, 0, 0, 0, east), false},
		{"", noon, false},
	} {
		if got := desired.Expired(c.until, c.now); got != c.want {
			t.Errorf("Expired(%q, %v) = %v", c.until, c.now, got)
		}
	}
}
