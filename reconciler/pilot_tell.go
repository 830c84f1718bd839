package reconciler

import (
	"context"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// PilotTeller tells people what becomes of pilots, and asks the information system for their resources: beside passes.
//
// What people are told is entered into the ledger together with the ways that it takes before anything is sent, and each way is crossed out
// after: a broadcast of one pilot, kind and subject is made once, whenever the process is killed. One that was handed over in the instant
// before is handed over again, as the same message: its id is that of the first. While the ledger cannot be used, nobody is told anything.
//
// When broadcasts begin — with the first service of a root, or after its ledger was lost — what is so already is entered as past, and
// nobody is told.
type PilotTeller struct {
	*Reconciler
	Ways  PilotWays
	Probe observe.PilotProbe
	Every time.Duration // how often it decides; default 5s
	Asks  time.Duration // how often directory servers are asked; default 5m
	Keep  time.Duration // how long a way is tried; default 7 days

	trouble trouble
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
		t.Every = 5 * time.Second
	}
	if t.Asks <= 0 {
		t.Asks = 5 * time.Minute
	}
	if t.Keep <= 0 {
		t.Keep = 7 * 24 * time.Hour
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		for ctx.Err() == nil {
			t.ask(ctx)
			pause(ctx, t.Asks)
		}
	})
	for ctx.Err() == nil {
		err := t.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch news := t.trouble.news(err); {
		case news && err == nil:
			t.Log.Info("people are told of pilots again")
		case news:
			t.Log.Error("nobody is told of pilots", "err", err)
		}
		pause(ctx, t.Every)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// step decides and sends once.
func (t *PilotTeller) step(ctx context.Context) error {
	j, err := t.seenPilots(ctx)
	if err != nil || j.commit == "" { // nothing is published
		return err
	}
	if err := t.decide(ctx, j); err != nil {
		return err
	}
	return t.send(ctx)
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
		for _, b := range plan.PilotBroadcasts(n, p, told) {
			b.At, b.Past = now, !begun
			b.Title, b.Text = shown.Broadcast(b)
			new = append(new, ledger.PilotBroadcast{Pilot: b.Pilot, Kind: string(b.Kind), About: b.About, Title: b.Title, Text: b.Text, At: b.At, Past: b.Past})
			if b.Past {
				continue
			}
			audience := p.Audience
			if b.Kind == observed.BroadcastOverdue { // is no business of participants
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
	for _, b := range new {
		t.Log.Info("broadcast", "pilot", b.Pilot, "kind", b.Kind, "about", b.About, "title", b.Title, "past", b.Past)
	}
	return nil
}

// send tries what is due: on each way what is of one pilot in the order of time, and nothing of it before what could not be sent. No pilot waits for
// another: whom one of them tells may be out of reach for long.
func (t *PilotTeller) send(ctx context.Context) error {
	var waiting []ledger.PilotDelivery
	if err := t.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		waiting, err = l.PilotDeliveries(ctx)
		return err
	}); err != nil {
		return err
	}
	type queue struct{ channel, pilot string }
	stuck := map[queue]bool{}
	for _, d := range waiting {
		q := queue{d.Channel, d.Pilot}
		if stuck[q] || d.Due.After(t.Now()) {
			stuck[q] = true
			continue
		}
		outcome, again := t.attempt(ctx, d)
		if ctx.Err() != nil && outcome != "sent" {
			return nil
		}
		stuck[q] = outcome == ""
		// What was sent is noted also when the service ends just now.
		if err := t.Records.Use(context.WithoutCancel(ctx), func(l *ledger.Ledger) error {
			if outcome == "" {
				return l.BroadcastLater(context.WithoutCancel(ctx), d, again)
			}
			return l.Broadcasted(context.WithoutCancel(ctx), d, outcome)
		}); err != nil {
			return err
		}
	}
	return nil
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

// ask asks directory servers for the resources of sites that run a pilot, of those pilots that need to know.
func (t *PilotTeller) ask(ctx context.Context) {
	j, err := t.seenPilots(ctx)
	if err != nil {
		return // step says so
	}
	t.probe(ctx, j)
}

// probe asks for those of some pilots. What was found is entered in the place of what was found before: also that nobody knows any more.
func (t *PilotTeller) probe(ctx context.Context, j judgedPilots) {
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
			return // nobody was asked
		}
		t.Records.Try(ctx, func(l *ledger.Ledger) error { return l.PutPilotProbes(ctx, found) })
	}
}
