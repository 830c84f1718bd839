package desired_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestNamed(t *testing.T) {
	s := validSite()
	s.FECs["kgp-2"] = desired.FEC{Software: map[string]desired.Pin{"bpm": {Version: "3.1.0"}, "gone": {Version: "1.0"}}}
	want := map[string]map[string][]string{
		"bpm": {
			"3.0.0": {`pilots."orbit-display"`},
			"3.1.0": {`fecs."kgp-2"`, "fecs.kgp2cu01", "fecs.kgp2cu02"},
			"dev":   {"fecs.kgp2cu03"},
		},
		"timing": {"1.0-rc1": {"campaigns.lattice", "fecs.kgp2cu02"}},
		"gone":   {"1.0": {`fecs."kgp-2"`}},
	}
	if diff := cmp.Diff(want, s.Named()); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
}

func ExampleFew() {
	fmt.Println(desired.Few([]string{"a", "b", "c"}))
	fmt.Println(desired.Few([]string{"a", "b", "c", "d", "e"}))
	// Output:
	// a, b, c
	// a, b, c and 2 more
}
