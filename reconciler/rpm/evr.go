package rpm

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// EVR is epoch, version and release, by which packages of one name are ordered.
type EVR struct {
	Epoch   uint32 `json:"e,omitempty"`
	Version string `json:"v,omitempty"`
	Release string `json:"r,omitempty"`
}

// ParseEVR reads [epoch:]version[-release].
func ParseEVR(s string) (EVR, error) {
	var e EVR
	if epoch, rest, ok := strings.Cut(s, ":"); ok {
		n, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil && epoch != "" {
			return EVR{}, fmt.Errorf("malformed epoch in %q", s)
		}
		e.Epoch, s = uint32(n), rest
	}
	e.Version, e.Release, _ = strings.Cut(s, "-")
	return e, nil
}

// String is [epoch:]version[-release], without an epoch of 0.
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != 0 {
		s = strconv.FormatUint(uint64(e.Epoch), 10) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// Compare is negative if e is older than other, 0 if neither is, positive if e is newer, as rpm orders them.
func (e EVR) Compare(other EVR) int {
	return cmp.Or(cmp.Compare(e.Epoch, other.Epoch), compareVersions(e.Version, other.Version), compareVersions(e.Release, other.Release))
}

// compareVersions compares runs of digits as numbers and runs of letters as text; numbers are newer than letters, more runs than
// fewer. What begins with ~ is older than what ends there, what begins with ^ newer than that, but older than any other
// continuation. All else only separates.
func compareVersions(a, b string) int {
	if a == b {
		return 0
	}
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		if more, order := marks(&a, &b); order != 0 {
			return order
		} else if more {
			continue
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b)) // one of them at least has ended
		}
		var x, y string
		digits := isDigit(rune(a[0]))
		same := isLetter
		if digits {
			same = isDigit
		}
		if x, a = run(a, same); digits {
			x = strings.TrimLeft(x, "0")
		}
		if y, b = run(b, same); y == "" && digits {
			return 1
		} else if y == "" {
			return -1
		}
		if digits {
			y = strings.TrimLeft(y, "0")
			if order := cmp.Compare(len(x), len(y)); order != 0 {
				return order
			}
		}
		if order := strings.Compare(x, y); order != 0 {
			return order
		}
	}
}

// marks takes a ~ or ^ that both begin with, and orders them if one alone has it.
func marks(a, b *string) (both bool, order int) {
	tildeA, tildeB := strings.HasPrefix(*a, "~"), strings.HasPrefix(*b, "~")
	caretA, caretB := strings.HasPrefix(*a, "^"), strings.HasPrefix(*b, "^")
	switch {
	case tildeA && tildeB, caretA && caretB:
		*a, *b = (*a)[1:], (*b)[1:]
		return true, 0
	case tildeA:
		return false, -1
	case tildeB:
		return false, 1
	case caretA && *b == "":
		return false, 1
	case caretB && *a == "":
		return false, -1
	case caretA:
		return false, -1
	case caretB:
		return false, 1
	}
	return false, 0
}

// run cuts off the characters that s begins with and that are all of a kind.
func run(s string, of func(rune) bool) (head, tail string) {
	tail = strings.TrimLeftFunc(s, of)
	return s[:len(s)-len(tail)], tail
}

func isDigit(r rune) bool  { return r >= '0' && r <= '9' }
func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func separates(r rune) bool { return !isDigit(r) && !isLetter(r) && r != '~' && r != '^' }
