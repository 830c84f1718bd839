package desired

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCUEPath is the inverse of CUEPath: field names as strings, places in a list as ints.
func ParseCUEPath(path string) (parts []any, err error) {
	malformed := fmt.Errorf(`malformed path %q: want for instance software.bpm.versions."3.1.0"`, path)
	for rest := path; rest != "" || len(parts) == 0; {
		var part any
		switch {
		case strings.HasPrefix(rest, "["):
			number, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(number)
			if !ok || err != nil || len(parts) == 0 {
				return nil, malformed
			}
			part, rest = n, after
		case strings.HasPrefix(rest, `"`):
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, malformed
			}
			if part, err = strconv.Unquote(quoted); err != nil {
				return nil, malformed
			}
			rest = rest[len(quoted):]
		default:
			end := strings.IndexAny(rest+".", ".[")
			if end == 0 {
				return nil, malformed
			}
			part, rest = rest[:end], rest[end:]
		}
		parts = append(parts, part)
		if after, dot := strings.CutPrefix(rest, "."); dot {
			if rest = after; rest == "" || rest[0] == '[' {
				return nil, malformed
			}
		} else if rest != "" && rest[0] != '[' {
			return nil, malformed
		}
	}
	return parts, nil
}
