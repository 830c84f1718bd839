package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
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

func TestOldSubmissionsHadTheInputsThatTheirSlicesWereCutWith(t *testing.T) {
	if againstPostgres() {
		return // what is entered is not of its schema
	}
	path := filepath.Join(t.TempDir(), "l.db")
	sub := func(key, slice, round string) string {
		return `INSERT INTO submissions VALUES ('` + key + `', 'keepup/1', 'reco', 1, '` + slice + `', ` + round + `, 1, 'pom-l', 1, 'e', '', 'done', '', '', 0, 0, '', 0, 0, 1000, 1000, 1000, 2000, 0)`
	}
	openOld(t, path, 30,
		`INSERT INTO slices VALUES ('keepup/1', 'reco', 1, 'a', '', '', 7, '', '', 0, 'complete', '', 2, 1, 1000, 1000), ('keepup/1', 'reco', 1, 'b', '', '', 2, '', '', 0, 'complete', '', 0, 1, 1000, 1000)`,
		"INSERT INTO slice_added VALUES ('keepup/1', 'reco', 1, 'a', 1, '', 'x\ny\nz'), ('keepup/1', 'reco', 1, 'a', 2, '', 'w'), ('keepup/1', 'reco', 2, 'b', 1, '', 'v')",
		sub("pom-0", "a", "0"), sub("pom-1", "a", "1"), sub("pom-2", "b", "0"), sub("pom-3", "gone", "0"))
	page, _, err := open(t, path).SubmissionsWithin(t.Context(), ledger.SubmissionRange{UID: "keepup/1", Limit: 9})
	got := map[string]int{}
	for _, s := range page {
		got[s.Key] = s.Inputs
	}
	same(t, "inputs", map[string]int{"pom-0": 3, "pom-1": 0, "pom-2": 2, "pom-3": 0}, got, err)
}
