package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// tellOfPilots has people told what becomes of the pilots of a site.
func (s *servedRoot) tellOfPilots(site string, r *reconciler.Reconciler, channels []announce.Channel) {
	r.Withheld = &sync.Map{}
	t := reconciler.NewPilotTeller(&reconciler.PilotTeller{Reconciler: r, Ways: pilotWays{site: site, channels: channels, watch: s.watch}})
	s.beside = append(s.beside, t.Run)
}

// pilotWays are the notifiers of a site and, by the first of them that sends e-mails, the audience of a pilot.
type pilotWays struct {
	site     string
	channels []announce.Channel
	watch    *watch // nil: nobody measures
}

// audienceWay is the way to a pilot's audience; no notifier has such a name.
const audienceWay = "@audience"

// sentEvent is what is sent on a way.
type sentEvent struct {
	Event announce.Event `json:"event"`
	To    []string       `json:"to,omitempty"` // of the audience
}

// Of implements reconciler.PilotWays.
func (w pilotWays) Of(b observed.PilotBroadcast, audience []string) (map[string][]byte, error) {
	e := announce.OfPilot(w.site, b)
	e.Title, e.Text = secrets.Mask(e.Title), secrets.Mask(e.Text)
	events := map[string]sentEvent{}
	for _, name := range announce.Takes(w.channels, e) {
		events[name] = sentEvent{Event: e}
	}
	if to := announce.Audience(w.channels, e, audience); len(to) > 0 {
		events[audienceWay] = sentEvent{Event: e, To: to}
	}
	ways := map[string][]byte{}
	for name, sent := range events {
		b, err := json.Marshal(sent)
		if err != nil {
			return nil, err
		}
		ways[name] = b
	}
	return ways, nil
}

// Send implements reconciler.PilotWays.
func (w pilotWays) Send(ctx context.Context, way string, event []byte) (gone bool, err error) {
	var sent sentEvent
	if err := json.Unmarshal(event, &sent); err != nil {
		return true, fmt.Errorf("read broadcast: %w", err)
	}
	sender := w.sender(way, sent)
	if sender == nil {
		return true, fmt.Errorf("there is no notifier %q any more", way)
	}
	count := func(string) {}
	if w.watch != nil {
		count = func(result string) { w.watch.metrics.Notified(way, result) }
	}
	err = sender.Send(ctx, sent.Event)
	var rejected *announce.Rejected
	switch gone = errors.As(err, &rejected); {
	case err == nil:
		count("sent")
		return false, nil
	case gone:
		count("rejected")
	default:
		count("retried")
	}
	return gone, errors.New(secrets.Mask(err.Error()))
}

func (w pilotWays) sender(way string, sent sentEvent) announce.Sender {
	if way == audienceWay {
		m, ok := announce.Mailer(w.channels)
		if !ok {
			return nil
		}
		m.To = sent.To
		return m
	}
	if i := slices.IndexFunc(w.channels, func(c announce.Channel) bool { return c.Name == way }); i >= 0 {
		return w.channels[i].Sender
	}
	return nil
}

// Pilots implements reconciler.PilotWays.
func (w pilotWays) Pilots(all report.Pilots) {
	if w.watch != nil {
		w.watch.metrics.Pilots(all)
	}
}
