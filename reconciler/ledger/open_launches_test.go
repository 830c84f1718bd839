package ledger

import (
	"path/filepath"
	"strings"
	"testing"
)

// Each look at a batch system asks for the launches that are not over, beside all that ever were.
func TestOpenLaunchesAreFoundByAnIndex(t *testing.T) {
	l, err := Open(t.Context(), filepath.Join(t.TempDir(), "l.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	where, args := openOf("slurm")
	steps, err := read(t.Context(), l, "explain", func(scan func(...any) error) (step string, err error) {
		var a, b, c int
		return step, scan(&a, &b, &c, &step)
	}, "EXPLAIN QUERY PLAN SELECT "+launchColumns+" FROM launches WHERE "+where, args...)
	if plan := strings.Join(steps, "; "); err != nil || !strings.Contains(plan, "launches_of_engine (engine=? AND state=?)") {
		t.Errorf("%s, %v", plan, err)
	}
}
