package observed

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Difference is one path of a generation that is not what its commit says.
type Difference struct {
	Path string `json:"path"` // in the generation; objects/… and by-commit/… are of the root
	What string `json:"what"` // for instance "object differs"
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

// String is the difference on one line: path: what: want W, got G.
func (d Difference) String() string {
	s := Printable(d.Path) + ": " + d.What
	var sides []string
	if d.Want != "" {
		sides = append(sides, "want "+Printable(d.Want))
	}
	if d.Got != "" {
		sides = append(sides, "got "+Printable(d.Got))
	}
	if len(sides) > 0 {
		s += ": " + strings.Join(sides, ", ")
	}
	return s
}

// Differences are what is wrong with a generation.
type Differences []Difference

// Sorted are the differences by path, each once.
func (ds Differences) Sorted() Differences {
	out := append(Differences{}, ds...)
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.What, b.What), cmp.Compare(a.Want, b.Want), cmp.Compare(a.Got, b.Got))
	})
	return slices.Compact(out)
}

// Printable is s with what would move a terminal's cursor, or begin a line, written as in Go. Names, commits and answers of
// servers are hostile.
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// Named is how a difference shows a digest.
func Named(d artifact.Digest) string { return "sha256:" + d.String() }
