package ledger_test

import (
	"database/sql"
	"os"
	"strings"
	"testing"
)

func rewrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// rawAt is the ledger at path as its own programs see it.
func rawAt(path string) (*sql.DB, error) {
	p, ok := onPostgres(path)
	if !ok {
		return sql.Open("sqlite", path)
	}
	connection, err := os.ReadFile(p.File)
	if err != nil {
		return nil, err
	}
	return sql.Open("pgx", strings.TrimSpace(string(connection)))
}

func run(t *testing.T, path, statement string) {
	t.Helper()
	if p, ok := onPostgres(path); ok {
		statement = "SET search_path = " + p.Schema + "; " + statement
	}
	db, err := rawAt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}
