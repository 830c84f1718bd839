package serve

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// listener bounds how many connections are open, and makes them drop clients that take nothing.
//
// netutil.LimitListener would hide the connection's ReadFrom, and with it sendfile(2).
type listener struct {
	net.Listener
	stall  time.Duration
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newListener(l net.Listener, o Options) *listener {
	return &listener{Listener: l, stall: o.StallTimeout, slots: make(chan struct{}, o.MaxConnections), closed: make(chan struct{})}
}

// Accept waits for a free slot before it takes a connection, so that the ones beyond the limit wait in the kernel.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &conn{Conn: c, stall: l.stall, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close stops accepting.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// conn is a connection whose writes last as long as the other side takes something.
type conn struct {
	net.Conn
	stall   time.Duration
	release func()
}

// Close closes the connection and frees its slot.
func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// Write writes all of b unless the client stalls.
func (c *conn) Write(b []byte) (n int, err error) {
	err = c.push(func() (int64, error) {
		k, err := c.Conn.Write(b[n:])
		n += k
		return int64(k), err
	})
	return n, err
}

// ReadFrom sends the rest of a file, bounded by an io.LimitedReader as net/http does it, without copying it through
// the process. Other sources are copied.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	limited, _ := r.(*io.LimitedReader)
	to, ok := c.Conn.(io.ReaderFrom)
	if ok && limited != nil {
		if f, ok := limited.R.(*os.File); ok {
			return c.sendFile(to, f, limited)
		}
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// sendFile goes on after a deadline where the client's side stopped, which is not always where the file was read to.
func (c *conn) sendFile(to io.ReaderFrom, f *os.File, limited *io.LimitedReader) (n int64, err error) {
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	size := limited.N
	err = c.push(func() (int64, error) {
		if n > 0 {
			if _, err := f.Seek(start+n, io.SeekStart); err != nil {
				return 0, err
			}
			limited.N = size - n
		}
		k, err := to.ReadFrom(limited)
		n += k
		return k, err
	})
	return n, err
}

// push repeats a write that runs into its deadline as long as the kernel has taken bytes for the client since the last
// one. The kernel takes bytes in pieces of up to 64 KiB, so that a client which gets 64 KiB in each StallTimeout, a
// third of what a line of 56 kbit/s carries in the default, is never dropped.
func (c *conn) push(write func() (int64, error)) error {
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return err
		}
		if n, err := write(); n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}
