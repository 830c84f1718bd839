package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// post is where broadcasts get to: what was handed over on each way, in order.
type post struct {
	got    []string
	refuse func(way string) (gone bool, err error) // nil: nothing
	after  func()                                  // something was handed over
	last   report.Pilots
}

func (p *post) Of(b observed.PilotBroadcast, audience []string) (map[string][]byte, error) {
	said := []byte(strings.TrimSuffix(b.Pilot+" "+string(b.Kind)+" "+b.About, " "))
	ways := map[string][]byte{"mail": said, "web": said}
	if len(audience) > 0 {
		ways["audience"] = said
	}
	return ways, nil
}

func (p *post) Send(_ context.Context, way string, event []byte) (bool, error) {
	if p.refuse != nil {
		if gone, err := p.refuse(way); err != nil {
			return gone, err
		}
	}
	p.got = append(p.got, way+": "+string(event))
	if p.after != nil {
		p.after()
	}
	return false, nil
}

func (p *post) Pilots(all report.Pilots) { p.last = all }

func tellerOf(t *testing.T, root string, ways PilotWays, now *time.Time) *PilotTeller {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &Reconciler{Root: root, Records: NewRecords(root, log), Log: log, Now: func() time.Time { return *now }}
	t.Cleanup(func() { r.Records.Close() })
	return &PilotTeller{Reconciler: r, Ways: ways, Keep: 24 * time.Hour}
}

// judged is a site with one pilot in a state.
func judged(state string, change ...func(*plan.PilotNow)) judgedPilots {
	p := desired.Pilot{Scope: desired.PilotOfSites, Description: "d", Expires: "2026-12-31", Audience: []string{"list@example.org"},
		Records: map[string]desired.PilotRecord{"call-1": {Kind: desired.RecordCall, At: "2026-10-01T00:00:00Z", Closes: "2026-10-10"}}}
	now := plan.PilotNow{Name: "cream", Scope: p.Scope, State: state, Frozen: "sha256:aa"}
	for _, c := range change {
		c(&now)
	}
	return judgedPilots{commit: "c", site: desired.Site{Pilots: map[string]desired.Pilot{"cream": p}}, now: []plan.PilotNow{now}, facts: map[string]plan.PilotFacts{}}
}

func called(n *plan.PilotNow) {
	n.Gates = append(n.Gates, plan.Gate{State: plan.PilotCalled, Name: "call", Verdict: plan.GatePass, Records: []string{"call-1"}})
}

func overdue(n *plan.PilotNow) { n.Overdue = time.Hour }

// does decides and sends as a step does.
func (t *PilotTeller) does(ctx context.Context, j judgedPilots) error {
	if err := t.decide(ctx, j); err != nil {
		return err
	}
	_, err := t.send(ctx)
	return err
}

// once does so with a service of its own.
func (t *PilotTeller) once(ctx context.Context, j judgedPilots) error {
	return errors.Join(t.does(ctx, j), t.Records.Close())
}

func rootOf(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, durable.Private), 0o700); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestPeopleAreToldOfAPilotOnce takes a pilot through its life, with halts, and starts the service anew before each step.
func TestPeopleAreToldOfAPilotOnce(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	site := func(n *plan.PilotNow) {
		n.Sites = []plan.SiteNow{{Site: "CERN-PROD", State: "installed", Published: plan.GatePass}, {Site: "RAL", State: "installed", Published: plan.GatePending}}
	}
	update := func(n *plan.PilotNow) {
		n.Updates = []plan.UpdateNow{{Name: "u1", State: "mirrored"}, {Name: "u2", State: "noted"}}
	}
	for i, step := range []struct {
		j    judgedPilots
		want string // kinds and what they are about
	}{
		{judged(plan.PilotRequested), ""},
		{judged(plan.PilotStaffed, overdue), "overdue staffed"},
		{judged(plan.PilotMirrored), ""},
		{judged(plan.PilotCalled, called), "call call-1"},
		{judged(plan.PilotDeployed, called), ""},
		{judged(plan.PilotHalted, called), "halt 1"},
		{judged(plan.PilotHalted, called, overdue), ""},
		{judged(plan.PilotDeployed, called), "resume 1"},
		{judged(plan.PilotDeployed, called, site, update), "resources CERN-PROD, update u1"},
		{judged(plan.PilotPublished, called, site, update), "published sha256:aa"},
		{judged(plan.PilotHalted, called, site, update), "halt 2"},
		{judged(plan.PilotPublished, called, site, update), "resume 2"},
		{judged(plan.PilotExpired, called, site), "expired 2026-12-31"},
		{judged(plan.PilotClosed, called, site), "closed closed"},
	} {
		for range 2 {
			now = now.Add(time.Hour)
			if err := tellerOf(t, root, p, &now).once(t.Context(), step.j); err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for w := range strings.SplitSeq(step.want, ", ") {
			ways := []string{"audience", "mail", "web"}
			if strings.HasPrefix(w, "overdue") {
				ways = ways[1:]
			}
			for _, way := range ways {
				if w != "" {
					want = append(want, way+": cream "+w)
				}
			}
		}
		slices.Sort(p.got)
		slices.Sort(want)
		if d := cmp.Diff(want, p.got); d != "" {
			t.Errorf("step %d, %s (-want +got):\n%s", i, step.j.now[0].State, d)
		}
		p.got = nil
	}
	if len(p.last.Pilots) != 1 || p.last.Pilots[0].State != plan.PilotClosed {
		t.Errorf("measured: %+v", p.last)
	}
}

// TestNobodyIsToldOfAPilotOfWhichSomethingIsNotKnown: it looks as if it were not as far as it is.
func TestNobodyIsToldOfAPilotOfWhichSomethingIsNotKnown(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	for _, step := range []struct {
		j    judgedPilots
		why  string
		want int
	}{
		{judged(plan.PilotRequested), "", 0},
		{judged(plan.PilotFrozen, overdue), "package ce-1.0.rpm is not here", 0},
		{judged(plan.PilotExpired), "package ce-1.0.rpm is not here", 3},
	} {
		step.j.unsure = map[string]string{"cream": step.why}
		if err := tellerOf(t, root, p, &now).once(t.Context(), step.j); err != nil {
			t.Fatal(err)
		}
		if len(p.got) != step.want {
			t.Errorf("%s: people are told %q, want %d", step.j.now[0].State, p.got, step.want)
		}
	}
}

// TestTheEndOfAPilotWaitsForWhoAgreedToIt: until somebody has found that out, nobody knows whether its audience is to be told.
func TestTheEndOfAPilotWaitsForWhoAgreedToIt(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	unagreed := func(n *plan.PilotNow) { n.Unagreed = "nobody has agreed" }
	about := judged(plan.PilotClosed, unagreed)
	about.unasked = []string{"cream"}
	halted := judged(plan.PilotHalted, unagreed)
	halted.unasked = []string{"cream"}
	for i, step := range []struct {
		j    judgedPilots
		want int
	}{{judged(plan.PilotRequested), 0}, {halted, 2}, {about, 2}, {judged(plan.PilotClosed), 5}} {
		if err := tellerOf(t, root, p, &now).once(t.Context(), step.j); err != nil {
			t.Fatal(err)
		}
		if len(p.got) != step.want {
			t.Errorf("step %d: people are told %q, want %d", i, p.got, step.want)
		}
	}
}

// TestWhatWasSoWhenBroadcastsBeginIsNotTold begins with a pilot that has come far, in a new ledger.
func TestWhatWasSoWhenBroadcastsBeginIsNotTold(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	teller := tellerOf(t, root, p, &now)
	for _, j := range []judgedPilots{judged(plan.PilotHalted, called), judged(plan.PilotHalted, called)} {
		if err := teller.does(t.Context(), j); err != nil || len(p.got) > 0 {
			t.Fatal(err, p.got)
		}
	}
	told, begun, err := teller.toldOfPilots(t.Context())
	if err != nil || !begun || len(told) != 2 || !told[0].Past || !told[1].Past {
		t.Errorf("%v %v %+v", err, begun, told)
	}
	if err := teller.does(t.Context(), judged(plan.PilotDeployed, called)); err != nil || len(p.got) != 3 || !strings.HasSuffix(p.got[0], "resume 1") {
		t.Errorf("%v %q", err, p.got)
	}
}

// TestABroadcastIsNeitherLostNorDoubled kills the service after each use of the ledger and each message, and starts it anew. What was handed
// over in the instant before is handed over again as the same message, and nothing else is.
func TestABroadcastIsNeitherLostNorDoubled(t *testing.T) {
	j := judged(plan.PilotCalled, called)
	for _, killed := range []string{"before anything", "after it is recorded", "after the first message", "after the second message", "after the first is noted"} {
		t.Run(killed, func(t *testing.T) {
			root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
			first := tellerOf(t, root, p, &now)
			if err := first.decide(t.Context(), judgedPilots{commit: "c"}); err != nil { // broadcasts begin
				t.Fatal(err)
			}
			func() {
				defer func() { _ = recover() }() // the process is gone
				if killed == "before anything" {
					return
				}
				if err := first.decide(t.Context(), j); err != nil {
					t.Fatal(err)
				}
				n := map[string]int{"after it is recorded": 0, "after the first message": 1, "after the second message": 2, "after the first is noted": 1}[killed]
				if n == 0 {
					return
				}
				p.after = func() {
					if len(p.got) == n && killed != "after the first is noted" || len(p.got) > n {
						panic("killed")
					}
				}
				if killed == "after the first is noted" {
					p.after = nil
					p.refuse = func(string) (bool, error) {
						if len(p.got) == n {
							panic("killed")
						}
						return false, nil
					}
				}
				_, _ = first.send(t.Context())
			}()
			if err := first.Records.Close(); err != nil {
				t.Fatal(err)
			}
			p.after, p.refuse = nil, nil
			for range 2 {
				now = now.Add(time.Hour)
				if err := tellerOf(t, root, p, &now).once(t.Context(), j); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]int{}
			for _, m := range p.got {
				got[m]++
			}
			again := 0
			for _, way := range []string{"audience", "mail", "web"} {
				n := got[way+": cream call call-1"]
				if n == 0 {
					t.Errorf("lost on %s: %q", way, p.got)
				}
				again += n - 1
			}
			most := 0
			if strings.HasSuffix(killed, "message") {
				most = 1 // it is the same message, and its id says so
			}
			if len(got) != 3 || again > most {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestAWayThatFailsIsTriedAgain has one that does not take anything for hours, one that rejects, and one that never comes back.
func TestAWayThatFailsIsTriedAgain(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	tries, up := map[string]int{}, false
	p.refuse = func(way string) (bool, error) {
		tries[way]++
		switch {
		case way == "web":
			return true, errors.New("410 gone")
		case way == "audience" || !up:
			return false, errors.New("no route to host")
		}
		return false, nil
	}
	teller := tellerOf(t, root, p, &now)
	if err := teller.decide(t.Context(), judgedPilots{}); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		j := judged(plan.PilotCalled, called)
		if i > 5 {
			j.now[0].Updates = []plan.UpdateNow{{Name: "u1", State: "announced"}}
		}
		up = i >= 10
		if err := teller.does(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	if d := cmp.Diff([]string{"mail: cream call call-1", "mail: cream update u1"}, p.got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if tries["web"] != 2 {
		t.Errorf("it was rejected, and tried %d times", tries["web"])
	}
	var left []ledger.PilotDelivery
	if err := teller.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		left, err = l.PilotDeliveries(t.Context())
		return err
	}); err != nil || len(left) > 0 {
		t.Errorf("%v, %s waits", err, fmt.Sprint(left))
	}
}

// unreachable is a post whose audience of one pilot is out of reach for long.
type unreachable struct {
	*post
	pilot string
}

func (u unreachable) Send(ctx context.Context, way string, event []byte) (bool, error) {
	if way == "audience" && strings.HasPrefix(string(event), u.pilot+" ") {
		return false, errors.New("450 mailbox unavailable")
	}
	return u.post.Send(ctx, way, event)
}

// TestNoPilotWaitsForAnothersAudience has two pilots, of which one tells somebody who is out of reach.
func TestNoPilotWaitsForAnothersAudience(t *testing.T) {
	root, now, p := rootOf(t), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	teller := tellerOf(t, root, unreachable{p, "cream"}, &now)
	if err := teller.decide(t.Context(), judgedPilots{}); err != nil {
		t.Fatal(err)
	}
	j := judged(plan.PilotCalled, called)
	other := j.now[0]
	other.Name = "zebra"
	j.site.Pilots["zebra"] = j.site.Pilots["cream"]
	j.now = append(j.now, other)
	for range 3 {
		if err := teller.does(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		j.now[0].Updates, j.now[1].Updates = []plan.UpdateNow{{Name: "u1", State: "announced"}}, []plan.UpdateNow{{Name: "u1", State: "announced"}}
		now = now.Add(time.Second)
	}
	var got []string
	for _, m := range p.got {
		if strings.HasPrefix(m, "audience: ") {
			got = append(got, m)
		}
	}
	if d := cmp.Diff([]string{"audience: zebra call call-1", "audience: zebra update u1"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestWhatNobodySawIsNotPublished asks a server that is not there, for a site that was right before.
func TestWhatNobodySawIsNotPublished(t *testing.T) {
	now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	teller := tellerOf(t, rootOf(t), &post{}, &now)
	if err := teller.Records.Use(t.Context(), func(l *ledger.Ledger) error {
		return l.PutPilotProbes(t.Context(), []ledger.PilotProbe{{Pilot: "cream", Site: "CERN-PROD", Seen: true, Right: true, At: now}})
	}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	j := judged(plan.PilotDeployed, func(n *plan.PilotNow) {
		n.Sites = []plan.SiteNow{{Site: "CERN-PROD", State: "installed"}, {Site: "RAL", State: "failed"}}
	})
	p := j.site.Pilots["cream"]
	p.InfoSys = &desired.InfoSys{Type: "x", Server: "ldap://127.0.0.1:1"}
	j.site.Pilots["cream"] = p
	teller.probe(t.Context(), j)
	var found []ledger.PilotProbe
	if err := teller.Records.Use(t.Context(), func(l *ledger.Ledger) (err error) {
		found, err = l.PilotProbes(t.Context())
		return err
	}); err != nil || len(found) != 1 || found[0].Seen || found[0].Right || !found[0].At.Equal(now) || !strings.HasPrefix(found[0].Why, "nobody knows: ask ldap://127.0.0.1:1: ") {
		t.Errorf("%v %+v", err, found)
	}
	j.now[0].State = plan.PilotClosed
	if sites := plan.Probed(j.now[0], p); sites != nil {
		t.Errorf("%q are asked for although the pilot is over", sites)
	}
}

// TestWhoATermThatIsNotAgreedNamesIsNotTold asks no server that it names either.
func TestWhoATermThatIsNotAgreedNamesIsNotTold(t *testing.T) {
	now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for _, why := range []string{"", "nobody has agreed"} {
		p := &post{}
		teller := tellerOf(t, rootOf(t), p, &now)
		unagreed := func(n *plan.PilotNow) { n.Unagreed = why }
		if err := teller.does(t.Context(), judged(plan.PilotRequested)); err != nil { // broadcasts begin
			t.Fatal(err)
		}
		if err := teller.does(t.Context(), judged(plan.PilotHalted, unagreed)); err != nil {
			t.Fatal(err)
		}
		if told := slices.Contains(p.got, "audience: cream halt 1"); told != (why == "") || !slices.Contains(p.got, "mail: cream halt 1") {
			t.Errorf("unagreed %q: told is %v", why, p.got)
		}
		site := desired.Pilot{Scope: desired.PilotOfSites, InfoSys: &desired.InfoSys{Server: "ldap://127.0.0.1:1"}}
		n := plan.PilotNow{State: plan.PilotHalted, Unagreed: why, Sites: []plan.SiteNow{{Site: "alpha", State: "installed"}}}
		if asked := plan.Probed(n, site); (len(asked) == 1) != (why == "") {
			t.Errorf("unagreed %q: asked is for %v", why, asked)
		}
	}
}

// TestATellerRestsUntilThereIsSomethingToTell: until a pass, until the moment at which something is due, and else for a minute.
func TestATellerRestsUntilThereIsSomethingToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		teller := NewPilotTeller(&PilotTeller{Reconciler: &Reconciler{Now: time.Now}, Every: time.Minute})
		if len(teller.Observers) != 1 {
			t.Fatal("no pass wakes it")
		}
		rests := func(until time.Time) time.Duration {
			began := time.Now()
			teller.rest(t.Context(), until)
			return time.Since(began)
		}
		soon := func(d time.Duration) time.Time { return time.Now().Add(d) }
		if got := rests(time.Time{}); got != time.Minute {
			t.Errorf("nothing is due, and it rests for %s", got)
		}
		if got := rests(soon(7 * time.Second)); got != 7*time.Second {
			t.Errorf("something is due in 7s, and it rests for %s", got)
		}
		if got := rests(soon(time.Hour)); got != time.Minute {
			t.Errorf("something is due in an hour, and it rests for %s", got)
		}
		if got := rests(soon(-time.Hour)); got != leastRest {
			t.Errorf("something has been due for an hour, and it rests for %s", got)
		}
		teller.Passed(Done{})
		teller.Passed(Done{}) // both are one
		if first, second := rests(time.Time{}), rests(time.Time{}); first != 0 || second != time.Minute {
			t.Errorf("after passes it rests for %s, then for %s", first, second)
		}
	})
}

// TestATellerLooksAgainWhenAMessageIsDue that could not be sent.
func TestATellerLooksAgainWhenAMessageIsDue(t *testing.T) {
	now, p := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), &post{}
	p.refuse = func(string) (bool, error) { return false, errors.New("nobody is there") }
	teller := tellerOf(t, rootOf(t), p, &now)
	if err := errors.Join(teller.decide(t.Context(), judgedPilots{commit: "c"}), teller.decide(t.Context(), judged(plan.PilotCalled, called))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one tries nothing
		if next, err := teller.send(t.Context()); err != nil || !next.Equal(now.Add(5*time.Second)) {
			t.Errorf("%v: next is %s", err, next)
		}
	}
}
