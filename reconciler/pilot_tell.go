package reconciler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// PilotTeller tells people what becomes of pilots, and asks the information system for their resources: beside passes. It is an Observer: it looks
// after each pass, when the clock may have changed something, when a message is due, and now and then.
//
// What people are told is entered into the ledger together with the ways that it takes before anything is sent, and each way is crossed out
// after: a broadcast of one pilot, kind and subject is made once, whenever the process is killed. One that was handed over in the instant
// before is handed over again, as the same message: its id is that of the first. While the ledger cannot be used, nobody is told anything.
//
// When broadcasts begin — with the first service of a root, or after its ledger was lost — what is so already is entered as past, and
// nobody is told.
type PilotTeller struct {
	idleObserver
	*Reconciler
	Ways  PilotWays
	Probe observe.PilotProbe
	Every time.Duration // how often it decides at least; default 1m
	Asks  time.Duration // how often directory servers are asked, and at once for a site that has just installed it; default 5m
	Keep  time.Duration // how long a way is tried; default 7 days

	wakes   chan struct{} // at most one is waiting
	trouble trouble
	others  chan struct{}   // at most one is waiting: there are sites to ask for that were not asked for
	looked  map[string]bool // what directory servers are asked for
}

// NewPilotTeller completes a teller whose exported fields are set, and has its reconciler wake it.
func NewPilotTeller(t *PilotTeller) *PilotTeller {
	t.wakes = make(chan struct{}, 1)
	t.Observers = append(t.Observers, t)
	return t
}

// Passed implements Observer.
func (t *PilotTeller) Passed(Done) { t.wake() }

func (t *PilotTeller) wake() {
	select {
	case t.wakes <- struct{}{}:
	default:
	}
}

// PilotWays are the ways by which people are told. They are asked one at a time.
type PilotWays interface {
	// Of are the ways that a broadcast takes, and what is sent on each.
	Of(b observed.PilotBroadcast, audience []string) (map[string][]byte, error)
	// Send brings it to people. Gone says that it never will: it is not tried again.
	Send(ctx context.Context, way string, event []byte) (gone bool, err error)
	// Pilots is how far they are, for who measures.
	Pilots(report.Pilots)
}

// Run tells people until the context ends.
func (t *PilotTeller) Run(ctx context.Context) error {
	if t.Every <= 0 {
		t.Every = time.Minute
	}
	if t.Asks <= 0 {
		t.Asks = 5 * time.Minute
	}
	if t.Keep <= 0 {
		t.Keep = 7 * 24 * time.Hour
	}
	t.others = make(chan struct{}, 1)
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.others:
			case <-time.After(t.Asks):
			}
			if t.ask(ctx) {
				t.wake()
			}
		}
	})
	for ctx.Err() == nil {
		next, err := t.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch news := t.trouble.news(err); {
		case news && err == nil:
			t.Log.Info("people are told of pilots again")
		case news:
			t.Log.Error("nobody is told of pilots", "err", err)
		}
		t.rest(ctx, next)
	}
	return nil
}

// leastRest is how long a teller rests at least unless a pass wakes it: clocks go on by less than what they show.
const leastRest = 100 * time.Millisecond

// rest waits for a pass, for a moment, or for as long as a teller rests at most.
func (t *PilotTeller) rest(ctx context.Context, until time.Time) {
	most := t.Every
	if !until.IsZero() {
		most = min(most, max(until.Sub(t.Now()), leastRest))
	}
	select {
	case <-ctx.Done():
	case <-t.wakes:
	case <-time.After(most):
	}
}

// step decides and sends once. Next is when there may be something to do again; zero: not soon.
func (t *PilotTeller) step(ctx context.Context) (next time.Time, err error) {
	j, err := t.seenPilots(ctx)
	if err != nil || j.commit == "" { // nothing is published
		return next, err
	}
	if j.unread != nil { // it looks as if nothing had ever happened
		return next, j.unread
	}
	t.look(j)
	if err := t.decide(ctx, j); err != nil {
		return next, err
	}
	due, err := t.send(ctx)
	for _, n := range j.now {
		due = soonest(due, plan.PilotTells(j.site.Pilots[n.Name], n, t.Now()))
	}
	return due, err
}

// decide enters what people are to be told.
func (t *PilotTeller) decide(ctx context.Context, j judgedPilots) error {
	told, begun, err := t.toldOfPilots(ctx)
	if err != nil {
		return err
	}
	now := t.Now().UTC().Truncate(time.Millisecond)
	all := report.Pilots{Site: j.site.Settings.Name, At: now}
	var new []ledger.PilotBroadcast
	var ways []ledger.PilotDelivery
	for _, n := range j.now {
		p := j.site.Pilots[n.Name]
		shown := report.OfPilot(n, p, j.facts[n.Name], told)
		all.Pilots = append(all.Pilots, shown)
		if n.State == plan.PilotClosed && slices.Contains(j.unasked, n.Name) { // nobody knows yet whether its audience is to be told
			continue
		}
		if j.unsure[n.Name] != "" && slices.Contains(pilotStates, n.State) && n.State != plan.PilotClosed { // it may be further, and only looks as if it were not
			continue
		}
		for _, b := range plan.PilotBroadcasts(n, p, told) {
			b.At, b.Past = now, !begun
			b.Title, b.Text = shown.Broadcast(b)
			new = append(new, ledger.PilotBroadcast{Pilot: b.Pilot, Kind: string(b.Kind), About: b.About, Title: b.Title, Text: b.Text, At: b.At, Past: b.Past})
			if b.Past {
				continue
			}
			audience := p.Audience
			if b.Kind == observed.BroadcastOverdue || n.Unagreed != "" { // is no business of participants, or nobody knows who they are
				audience = nil
			}
			of, err := t.Ways.Of(b, audience)
			if err != nil {
				return err
			}
			for way, event := range of {
				ways = append(ways, ledger.PilotDelivery{Pilot: b.Pilot, Kind: string(b.Kind), About: b.About, Channel: way, Event: event, Since: now, Due: now})
			}
		}
	}
	t.Ways.Pilots(all)
	if len(new) == 0 && begun {
		return nil
	}
	if err := t.Records.Use(ctx, func(l *ledger.Ledger) error { return l.Broadcast(ctx, new, ways, now) }); err != nil {
		return err
	}
	if !begun {
		t.Log.Info("people are told of pilots from now on", "past", len(new))
	}
	for _, b := range new {
		t.Log.Info("broadcast", "pilot", b.Pilot, "kind", b.Kind, "about", b.About, "title", b.Title, "past", b.Past)
	}
	return nil
}

// send tries what is due: on each way what is of one pilot in the order of time, and nothing of it before what could not be sent. No pilot waits for
// another: whom one of them tells may be out of reach for long.
func (t *PilotTeller) send(ctx context.Context) (next time.Time, err error) {
	var waiting []ledger.PilotDelivery
	if err := t.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		waiting, err = l.PilotDeliveries(ctx)
		return err
	}); err != nil {
		return next, err
	}
	type queue struct{ channel, pilot string }
	stuck := map[queue]bool{}
	for _, d := range waiting {
		q := queue{d.Channel, d.Pilot}
		if stuck[q] {
			continue
		}
		if stuck[q] = d.Due.After(t.Now()); stuck[q] {
			next = soonest(next, d.Due)
			continue
		}
		outcome, again := t.attempt(ctx, d)
		if ctx.Err() != nil && outcome != "sent" {
			return next, nil
		}
		if stuck[q] = outcome == ""; stuck[q] {
			next = soonest(next, again)
		}
		// What was sent is noted also when the service ends just now.
		if err := t.Records.Use(context.WithoutCancel(ctx), func(l *ledger.Ledger) error {
			if outcome == "" {
				return l.BroadcastLater(context.WithoutCancel(ctx), d, again)
			}
			return l.Broadcasted(context.WithoutCancel(ctx), d, outcome)
		}); err != nil {
			return next, err
		}
	}
	return next, nil
}

const broadcastTimeout = time.Minute

// attempt sends a broadcast on one way; without an outcome it is to be tried again.
func (t *PilotTeller) attempt(ctx context.Context, d ledger.PilotDelivery) (outcome string, again time.Time) {
	attempt, cancel := context.WithTimeout(ctx, broadcastTimeout)
	defer cancel()
	gone, err := t.Ways.Send(attempt, d.Channel, d.Event)
	now := t.Now()
	switch {
	case err == nil:
		return "sent", now
	case ctx.Err() != nil:
		return "", now
	case gone:
		t.Log.Error("broadcast not delivered", "pilot", d.Pilot, "kind", d.Kind, "channel", d.Channel, "err", err)
		return "rejected", now
	case now.Sub(d.Since) > t.Keep:
		t.Log.Error("broadcast not delivered", "pilot", d.Pilot, "kind", d.Kind, "channel", d.Channel, "tries", d.Tries+1, "err", err)
		return "dropped", now
	}
	wait := min(5*time.Second<<min(d.Tries, 10), 10*time.Minute)
	t.Log.Warn("broadcast not delivered yet", "pilot", d.Pilot, "kind", d.Kind, "channel", d.Channel, "again in", wait.String(), "err", err)
	return "", now.Add(wait)
}

// look has directory servers asked at once if there is something that they were not asked for.
func (t *PilotTeller) look(j judgedPilots) {
	looked, others := map[string]bool{}, false
	for _, n := range j.now {
		p := j.site.Pilots[n.Name]
		for _, site := range plan.Probed(n, p) {
			i := slices.IndexFunc(n.Sites, func(s plan.SiteNow) bool { return s.Site == site })
			what := fmt.Sprintf("%q %q %v %s", n.Name, site, *p.InfoSys, n.Sites[i].From)
			looked[what] = true
			others = others || !t.looked[what]
		}
	}
	t.looked = looked
	if others {
		select {
		case t.others <- struct{}{}:
		default:
		}
	}
}

// ask asks directory servers for the resources of sites that run a pilot, of those pilots that need to know, and says whether there were any.
func (t *PilotTeller) ask(ctx context.Context) bool {
	j, err := t.seenPilots(ctx)
	if err != nil {
		return false // step says so
	}
	return t.probe(ctx, j)
}

// probe asks for those of some pilots. What was found is entered in the place of what was found before: also that nobody knows any more.
func (t *PilotTeller) probe(ctx context.Context, j judgedPilots) (asked bool) {
	for _, n := range j.now {
		p := j.site.Pilots[n.Name]
		sites := plan.Probed(n, p)
		if len(sites) == 0 {
			continue
		}
		var found []ledger.PilotProbe
		for _, probe := range t.Probe.Sites(ctx, n.Name, p, sites, t.Now()) {
			found = append(found, ledger.PilotProbe(probe))
		}
		if ctx.Err() != nil {
			return false // nobody was asked
		}
		asked = true
		t.Records.Try(ctx, func(l *ledger.Ledger) error { return l.PutPilotProbes(ctx, found) })
	}
	return asked
}
