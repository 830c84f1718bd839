package fetch

import (
	"context"
	"errors"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// A package that did not come is not asked for again for a while, longer each time; none is fetched for longer than maxFetch.
const (
	firstAgain = 2 * time.Minute
	lastAgain  = time.Hour
	maxFetch   = time.Hour
)

// errSlow says that nobody waits for a package now.
var errSlow = errors.New("it is still being fetched, and nobody waits for it")

type waitsKey struct{}

// Waits has everybody who gets the context wait for packages that are being fetched for d altogether. What has not come by then is fetched on beside.
func Waits(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, waitsKey{}, time.Now().Add(d))
}

// coming is a package that is being fetched, or was not to be had.
type coming struct {
	done   chan struct{} // closed when file or err is there
	file   object
	err    error
	tries  int
	until  time.Time // it is not tried again before
	waited bool      // somebody has waited in vain: nobody waits again
}

// Local brings what is here already, and fetches nothing.
func (f *Fetcher) Local() *Fetcher {
	if f == nil {
		return nil
	}
	l := New(f.options)
	l.local = true
	return l
}

// Package brings a package file, or another one with a digest: from its address, or from the blob store. What a person must change comes
// back as desired.Problems with paths below the package; what another try may bring, as a *remote.Unavailable. What could not be fetched is
// remembered, and said again for a while.
func (f *Fetcher) Package(ctx context.Context, r desired.RPM) (artifact.Source, error) {
	bring := func() (object, error) { return f.blob(desired.Blob{SHA256: r.SHA256}) }
	if r.URL != "" {
		bring = func() (object, error) { return f.patiently(ctx, desired.Download{URL: r.URL, SHA256: r.SHA256}) }
	}
	file, err := bring()
	var wrong *remote.Wrong
	if errors.As(err, &wrong) {
		return nil, desired.Problems{{Path: wrong.Field, Text: wrong.Text, Advice: wrong.Advice}}
	}
	if err != nil {
		return nil, explain("", err)
	}
	file.name = r.File
	return file, nil
}

// patiently is the file at an address, as far as whoever asks waits for it.
func (f *Fetcher) patiently(ctx context.Context, d desired.Download) (object, error) {
	want, err := digest("sha256", d.SHA256)
	if err != nil {
		return object{}, err
	}
	if o, ok := f.find(want); ok {
		return o, nil
	}
	if f.local {
		return object{}, errors.New("it has not been fetched yet")
	}
	c := f.begin(ctx, d)
	wait := ctx
	if until, ok := ctx.Value(waitsKey{}).(time.Time); ok {
		if f.gaveUp(c) {
			until = time.Time{}
		}
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	select {
	case <-c.done:
		return c.file, c.err
	default:
	}
	select {
	case <-c.done:
		return c.file, c.err
	case <-wait.Done():
	}
	if err := ctx.Err(); err != nil {
		return object{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.waited = true
	return object{}, errSlow
}

func (f *Fetcher) gaveUp(c *coming) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return c.waited
}

// begin fetches a file beside whoever asks, unless somebody does so already, or it did not come shortly before.
func (f *Fetcher) begin(ctx context.Context, d desired.Download) *coming {
	key := d.URL + " " + d.SHA256
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.packages[key]
	c := &coming{done: make(chan struct{}), tries: 1}
	if before != nil {
		select {
		case <-before.done:
			if before.err != nil && time.Now().Before(before.until) {
				return before
			}
			c.tries += before.tries
		default:
			return before
		}
	}
	if f.packages == nil {
		f.packages = map[string]*coming{}
	}
	f.packages[key] = c
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxFetch)
		defer cancel()
		c.file, c.err = f.download(ctx, d)
		c.until = time.Now().Add(min(firstAgain<<min(c.tries-1, 10), lastAgain))
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.err == nil {
			delete(f.packages, key)
		}
		close(c.done)
	}()
	return c
}
