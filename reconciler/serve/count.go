package serve

import (
	"io"
	"net/http"
)

// counted is a response whose status and bytes are counted. It hands files through to the connection, which sends them
// without copying.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the final status.
func (c *counted) WriteHeader(status int) {
	if c.status < http.StatusOK {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write counts what was written.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += int64(n)
	return n, err
}

// ReadFrom counts what was sent.
func (c *counted) ReadFrom(r io.Reader) (n int64, err error) {
	if to, ok := c.ResponseWriter.(io.ReaderFrom); ok {
		n, err = to.ReadFrom(r)
	} else {
		n, err = io.Copy(struct{ io.Writer }{c.ResponseWriter}, r)
	}
	c.bytes += n
	return n, err
}

// Unwrap leads http.ResponseController to the connection.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// tell says what was answered; a handler that has said nothing answers 200.
func (c *counted) tell(served func(status int, bytes int64)) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	served(c.status, c.bytes)
}
