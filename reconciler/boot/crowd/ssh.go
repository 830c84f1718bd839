package crowd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Listen starts the FEC's ssh server. It ends with the crowd.
func (f *FEC) Listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for FEC %s: %w", f.Name, err)
	}
	f.mu.Lock()
	f.listener = l
	f.mu.Unlock()
	f.crowd.background.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // hung up
			}
			f.crowd.background.Go(func() { f.serve(conn) })
		}
	})
	return nil
}

// Address is where the ssh server listens, HOST:PORT; empty while there is none.
func (f *FEC) Address() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return ""
	}
	return f.listener.Addr().String()
}

// HostKey is the public key of the ssh server: type and base64.
func (f *FEC) HostKey() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(f.host.PublicKey())))
}

// hangUp ends the ssh server and its connections.
func (f *FEC) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		f.listener.Close()
	}
	for conn := range f.conns {
		conn.Close()
	}
}

func (f *FEC) serve(conn net.Conn) {
	f.mu.Lock()
	f.conns[conn] = true
	off := f.crowd.settings.Off && f.status.Boots == 0
	f.mu.Unlock()
	defer func() {
		conn.Close()
		f.mu.Lock()
		delete(f.conns, conn)
		f.mu.Unlock()
	}()
	if off || f.crowd.ctx.Err() != nil {
		return
	}
	_, channels, requests, err := ssh.NewServerConn(conn, f.config())
	if err != nil {
		return // whoever it was knows why
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only commands")
			continue
		}
		session, requests, err := c.Accept()
		if err != nil {
			return
		}
		f.crowd.background.Go(func() { f.session(session, requests) })
	}
}

func (f *FEC) config() *ssh.ServerConfig {
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !f.crowd.authorized[string(key.Marshal())] {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(f.host)
	return config
}

// session runs the one command of a session.
func (f *FEC) session(session ssh.Channel, requests <-chan *ssh.Request) {
	defer session.Close()
	for r := range requests {
		var exec struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		go ssh.DiscardRequests(requests)
		status := f.run(exec.Command, session, session, session.Stderr())
		_, _ = session.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
		return
	}
}

// run does what a command asks; status is its exit status.
func (f *FEC) run(command string, in io.Reader, stdout, stderr io.Writer) (status int) {
	f.mu.Lock()
	f.log = append(f.log, command)
	answer := f.answer
	f.mu.Unlock()
	if answer != nil {
		if status, taken := answer(command, in, stdout, stderr); taken {
			return status
		}
	}
	return f.obey(command, in, stdout, stderr)
}
