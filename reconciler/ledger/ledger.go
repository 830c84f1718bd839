// Package ledger is the durable record of what a service did and was told: passes, holds, accepted commits, checks of pull
// requests, deliveries of webhooks, notifications, previews, what FECs reported. It is one SQLite file, and survives a kill or a power cut with
// everything that a method has returned from.
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
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// File is the ledger's name in the private part of a root.
const File = "ledger.db"

//go:embed migrations/*.sql
var migrations embed.FS

// Ledger is one open ledger, for any number of goroutines.
type Ledger struct {
	db *sql.DB
	// Fresh says that the file was not there or held nothing: what can be known otherwise should be entered again.
	Fresh bool
	// Aside is where a file was put that could not be read, and Why says what was wrong with it; empty for none.
	Aside, Why string
}

// ErrNone says that there is no ledger to read.
var ErrNone = errors.New("there is no ledger")

// Open opens the ledger at path for writing, or makes it. A file that is damaged is set aside, and a new one made.
func Open(ctx context.Context, path string) (*Ledger, error) {
	l, err := open(ctx, path)
	if !IsCorrupt(err) {
		return l, err
	}
	aside, moved := setAside(path)
	if moved != nil {
		return nil, fmt.Errorf("set aside damaged ledger: %w", errors.Join(moved, err))
	}
	if l, moved = open(ctx, path); moved != nil {
		return nil, moved
	}
	l.Aside, l.Why = aside, err.Error()
	return l, nil
}

func open(ctx context.Context, path string) (*Ledger, error) {
	_, err := os.Lstat(path)
	l := &Ledger{Fresh: errors.Is(err, fs.ErrNotExist)}
	// One connection: whoever waits, waits here and not in SQLite.
	if l.db, err = connect(path, "_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.db.Close())
	}
	return l, nil
}

func connect(path, options string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: options}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// prepare checks the file and brings its tables to what this version of Pomona knows.
func (l *Ledger) prepare(ctx context.Context) error {
	if err := sound(ctx, l.db); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, l.db, files)
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

// errDamaged says what SQLite's own check finds.
var errDamaged = errors.New("the file is damaged")

// sound is SQLite's own check.
func sound(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, verdict)
	}
	return nil
}

// complete finds tables that somebody removed.
func complete(ctx context.Context, db *sql.DB) error {
	for _, table := range []string{"passes", "accepted", "holds", "overrides", "seen_holds", "checks", "deliveries", "notifications", "previews",
		"reports", "latest_reports"} {
		if _, err := db.ExecContext(ctx, "SELECT 1 FROM "+table+" LIMIT 1"); err != nil {
			if IsFull(err) {
				return err
			}
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	return nil
}

// IsCorrupt says whether an error means that the file is damaged: opening it once more sets it aside.
func IsCorrupt(err error) bool {
	code := codeOf(err)
	return errors.Is(err, errDamaged) || code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// IsFull says whether an error means that the disk takes no more, or fails: waiting may help.
func IsFull(err error) bool {
	switch codeOf(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY:
		return true
	}
	return false
}

// codeOf is the primary result code of SQLite.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// setAside renames a damaged ledger and what belongs to it, for people to look at.
func setAside(path string) (string, error) {
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// Look opens a ledger for reading only, also beside a service. It is ErrNone if there is no file.
func Look(ctx context.Context, path string) (*Ledger, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	} else if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	options := "mode=ro&_pragma=busy_timeout(10000)"
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		options = "immutable=1" // nobody has it open: nothing is made beside it
	}
	db, err := connect(path, options)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := sound(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("read ledger: %w", err), db.Close())
	}
	return &Ledger{db: db}, nil
}

// Close ends what is under way, and closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// Limit lets the ledger grow no more, as a full disk would.
func (l *Ledger) Limit(ctx context.Context) error {
	_, err := l.write(ctx, "limit ledger", "PRAGMA max_page_count = 1") // the smallest that it may have: its present size
	return err
}

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
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close() // its error is rows.Err's
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
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
