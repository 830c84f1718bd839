package desired

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Constraint says which versions fit, for instance ">=3.1 <4" or ">=1.2 <2 || dev".
//
// Comparisons separated by spaces must all hold; alternatives are separated by ||. Numbers that a comparison leaves out
// mean any: 3.1 and =3.1 fit 3.1.0 and 3.1.7, >3.1 starts at 3.2.0 and <=3.1 ends below it; ~3.1 fits 3.1.x, and ^3.1
// fits everything from 3.1 up to 4.
//
// A pre-release fits only an alternative that names a pre-release of the same numbers: 3.1.0-rc2 fits >=3.1.0-rc1, but
// neither >=3.0 nor <3.1. The word dev alone fits dev; comparisons never do.
//
// The zero Constraint fits nothing.
type Constraint struct {
	text         string
	alternatives []alternative
}

type alternative struct {
	dev     bool
	among   *semver.Constraints
	preview map[numbers]bool // whose pre-releases fit
}

type numbers [3]uint64

// comparison is one operator and version; the groups are the operator, the numbers and the pre-release.
const comparison = `(>=|<=|>|<|=|!=|~|\^)? ?` +
	`((?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,2})` +
	`(-[0-9A-Za-z][0-9A-Za-z.-]*)?`

var (
	comparisonForm  = regexp.MustCompile(comparison)
	comparisonsForm = regexp.MustCompile(`^` + comparison + `( ` + comparison + `)*$`)
)

// longestConstraint bounds what a constraint may cost, in bytes.
const longestConstraint = 512

// ParseConstraint reads a constraint.
func ParseConstraint(s string) (Constraint, error) {
	if len(s) > longestConstraint {
		return Constraint{}, fmt.Errorf("malformed constraint of %d bytes: want at most %d", len(s), longestConstraint)
	}
	c := Constraint{text: s}
	for text := range strings.SplitSeq(s, "||") {
		a, err := parseAlternative(strings.TrimSpace(text))
		if err != nil {
			return Constraint{}, fmt.Errorf("malformed constraint %q: %w", s, err)
		}
		c.alternatives = append(c.alternatives, a)
	}
	return c, nil
}

func parseAlternative(s string) (a alternative, err error) {
	if s == Dev {
		return alternative{dev: true}, nil
	}
	if !comparisonsForm.MatchString(s) {
		return a, errors.New("want dev or comparisons such as >=3.1 <4, and || between alternatives")
	}
	a.preview = map[numbers]bool{}
	var comparisons []string
	for _, m := range comparisonForm.FindAllStringSubmatch(s, -1) {
		operator, version, pre := m[1], m[2], m[3]
		if pre != "" {
			version += strings.Repeat(".0", 2-strings.Count(version, "."))
			v, err := semver.NewVersion(version + pre)
			if err != nil {
				return a, fmt.Errorf("%q is no version: %w", version+pre, err)
			}
			a.preview[numbersOf(v)] = true
		}
		// The library lets ~0.0.0 fit every version.
		if operator == "~" && version == "0.0.0" {
			comparisons = append(comparisons, "<0.1.0")
			operator = ">="
		}
		comparisons = append(comparisons, operator+version+pre)
	}
	a.among, err = semver.NewConstraint(strings.Join(comparisons, " "))
	return a, err
}

func numbersOf(v *semver.Version) numbers { return numbers{v.Major(), v.Minor(), v.Patch()} }

// String is the constraint as it was written.
func (c Constraint) String() string { return c.text }

// Fits says whether v satisfies c.
func (c Constraint) Fits(v Version) bool {
	for _, a := range c.alternatives {
		if a.fits(v) {
			return true
		}
	}
	return false
}

func (a alternative) fits(v Version) bool {
	if a.dev || v.IsDev() {
		return a.dev && v.IsDev()
	}
	if v.number.Prerelease() != "" && !a.preview[numbersOf(&v.number)] {
		return false
	}
	return a.among.Check(&v.number)
}
