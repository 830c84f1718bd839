package desired_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestConstraintFits(t *testing.T) {
	for _, c := range []struct {
		constraint string
		fits, not  string // versions
	}{
		{">=3.1 <4", "3.1 3.1.0 3.9.9", "3.0.9 4.0 4.0.0-rc1 3.1.0-rc1 3.5.0-rc1 dev"},
		{">= 3.1 < 4", "3.1.0", "4.0.0"},
		{">3.1", "3.2 4.0", "3.1 3.1.7"},
		{">3.1.0", "3.1.1", "3.1.0"},
		{"<=3.1", "3.0 3.1.7", "3.2"},
		{"<=3.1.0", "3.1.0", "3.1.1"},
		{"<3.1", "3.0.9", "3.1 3.1.0-rc1"},
		{"3.1.0", "3.1.0 3.1", "3.1.1 dev"},
		{"=3.1", "3.1 3.1.7", "3.2"},
		{"3", "3.0 3.9.1", "2.9 4.0"},
		{"!=3.1.4", "3.1.3 3.1.5", "3.1.4"},
		{">=3.1 !=3.2 <4", "3.1.0 3.3.0", "3.2.0 3.2.5"},
		{"~3.1.2", "3.1.2 3.1.9", "3.1.1 3.2"},
		{"~3.1", "3.1.0 3.1.9", "3.2"},
		{"~3", "3.0 3.9", "4.0"},
		{"~0.0.0", "0.0.0 0.0.9", "0.1.0 5.0.0"},
		{"^3.1.2", "3.1.2 3.9.0", "3.1.1 4.0"},
		{"^0.2.3", "0.2.3 0.2.9", "0.3.0"},
		{"dev", "dev", "0.0 3.1.0"},
		{">=1.2 <2 || dev", "1.2 1.9.9 dev", "2.0 1.1"},
		{"dev||>=3", "dev 3.0", "2.9"},
		{"1.0 || 2.0", "1.0.0 2.0.5", "1.1 3.0"},
		{">=3.1.0-rc1 <4", "3.1.0-rc1 3.1.0-rc2 3.1.0 3.2.0", "3.1.0-beta 3.2.0-rc1 4.0.0-rc1"},
		{">=3.1-rc1", "3.1-rc1 3.1.0-rc2 3.1.0", "3.0.0 3.1.1-rc1"},
		{"3.1-rc1", "3.1-rc1 3.1.0-rc1", "3.1.0 3.1.0-rc2"},
		{"<=3.1-rc1", "3.1-rc1 3.0", "3.1 3.1.7"},
		{"~0.0.0-rc1", "0.0.0-rc1 0.0.0", "0.1.0 0.1.0-rc1"},
		{">=3.0 || 3.1.0-rc1", "3.1.0-rc1 3.0", "3.1.0-rc2"},
	} {
		fit, err := desired.ParseConstraint(c.constraint)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, v := range strings.Fields(c.fits) {
			if !fit.Fits(parseVersion(t, v)) {
				t.Errorf("%s does not fit %q", v, c.constraint)
			}
		}
		for _, v := range strings.Fields(c.not) {
			if fit.Fits(parseVersion(t, v)) {
				t.Errorf("%s fits %q", v, c.constraint)
			}
		}
	}
	if (desired.Constraint{}).Fits(desired.Version{}) {
		t.Error("dev fits the zero constraint")
	}
}

func TestParseConstraintRefuses(t *testing.T) {
	for _, s := range []string{
		"", " ", "latest", "*", "3.x", ">=3.1,<4", ">=3.1 &&<4", "1.0 - 2.0", "=>3", "v3.1", ">=", "3.1 ||", "|| 3.1", "3.1 | 4", "dev >=3", ">=3 dev", ">>3",
		"03.1", "3.1.0.0", "3.1+a", "3.1.0-01", "3.1.0-a..b", ">=99999999999999999999", strings.Repeat("1.0 || ", 80) + "1.0",
	} {
		if c, err := desired.ParseConstraint(s); err == nil {
			t.Errorf("ParseConstraint(%q) = %v, want an error", s, c)
		} else if !strings.HasPrefix(err.Error(), "malformed constraint ") {
			t.Errorf("ParseConstraint(%q): %v", s, err)
		}
	}
}

// The bare comparisons of numbers without pre-releases agree with the order of versions.
func TestComparisonsFollowOrder(t *testing.T) {
	versions := rapid.StringMatching(`[0-2]\.[0-2]\.[0-2]`)
	holds := map[string]func(order int) bool{
		">=": func(o int) bool { return o >= 0 }, "<=": func(o int) bool { return o <= 0 }, ">": func(o int) bool { return o > 0 },
		"<": func(o int) bool { return o < 0 }, "=": func(o int) bool { return o == 0 }, "": func(o int) bool { return o == 0 }, "!=": func(o int) bool { return o != 0 },
	}
	rapid.Check(t, func(t *rapid.T) {
		operator := rapid.SampledFrom([]string{">=", "<=", ">", "<", "=", "", "!="}).Draw(t, "operator")
		v, limit := versions.Draw(t, "version"), versions.Draw(t, "limit")
		c, err := desired.ParseConstraint(operator + limit)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.Fits(parseVersion(t, v)), holds[operator](desired.CompareVersions(v, limit)); got != want {
			t.Fatalf("%s fits %v: %v, want %v", v, c, got, want)
		}
	})
}

// What the schema lets through either parses and stays as it was written, or is refused in words.
func TestSchemaConstraints(t *testing.T) {
	constraints := fromSchema(t, "#Constraint")
	rapid.Check(t, func(t *rapid.T) { roundTripConstraint(t, constraints.Draw(t, "constraint")) })
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{"dev", ">=3.1 <4", ">=1.2 <2 || dev", "~0.0.0-rc1", "3.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { roundTripConstraint(t, s) })
}

func roundTripConstraint(t rapid.TB, s string) {
	c, err := desired.ParseConstraint(s)
	if err != nil {
		return
	}
	if c.String() != s {
		t.Fatalf("ParseConstraint(%q) = %v", s, c)
	}
	for _, v := range []string{"dev", "0.0.0", "3.1.0", "3.1.0-rc1"} {
		c.Fits(parseVersion(t, v))
	}
}
