package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"
)

// openOld makes a ledger as a Pomona left it that knew so many migrations, and does something with it.
func openOld(t *testing.T, path string, version int64, statements ...string) {
	t.Helper()
	db, err := rawAt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheOldestPassOfAnUpgradedLedgerIsNews(t *testing.T) {
	if againstPostgres() {
		return // what is entered is not of its schema
	}
	path := filepath.Join(t.TempDir(), "l.db")
	openOld(t, path, 26, `INSERT INTO passes (id, started, ended, wanted, published, generation, tree, outcome, reason, blocked)
		VALUES (7, 1000, 1001, '', '', 0, '', 'unchanged', '', '[]'), (8, 2000, 2001, '', '', 0, '', 'unchanged', '', '[]'), (9, 3000, 3001, '', '', 0, '', 'failed', '', '[]')`)
	passes, of, err := open(t, path).Timeline(t.Context(), "", false, 0, 9)
	if err != nil || of != 2 || passes[0].Number != 9 || passes[1].Number != 7 || passes[1].Again != 1 {
		t.Errorf("%d: %+v, %v", of, passes, err)
	}
}
