package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/remote/sshtest"
)

// servers are the ssh servers that FECs have.
var servers = map[string]func(testing.TB, ...sshtest.Option) *sshtest.Server{"sshd": sshtest.Sshd, "dropbear": sshtest.Dropbear}

func hostOf(s *sshtest.Server) remote.Host {
	return remote.Host{Name: "kgp1bp01", Address: s.Address, User: s.User, HostKeys: []string{s.HostKey}}
}

func TestCommandRunsOnAHost(t *testing.T) {
	for name, start := range servers {
		for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s := start(t, sshtest.HostKeyType(kind))
				access := &remote.SSH{Key: s.Key}
				var out bytes.Buffer
				in := strings.Repeat("0123456789abcdef", 1<<16)
				if err := access.Run(t.Context(), hostOf(s), "wc -c; echo aside >&2", strings.NewReader(in), &out); err != nil || strings.TrimSpace(out.String()) != "1048576" {
					t.Errorf("%q, %v", out.String(), err)
				}
				out.Reset()
				if err := access.Run(t.Context(), hostOf(s), "head -c 3000000 /dev/zero", nil, &out); err != nil || out.Len() != 3000000 {
					t.Errorf("%d bytes, %v", out.Len(), err)
				}
				var exit *remote.ExitError
				err := access.Run(t.Context(), hostOf(s), "echo one >&2; printf 'two \\033[31mred\\n\\n' >&2; exit 7", nil, io.Discard)
				if !errors.As(err, &exit) || exit.Status != 7 || exit.Said != "one; two [31mred" || !strings.HasPrefix(err.Error(), "kgp1bp01 (") {
					t.Errorf("exit 7: %v", err)
				}
				if err := access.Run(t.Context(), hostOf(s), "kill -9 $$", nil, io.Discard); !errors.As(err, &exit) || exit.Signal != "KILL" {
					t.Errorf("killed: %v", err)
				}
			})
		}
	}
}

// TestForcedCommandGetsWhatWasAsked: so does pomona-fec.
func TestForcedCommandGetsWhatWasAsked(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t, sshtest.Force(`echo asked: $SSH_ORIGINAL_COMMAND`))
			var out bytes.Buffer
			if err := (&remote.SSH{Key: s.Key}).Run(t.Context(), hostOf(s), "pomona-fec status", nil, &out); err != nil || out.String() != "asked: pomona-fec status\n" {
				t.Errorf("%q, %v", out.String(), err)
			}
		})
	}
}

func TestAHostWithAnotherKeyIsNotTalkedTo(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			known := filepath.Join(t.TempDir(), "known")
			access := &remote.SSH{Key: s.Key, KnownHosts: []string{known}}
			ran := filepath.Join(t.TempDir(), "ran")
			run := func(h remote.Host) error { return access.Run(t.Context(), h, "touch "+ran, nil, io.Discard) }
			refused := func(what string, known bool, words string, err error) {
				t.Helper()
				var key *remote.HostKeyError
				if !errors.As(err, &key) || key.Known != known || !strings.Contains(err.Error(), words) {
					t.Errorf("%s: %v", what, err)
				}
				if _, err := os.Stat(ran); err == nil {
					t.Errorf("%s: the command ran", what)
				}
			}
			pinned := hostOf(s)
			plain := pinned
			plain.HostKeys = nil
			err := run(plain)
			refused("nothing is known", false, s.HostKey, err)
			var key *remote.HostKeyError
			if errors.As(err, &key) { // the advice holds
				if err := os.WriteFile(known, []byte(key.Line+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := run(plain); err != nil {
				t.Errorf("known: %v", err)
			}
			if err := os.Remove(ran); err != nil {
				t.Fatal(err)
			}
			s.Rekey()
			refused("another key than that of known hosts", true, s.HostKey, run(plain))
			refused("another key than the pinned one", true, s.HostKey, run(pinned))
			other := pinned
			other.HostKeys = []string{"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHt4CQn7gLiWCOvZwQFkZTqqNEIaOmTm9eBVhZVIETLAjAtRTbFqSsbPVLoFqF8JDnaTz2v9K3Eo2zEbjRzBdLs="}
			if err := run(other); err == nil || !strings.Contains(err.Error(), "host key") {
				t.Errorf("a key of another kind: %v", err)
			}
			if err := run(hostOf(s)); err != nil {
				t.Errorf("its new key: %v", err)
			}
		})
	}
}

// TestKeyIsReadAnew: a private key that is replaced counts at once; one that others may read, or that is not known there, says
// what to do.
func TestKeyIsReadAnew(t *testing.T) {
	s := sshtest.Sshd(t)
	key := filepath.Join(t.TempDir(), "key")
	access := &remote.SSH{Key: key}
	run := func() error { return access.Run(t.Context(), hostOf(s), "true", nil, io.Discard) }
	if err := run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "put the public key of "+key+" into authorized_keys of "+s.User) {
		t.Errorf("another key: %v", err)
	}
	b, err := os.ReadFile(s.Key)
	if err == nil {
		err = os.WriteFile(key, b, 0o600)
	}
	if err := errors.Join(err, run()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Chmod(key, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := run(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others may read it: %v", err)
	}
}

func TestAgentHasTheKey(t *testing.T) {
	s := sshtest.Sshd(t)
	socket := filepath.Join(t.TempDir(), "a")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill() // it runs until then
		_ = agent.Wait()
	})
	t.Setenv("SSH_AUTH_SOCK", socket)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close() // only asked
			break
		}
	}
	if out, err := exec.Command("ssh-add", s.Key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := (&remote.SSH{}).Run(t.Context(), hostOf(s), "true", nil, io.Discard); err != nil {
		t.Error(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if err := (&remote.SSH{}).Run(t.Context(), hostOf(s), "true", nil, io.Discard); err == nil || !strings.Contains(err.Error(), "name a file, or start ssh-agent") {
		t.Error(err)
	}
}

// TestASilentHostIsGivenUp: at whatever stage.
func TestASilentHostIsGivenUp(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // connections are taken by the kernel, and nobody ever speaks
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			access := &remote.SSH{Key: s.Key, Timeout: 8 * time.Second} // in which a busy machine has to let somebody in
			h := hostOf(s)
			h.Address = mute.Addr().String()
			if err := access.Run(t.Context(), h, "true", nil, io.Discard); err == nil || !strings.Contains(err.Error(), "connect to kgp1bp01") || !strings.Contains(err.Error(), "no answer for 8s") {
				t.Errorf("mute: %v", err)
			}
			var out bytes.Buffer
			if err := access.Run(t.Context(), hostOf(s), "echo a beginning; sleep 600", nil, &out); err == nil || !strings.Contains(err.Error(), "no answer for 8s") || out.String() != "a beginning\n" {
				t.Errorf("a command that hangs: %q, %v", out.String(), err)
			}
			if err := access.Run(t.Context(), hostOf(s), "for i in 1 2 3; do echo $i; sleep 3; done", nil, io.Discard); err != nil {
				t.Errorf("a slow command: %v", err)
			}
			patient := &remote.SSH{Key: s.Key, Timeout: access.Timeout, Patient: true}
			if err := patient.Run(t.Context(), hostOf(s), "sleep 10", nil, io.Discard); err != nil {
				t.Errorf("a command that may be silent: %v", err)
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
			defer cancel()
			if err := access.Run(ctx, hostOf(s), "sleep 600", nil, io.Discard); err == nil || !strings.Contains(err.Error(), "enough") {
				t.Errorf("somebody ends it: %v", err)
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWhoTakesNoMoreEndsTheCommand(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			access := &remote.SSH{Key: s.Key}
			if err := access.Run(t.Context(), hostOf(s), "cat /dev/zero", nil, full{}); err == nil || !strings.Contains(err.Error(), "no space left") {
				t.Errorf("output without end: %v", err)
			}
			if err := access.Run(t.Context(), hostOf(s), "exec <&-; echo done", strings.NewReader(strings.Repeat("x", 8<<20)), io.Discard); err != nil {
				t.Errorf("input that nobody reads: %v", err)
			}
			if err := access.Run(t.Context(), hostOf(s), "cat", io.MultiReader(strings.NewReader("x"), unreadable{}), io.Discard); err == nil || !strings.Contains(err.Error(), "disk is gone") {
				t.Errorf("input that cannot be read: %v", err)
			}
		})
	}
}

type unreadable struct{}

func (unreadable) Read([]byte) (int, error) { return 0, errors.New("disk is gone") }
