package ledger

import (
	"context"
	"database/sql"
	"time"
)

// PilotBroadcast is what people were told of a pilot: once for each pilot, kind and about.
type PilotBroadcast struct {
	Pilot, Kind, About string
	Title, Text        string
	At                 time.Time
	Past               bool // nobody was told: it was so when broadcasts began
}

// PilotDelivery is a broadcast on its way through one channel.
type PilotDelivery struct {
	Pilot, Kind, About string
	Channel            string
	Event              []byte    // what is sent
	Since              time.Time // when it was decided
	Tries              int       // failed so far
	Due                time.Time // when to try
}

// began is the row that says that broadcasts have begun.
const began = "began"

// PilotBroadcasts are all, the oldest first; those of one moment by pilot, kind and about. False: broadcasts have not begun.
func (l *Ledger) PilotBroadcasts(ctx context.Context) (all []PilotBroadcast, begun bool, err error) {
	rows, err := read(ctx, l, "read broadcasts", func(scan func(...any) error) (b PilotBroadcast, err error) {
		var at, past int64
		err = scan(&b.Pilot, &b.Kind, &b.About, &b.Title, &b.Text, &at, &past)
		b.At, b.Past = unstamp(at), past != 0
		return b, err
	}, "SELECT pilot, kind, about, title, body, at, past FROM pilot_broadcasts ORDER BY at, pilot, kind, about")
	for _, b := range rows {
		if b.Pilot == "" && b.Kind == began {
			begun = true
		} else {
			all = append(all, b)
		}
	}
	return all, begun, err
}

// Broadcast enters broadcasts with the ways that they take, and that broadcasts have begun: all of it or nothing. One that is there stays as it
// is, and so do its deliveries.
func (l *Ledger) Broadcast(ctx context.Context, broadcasts []PilotBroadcast, deliveries []PilotDelivery, now time.Time) error {
	return l.atomically(ctx, "record broadcasts", func(tx *sql.Tx) error {
		rows := [][]any{{"", began, "", "", "", stamp(now), int64(0)}}
		for _, b := range broadcasts {
			rows = append(rows, []any{b.Pilot, b.Kind, b.About, b.Title, b.Text, stamp(b.At), bit(b.Past)})
		}
		if err := inBatches(ctx, tx, "INSERT INTO pilot_broadcasts (pilot, kind, about, title, body, at, past) VALUES ", rows, " ON CONFLICT (pilot, kind, about) DO NOTHING"); err != nil {
			return err
		}
		rows = nil
		for _, d := range deliveries {
			rows = append(rows, []any{d.Pilot, d.Kind, d.About, d.Channel, string(d.Event), stamp(d.Since), int64(d.Tries), stamp(d.Due), ""})
		}
		return inBatches(ctx, tx, "INSERT INTO pilot_deliveries (pilot, kind, about, channel, event, since, tries, due, outcome) VALUES ", rows,
			" ON CONFLICT (pilot, kind, about, channel) DO NOTHING")
	})
}

// PilotDeliveries are those that are still to be tried, in the order of their broadcasts.
func (l *Ledger) PilotDeliveries(ctx context.Context) ([]PilotDelivery, error) {
	return read(ctx, l, "read deliveries of broadcasts", func(scan func(...any) error) (d PilotDelivery, err error) {
		var since, tries, due int64
		err = scan(&d.Pilot, &d.Kind, &d.About, &d.Channel, &d.Event, &since, &tries, &due)
		d.Since, d.Tries, d.Due = unstamp(since), int(tries), unstamp(due)
		return d, err
	}, "SELECT pilot, kind, about, channel, event, since, tries, due FROM pilot_deliveries WHERE due > 0 ORDER BY since, pilot, kind, about, channel")
}

// Broadcasted says how a delivery ended.
func (l *Ledger) Broadcasted(ctx context.Context, d PilotDelivery, outcome string) error {
	_, err := l.write(ctx, "record delivery of broadcast", "UPDATE pilot_deliveries SET due = 0, outcome = ? WHERE pilot = ? AND kind = ? AND about = ? AND channel = ?",
		outcome, d.Pilot, d.Kind, d.About, d.Channel)
	return err
}

// BroadcastLater has a delivery tried again later.
func (l *Ledger) BroadcastLater(ctx context.Context, d PilotDelivery, due time.Time) error {
	_, err := l.write(ctx, "record delivery of broadcast", "UPDATE pilot_deliveries SET tries = tries + 1, due = ? WHERE pilot = ? AND kind = ? AND about = ? AND channel = ?",
		stamp(due), d.Pilot, d.Kind, d.About, d.Channel)
	return err
}
