package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Postgres is a ledger that is a schema of a PostgreSQL database.
type Postgres struct {
	File   string `json:"postgres"` // that holds the connection string: read for each connection, so that a password may change
	Schema string `json:"schema"`
}

// ErrTaken says that another service writes the same ledger.
var ErrTaken = errors.New("another service writes this ledger: give each site a schema of its own")

// Open opens the ledger for writing, or makes its schema and tables. Nobody else can, until it is closed or its connection
// ends. A schema that is damaged is set aside under another name, and a new one made.
func (p Postgres) Open(ctx context.Context) (*Ledger, error) { return open(ctx, p) }

// Look opens the ledger for reading only, also beside a service. It is ErrNone if there is no such schema.
func (p Postgres) Look(ctx context.Context) (*Ledger, error) {
	db, err := p.connect(false)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	there, err := p.there(ctx, db)
	if err == nil && !there {
		err = ErrNone
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), db.Close())
	}
	return &Ledger{db: db, kind: p}, nil
}

func (p Postgres) begin(ctx context.Context) (*sql.DB, bool, error) {
	db, err := p.connect(true)
	if err != nil {
		return nil, false, err
	}
	there, err := p.there(ctx, db)
	if err == nil && !there { // CREATE SCHEMA IF NOT EXISTS asks for more rights than a schema that is there needs
		_, err = db.ExecContext(ctx, "CREATE SCHEMA "+p.quoted())
	}
	if err != nil {
		return nil, false, errors.Join(err, db.Close())
	}
	return db, !there, nil
}

func (p Postgres) there(ctx context.Context, db *sql.DB) (there bool, err error) {
	err = db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ?)", p.Schema).Scan(&there)
	return there, err
}

func (p Postgres) quoted() string { return pgx.Identifier{p.Schema}.Sanitize() }

// connect is a pool of one connection, which is made when it is needed.
func (p Postgres) connect(write bool) (*sql.DB, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["search_path"] = p.quoted()
	config.RuntimeParams["application_name"] = "pomona"
	// A host that vanished lets go of the lock within a minute.
	config.RuntimeParams["tcp_keepalives_idle"] = "20"
	config.RuntimeParams["tcp_keepalives_interval"] = "10"
	config.RuntimeParams["tcp_keepalives_count"] = "4"
	options := []stdlib.OptionOpenDB{stdlib.OptionBeforeConnect(p.again)}
	if write {
		options = append(options, stdlib.OptionAfterConnect(p.lock))
	} else {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	db := sql.OpenDB(rebinding{stdlib.GetConnector(*config, options...)})
	db.SetMaxOpenConns(1)
	return db, nil
}

func (p Postgres) config() (*pgx.ConnConfig, error) {
	b, err := os.ReadFile(p.File)
	if err != nil {
		return nil, fmt.Errorf("read connection string: %w", err)
	}
	config, err := pgx.ParseConfig(strings.TrimSpace(string(b)))
	if err != nil { // the cause may quote it
		return nil, fmt.Errorf("%s holds no connection string of PostgreSQL, such as postgres://USER:PASSWORD@HOST/DATABASE", p.File)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	// Statements over many rows are hardly ever the same: nothing is kept of them.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return impatient{conn}, err
	}
	return config, nil
}

// again has a connection made with the name and the password that the file holds then.
func (p Postgres) again(_ context.Context, c *pgx.ConnConfig) error {
	now, err := p.config()
	if err == nil {
		c.User, c.Password = now.User, now.Password
	}
	return err
}

// patience is how long a server may take to answer anything.
const patience = 10 * time.Second

// impatient is a connection that breaks when the other side is silent.
type impatient struct{ net.Conn }

func (c impatient) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// lock makes a new connection the one that writes this ledger. The lock lasts as long as the connection, so that there is
// none that writes without it. One that has just ended may hold it for a moment more.
func (p Postgres) lock(ctx context.Context, conn *pgx.Conn) error {
	h := fnv.New64a()
	h.Write([]byte("pomona ledger " + p.Schema)) // never fails
	_, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = '2s'; SELECT pg_advisory_lock(%d); RESET lock_timeout", int64(h.Sum64())))
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == lockNotAvailable {
		return ErrTaken
	}
	return err
}

const lockNotAvailable = "55P03"

// InPlace is true: a connection that ends is made again.
func (Postgres) InPlace() bool { return true }

func (Postgres) dialect() goose.Dialect { return goose.DialectPostgres }

// setAside renames a damaged schema.
func (p Postgres) setAside(ctx context.Context) (string, error) {
	db, err := p.connect(true)
	if err != nil {
		return "", err
	}
	defer db.Close() // its statement has ended
	mark := time.Now().UTC().Format("_damaged_20060102t150405")
	aside := p.Schema[:min(len(p.Schema), 63-len(mark))] + mark // names are no longer than 63 bytes
	_, err = db.ExecContext(ctx, "ALTER SCHEMA "+p.quoted()+" RENAME TO "+pgx.Identifier{aside}.Sanitize())
	return "schema " + aside, err
}

func (Postgres) limit() string { return "SET default_transaction_read_only = on" }

// Error codes of PostgreSQL, by which something is damaged.
var postgresDamage = map[string]bool{
	"42P01": true, // no such table
	"42703": true, // no such column
	"XX001": true, // damaged data
	"XX002": true, // damaged index
}

func postgresDamaged(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && postgresDamage[e.Code]
}

// rebinding makes connections that take statements as SQLite does: parameters are ?, and text may be any bytes.
type rebinding struct{ driver.Connector }

func (r rebinding) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return rebound{conn.(*stdlib.Conn)}, nil // so it is documented
}

type rebound struct{ *stdlib.Conn }

func (c rebound) Prepare(query string) (driver.Stmt, error) { return c.Conn.Prepare(rebind(query)) }

func (c rebound) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.PrepareContext(ctx, rebind(query))
}

func (c rebound) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.ExecContext(ctx, rebind(query), args)
}

func (c rebound) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.QueryContext(ctx, rebind(query), args)
}

// CheckNamedValue replaces what PostgreSQL does not take as text.
func (c rebound) CheckNamedValue(v *driver.NamedValue) error {
	if s, ok := v.Value.(string); ok && (strings.ContainsRune(s, 0) || strings.ToValidUTF8(s, "") != s) {
		v.Value = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	}
	return c.Conn.CheckNamedValue(v)
}

// rebind numbers the parameters of a statement, outside quotes: ? becomes $1, $2 and so on.
func rebind(query string) string {
	var b strings.Builder
	n, quote := 0, byte(0)
	for i := range len(query) {
		switch c := query[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '?':
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteByte(query[i])
	}
	return b.String()
}
