package rpm_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pomona-gitops/pomona/reconciler/rpm"
)

func compare(t interface {
	Helper()
	Fatal(...any)
}, a, b string) int {
	t.Helper()
	x, err1 := rpm.ParseEVR(a)
	y, err2 := rpm.ParseEVR(b)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return x.Compare(y)
}

func TestVersionsAreOrderedAsRPMOrdersThem(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "2.0", -1}, {"2.0.1", "2.0", 1}, {"2.0.1a", "2.0.1", 1}, {"5.5p1", "5.5p2", -1}, {"5.5p10", "5.5p1", 1},
		{"10xyz", "10.1xyz", -1}, {"xyz10", "xyz10.1", -1}, {"xyz.4", "8", -1}, {"xyz.4", "2", -1}, {"5.5p2", "5.6p1", -1}, {"6.5p1", "5.6p1", 1},
		{"6.0.rc1", "6.0", 1}, {"10b2", "10a1", 1}, {"1.0aa", "1.0a", 1}, {"10.0001", "10.1", 0}, {"10.0001", "10.0039", -1}, {"4.999.9", "5.0", -1},
		{"20101121", "20101122", -1}, {"2_0", "2.0", 0}, {"a", "a_", 0}, {"a+", "a_", 0}, {"+", "_", 0}, {"1.0", "1.0.", 0},
		{"1.0~rc1", "1.0", -1}, {"1.0~rc1", "1.0~rc2", -1}, {"1.0~rc1~git1", "1.0~rc1", -1}, {"1.0~", "1.0", -1},
		{"1.0^", "1.0", 1}, {"1.0^git1", "1.0", 1}, {"1.0^git1", "1.0^git2", -1}, {"1.0^git1", "1.01", -1}, {"1.0^20160101", "1.0.1", -1},
		{"1.0^20160101^git1", "1.0^20160102", -1}, {"1.0~rc1^git1", "1.0~rc1", 1}, {"1.0^git1~pre", "1.0^git1", -1},
		{"1:1.0", "2.0", 1}, {"0:1.0", "1.0", 0}, {"1.0-1", "1.0-2", -1}, {"1.0-9", "1.1-1", -1}, {"2:1-1", "10:0-1", -1},
	} {
		if got := compare(t, row.a, row.b); got != row.want {
			t.Errorf("%s beside %s: %d, want %d", row.a, row.b, got, row.want)
		}
		if got := compare(t, row.b, row.a); got != -row.want {
			t.Errorf("%s beside %s: %d, want %d", row.b, row.a, got, -row.want)
		}
	}
}

const versions = `[0-3ab.~^+]{0,6}`

func TestVersionsHaveATotalOrder(t *testing.T) {
	evr := rapid.Custom(func(t *rapid.T) rpm.EVR {
		return rpm.EVR{Epoch: rapid.Uint32Range(0, 1).Draw(t, "epoch"), Version: rapid.StringMatching(versions).Draw(t, "version"), Release: rapid.StringMatching(`[12a~]?`).Draw(t, "release")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := evr.Draw(t, "a"), evr.Draw(t, "b"), evr.Draw(t, "c")
		if a.Compare(a) != 0 {
			t.Errorf("%v is not itself", a)
		}
		if a.Compare(b) != -b.Compare(a) {
			t.Errorf("%v beside %v: %d, and back %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Errorf("%v ≤ %v ≤ %v, but not the first and the last", a, b, c)
		}
	})
}

// TestVersionsAgreeWithRPM asks rpm itself about some thousands of pairs.
func TestVersionsAgreeWithRPM(t *testing.T) {
	need(t, "rpm")
	r := rand.New(rand.NewPCG(1, 2))
	version := func() string {
		b := make([]byte, 1+r.IntN(7))
		for i := range b {
			b[i] = "0123abZ.~^+_"[r.IntN(12)]
		}
		return "1" + string(b)
	}
	var pairs [][2]string
	var asked strings.Builder
	for range 5000 {
		p := [2]string{version(), version()}
		pairs = append(pairs, p)
		fmt.Fprintln(&asked, p[0], p[1])
	}
	dir := t.TempDir()
	write(t, dir+"/pairs", asked.String())
	said := output(t, dir, "rpm", "--eval", `%{lua: for l in io.lines("pairs") do local a, b = l:match("(%S+) (%S+)") print(rpm.vercmp(a, b) .. " ") end}`)
	answers := strings.Fields(said)
	if len(answers) != len(pairs) {
		t.Fatalf("%d answers to %d questions: %.300s", len(answers), len(pairs), said)
	}
	for i, p := range pairs {
		if got := fmt.Sprint(compare(t, p[0], p[1])); got != answers[i] {
			t.Errorf("%s beside %s: %s, and rpm says %s", p[0], p[1], got, answers[i])
		}
	}
}
