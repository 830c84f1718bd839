// Package ledger is the durable record of what a service did and was told: passes, holds, accepted commits, checks of pull
// requests, deliveries of webhooks, notifications, previews, reports of FECs, what was published to them. It is one SQLite file
// or a schema of a PostgreSQL database, and survives a kill or a power cut with everything that a method has returned from.
//
// Nothing that is served depends on it: without it the tree stays, and what matters is made again from the tree and git.
package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Ledger is one open ledger, for any number of goroutines.
type Ledger struct {
	db   *sql.DB
	kind kind
	// Fresh says that it was not there or held nothing: what can be known otherwise should be entered again.
	Fresh bool
	// Aside is where one was put that could not be read, and Why says what was wrong with it; empty for none.
	Aside, Why string
}

// Place is where a ledger lies: a file, or a schema of a database.
type Place interface {
	Open(context.Context) (*Ledger, error) // for writing
	Look(context.Context) (*Ledger, error) // for reading only
	InPlace() bool                         // one that is open is still the one that lies there
}

// kind is a place, and its dialect of SQL.
type kind interface {
	begin(context.Context) (db *sql.DB, fresh bool, err error)
	dialect() goose.Dialect
	setAside(context.Context) (aside string, err error) // for people to look at
	limit() string                                      // statement
}

// ErrNone says that there is no ledger to read.
var ErrNone = errors.New("there is no ledger")

// open opens a ledger for writing, or makes it. One that is damaged is set aside, and a new one made.
func open(ctx context.Context, k kind) (*Ledger, error) {
	l, err := openAsIs(ctx, k)
	if !IsCorrupt(err) {
		return l, err
	}
	aside, moved := k.setAside(ctx)
	if moved != nil {
		return nil, fmt.Errorf("set aside damaged ledger: %w", errors.Join(moved, err))
	}
	if l, moved = openAsIs(ctx, k); moved != nil {
		return nil, moved
	}
	l.Aside, l.Why = aside, err.Error()
	return l, nil
}

func openAsIs(ctx context.Context, k kind) (*Ledger, error) {
	db, fresh, err := k.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{db: db, kind: k, Fresh: fresh}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), db.Close())
	}
	return l, nil
}

// prepare brings the tables to what this version of Pomona knows.
func (l *Ledger) prepare(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(l.kind.dialect(), l.db, files)
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("a newer Pomona wrote it (version %d, this one knows %d)", have, want)
	}
	l.Fresh = l.Fresh || have == 0
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	return complete(ctx, l.db)
}

// complete finds tables that somebody removed.
func complete(ctx context.Context, db *sql.DB) error {
	for _, table := range []string{
		"passes", "pass_plans", "accepted", "holds", "overrides", "seen_holds", "checks", "deliveries", "notifications", "previews",
		"reports", "latest_reports",
		"published_fecs", "published_software", "published_releases",
		"campaigns", "campaign_stages", "campaign_evidence", "slices", "slice_inputs", "slice_added", "slice_edges",
		"launches", "submissions", "submission_events",
		"rollouts", "rollout_pauses", "past_restarts",
		"hooks", "record_proofs", "pilot_sights", "pilot_runs",
		"pilot_probes", "pilot_broadcasts", "pilot_deliveries",
	} {
		if _, err := db.ExecContext(ctx, "SELECT 1 FROM "+table+" LIMIT 1"); sqliteLacks(err) || postgresDamaged(err) {
			return fmt.Errorf("%w: %w", errDamaged, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// errDamaged says what a check finds.
var errDamaged = errors.New("it is damaged")

// IsCorrupt says whether an error means that the ledger is damaged: opening it once more sets it aside.
func IsCorrupt(err error) bool {
	return errors.Is(err, errDamaged) || sqliteDamaged(err) || postgresDamaged(err)
}

// Limit lets the ledger grow no more, as a full disk would.
func (l *Ledger) Limit(ctx context.Context) error {
	_, err := l.write(ctx, "limit ledger", l.kind.limit())
	return err
}

// Close ends what is under way, and closes it.
func (l *Ledger) Close() error { return l.db.Close() }

// write runs one statement, durably.
func (l *Ledger) write(ctx context.Context, what, statement string, args ...any) (changed int64, err error) {
	done, err := l.db.ExecContext(ctx, statement, args...)
	if err == nil {
		changed, err = done.RowsAffected()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return changed, nil
}

// read collects the rows of a query.
func read[T any](ctx context.Context, l *Ledger, what string, scan func(func(...any) error) (T, error), query string, args ...any) (out []T, err error) {
	err = l.readEach(ctx, what, func(row func(...any) error) error {
		v, err := scan(row)
		out = append(out, v)
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readMap collects the rows of a query by what each is known by.
func readMap[K comparable, V any](ctx context.Context, l *Ledger, what string, scan func(func(...any) error) (K, V, error), query string, args ...any) (map[K]V, error) {
	out := map[K]V{}
	return out, l.readEach(ctx, what, func(row func(...any) error) error {
		k, v, err := scan(row)
		out[k] = v
		return err
	}, query, args...)
}

// readEach hands on the rows of a query, one call for each.
func (l *Ledger) readEach(ctx context.Context, what string, each func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, l.unlessOlder(ctx, err))
	}
	defer rows.Close() // its error is rows.Err's
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// unlessOlder is why a query cannot be asked: plainly, if whoever wrote the ledger last knew less than this Pomona.
func (l *Ledger) unlessOlder(ctx context.Context, err error) error {
	files, _ := migrations.ReadDir("migrations") // in their order
	if !sqliteLacks(err) && !postgresDamaged(err) || len(files) == 0 {
		return err
	}
	var have sql.NullInt64
	if l.db.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&have) != nil || !have.Valid {
		return err
	}
	want, unnamed := goose.NumericComponent(files[len(files)-1].Name())
	if unnamed != nil || have.Int64 >= want {
		return err
	}
	return fmt.Errorf("an older Pomona wrote the ledger (version %d, this one knows %d): start the service of this one once: %w", have.Int64, want, err)
}

// stamp is a time as it is stored; the zero time is 0.
func stamp(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func unstamp(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
