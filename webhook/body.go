package webhook

import (
	"errors"
	"io"
	"sync"
)

// MaxHeader is how many bytes of headers a Receiver's server should read.
const MaxHeader = 256 << 10

// Sizes, in bytes.
const (
	maxBody   = 3 << 20
	maxHeld   = 64 << 20 // of all bodies that are being read or verified
	firstRead = 4 << 10  // of a body, before it has shown that there is more of it
)

var (
	errTooLarge = errors.New("more than 3 MiB")
	errBusy     = errors.New("too much is being received")
)

// bodies bounds the memory that bodies take. Half of it is kept for senders that have proved themselves.
type bodies struct {
	mu   sync.Mutex
	held int
}

func (b *bodies) take(n int, known bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	most := maxHeld / 2
	if known {
		most = maxHeld
	}
	if b.held+n > most {
		return false
	}
	b.held += n
	return true
}

func (b *bodies) give(n int) {
	b.mu.Lock()
	b.held -= n
	b.mu.Unlock()
}

// read reads a body. Its memory grows with what has come, not with what was announced; done gives it back.
func (b *bodies) read(r io.Reader, known bool) (body []byte, done func(), err error) {
	held := 0
	done = func() { b.give(held) }
	for {
		if len(body) == cap(body) {
			more := max(firstRead, cap(body)) // twice as much
			if !b.take(more, known) {
				return nil, done, errBusy
			}
			held += more
			body = append(make([]byte, 0, held), body...)
		}
		n, err := r.Read(body[len(body):min(cap(body), maxBody+1)])
		body = body[:len(body)+n]
		switch {
		case len(body) > maxBody:
			return nil, done, errTooLarge
		case err == io.EOF:
			return body, done, nil
		case err != nil:
			return nil, done, err
		}
	}
}
