package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/ledger/ledgertest"
)

// recorded is what a database says that each FEC is to run: how many FECs, and of how many commits.
func recorded(server *ledgertest.Postgres, commit string) string {
	return server.Query("pomona", "pomona", fmt.Sprintf("SELECT count(DISTINCT fec), count(*) FILTER (WHERE commit_id = '%s') > 0 FROM pomona_one.fec_software", commit))
}

// TestALedgerOfWhichNobodyKnowsWhereItIs keeps no FEC from booting: the file with its secret is not there, as after a vault failed.
func TestALedgerOfWhichNobodyKnowsWhereItIs(t *testing.T) {
	c := &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{"one": newWorld(t)},
		addrs: map[string]string{"admin": freeAddress(t), "one": freeAddress(t)}}
	w, missing := c.sites["one"], filepath.Join(t.TempDir(), "connection")
	c.write(t, []string{"one"}, fmt.Sprintf("\t\tledger: postgres: %q\n", missing))
	c.service = serveFile(t, c.file)
	t.Cleanup(func() { _ = c.end(syscall.SIGTERM) })
	w.follows("the first commit is published")
	eventually(t, "what is wrong is told", func() bool {
		return strings.Contains(c.log(), "ledger cannot be used") && strings.Contains(c.log(), missing)
	})
	if out, errs, code := pomona(t, "status", "--root", w.root, "--fecs"); code == 0 || !strings.Contains(errs, "it is not known what FECs run") {
		t.Errorf("status: exit code %d: %s%s", code, out, errs)
	}
	if out, errs, code := pomona(t, "fec", "kgp1bp01", "--root", w.root); code != 0 || !strings.Contains(out, "it is not known what it runs") {
		t.Errorf("fec: exit code %d: %s%s", code, out, errs)
	}
}

// TestALedgerInPostgreSQL has the database away when the service starts, restarted while a pass runs, and hanging: what is
// served follows the branch all the same, holds stay, and what was missed is recorded when the database is back.
func TestALedgerInPostgreSQL(t *testing.T) {
	t.Parallel()
	server := ledgertest.NewPostgres(t)
	connection := server.File()
	server.Stop()
	a := newAskedOf(t, "", fmt.Sprintf("\t\tledger: postgres: %q\n", connection))
	a.follows("the first commit is published")
	eventually(t, "what is wrong is told", func() bool { return strings.Contains(a.log(), "ledger cannot be used") })
	if _, errs, code := pomona(t, "hold", "place", "site", "--reason", "beam", "--for", "2h", "--by", "ann", "--root", a.root); code == 0 || !strings.Contains(errs, "connect") {
		t.Errorf("a hold that cannot be kept: exit code %d: %s", code, errs)
	}

	// It comes.
	server.Start()
	all := fmt.Sprint(len(a.fecs()))
	a.touch()
	a.kick()
	a.follows("a commit is published")
	eventually(t, "what is published is recorded", func() bool { return recorded(server, a.published()) == all+"|t" })
	a.hold("hold", "place", "fecs.kgp2bp01", "--reason", "beam", "--for", "2h", "--by", "ann")
	a.kick()

	// It is restarted in the middle of a pass.
	a.put("wait")
	n := 0
	for _, there := a.document(n); there; _, there = a.document(n) {
		n++
	}
	a.touch()
	eventually(t, "a pass waits", func() bool { _, ok := a.document(n); return ok })
	server.Restart()
	a.drop("wait")
	a.follows("it is published")
	a.kick()
	eventually(t, "it is recorded", func() bool { return recorded(server, a.published()) == all+"|t" })
	if got := server.Query("pomona", "pomona", "SELECT count(DISTINCT commit_id) FROM pomona_one.fec_software WHERE fec = 'kgp2bp01' OR commit_id = '"+a.published()+"'"); got != "2" {
		t.Errorf("the FEC that is held has %s commits beside the others", got)
	}

	// It hangs.
	server.Pause()
	a.touch()
	a.follows("a commit is published beside a database that hangs")
	server.Continue()

	// Without the service, commands find it.
	eventually(t, "it can be used again", func() bool { return !strings.Contains(a.hold("status"), "trouble") })
	if err := a.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if st := a.world.status(); len(st.Holds) != 1 || st.Holds[0].Scope != "fecs.kgp2bp01" || len(st.Passes) < 3 {
		t.Errorf("status without a service: %+v", st)
	}
	a.hold("hold", "lift", "h-1")
	a.reconcile()
	if got := server.Query("pomona", "pomona", "SELECT outcome FROM pomona_one.passes ORDER BY id DESC LIMIT 1"); got != "published" {
		t.Errorf("the last pass, of a command, is recorded as %q", got)
	}
	note, err := os.ReadFile(filepath.Join(a.root, ".pomona/ledger-place"))
	if err != nil || !strings.Contains(string(note), connection) {
		t.Errorf("the root says %q of its ledger, %v", note, err)
	}
	for what, text := range map[string]string{"log": a.log(), "note": string(note)} {
		if strings.Contains(text, ledgertest.Password) {
			t.Errorf("the password is in the %s:\n%s", what, text)
		}
	}
	if _, err := os.Stat(filepath.Join(a.root, ".pomona/ledger.db")); !os.IsNotExist(err) {
		t.Errorf("there is a file beside it: %v", err)
	}
	a.service = serveFile(t, a.file)
	eventually(t, "the service is back", func() bool { return a.answers("one") })
}

// TestTwoServicesOfOneLedger starts two services that name the same ledger: one has it, and both serve.
func TestTwoServicesOfOneLedger(t *testing.T) {
	t.Parallel()
	server := ledgertest.NewPostgres(t)
	more := fmt.Sprintf("\t\tledger: {postgres: %q, schema: \"shared\"}\n", server.File())
	var two []*configured
	for range 2 {
		c := configure(t, "one")
		c.write(t, []string{"one"}, more)
		c.sites["one"].follows("its commit is published")
		two = append(two, c)
		eventually(t, "the ledger is there", func() bool {
			_, err := server.TryQuery("pomona", "pomona", "SELECT 1 FROM shared.passes LIMIT 1")
			return err == nil
		})
	}
	eventually(t, "the second says what is wrong", func() bool { return strings.Contains(two[1].log(), "another service writes this ledger") })
	if strings.Contains(two[0].log(), "ledger cannot be used") {
		t.Errorf("the first cannot use its ledger:\n%s", two[0].log())
	}
	if !two[0].answers("one") || !two[1].answers("one") {
		t.Error("a site is not served")
	}
}
