package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxWords is how much of what a command says last on its standard error is kept, in bytes.
const maxWords = 2000

// SSH runs commands on FECs. It is safe for concurrent use.
type SSH struct {
	User       string        // where the host says none; default root
	Key        string        // file of a private key without a passphrase, read for each connection; empty: ssh-agent has it
	KnownHosts []string      // files as ssh has them, read again when they change
	Timeout    time.Duration // until a command runs, and of its silence; default 30s
	Patient    bool          // a command may be silent for as long as its host answers

	mu    sync.Mutex
	known known
}

// Host is a FEC as ssh reaches it.
type Host struct {
	Name     string // the FEC's
	Address  string // HOST:PORT
	User     string
	HostKeys []string // "ssh-ed25519 AAAA…": if there are any, no known host counts
}

// String names the FEC and its address.
func (h Host) String() string { return fmt.Sprintf("%s (%s)", h.Name, h.Address) }

// ExitError says that a command ran, and did not end with 0.
type ExitError struct {
	Host   Host
	Status int
	Signal string // that ended it, if one did
	Said   string // the last lines of its standard error
}

// Error says how it ended, and what it said last.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		how = "ended by SIG" + e.Signal
	}
	if e.Said != "" {
		how += ": " + e.Said
	}
	return fmt.Sprintf("%s: %s", e.Host, how)
}

var errSilent = errors.New("silence")

// Run runs a command on a host, with in as its standard input, unless that is nil, and out as its standard output. What the
// command leaves unread of in may be read, also after Run has returned. An error of out ends the command.
//
// An error is an *ExitError if the command ended with another status than 0, and a *HostKeyError if nothing was run because
// the host's key is not the known one.
func (s *SSH) Run(ctx context.Context, h Host, command string, in io.Reader, out io.Writer) error {
	most := cmp.Or(s.Timeout, 30*time.Second)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(most, func() { cancel(errSilent) })
	defer silence.Stop()
	client, err := s.connect(ctx, h)
	var other *HostKeyError
	if errors.As(err, &other) {
		return other
	}
	if err != nil {
		return s.reason(ctx, fmt.Sprintf("connect to %s", h), err)
	}
	defer client.Close() // the command has ended, or is not wanted any more
	if s.Patient {
		go askAlways(ctx, client, most/3, func() { silence.Reset(most) })
	}
	c := conversation{host: h, heard: func() { silence.Reset(most) }, stop: cancel}
	err = c.run(client, command, in, out)
	var exit *ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return s.reason(ctx, h.String(), err)
}

// reason tells why something ended: because of the context, if that has ended before.
func (s *SSH) reason(ctx context.Context, what string, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		err = fmt.Errorf("no answer for %s", cmp.Or(s.Timeout, 30*time.Second))
	} else if cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", what, err)
}

// connect opens a connection, which ends with the context.
func (s *SSH) connect(ctx context.Context, h Host) (*ssh.Client, error) {
	config := &ssh.ClientConfig{User: cmp.Or(h.User, s.User, "root")}
	pinned, err := s.pinned(h)
	if err != nil {
		return nil, err
	}
	config.HostKeyCallback, config.HostKeyAlgorithms = pinned.check, pinned.algorithms()
	auth, done, err := s.auth(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	config.Auth = []ssh.AuthMethod{auth}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.Address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // whoever reads or writes says so
	talk, chans, reqs, err := ssh.NewClientConn(conn, h.Address, config)
	if err != nil {
		return nil, s.refusal(h, config, err) // the connection is closed
	}
	return ssh.NewClient(talk, chans, reqs), nil
}

// refusal says what to do about what ends a handshake.
func (s *SSH) refusal(h Host, config *ssh.ClientConfig, err error) error {
	var key *HostKeyError
	var none *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(err, &key):
		return key
	case errors.As(err, &none) && none.What == "host key" && len(config.HostKeyAlgorithms) > 0:
		return &HostKeyError{Host: h, Known: true}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("it does not take the key: put the public key of %s into authorized_keys of %s there", cmp.Or(s.Key, "ssh-agent"), config.User)
	}
	return err
}

// auth shows the private key. What it opened is closed by done, after the handshake.
func (s *SSH) auth(ctx context.Context) (m ssh.AuthMethod, done func(), err error) {
	if s.Key == "" {
		return agentAuth(ctx)
	}
	b, _, err := readChanged(s.Key, "")
	if err != nil {
		return nil, nil, fmt.Errorf("read private key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, nil, fmt.Errorf("read private key %q: %w", s.Key, err)
	}
	return ssh.PublicKeys(signer), func() {}, nil
}

func agentAuth(ctx context.Context) (ssh.AuthMethod, func(), error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, errors.New("there is no private key: name a file, or start ssh-agent")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ask ssh-agent: %w", err)
	}
	return ssh.PublicKeysCallback(agent.NewClient(conn).Signers), func() { _ = conn.Close() }, nil
}

// askAlways asks a host whether it is there, until the context ends. Any answer counts, a refusal too.
func askAlways(ctx context.Context, client *ssh.Client, every time.Duration, heard func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return // whoever waits for the command says so
		}
		heard()
	}
}

// conversation is one command on one host.
type conversation struct {
	host  Host
	heard func()      // it is not silent
	stop  func(error) // ends it, for a reason
}

func (c conversation) run(client *ssh.Client, command string, in io.Reader, out io.Writer) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	var words tail
	session.Stdout = listener{c, out}
	session.Stderr = listener{c, &words}
	var to io.WriteCloser
	if in != nil {
		if to, err = session.StdinPipe(); err != nil {
			return err
		}
	}
	if err := session.Start(command); err != nil {
		return err
	}
	c.heard()
	if in != nil {
		go func() {
			if _, err := io.Copy(listener{c, to}, in); err != nil && !errors.Is(err, io.EOF) {
				c.stop(fmt.Errorf("send: %w", err))
			}
			_ = to.Close() // it may have ended
		}()
	}
	return c.meaning(session.Wait(), words.String())
}

func (c conversation) meaning(err error, said string) error {
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case errors.As(err, &exit):
		return &ExitError{Host: c.host, Status: exit.ExitStatus(), Signal: plain(exit.Signal()), Said: said}
	case errors.As(err, &missing):
		return errors.New("the connection ended before the command did")
	}
	return err
}

// listener passes on what a command says or is told. Who does not take it ends the command.
type listener struct {
	conversation
	to io.Writer
}

// Write implements io.Writer.
func (l listener) Write(p []byte) (int, error) {
	l.heard()
	n, err := l.to.Write(p)
	if err != nil && !errors.Is(err, io.EOF) { // EOF: the command does not read its input to the end
		l.stop(err)
	}
	return n, err
}

// tail keeps the last lines that it is given.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-maxWords):]...)
	t.b = append(t.b[:0], t.b[max(0, len(t.b)-maxWords):]...)
	return len(p), nil
}

// String is up to three lines in one, fit for a log.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := slices.DeleteFunc(strings.Split(plain(string(t.b)), "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// plain is a text without what a terminal takes for an order.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
