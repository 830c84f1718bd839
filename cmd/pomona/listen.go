package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// patient listens on an address that another process may still have: the service whose place this one takes.
type patient struct {
	address net.Addr
	log     *slog.Logger
	ctx     context.Context
	close   context.CancelFunc

	mu   sync.Mutex
	l    net.Listener // nil while the address is taken
	then func()       // once it is not; nil: nothing
}

// sayWhere says what is answered at a listener's address, once it is.
func sayWhere(l net.Listener, log *slog.Logger, what string) {
	say := func() { log.Info(what, "address", "http://"+l.Addr().String()) }
	if p, ok := l.(*patient); ok && p.later(say) {
		return
	}
	say()
}

// later has something done as soon as the address is free; false: it is.
func (p *patient) later(do func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.then = do
	return p.l == nil
}

// listenPatiently listens on an address, now or when it is free. It fails if that will never be.
func listenPatiently(address string, log *slog.Logger) (net.Listener, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	p := &patient{address: at, log: log}
	p.ctx, p.close = context.WithCancel(context.Background())
	if taken, err := p.try(); err != nil && !taken {
		p.close()
		return nil, err
	} else if taken {
		log.Warn("waiting for an address: another process listens there", "address", address)
	}
	return p, nil
}

// try listens once. Taken says that somebody else does.
func (p *patient) try() (taken bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false, net.ErrClosed
	}
	if p.l, err = net.Listen("tcp", p.address.String()); err != nil {
		p.l = nil
		return errors.Is(err, syscall.EADDRINUSE), fmt.Errorf("listen on %q: %w", p.address, err)
	}
	return false, nil
}

// Accept implements net.Listener.
func (p *patient) Accept() (net.Conn, error) {
	for p.there() == nil {
		select {
		case <-p.ctx.Done():
			return nil, net.ErrClosed
		case <-time.After(500 * time.Millisecond):
		}
		taken, err := p.try()
		if err != nil && !taken {
			return nil, err
		}
		if err == nil {
			p.log.Info("listening where another process did", "address", p.address)
			p.listens()
		}
	}
	return p.there().Accept()
}

// listens does what was to be done then.
func (p *patient) listens() {
	p.mu.Lock()
	then := p.then
	p.mu.Unlock()
	if then != nil {
		then()
	}
}

func (p *patient) there() net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.l
}

// Close implements net.Listener.
func (p *patient) Close() error {
	p.close()
	if l := p.there(); l != nil {
		return l.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (p *patient) Addr() net.Addr {
	if l := p.there(); l != nil {
		return l.Addr()
	}
	return p.address
}
