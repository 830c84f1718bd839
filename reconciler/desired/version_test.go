package desired_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// fromSchema generates what a definition of the schema accepts by its regular expression.
func fromSchema(t *testing.T, definition string) *rapid.Generator[string] {
	t.Helper()
	const file = "../../schema/names.cue"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + definition + `: =~"(.*?)"( & .*)?$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no %s", file, definition)
	}
	return rapid.StringMatching(strings.ReplaceAll(string(m[1]), `\\`, `\`))
}

func parseVersion(t rapid.TB, s string) desired.Version {
	t.Helper()
	v, err := desired.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseVersion(t *testing.T) {
	for _, s := range []string{"dev", "0.0", "3.1", "3.1.0", "3.1.0-rc1", "3.1-rc.1", "1.0-2.0", "999999999.0.0", "1.0.0-a--"} {
		if v, err := desired.ParseVersion(s); err != nil || v.String() != s {
			t.Errorf("ParseVersion(%q) = %v, %v", s, v, err)
		}
	}
	for _, s := range []string{
		"", "latest", "3", "v3.1", "03.1", "3.01", "3.1.0.0", "3.1.0+build", "3.x", ">=3.1", "3.1.0-", "3.1.0-a..b", "3.1.0-01", " 3.1", "3.1\n", "Dev",
		"9999999999.0", "3.1.0-" + strings.Repeat("a", 33),
	} {
		if v, err := desired.ParseVersion(s); err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an error", s, v)
		}
	}
}

func TestVersionsAscend(t *testing.T) {
	ascending := []string{"dev", "0.9", "1.0-alpha", "1.0-alpha.1", "1.0-alpha.2", "1.0-alpha.10", "1.0-alpha.beta", "1.0-rc1", "1.0", "1.0.0", "1.0.1", "1.2", "1.10", "2.0-rc1", "2.0"}
	shuffled := slices.Clone(ascending)
	slices.Reverse(shuffled)
	slices.SortFunc(shuffled, desired.CompareVersions)
	if !slices.Equal(shuffled, ascending) {
		t.Errorf("got  %q\nwant %q", shuffled, ascending)
	}
	if desired.CompareVersions("latest", "dev") >= 0 || desired.CompareVersions("dev", "latest") <= 0 || desired.CompareVersions("a", "b") >= 0 {
		t.Error("malformed versions do not come first, by their text")
	}
}

// The words of the schema and of Go agree, except that only Go knows which pre-releases are well formed.
func TestSchemaVersionsParse(t *testing.T) {
	versions := fromSchema(t, "#Version")
	malformed := regexp.MustCompile(`^[^-]*-(.*\.)?(0[0-9]+)?(\.|$)`) // an empty part, or a number with a leading zero
	rapid.Check(t, func(t *rapid.T) {
		s := versions.Draw(t, "version")
		v, err := desired.ParseVersion(s)
		if (err == nil) == malformed.MatchString(s) {
			t.Fatalf("ParseVersion(%q) = %v, %v", s, v, err)
		}
	})
}

func TestVersionLaws(t *testing.T) {
	versions := rapid.OneOf(
		rapid.StringMatching(`dev|[0-2]\.[0-2](\.[0-2])?(-(a|b|[0-2]|1x)(\.(a|[0-2]|99999999999999999999))?)?`), // close to each other
		fromSchema(t, "#Version").Filter(func(s string) bool { _, err := desired.ParseVersion(s); return err == nil }),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := parseVersion(t, versions.Draw(t, "a")), parseVersion(t, versions.Draw(t, "b")), parseVersion(t, versions.Draw(t, "c"))
		if parseVersion(t, a.String()) != a {
			t.Fatalf("%v does not survive being written", a)
		}
		if (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v compares with %v as %d", a, b, a.Compare(b))
		}
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%v and %v: %d one way, %d the other", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v, %v and %v are not in order", a, b, c)
		}
	})
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"dev", "3.1.0", "2.0-rc.1", "1.0-01", "v1.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := desired.ParseVersion(s); err == nil && v.String() != s {
			t.Errorf("ParseVersion(%q) = %v", s, v)
		}
	})
}
