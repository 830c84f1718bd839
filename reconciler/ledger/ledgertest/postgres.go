// Package ledgertest runs a real PostgreSQL server for tests.
package ledgertest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pomona-gitops/pomona/e2e/address"
)

// Postgres is a server of its own, with one database and two roles: its owner pomona, and postgres.
type Postgres struct {
	t    testing.TB
	dir  string
	port string
	bin  string
	as   *syscall.Credential // who runs it: it refuses to be run by root
}

// Password is that of both roles.
const Password = "s3cret-of-the-ledger"

// NewPostgres starts a server, which ends with the test. Without Debian's package postgresql the test is skipped, but in CI it
// fails.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	p := &Postgres{t: t, bin: programs(t)}
	var err error
	if p.dir, err = os.MkdirTemp("", "pomona-postgres-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(p.dir) })
	if os.Getuid() == 0 {
		p.as = credential(t)
		if err := os.Chown(p.dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run("initdb", "-D", p.data(), "-U", "postgres", "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	if p.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.control("stop", "-m", "immediate") }) // unless the test has stopped it
	p.Start()
	p.Query("postgres", "postgres", "CREATE ROLE pomona LOGIN PASSWORD '"+Password+"'")
	p.Query("postgres", "postgres", "CREATE DATABASE pomona OWNER pomona")
	return p
}

// programs is where Debian has the server's programs.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well-formed
	if len(found) > 0 {
		return filepath.Dir(slices.Max(found))
	}
	if os.Getenv("CI") != "" {
		t.Fatal("PostgreSQL is missing: .ci/setup must install Debian's package postgresql")
	}
	t.Skip("SKIPPED: PostgreSQL is missing; install Debian's package postgresql")
	return ""
}

func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func freePort() (string, error) {
	free, err := address.Free()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(free)
	return port, err
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
	return cmd
}

func (p *Postgres) run(program string, args ...string) {
	p.t.Helper()
	if out, err := p.command(program, args...).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// control is pg_ctl. What it starts keeps none of its descriptors, so that nobody waits for them.
func (p *Postgres) control(args ...string) error {
	cmd := p.command("pg_ctl", append([]string{"-D", p.data(), "-w", "-t", "300", "-l", filepath.Join(p.dir, "log"), "-s"}, args...)...)
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(p.dir, "log")) // else without it
		return fmt.Errorf("pg_ctl %s: %w\n%s", args[0], err, log)
	}
	return nil
}

// Start starts the server, and waits until it answers.
func (p *Postgres) Start() {
	p.t.Helper()
	options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%s -c unix_socket_directories=%s -c fsync=off", p.port, p.dir)
	if err := p.control("start", "-o", options); err != nil {
		p.t.Fatal(err)
	}
}

// Stop stops the server as if it crashed: nobody is told.
func (p *Postgres) Stop() {
	p.t.Helper()
	if err := p.control("stop", "-m", "immediate"); err != nil {
		p.t.Fatal(err)
	}
}

// Restart is a restart as an administrator does it: clients are told, and must connect again.
func (p *Postgres) Restart() {
	p.t.Helper()
	if err := p.control("stop", "-m", "fast"); err != nil {
		p.t.Fatal(err)
	}
	p.Start()
}

// Pause has every process of the server stand still, connected as it is, until Continue.
func (p *Postgres) Pause() { p.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *Postgres) Continue() { p.signal(syscall.SIGCONT) }

func (p *Postgres) signal(s syscall.Signal) {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	children, err := os.ReadFile("/proc/" + first + "/task/" + first + "/children")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, word := range append(strings.Fields(string(children)), first) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
			_ = syscall.Kill(pid, s) // it may have ended
		}
	}
}

// URL is the connection string of a role.
func (p *Postgres) URL(role string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, Password), Host: "127.0.0.1:" + p.port, Path: "/pomona"}
	return u.String()
}

// File is a file with the connection string of pomona.
func (p *Postgres) File() string {
	p.t.Helper()
	name := filepath.Join(p.t.TempDir(), "connection")
	if err := os.WriteFile(name, []byte(p.URL("pomona")+"\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// Query has psql run statements in a database as a role, and returns what it prints: rows without decoration.
func (p *Postgres) Query(role, database, statements string) string {
	p.t.Helper()
	out, err := p.TryQuery(role, database, statements)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// TryQuery is Query of what may be refused.
func (p *Postgres) TryQuery(role, database, statements string) (string, error) {
	cmd := p.command("psql", "-h", "127.0.0.1", "-p", p.port, "-U", role, "-d", database, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Address is where the server listens.
func (p *Postgres) Address() (host, port string) { return "127.0.0.1", p.port }
