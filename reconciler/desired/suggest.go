package desired

import "strings"

// Suggest is the known word that somebody who typed word most likely meant: the one with the fewest typing errors (a
// letter missing, added or replaced, or two neighbours swapped; case does not count), at most one for each three
// letters of word, one in a short word. Of equally near words it is the first in byte order; "" when none is near.
func Suggest(word string, known []string) string {
	typed := []rune(strings.ToLower(word))
	best, least := "", max(1, len(typed)/3)+1
	for _, k := range known {
		letters := []rune(strings.ToLower(k))
		if max(len(letters)-len(typed), len(typed)-len(letters)) > least {
			continue
		}
		if d := typingErrors(typed, letters); d < least || d == least && best != "" && k < best {
			best, least = k, d
		}
	}
	return best
}

// typingErrors is the Damerau-Levenshtein distance of a and b in which no letter is touched twice (optimal string
// alignment), row by row.
func typingErrors(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
