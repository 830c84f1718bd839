package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// logged is a log that may be read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) says(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

func (l *logged) awaits(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !l.says(text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing says %q:\n%s", text, &l.b)
		}
	}
}

// TestWhoWaitsForAnAddressDoesNotSayThatItAnswers: it does so once it listens, and then where.
func TestWhoWaitsForAnAddressDoesNotSayThatItAnswers(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() // perhaps again
	at := other.Addr().String()
	out := &logged{}
	p := newProcess(slog.New(slog.NewTextHandler(out, nil)), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	serving := func(address string, serve func(net.Listener) error) chan error {
		l, err := listenPatiently(address, p.log)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- serve(l) }()
		return done
	}
	pages := serving(at, func(l net.Listener) error { return p.showPages(ctx, l, &desired.Pages{}) })
	out.awaits(t, "waiting for an address")
	admin := serving("127.0.0.1:0", func(l net.Listener) error { return p.run(ctx, l) })
	out.awaits(t, "answering those who watch")
	if out.says("127.0.0.1:0") {
		t.Error("nobody says at which port it listens")
	}
	time.Sleep(20 * time.Millisecond)
	if out.says("showing pages") {
		t.Error("pages are said to be shown while another process listens")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	out.awaits(t, `msg="showing pages" address=http://`+at)
	cancel()
	for _, done := range []chan error{pages, admin} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
