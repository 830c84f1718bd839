package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/ledger/ledgertest"
)

// postgresFile names, in its environment, the file by which this test binary's ledgers are schemas of a database.
const postgresFile = "LEDGER_ON_POSTGRES"

func againstPostgres() bool { return os.Getenv(postgresFile) != "" }

// onPostgres is the schema that stands for a file, where the tests run against PostgreSQL.
func onPostgres(path string) (ledger.Postgres, bool) {
	sum := sha256.Sum256([]byte(path))
	return ledger.Postgres{File: os.Getenv(postgresFile), Schema: "t_" + hex.EncodeToString(sum[:8])}, againstPostgres()
}

// yes is true, as each database has it.
func yes() string {
	if againstPostgres() {
		return "true"
	}
	return "1"
}

// TestTheSameOnPostgreSQL runs every test of this package once more, against a server.
func TestTheSameOnPostgreSQL(t *testing.T) {
	if againstPostgres() {
		return
	}
	server := ledgertest.NewPostgres(t)
	cmd := exec.Command(os.Args[0], "-test.count=1", "-test.v", "-test.skip=NoTwoServices|ServerThatIsAway")
	cmd.Env = append(os.Environ(), postgresFile+"="+server.File())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if schemas := server.Query("pomona", "pomona", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 't\\_%'"); len(schemas) < 2 {
		t.Errorf("the tests made %s schemas: they ran against something else\n%s", schemas, out)
	}
}

func TestNoTwoServicesWriteOneLedger(t *testing.T) {
	server := ledgertest.NewPostgres(t)
	p := ledger.Postgres{File: server.File(), Schema: "pomona_gsi"}
	first, err := p.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := p.Open(t.Context()); !errors.Is(err, ledger.ErrTaken) {
		t.Errorf("a second writer: %v", err)
	}
	other := p
	other.Schema = "pomona_other"
	if l, err := other.Open(t.Context()); err != nil {
		t.Errorf("another schema: %v", err)
	} else {
		l.Close()
	}
	reader, err := p.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.Place(t.Context(), hold("site")); err == nil {
		t.Error("a reader writes")
	}

	// A connection that is made again takes the lock again.
	server.Restart()
	if _, err := first.Place(t.Context(), hold("site")); err != nil {
		if _, err = first.Place(t.Context(), hold("site")); err != nil {
			t.Errorf("after a restart of the server: %v", err)
		}
	}
	if _, err := p.Open(t.Context()); !errors.Is(err, ledger.ErrTaken) {
		t.Errorf("a second writer after a restart of the server: %v", err)
	}
	first.Close()
	l, err := p.Open(t.Context())
	if err != nil || l.Fresh {
		t.Fatalf("after the first one closed: %v", err)
	}
	if holds, err := l.Holds(t.Context()); len(holds) != 1 || err != nil {
		t.Errorf("holds %v, %v", holds, err)
	}
	l.Close()
}

func TestAServerThatIsAwayIsNoDamage(t *testing.T) {
	server := ledgertest.NewPostgres(t)
	p := ledger.Postgres{File: server.File(), Schema: "pomona_gsi"}
	l, err := p.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server.Stop()
	_, err = l.Place(t.Context(), hold("site"))
	if err == nil || ledger.IsCorrupt(err) {
		t.Errorf("an open ledger: %v", err)
	}
	if _, err := p.Open(t.Context()); err == nil || ledger.IsCorrupt(err) || strings.Contains(err.Error(), ledgertest.Password) {
		t.Errorf("opened: %v", err)
	}
	server.Start()
	server.Query("postgres", "postgres", "ALTER ROLE pomona PASSWORD 'another'")
	rewrite(t, p.File, []byte(strings.Replace(server.URL("pomona"), ledgertest.Password, "another", 1)))
	if _, err := l.Place(t.Context(), hold("site")); err != nil {
		t.Errorf("it is back, with another password: %v", err)
	}
}

func TestAConnectionStringIsNeverTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "connection")
	rewrite(t, file, []byte("postgres://pomona:s3cret-of-the-ledger@[nonsense"))
	_, err := ledger.Postgres{File: file, Schema: "s"}.Open(t.Context())
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	if _, err := (ledger.Postgres{File: file + ".gone", Schema: "s"}).Look(t.Context()); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestAnyTextIsTaken(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "l.db"))
	h := hold("site")
	h.Reason = "bits \x00\xff of 'it' ? $1"
	if _, err := l.Place(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	holds, err := l.Holds(t.Context())
	if len(holds) != 1 || err != nil || !strings.HasSuffix(holds[0].Reason, " of 'it' ? $1") || !holds[0].Until.Equal(now.Add(time.Hour)) {
		t.Errorf("got %+v, %v", holds, err)
	}
}
