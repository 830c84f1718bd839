package serve_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// soon is long for a busy machine. Nothing waits for it unless the test fails.
const soon = time.Minute

func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server does not close the connection; it sent %d bytes", len(b))
	}
	return string(b)
}

// TestSlowLoris opens a connection and never finishes its request.
func TestSlowLoris(t *testing.T) {
	s := newFixture(t).serve(serve.Options{ReadHeaderTimeout: 20 * time.Millisecond, IdleTimeout: 20 * time.Millisecond})
	for name, request := range map[string]string{
		"nothing": "",
		"header":  "GET / HTTP/1.1\r\nHost: x\r\nA: ",
		"body":    "POST /-/report HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nfec=",
		"idle":    "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
		"unread":  "GET /index HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfec=",
	} {
		t.Run(name, func(t *testing.T) { readAll(t, s.dial(t, request)) })
	}
}

func TestLongHeader(t *testing.T) {
	s := newFixture(t).serve(serve.Options{})
	for size, want := range map[int]string{15 << 10: "HTTP/1.1 200", 20 << 10: "HTTP/1.1 431"} {
		c := s.dial(t, "GET /index HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: "+strings.Repeat("a", size)+"\r\n\r\n")
		if have := readAll(t, c); !strings.HasPrefix(have, want) {
			t.Errorf("%d bytes: %.20q, want %q", size, have, want)
		}
	}
}

// told calls back when a request is answered or given up.
func told(h http.Handler, done chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { done <- struct{}{} }()
		h.ServeHTTP(w, r)
	})
}

// TestStuckReader asks for a large file and takes nothing of it.
func TestStuckReader(t *testing.T) {
	f := newFixture(t)
	const size = 256 << 20 // more than any pair of socket buffers
	f.big("big", size)
	done := make(chan struct{}, 1)
	o := serve.Options{StallTimeout: 30 * time.Millisecond}
	s := run(t, listen(t), told(serve.Tree(f.root(), o), done), o)
	c := s.dial(t, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatal("the server goes on sending to a client that takes nothing")
	}
	if n := len(readAll(t, c)); n >= size {
		t.Errorf("the client got all %d bytes", n)
	}
}

// TestMaxConnections lets a third client wait until one of two is gone.
func TestMaxConnections(t *testing.T) {
	s := newFixture(t).serve(serve.Options{MaxConnections: 2})
	const request = "HEAD /index HTTP/1.1\r\nHost: x\r\n\r\n"
	answered := func(c net.Conn, wait time.Duration) bool {
		if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		_, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodHead})
		return err == nil
	}
	first, second := s.dial(t, request), s.dial(t, request)
	if !answered(first, soon) || !answered(second, soon) {
		t.Fatal("two clients are not served")
	}
	third := s.dial(t, request)
	if answered(third, 100*time.Millisecond) {
		t.Error("a third client is served at once")
	}
	first.Close()
	if !answered(third, soon) {
		t.Error("a third client is not served after the first has gone")
	}
}

// TestGracefulStop stops the server in the middle of a download.
func TestGracefulStop(t *testing.T) {
	f := newFixture(t)
	const size = 64 << 20
	f.big("big", size)
	for name, c := range map[string]struct {
		timeout time.Duration
		whole   bool
	}{"patient": {soon, true}, "impatient": {time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			s := f.serve(serve.Options{ShutdownTimeout: c.timeout})
			r, err := http.Get(s.url("/big"))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			s.stop()
			for {
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					break
				}
				c.Close()
			}
			if !c.whole {
				if err := <-s.done; !errors.Is(err, serve.ErrCut) {
					t.Errorf("%v after cutting off a transfer", err)
				}
			}
			n, err := io.Copy(io.Discard, r.Body)
			if whole := err == nil && n == size; whole != c.whole {
				t.Errorf("got %d of %d bytes: %v", n, size, err)
			}
			if c.whole {
				if err := <-s.done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestRunEnds closes the listener under the server.
func TestRunEnds(t *testing.T) {
	l := listen(t)
	l.Close()
	if err := serve.Run(t.Context(), l, http.NotFoundHandler(), serve.Options{}); err == nil {
		t.Error("no error from a dead listener")
	}
}
