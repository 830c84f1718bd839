package reconciler_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// TestHostile17ClockJumps puts the clock years back and forth between passes. A pass publishes what its commit says, or,
// when a date in the site is nonsense at such a time, says so and leaves the tree; the next one with a right clock heals.
// No serial ever falls, so that no FEC refuses what it gets.
func TestHostile17ClockJumps(t *testing.T) {
	s, root := newSite(t), t.TempDir()
	serials := map[string]int64{}
	refused := 0
	for i, years := range []int{0, -10, 10, -50, 0, 60, 0} {
		s.commit("payload/bpm/1.1.0/bin/bpm", "echo", fmt.Sprintf("echo %d;echo", i))
		r := s.reconciler(root)
		r.Now = func() time.Time { return now.AddDate(years, 0, 0) }
		_, err := r.Reconcile(t.Context())
		if problems := (desired.Problems)(nil); errors.As(err, &problems) && years < 0 {
			refused++
		} else if err != nil {
			t.Fatalf("%d years: %v", years, err)
		} else {
			pass(t, r)
			clean(t, root)
		}
		whole(t, root)
		have := observeRoot(t, root)
		if g, ok := have.Published(); !ok || g.Number != int64(i+1-refused) {
			t.Errorf("%d years: generation %d is current after pass %d", years, g.Number, i+1)
		}
		for _, f := range have.Index.FECs {
			if int64(f.Serial) < serials[f.Name] {
				t.Errorf("%d years: the serial of %s falls from %d to %d", years, f.Name, serials[f.Name], f.Serial)
			}
			serials[f.Name] = int64(f.Serial)
		}
	}
}
