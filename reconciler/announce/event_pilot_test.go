package announce_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// TestAudiencesAreToldBeside the notifiers: each address once, and nobody who is told anyway.
func TestAudiencesAreToldBeside(t *testing.T) {
	people := []string{"list@example.org", "Ops <OPS@example.org>", "list@example.org", "cora", "a@b\r\nBcc: c@d", "sites@example.org"}
	e := announce.OfPilot("linac", observed.PilotBroadcast{Pilot: "cream", Kind: observed.BroadcastHalt, Title: "t", At: time.Now()})
	ops := announce.Mail{Host: "relay", To: []string{"ops@example.org"}}
	hook := announce.Channel{Name: "hook", Sender: announce.Signed{}}
	halts := announce.Channel{Name: "post", Sender: ops, Route: announce.Route{Kinds: []announce.Kind{announce.PilotHalted}}}
	others := announce.Channel{Name: "post", Sender: ops, Route: announce.Route{Kinds: []announce.Kind{announce.PassFailed}}}
	for _, c := range []struct {
		channels []announce.Channel
		want     []string
	}{
		{nil, nil},
		{[]announce.Channel{hook}, nil},
		{[]announce.Channel{hook, halts}, []string{"list@example.org", "sites@example.org"}},
		{[]announce.Channel{others}, []string{"list@example.org", "OPS@example.org", "sites@example.org"}},
	} {
		if d := cmp.Diff(c.want, announce.Audience(c.channels, e, people)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if names := announce.Takes([]announce.Channel{hook, others, halts}, e); !cmp.Equal(names, []string{"hook", "post"}) {
		t.Errorf("it takes %q", names)
	}
	if e.Severity != announce.Error || e.Kind != announce.PilotHalted || e.Pilot != "cream" {
		t.Errorf("%+v", e)
	}
}
