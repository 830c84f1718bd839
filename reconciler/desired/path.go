package desired

import (
	"strconv"
	"strings"
)

// CUEPath is the path of a value in the words of CUE: field names as strings, places in a list as ints; other parts are
// passed over. Names that are no identifiers are quoted, for instance software.bpm.versions."3.1.0" or
// pilots.orbit.groups[1].
func CUEPath(parts ...any) string {
	var b strings.Builder
	for i, part := range parts {
		switch part := part.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(part) + "]")
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			if !isBare(part) {
				part = strconv.Quote(part)
			}
			b.WriteString(part)
		}
	}
	return b.String()
}

// isBare says whether CUE writes a field name without quotes. Names of a site are ASCII.
func isBare(name string) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '$'
		if !letter && (i == 0 || c != '_' && (c < '0' || '9' < c)) {
			return false
		}
	}
	return name != ""
}
