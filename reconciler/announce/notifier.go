package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Sender brings an event to people. An error that is no *Rejected is tried again.
type Sender interface {
	Send(context.Context, Event) error
}

// Rejected says that an event will not be taken, however often it is sent.
type Rejected struct{ Why string }

func (r *Rejected) Error() string { return "rejected: " + r.Why }

// Later says that an event may be sent again after a time that the other side has named.
type Later struct {
	After time.Duration
	Why   string
}

func (l *Later) Error() string { return l.Why }

// Channel is one way to people, and which events take it.
type Channel struct {
	Name   string // a word; label of metrics
	Route  Route
	Sender Sender
}

// Options say whom to tell, and how stubbornly. Every default is the number in parentheses.
type Options struct {
	Channels []Channel
	Outbox   Outbox                       // keeps what is not delivered; nil: until the process ends
	Log      *slog.Logger                 // nil discards
	Secrets  *Secrets                     // are masked in every event
	Count    func(channel, result string) // is told of every end and every retry; may be nil
	Now      func() time.Time             // time.Now

	Dedup  time.Duration // what was said less than this ago is not said again (5 min)
	Remind time.Duration // what has not recovered is said again after this (4 h)
	Keep   time.Duration // what could not be delivered for this long is dropped (24 h)
	Queue  int           // notifications that wait for one channel; then the oldest is dropped (1000)
	Retry  time.Duration // before the second attempt; each further one waits longer, up to 10 minutes (5 s)
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Count == nil {
		o.Count = func(string, string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		set       *time.Duration
		otherwise time.Duration
	}{{&o.Dedup, 5 * time.Minute}, {&o.Remind, 4 * time.Hour}, {&o.Keep, 24 * time.Hour}, {&o.Retry, 5 * time.Second}} {
		if *d.set <= 0 {
			*d.set = d.otherwise
		}
	}
	if o.Queue <= 0 {
		o.Queue = 1000
	}
	return o
}

// Notifier tells people of events: each once, each failure followed by its recovery, at least once whatever happens to the
// process or the network. Nobody who calls it waits for anybody.
type Notifier struct {
	Options
	mu    sync.Mutex
	kept  Kept
	dirty chan struct{}            // holds one: kept is to be saved
	wake  map[string]chan struct{} // by channel; each holds one
}

// NewNotifier reads what an earlier one has not delivered. An outbox that cannot be read is empty, and logged.
func NewNotifier(o Options) *Notifier {
	n := &Notifier{Options: o.withDefaults(), dirty: make(chan struct{}, 1), wake: map[string]chan struct{}{}}
	for _, c := range n.Channels {
		n.wake[c.Name] = make(chan struct{}, 1)
		n.wake[c.Name] <- struct{}{}
	}
	if n.Outbox != nil {
		var err error
		if n.kept, err = n.Outbox.Load(); err != nil {
			n.Log.Error("outbox of notifications not read", "err", err)
			n.kept = Kept{}
		}
	}
	if n.kept.Said == nil {
		n.kept.Said = map[string]time.Time{}
	}
	if n.kept.Open == nil {
		n.kept.Open = map[string]Failure{}
	}
	n.kept.Waiting = slices.DeleteFunc(n.kept.Waiting, func(w Waiting) bool { return n.wake[w.Channel] == nil })
	return n
}

// Send tells people of an event, unless they know. It never waits; a nil Notifier tells nobody.
func (n *Notifier) Send(e Event) {
	if n == nil {
		return
	}
	e.Title, e.Text = n.Secrets.Mask(e.Title), n.Secrets.Mask(e.Text)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.news(&e) {
		return
	}
	for _, c := range n.Channels {
		if c.Route.takes(e) {
			n.enqueue(c.Name, e)
		}
	}
	signal(n.dirty)
}

// news says whether people do not know of an event, and remembers it. A recovery matters as much as what it ends.
func (n *Notifier) news(e *Event) bool {
	now, hash := n.Now(), e.hash()
	maps.DeleteFunc(n.kept.Said, func(_ string, at time.Time) bool { return !within(now, at, n.Dedup) })
	about := e.Site + " " + string(e.Kind)
	failure, open := n.kept.Open[about]
	if e.Recovered {
		if open {
			e.Severity = failure.Severity
			delete(n.kept.Open, about)
		}
		return open
	}
	if _, said := n.kept.Said[hash]; said || open && failure.Hash == hash && within(now, failure.At, n.Remind) {
		return false
	}
	n.kept.Said[hash] = now
	if e.Kind.lasts() {
		n.kept.Open[about] = Failure{Hash: hash, Severity: e.Severity, At: now}
	}
	return true
}

// within says whether something happened less than a time ago. A clock that was set back does not make it last.
func within(now, at time.Time, d time.Duration) bool {
	ago := now.Sub(at)
	return ago >= 0 && ago < d
}

func (n *Notifier) enqueue(channel string, e Event) {
	var waiting int
	for _, w := range n.kept.Waiting {
		if w.Channel == channel {
			waiting++
		}
	}
	if waiting >= n.Queue {
		oldest := slices.IndexFunc(n.kept.Waiting, func(w Waiting) bool { return w.Channel == channel })
		n.drop(n.kept.Waiting[oldest], "dropped", fmt.Errorf("%d notifications wait", waiting))
		n.kept.Waiting = slices.Delete(n.kept.Waiting, oldest, oldest+1)
	}
	n.kept.Waiting = append(n.kept.Waiting, Waiting{Channel: channel, Event: e, Since: n.Now()})
	signal(n.wake[channel])
}

func (n *Notifier) drop(w Waiting, result string, why error) {
	n.Count(w.Channel, result)
	n.Log.Error("notification not delivered", "channel", w.Channel, "kind", string(w.Event.Kind), "title", w.Event.Title, "err", n.Secrets.Mask(why.Error()))
}

// Waiting is how many notifications are to be delivered.
func (n *Notifier) Waiting() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.kept.Waiting)
}

// Run delivers until the context ends; what is left then is delivered by the next Notifier of the outbox.
func (n *Notifier) Run(ctx context.Context) error {
	var g sync.WaitGroup
	for _, c := range n.Channels {
		g.Go(func() { n.deliver(ctx, c) })
	}
	n.keep(ctx)
	g.Wait()
	n.save()
	if left := n.Waiting(); left > 0 && n.Outbox == nil {
		n.Log.Error("notifications not delivered", "left", left)
	}
	return nil
}

// keep saves what waits, in its own time: a slow disk delays nobody.
func (n *Notifier) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.dirty:
			n.save()
		}
	}
}

func (n *Notifier) save() {
	if n.Outbox == nil {
		return
	}
	n.mu.Lock()
	kept := n.kept.clone()
	n.mu.Unlock()
	if err := n.Outbox.Save(kept); err != nil {
		n.Log.Warn("outbox of notifications not written", "err", err)
	}
}

// deliver sends the events of one channel in their order. One that is not taken now holds up those behind it.
func (n *Notifier) deliver(ctx context.Context, c Channel) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = n.Retry, 10*time.Minute
	for {
		w, ok := n.head(c.Name)
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-n.wake[c.Name]:
				continue
			}
		}
		err := n.attempt(ctx, c, w)
		if ctx.Err() != nil && err != nil {
			return
		}
		if n.ends(w, err) {
			retry.Reset()
			continue
		}
		wait := retry.NextBackOff()
		var later *Later
		if errors.As(err, &later) {
			wait = max(wait, later.After)
		}
		n.Count(c.Name, "retried")
		n.Log.Warn("notification not delivered yet", "channel", c.Name, "kind", string(w.Event.Kind), "again in", wait.String(), "err", n.Secrets.Mask(err.Error()))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

const attemptTimeout = time.Minute

func (n *Notifier) attempt(ctx context.Context, c Channel, w Waiting) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return c.Sender.Send(ctx, w.Event)
}

// ends takes an event off its queue, if it was sent or never will be.
func (n *Notifier) ends(w Waiting, err error) bool {
	var rejected *Rejected
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.Count(w.Channel, "sent")
	case errors.As(err, &rejected):
		n.drop(w, "rejected", err)
	case !within(n.Now(), w.Since, n.Keep):
		n.drop(w, "dropped", err)
	default:
		return false
	}
	// It may have been dropped meanwhile.
	if i := slices.IndexFunc(n.kept.Waiting, w.same); i >= 0 {
		n.kept.Waiting = slices.Delete(n.kept.Waiting, i, i+1)
	}
	signal(n.dirty)
	return true
}

func (n *Notifier) head(channel string) (Waiting, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.kept.Waiting, func(w Waiting) bool { return w.Channel == channel })
	if i < 0 {
		return Waiting{}, false
	}
	return n.kept.Waiting[i], true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is set already
	}
}
