package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/ledger/ledgertest"
)

// asked is a service of one site whose hook before publication notes each document as N.json in a folder, waits while there is a
// file wait, and refuses while there is a file refuse.
type asked struct {
	*configured
	world
	dir string
}

const noting = `cd "$NOTES"; echo $$ > pid; n=$(ls | grep -c json || :); cat > "$n.part"; mv "$n.part" "$n.json"
while [ -e wait ]; do sleep 0.05; done; [ ! -e refuse ] || { echo "the database is read-only today" >&2; exit 3; }`

func newAsked(t *testing.T, after string) *asked { return newAskedOf(t, after, "") }

// newAskedOf has more in the configuration of its site.
func newAskedOf(t *testing.T, after, more string) *asked {
	t.Helper()
	c := &configured{file: filepath.Join(t.TempDir(), "pomona.cue"), sites: map[string]world{"one": newWorld(t)},
		addrs: map[string]string{"admin": freeAddress(t), "one": freeAddress(t)}}
	a := &asked{configured: c, world: c.sites["one"], dir: t.TempDir()}
	c.write(t, []string{"one"}, fmt.Sprintf("\t\thooks: {before: \"10-note\": {command: [\"/bin/sh\", \"-c\", %q], environment: NOTES: %q}\n%s\n\t\t}\n%s", noting, a.dir, after, more))
	c.service = serveFile(t, c.file)
	t.Cleanup(func() {
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Errorf("pomona serve ends with %v", err)
		}
	})
	return a
}

func (a *asked) put(file string) {
	a.world.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, file), nil, 0o644); err != nil {
		a.world.t.Fatal(err)
	}
}

func (a *asked) drop(file string) {
	a.world.t.Helper()
	if err := os.Remove(filepath.Join(a.dir, file)); err != nil {
		a.world.t.Fatal(err)
	}
}

// said is pomona status, its words apart by one space.
func (a *asked) said() string {
	a.world.t.Helper()
	return strings.Join(strings.Fields(a.hold("status")), " ")
}

// document is the nth that was noted, if it is there.
func (a *asked) document(n int) (d struct {
	When, Commit     string
	Generation       int64
	Since            *struct{ Generation int64 }
	FECs             []struct{ Name string }
	Gone             []string
	Hook, Site, Tree string
}, there bool) {
	a.world.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.dir, fmt.Sprintf("%d.json", n)))
	if err != nil {
		return d, false
	}
	if err := json.Unmarshal(b, &d); err != nil {
		a.world.t.Fatal(err)
	}
	return d, true
}

func TestAHookPreventsPublication(t *testing.T) {
	t.Parallel()
	a := newAsked(t, "")
	a.follows("the first commit is published")
	first := a.published()
	if d, ok := a.document(0); !ok || d.When != "before" || d.Commit != first || d.Generation != 1 || d.Since != nil || len(d.FECs) != len(a.fecs()) {
		t.Errorf("asked %+v", d)
	}
	a.put("refuse")
	wanted := a.touch()
	eventually(t, "the hook is asked", func() bool { _, ok := a.document(1); return ok })
	eventually(t, "status says why", func() bool {
		return strings.Contains(a.hold("status"), "publication prevented: hook 10-note failed with exit status 3: the database is read-only today")
	})
	a.serves(first)
	if n := strings.Count(a.log(), "the database is read-only today"); n == 0 {
		t.Errorf("the log does not say why:\n%s", a.log())
	}
	eventually(t, "it is asked again", func() bool { _, ok := a.document(2); return ok })
	a.serves(first)
	a.drop("refuse")
	a.kick()
	a.follows("the commit is published when the hook agrees")
	a.serves(wanted)
	if d, _ := a.document(1); d.Generation != 2 || d.Since == nil || d.Since.Generation != 1 || len(d.FECs) == 0 {
		t.Errorf("asked %+v", d)
	}

	// What it was asked is as the schema says.
	cue := exec.Command(a.stockCUE(), "vet", "-c", "-d", "#HookDocument", "./schema", filepath.Join(a.dir, "0.json"), filepath.Join(a.dir, "1.json"))
	cue.Dir = ".."
	if out, errs, code := runCommand(t, cue); code != 0 {
		t.Errorf("cue vet: %s%s", out, errs)
	}
}

// TestAServiceKilledBetweenHookAndPublication leaves no hook behind, and asks again.
func TestAServiceKilledBetweenHookAndPublication(t *testing.T) {
	t.Parallel()
	a := newAsked(t, "")
	a.follows("the first commit is published")
	first := a.published()
	a.put("wait")
	a.touch()
	eventually(t, "the hook is asked", func() bool { _, ok := a.document(1); return ok })
	hook, err := os.ReadFile(filepath.Join(a.dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	eventually(t, "its hook is gone", func() bool {
		_, err := os.Stat("/proc/" + strings.TrimSpace(string(hook)))
		return os.IsNotExist(err)
	})
	a.serves(first)
	a.drop("wait")
	a.service = serveFile(t, a.file)
	a.follows("the commit is published after all")
	before, _ := a.document(1)
	again, ok := a.document(2)
	if !ok || again.Generation != before.Generation || again.Commit != before.Commit {
		t.Errorf("asked %+v, and again %+v", before, again)
	}
	a.sameAsCommit()
}

// TestAHookKeepsADatabase has the hook of the documentation write a table, which is not there at first.
func TestAHookKeepsADatabase(t *testing.T) {
	t.Parallel()
	server := ledgertest.NewPostgres(t)
	dir := t.TempDir()
	host, port := server.Address()
	pass := filepath.Join(dir, "pgpass")
	if err := os.WriteFile(pass, []byte("*:*:*:*:"+ledgertest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../docs/hooks/database.sh")
	if err != nil {
		t.Fatal(err)
	}
	a := newAsked(t, fmt.Sprintf("after: \"50-database\": {command: [%q], environment: {PGHOST: %q, PGPORT: %q, PGDATABASE: \"pomona\", PGUSER: \"pomona\", PGPASSFILE: %q}}",
		script, host, port, pass))
	a.follows("the first commit is published")
	eventually(t, "the hook fails", func() bool { return strings.Contains(a.log(), `hook not told; it is tried again`) })
	if !strings.Contains(a.log(), `relation \"fec_release\" does not exist`) && !strings.Contains(a.log(), "fec_release") {
		t.Errorf("the log does not say why:\n%s", a.log())
	}
	eventually(t, "status says so", func() bool { return strings.Contains(a.said(), "hook 50-database: failed ") })
	a.touch()
	a.kick()
	a.follows("it holds nothing up")

	// It is told of what it missed when the service is another one.
	if err := a.end(syscall.SIGKILL); err == nil {
		t.Error("a killed service ends well")
	}
	server.Query("pomona", "pomona", "CREATE TABLE fec_release (fec text, software text, version text, generation bigint, PRIMARY KEY (fec, software))")
	a.service = serveFile(t, a.file)
	rows := func() string {
		return server.Query("pomona", "pomona", "SELECT count(DISTINCT fec) FROM fec_release")
	}
	eventually(t, "every FEC is in the table", func() bool { return rows() == fmt.Sprint(len(a.fecs())) })
	eventually(t, "the log says so", func() bool { return strings.Count(a.log(), "told hook") == 1 })

	// A change is written, a FEC that goes is removed, and nothing is told twice.
	a.world.write("more.cue", "package site\n\nfecs: more1: {host: \"more1.example.org\", platform: \"yocto-ppc\", software: \"bpm-fesa\": version: \"3.1.0\"}\n", 0o644)
	a.commit("one more")
	one := func() string {
		return server.Query("pomona", "pomona", "SELECT software, version, generation FROM fec_release WHERE fec = 'more1'")
	}
	eventually(t, "the new one is there", func() bool { return one() == "bpm-fesa|3.1.0|3" })
	if err := os.Remove(filepath.Join(a.site, "more.cue")); err != nil {
		t.Fatal(err)
	}
	a.commit("gone")
	eventually(t, "it is gone", func() bool { return one() == "" })
	eventually(t, "the log says so of three generations", func() bool { return strings.Count(a.log(), "told hook") == 3 })
	a.kick()
	if n := strings.Count(a.log(), "told hook"); n != 3 {
		t.Errorf("it was told %d times of three generations", n)
	}
	if strings.Contains(a.log(), ledgertest.Password) || strings.Contains(a.said(), "hook 50-database: failed") {
		t.Errorf("log and status:\n%s\n%s", a.log(), a.hold("status"))
	}
}
