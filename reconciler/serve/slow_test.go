package serve_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// TestSlowReader takes a file so slowly that the kernel fills its buffers and the transfer lasts through many
// StallTimeouts, but never takes nothing for that long.
func TestSlowReader(t *testing.T) {
	f := newFixture(t)
	const size = 8 << 20
	body := pseudoRandom(size)
	f.write("current/slow", string(body))
	o := serve.Options{StallTimeout: 2 * time.Second}
	for name, c := range map[string]struct {
		header string
		copies bool
	}{
		"sent":   {"", false},
		"ranges": {"Range: bytes=0-8388605,8388607-8388607\r\n", false},
		"copied": {"", true}, // a file system without sendfile(2)
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := run(t, watched{Listener: listen(t), copies: c.copies}, serve.Tree(f.root(), o), o)
			if have, err := takeSlowly(t, s.dial(t, "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+c.header+"\r\n")); err != nil || !bytes.Contains(have, body[:size-2]) {
				t.Errorf("got %d of %d bytes: %v", len(have), size, err)
			}
		})
	}
}

// takeSlowly reads an answer in pieces, one every 150 ms.
func takeSlowly(t *testing.T, c net.Conn) ([]byte, error) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	var have bytes.Buffer
	for {
		time.Sleep(150 * time.Millisecond)
		if _, err := io.CopyN(&have, r.Body, 128<<10); err == io.EOF {
			return have.Bytes(), nil
		} else if err != nil {
			return have.Bytes(), err
		}
	}
}

// watched sees which files a server hands to its TCP connections whole, or takes the shortcut from them.
type watched struct {
	net.Listener
	files  chan *os.File
	copies bool
}

type watchedConn struct {
	*net.TCPConn
	to watched
}

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return watchedConn{c.(*net.TCPConn), l}, nil
}

func (c watchedConn) ReadFrom(r io.Reader) (int64, error) {
	if c.to.copies {
		return io.Copy(struct{ io.Writer }{c.TCPConn}, r)
	}
	if limited, ok := r.(*io.LimitedReader); ok {
		if f, ok := limited.R.(*os.File); ok && c.to.files != nil {
			c.to.files <- f
		}
	}
	return c.TCPConn.ReadFrom(r)
}

// TestSendfile follows a file down to the TCP connection, which sends it by sendfile(2) if nothing is wrapped around
// either.
func TestSendfile(t *testing.T) {
	f := newFixture(t)
	l := watched{Listener: listen(t), files: make(chan *os.File, 10)}
	served := make(chan int64, 1)
	s := run(t, l, serve.Tree(f.root(), serve.Options{Served: func(status int, bytes int64) { served <- int64(status)*1e6 + bytes }}), serve.Options{})
	r, err := http.Get(s.url("/fecs/kgp2cu02/software/demo-1.0.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if have, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(have, archive) {
		t.Errorf("got %d bytes: %v", len(have), err)
	}
	if len(l.files) != 1 {
		t.Errorf("%d files reached the connection, want 1", len(l.files))
	}
	if have, want := <-served, 200*int64(1e6)+int64(len(archive)); have != want {
		t.Errorf("counted %d, want %d", have, want)
	}
}
