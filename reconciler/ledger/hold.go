package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Hold is a reasoned, expiring block on a scope, as it was placed.
type Hold struct {
	ID     string // h-1, h-2 and so on
	Scope  string
	Kind   string
	Source string
	Reason string
	By     string
	Commit string // 40 hex digits; empty for none
	Bad    string // 40 hex digits; empty for none
	Since  time.Time
	Until  time.Time
}

// Override sets a hold out of force for a while.
type Override struct {
	Hold   string // id
	Reason string
	By     string
	Since  time.Time
	Until  time.Time
}

// ErrNoHold says that no hold of that id is in the ledger, or that it has ended.
var ErrNoHold = errors.New("no such hold")

// Place enters a hold, and gives it an id unless it has one.
func (l *Ledger) Place(ctx context.Context, h Hold) (Hold, error) {
	number := int64(0)
	if h.ID == "" {
		if err := l.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM holds").Scan(&number); err != nil {
			return h, fmt.Errorf("number hold: %w", err)
		}
		h.ID = fmt.Sprintf("h-%d", number)
	} else {
		_, _ = fmt.Sscanf(h.ID, "h-%d", &number) // another id has no number
	}
	_, err := l.write(ctx, "place hold", `INSERT INTO holds (id, number, scope, kind, source, reason, placed_by, commit_id, bad, since, until, ended, ended_by, ended_why)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '') ON CONFLICT (id) DO NOTHING`,
		h.ID, number, h.Scope, h.Kind, h.Source, h.Reason, h.By, h.Commit, h.Bad, stamp(h.Since), stamp(h.Until))
	return h, err
}

// Holds are those that have not been ended, the oldest first. Some may have expired.
func (l *Ledger) Holds(ctx context.Context) ([]Hold, error) {
	return read(ctx, l, "read holds", scanHold, holdColumns+" WHERE ended = 0 ORDER BY number, id")
}

// HoldsAt are those that were in force at a time, the oldest first.
func (l *Ledger) HoldsAt(ctx context.Context, at time.Time) ([]Hold, error) {
	return read(ctx, l, "read holds", scanHold, holdColumns+" WHERE since <= ? AND (ended = 0 OR ended > ?) AND (until = 0 OR until > ?) ORDER BY number, id", stamp(at), stamp(at), stamp(at))
}

const holdColumns = "SELECT id, scope, kind, source, reason, placed_by, commit_id, bad, since, until FROM holds"

func scanHold(scan func(...any) error) (h Hold, err error) {
	var since, until int64
	err = scan(&h.ID, &h.Scope, &h.Kind, &h.Source, &h.Reason, &h.By, &h.Commit, &h.Bad, &since, &until)
	h.Since, h.Until = unstamp(since), unstamp(until)
	return h, err
}

// End ends a hold for good. One that is not there, or has ended, is ErrNoHold.
func (l *Ledger) End(ctx context.Context, id, by, why string, at time.Time) error {
	n, err := l.write(ctx, "end hold", "UPDATE holds SET ended = ?, ended_by = ?, ended_why = ? WHERE id = ? AND ended = 0", stamp(at), by, why, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: %s", ErrNoHold, id)
	}
	return err
}

// Override enters an override, in place of an earlier one of the same hold.
func (l *Ledger) Override(ctx context.Context, o Override) error {
	_, err := l.write(ctx, "override hold", `INSERT INTO overrides (hold, reason, placed_by, since, until) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hold) DO UPDATE SET reason = excluded.reason, placed_by = excluded.placed_by, since = excluded.since, until = excluded.until`,
		o.Hold, o.Reason, o.By, stamp(o.Since), stamp(o.Until))
	return err
}

// Overrides are all of them, by hold; some may have expired.
func (l *Ledger) Overrides(ctx context.Context) ([]Override, error) {
	return read(ctx, l, "read overrides", func(scan func(...any) error) (o Override, err error) {
		var since, until int64
		err = scan(&o.Hold, &o.Reason, &o.By, &since, &until)
		o.Since, o.Until = unstamp(since), unstamp(until)
		return o, err
	}, "SELECT hold, reason, placed_by, since, until FROM overrides ORDER BY hold")
}

// LiftOverride takes an override back.
func (l *Ledger) LiftOverride(ctx context.Context, hold string) error {
	n, err := l.write(ctx, "lift override", "DELETE FROM overrides WHERE hold = ?", hold)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: %s is not overridden", ErrNoHold, hold)
	}
	return err
}

// Seen says since when holds that nobody placed here have been in force, as far as it was noted.
func (l *Ledger) Seen(ctx context.Context) (map[string]time.Time, error) {
	return readMap(ctx, l, "read holds", func(scan func(...any) error) (id string, at time.Time, err error) {
		var since int64
		err = scan(&id, &since)
		return id, unstamp(since), err
	}, "SELECT id, since FROM seen_holds")
}

// See notes that exactly these holds are in force, and says since when without a break: now, for one that was not.
func (l *Ledger) See(ctx context.Context, ids []string, now time.Time) (map[string]time.Time, error) {
	seen, err := l.Seen(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]time.Time{}
	for _, id := range ids {
		since, ok := seen[id]
		if !ok {
			since = now
			_, err = l.write(ctx, "note hold", "INSERT INTO seen_holds (id, since) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", id, stamp(now))
		}
		if err != nil {
			return nil, err
		}
		out[id] = since
		delete(seen, id)
	}
	for id := range seen {
		if _, err := l.write(ctx, "forget hold", "DELETE FROM seen_holds WHERE id = ?", id); err != nil {
			return nil, err
		}
	}
	return out, nil
}
