package desired

import "strings"

// Matches says whether a name has a pattern, in which * stands for any characters and ? for one. The time that it takes grows with the
// product of their lengths.
func Matches(pattern, name string) bool {
	star, back := -1, 0 // the last * and where in the name it was tried last
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			back++
			p, n = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Meet says whether a name can have two patterns, in which * stands for any characters and ? for one.
func Meet(a, b string) bool {
	// can[j]: the rest of a from i on and that of b from j on can be one text.
	can := make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		next := can
		can = make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			inA, inB := i < len(a), j < len(b)
			switch {
			case !inA && !inB:
				can[j] = true
			case inA && a[i] == '*':
				can[j] = next[j] || inB && can[j+1]
			case inB && b[j] == '*':
				can[j] = can[j+1] || inA && next[j]
			case inA && inB:
				can[j] = (a[i] == b[j] || a[i] == '?' || b[j] == '?') && next[j+1]
			}
		}
	}
	return can[0]
}
