package ledger

import (
	"context"
	"database/sql"
	"time"
)

// Disturbance is a time during which something kept campaigns from going on.
type Disturbance struct {
	Kind   string // hold, service or engine
	Name   string // of the hold, service or engine
	Scope  string // of a hold; empty: everything
	Reason string
	Began  time.Time
	Ended  time.Time // zero: it lasts
}

// SetDisturbances enters that exactly these last now: those that were there go on, others have ended. It writes only what has changed.
func (l *Ledger) SetDisturbances(ctx context.Context, now time.Time, last []Disturbance) error {
	have, err := l.disturbances(ctx, "SELECT kind, name, scope, reason, began, ended FROM disturbances WHERE ended = 0")
	if err != nil {
		return err
	}
	type id struct{ kind, name, scope string }
	there := map[id]bool{}
	var begun [][]any
	var over []Disturbance
	for _, d := range last {
		there[id{d.Kind, d.Name, d.Scope}] = true
	}
	for _, d := range have {
		if there[id{d.Kind, d.Name, d.Scope}] {
			there[id{d.Kind, d.Name, d.Scope}] = false // entered already
		} else {
			over = append(over, d)
		}
	}
	for _, d := range last {
		if key := (id{d.Kind, d.Name, d.Scope}); there[key] {
			there[key] = false
			begun = append(begun, []any{d.Kind, d.Name, d.Scope, d.Reason, stamp(now), 0})
		}
	}
	if len(begun)+len(over) == 0 {
		return nil
	}
	return l.atomically(ctx, "record disturbances", func(tx *sql.Tx) error {
		for _, d := range over {
			if _, err := tx.ExecContext(ctx, "UPDATE disturbances SET ended = ? WHERE kind = ? AND name = ? AND began = ?", stamp(now), d.Kind, d.Name, stamp(d.Began)); err != nil {
				return err
			}
		}
		return inBatches(ctx, tx, "INSERT INTO disturbances (kind, name, scope, reason, began, ended) VALUES ", begun,
			" ON CONFLICT (kind, name, began) DO UPDATE SET scope = excluded.scope, reason = excluded.reason, ended = 0")
	})
}

// Disturbances are those that lasted at some moment from one time to another, in the order of their beginnings.
func (l *Ledger) Disturbances(ctx context.Context, from, to time.Time) ([]Disturbance, error) {
	return l.disturbances(ctx, "SELECT kind, name, scope, reason, began, ended FROM disturbances WHERE began <= ? AND (ended = 0 OR ended >= ?) ORDER BY began, kind, name", stamp(to), stamp(from))
}

func (l *Ledger) disturbances(ctx context.Context, query string, args ...any) ([]Disturbance, error) {
	return read(ctx, l, "read disturbances", func(scan func(...any) error) (d Disturbance, err error) {
		var began, ended int64
		err = scan(&d.Kind, &d.Name, &d.Scope, &d.Reason, &began, &ended)
		d.Began, d.Ended = unstamp(began), unstamp(ended)
		return d, err
	}, query, args...)
}
