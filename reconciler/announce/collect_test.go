package announce_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/announce"
)

// TestUncollectedDataIsToldOnce: more of the same waits, and its end does not.
func TestUncollectedDataIsToldOnce(t *testing.T) {
	var c announce.Collects
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	one := []announce.Uncollected{{FEC: "kgp1bp01", Data: "orbit", Since: now, Err: errors.New("no answer")}}
	two := append(one, announce.Uncollected{FEC: "kgp2bp01", Data: "orbit", Since: now, Err: errors.New("no answer")})
	if e := c.Of("linac", nil, now); e == nil || !e.Recovered || e.Kind != announce.CollectFailing {
		t.Errorf("nothing fails: %+v", e)
	}
	if e := c.Of("linac", one, now); e == nil || e.Recovered || e.Text != "kgp1bp01 orbit since 2026-11-21 12:00 UTC: no answer" {
		t.Errorf("one fails: %+v", e)
	}
	if e := c.Of("linac", two, now.Add(time.Minute)); e != nil {
		t.Errorf("another one soon after: %+v", e)
	}
	if e := c.Of("linac", two, now.Add(time.Hour)); e == nil || !strings.Contains(e.Text, "kgp2bp01") {
		t.Errorf("later: %+v", e)
	}
	if e := c.Of("linac", two, now.Add(5*time.Hour)); e != nil {
		t.Errorf("nothing is new: %+v", e)
	}
	if e := c.Of("linac", nil, now.Add(5*time.Hour)); e == nil || !e.Recovered {
		t.Errorf("it is over: %+v", e)
	}
	if e := c.Of("linac", one, now.Add(5*time.Hour)); e == nil || e.Recovered {
		t.Errorf("it begins again: %+v", e)
	}
}
