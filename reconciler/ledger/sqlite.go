package ledger

import (
	"context"
	"database/sql"
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

// SQLite is a ledger that is one file, at this path.
type SQLite string

// File is the ledger's name in the private part of a root, unless it lies elsewhere.
const File = "ledger.db"

// Open opens the ledger at path for writing, or makes it. A file that is damaged is set aside, and a new one made.
func Open(ctx context.Context, path string) (*Ledger, error) { return SQLite(path).Open(ctx) }

// Look opens a ledger for reading only, also beside a service. It is ErrNone if there is no file.
func Look(ctx context.Context, path string) (*Ledger, error) { return SQLite(path).Look(ctx) }

// Open opens the ledger for writing, or makes it. A file that is damaged is set aside, and a new one made.
func (f SQLite) Open(ctx context.Context) (*Ledger, error) { return open(ctx, f) }

// InPlace says whether the file lies where it was.
func (f SQLite) InPlace() bool {
	info, err := os.Lstat(string(f))
	return err == nil && info.Mode().IsRegular()
}

// Look opens the ledger for reading only, also beside a service. It is ErrNone if there is no file.
func (f SQLite) Look(ctx context.Context) (*Ledger, error) {
	path := string(f)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	} else if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	options := "mode=ro&_pragma=busy_timeout(10000)"
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		options = "immutable=1" // nobody has it open: nothing is made beside it
	}
	db, err := f.connect(options)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := sound(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("read ledger: %w", err), db.Close())
	}
	return &Ledger{db: db, kind: f}, nil
}

func (f SQLite) begin(ctx context.Context) (*sql.DB, bool, error) {
	_, err := os.Lstat(string(f))
	fresh := errors.Is(err, fs.ErrNotExist)
	// One connection: whoever waits, waits here and not in SQLite. A statement of several rows keeps what would undo it, which else goes into a file.
	db, err := f.connect("_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)")
	if err != nil {
		return nil, false, err
	}
	if err := sound(ctx, db); err != nil {
		return nil, false, errors.Join(err, db.Close())
	}
	return db, fresh, nil
}

func (f SQLite) connect(options string) (*sql.DB, error) {
	path, err := filepath.Abs(string(f))
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: options}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

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

func (SQLite) dialect() goose.Dialect { return goose.DialectSQLite3 }

// setAside renames a damaged file and what belongs to it.
func (f SQLite) setAside(context.Context) (string, error) {
	path := string(f)
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

func (SQLite) limit() string {
	return "PRAGMA max_page_count = 1" // the smallest that it may have: its present size
}

// sqliteCode is the primary result code of SQLite; 0 for an error of something else.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func sqliteDamaged(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// sqliteLacks says whether SQLite knows no table of that name.
func sqliteLacks(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_ERROR }
