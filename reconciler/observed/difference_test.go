package observed_test

import (
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

func TestADifferenceIsOneLineWhateverItsPath(t *testing.T) {
	for _, c := range []struct {
		d    observed.Difference
		want string
	}{
		{observed.Difference{Path: "fecs/a", What: "missing"}, "fecs/a: missing"},
		{observed.Difference{Path: "é", What: "differs", Want: "1", Got: "2"}, "é: differs: want 1, got 2"},
		{observed.Difference{Path: "a\nb: same", What: "extra"}, `a\nb: same: extra`},
		{observed.Difference{Path: "a", What: "link", Got: "\x1b[2J\xff"}, `a: link: got \x1b[2J\xff`},
	} {
		if got := c.d.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
