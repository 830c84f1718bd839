package desired_test

import (
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

func TestPaces(t *testing.T) {
	r := desired.Restarts{
		Pace:   desired.Pace{Success: "90%", Within: "5m"},
		Groups: map[string]desired.Pace{"ring": {Wave: "3", Errors: "2%", Pause: "1m"}},
	}
	ring, other := r.For("ring"), r.For("linac")
	if ring.Size(200) != 3 || other.Size(200) != 20 || other.Size(5) != 1 {
		t.Errorf("waves of %d, %d and %d", ring.Size(200), other.Size(200), other.Size(5))
	}
	if ring.TooMany(200) != 4 || ring.TooMany(3) != 1 || other.TooMany(200) != 1 {
		t.Errorf("too many are %d, %d and %d", ring.TooMany(200), ring.TooMany(3), other.TooMany(200))
	}
	if ring.Enough(3) != 3 || ring.Enough(10) != 9 || ring.Enough(1) != 1 {
		t.Errorf("enough are %d, %d and %d", ring.Enough(3), ring.Enough(10), ring.Enough(1))
	}
	if ring.Rest() != time.Minute || other.Rest() != 0 || other.Limit() != 5*time.Minute {
		t.Errorf("rests %s, %s, limit %s", ring.Rest(), other.Rest(), other.Limit())
	}
}
