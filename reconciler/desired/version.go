package desired

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Version is a concrete version: two or three numbers with an optional pre-release, or the word dev. It is comparable
// with ==; the zero value is dev.
type Version struct{ number semver.Version }

// versionForm is what #Version of the schema accepts besides dev.
var versionForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){1,2}(-[0-9A-Za-z][0-9A-Za-z.-]{0,31})?$`)

// ParseVersion reads a version, for instance 3.1.0, 2.0-rc1 or dev. A pre-release follows https://semver.org, item 9:
// no part of it is empty, and its numbers have no leading zeros.
func ParseVersion(s string) (Version, error) {
	if s == Dev {
		return Version{}, nil
	}
	if !versionForm.MatchString(s) {
		return Version{}, fmt.Errorf("malformed version %q: want two or three numbers such as 3.1.0, or dev", s)
	}
	v, err := semver.NewVersion(s)
	if err != nil {
		return Version{}, fmt.Errorf("malformed version %q: want a pre-release such as rc1 or rc.1: %w", s, err)
	}
	return Version{*v}, nil
}

// String is the version as it was written.
func (v Version) String() string {
	if v.IsDev() {
		return Dev
	}
	return v.number.Original()
}

// IsDev says whether v is the word dev.
func (v Version) IsDev() bool { return v == Version{} }

// Compare is negative when v is older than o. Versions have the order of https://semver.org, item 11, a missing third
// number counts as 0, and dev is below everything. Different spellings of one version have the order of their text, so
// that only a version itself compares as 0.
func (v Version) Compare(o Version) int {
	return cmp.Or(v.order(o), strings.Compare(v.String(), o.String()))
}

// order is Compare except that 3.1 and 3.1.0 are equal.
func (v Version) order(o Version) int {
	switch {
	case v.IsDev() && o.IsDev():
		return 0
	case v.IsDev():
		return -1
	case o.IsDev():
		return 1
	}
	return v.number.Compare(&o.number)
}

// CompareVersions is Compare for the text of two versions; malformed ones come first, by their text.
func CompareVersions(a, b string) int {
	v, malformedA := ParseVersion(a)
	o, malformedB := ParseVersion(b)
	switch {
	case malformedA != nil && malformedB != nil:
		return strings.Compare(a, b)
	case malformedA != nil:
		return -1
	case malformedB != nil:
		return 1
	}
	return v.Compare(o)
}
