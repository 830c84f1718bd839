package desired

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a whole number and one unit: s, m, h, d or w. What is longer than time.Duration can hold, 292
// years, counts as that.
func ParseDuration(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day}
	n, unit, err := parseQuantity(s)
	if u, ok := units[unit]; ok && err == nil && n > 0 {
		return time.Duration(times(n, int64(u))), nil
	}
	return 0, fmt.Errorf("malformed duration %q: want a whole number and s, m, h, d or w", s)
}

// ParseSize reads a whole number and a binary unit, B to TiB, as bytes. What is more than an int64 can hold, 8388608TiB,
// counts as the most that it can.
func ParseSize(s string) (int64, error) {
	units := map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
	n, unit, err := parseQuantity(s)
	if u, ok := units[unit]; ok && err == nil {
		return times(n, u), nil
	}
	return 0, fmt.Errorf("malformed size %q: want a whole number and B, KiB, MiB, GiB or TiB", s)
}

// SizeText is a number of bytes as sizes are written: at least as much, in the smallest unit that has at most seven digits.
func SizeText(n int64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 10_000_000 {
			return strconv.FormatInt(n, 10) + unit
		}
		n = n>>10 + min(n&1023, 1)
	}
	return strconv.FormatInt(min(n, 9_999_999), 10) + "TiB"
}

// parseQuantity splits digits, at most seven and without leading zeros, from what follows them.
func parseQuantity(s string) (int64, string, error) {
	unit := strings.TrimLeft(s, "0123456789")
	digits := strings.TrimSuffix(s, unit)
	if len(digits) > 7 || len(digits) > 1 && digits[0] == '0' {
		return 0, "", fmt.Errorf("malformed number %q", digits)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, unit, err
}

// times is n units, or the largest number.
func times(n, unit int64) int64 {
	if n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return n * unit
}

// mustDuration is for values that the schema has already accepted.
func mustDuration(s string) time.Duration {
	d, err := ParseDuration(s)
	if err != nil {
		return 0
	}
	return d
}

func mustSize(s string) int64 {
	n, err := ParseSize(s)
	if err != nil {
		return 0
	}
	return n
}

// Expired says whether a permission until a day, YYYY-MM-DD, has passed: the day itself still counts, in UTC.
func Expired(until string, now time.Time) bool {
	return until != "" && now.UTC().Format(time.DateOnly) > until
}
