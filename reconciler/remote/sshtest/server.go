// Package sshtest runs real ssh servers on loopback for tests: OpenSSH's sshd and dropbear, without touching the machine's own.
package sshtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/e2e/address"
)

// Server is a running ssh server, into which the user who runs the test logs in.
type Server struct {
	Address string // HOST:PORT
	User    string
	Key     string // file of the private key that it takes
	HostKey string // "ssh-ed25519 AAAA…"

	t       testing.TB
	command func(host string) *exec.Cmd
	dir     string
	cmd     *exec.Cmd
	log     locked
}

// Option changes what a server does.
type Option func(*options)

type options struct {
	authorized string // before the key, as authorized_keys has it
	hostKey    string // its type
}

// Force has every login run one command without quotes, whatever it asks for: SSH_ORIGINAL_COMMAND says what that was. The
// options are those that every dropbear knows: with one that it does not know, or a quote in the command, it refuses the key.
func Force(command string) Option {
	return func(o *options) {
		o.authorized = `command="` + command + `",no-port-forwarding,no-agent-forwarding,no-pty `
	}
}

// HostKeyType is what kind of key the host has: ed25519, rsa or ecdsa. Default ed25519.
func HostKeyType(kind string) Option { return func(o *options) { o.hostKey = kind } }

// Sshd runs OpenSSH's server until the test ends.
func Sshd(t testing.TB, more ...Option) *Server {
	t.Helper()
	sshd := debian(t, "openssh-server", "/usr/sbin/sshd")
	s, o := prepare(t, more)
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // what Debian's own start of sshd makes
			t.Fatal(err)
		}
	}
	s.newHostKey(o.hostKey)
	keys := s.write("authorized_keys", o.authorized+s.read("user.pub"))
	address, port, _ := net.SplitHostPort(s.Address)
	config := s.write("sshd_config", fmt.Sprintf("Port %s\nListenAddress %s\nHostKey %s/host\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 1000\nAcceptEnv *\n", port, address, s.dir, keys))
	s.command = func(string) *exec.Cmd { return exec.Command(sshd, "-D", "-e", "-f", config) }
	s.Start()
	return s
}

// Dropbear runs dropbear until the test ends. It finds authorized_keys in the user's home alone, so that it is told of
// another home.
func Dropbear(t testing.TB, more ...Option) *Server {
	t.Helper()
	dropbear := debian(t, "dropbear-bin", "/usr/sbin/dropbear")
	convert := debian(t, "dropbear-bin", "/usr/bin/dropbearconvert")
	var wrapper string
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"} {
		if found := filepath.Join(dir, "libnss_wrapper.so"); wrapper == "" && isFile(found) {
			wrapper = found
		}
	}
	if wrapper == "" {
		wrapper = debian(t, "libnss-wrapper", "/usr/lib/libnss_wrapper.so")
	}
	s, o := prepare(t, more)
	s.newHostKey(o.hostKey)
	home := filepath.Join(s.dir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("home/.ssh/authorized_keys", o.authorized+s.read("user.pub"))
	passwd := s.write("passwd", fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", s.User, os.Getuid(), os.Getgid(), home))
	group := s.write("group", fmt.Sprintf("%s:x:%d:\n", s.User, os.Getgid()))
	s.command = func(host string) *exec.Cmd {
		converted := filepath.Join(s.dir, "host.dropbear")
		if out, err := exec.Command(convert, "openssh", "dropbear", host, converted).CombinedOutput(); err != nil {
			t.Fatalf("dropbearconvert: %v\n%s", err, out)
		}
		cmd := exec.Command(dropbear, "-F", "-E", "-s", "-m", "-r", converted, "-p", s.Address, "-P", filepath.Join(s.dir, "pid"))
		cmd.Env = append(os.Environ(), "LD_PRELOAD="+wrapper, "NSS_WRAPPER_PASSWD="+passwd, "NSS_WRAPPER_GROUP="+group)
		return cmd
	}
	s.Start()
	return s
}

// prepare makes what every server needs.
func prepare(t testing.TB, more []Option) (*Server, options) {
	t.Helper()
	debian(t, "openssh-client", "/usr/bin/ssh-keygen")
	o := options{hostKey: "ed25519"}
	for _, option := range more {
		option(&o)
	}
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	free, err := address.Free()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Address: free, User: who.Username, dir: t.TempDir()}
	s.keygen("user", "ed25519")
	s.Key = filepath.Join(s.dir, "user")
	return s, o
}

// Rekey gives the host another key, as a machine has that was set up anew.
func (s *Server) Rekey() {
	s.t.Helper()
	s.Stop()
	s.newHostKey("ed25519")
	s.Start()
}

// Start starts it, also again. It waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.cmd = s.command(filepath.Join(s.dir, "host"))
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.Stop)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			_ = c.Close() // only asked
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the ssh server does not answer: %v\n%s", err, s.log.String())
		}
	}
}

// Stop ends it, but no login that there is.
func (s *Server) Stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // it was killed
	if s.t.Failed() {
		s.t.Log(s.log.String())
	}
}

func (s *Server) newHostKey(kind string) {
	s.t.Helper()
	s.keygen("host", kind)
	s.HostKey = strings.Join(strings.Fields(s.read("host.pub"))[:2], " ")
}

func (s *Server) keygen(name, kind string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	_ = os.Remove(file) // else ssh-keygen asks
	if out, err := exec.Command("/usr/bin/ssh-keygen", "-q", "-m", "PEM", "-t", kind, "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

func (s *Server) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *Server) write(name, content string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// debian is a file of a Debian package. In CI it must be there.
func debian(t testing.TB, pkg, file string) string {
	t.Helper()
	if isFile(file) {
		return file
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: .ci/setup must install Debian's package %s", file, pkg)
	}
	t.Skipf("SKIPPED: %s is missing; install Debian's package %s", file, pkg)
	return ""
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// locked is what a server says, while others read it.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
