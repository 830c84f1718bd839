// Package remote speaks with other hosts over HTTPS: it downloads files and reads OCI registries. Nothing is sent in the
// clear, a credential goes to its own host only, and an answer that is wrong is told apart from one that did not come.
package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of one connection. Real hosts stay far below.
const (
	dialTimeout   = 15 * time.Second
	answerTimeout = time.Minute // until the first byte of an answer
	maxRedirects  = 5
	maxSize       = 4 << 30 // bytes
)

// errStalled says that a host stopped in the middle of its answer.
var errStalled = errors.New("it stopped answering")

// Options say how hosts are reached. The zero value is good for everything that needs no credential.
type Options struct {
	Credentials Credentials
	TLS         *tls.Config   // nil: the machine's certificates
	Stall       time.Duration // without a byte until a download is given up; 0: a minute
	MaxSize     int64         // largest download, in bytes; 0: 4 GiB
}

// Client reaches hosts over HTTPS. It is safe for concurrent use.
type Client struct {
	options Options
	http    *http.Client
}

// New is a Client.
func New(o Options) *Client {
	o.Stall, o.MaxSize = cmp.Or(o.Stall, time.Minute), cmp.Or(o.MaxSize, maxSize)
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       o.TLS,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // the digest is that of the file as it lies there
	}
	return &Client{o, &http.Client{Transport: guard{o, t}, CheckRedirect: checkRedirect}}
}

// HTTP is a client with the same rules, for git.
func (c *Client) HTTP() *http.Client { return c.http }

// MaxSize is the largest download, in bytes.
func (c *Client) MaxSize() int64 { return c.options.MaxSize }

// Stall is how long a host may say nothing.
func (c *Client) Stall() time.Duration { return c.options.Stall }

// Credential is what the client has for an address, as it is now: a file that has changed is read anew, and a token that
// expires is asked for again.
func (c *Client) Credential(ctx context.Context, u *url.URL) (Credential, bool, error) {
	return c.options.Credentials.of(ctx, HostOf(u))
}

// Forget drops what was asked for an address and is refused there now. It says whether asking again gives something else.
func (c *Client) Forget(u *url.URL) bool {
	app, ok := c.options.Credentials[HostOf(u)].source.(*App)
	if ok {
		app.Forget()
	}
	return ok
}

// SameHost refuses redirects to other hosts; it is for http.Client.CheckRedirect.
func SameHost(req *http.Request, via []*http.Request) error {
	if from, to := HostOf(via[0].URL), HostOf(req.URL); from != to {
		return &Wrong{Field: "url", Text: fmt.Sprintf("%s leads to another host, %s", from, to), Advice: "name the address that it leads to, if you trust it"}
	}
	return checkRedirect(req, via)
}

// checkRedirect follows a few redirects, over HTTPS only.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if req.URL.Scheme != "https" {
		return &Wrong{Field: "url", Text: fmt.Sprintf("%s leads to %s over %s", HostOf(via[0].URL), HostOf(req.URL), req.URL.Scheme), Advice: "name an address that leads to https"}
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// guard stands before every request: it lets out nothing in the clear, takes credentials away where they do not belong, and
// gives up on a host that falls silent.
type guard struct {
	options Options
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return nil, fmt.Errorf("refuse to speak %s with %s", req.URL.Scheme, HostOf(req.URL))
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	req = req.Clone(ctx)
	req.Header.Del("Referer") // of a redirect: the address that it came from
	if !g.mayCarry(req) {
		req.Header.Del("Authorization")
	}
	res, err := g.next.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	timer := time.AfterFunc(g.options.Stall, func() { cancel(errStalled) })
	timer.Stop()
	res.Body = &body{res.Body, ctx, cancel, timer, g.options.Stall}
	return res, nil
}

// mayCarry says whether the request may keep its Authorization: not after a redirect to another host, and never the
// credential of another host.
func (g guard) mayCarry(req *http.Request) bool {
	for r := req; r.Response != nil; r = r.Response.Request {
		if r.Response.Request.URL.Host != req.URL.Host {
			return false
		}
	}
	header := req.Header.Get("Authorization")
	own := g.options.Credentials[HostOf(req.URL)]
	for host, c := range g.options.Credentials {
		if c.proves(header) && host != HostOf(req.URL) {
			return own.proves(header)
		}
	}
	return true
}

// body is an answer that must not stall.
type body struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall) // it runs only here: whoever reads may take its time
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	// A server that sees the connection end may still end its answer in order.
	if err != nil && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// Download copies the file at an https address to w. Its error is a *Wrong, an *Unavailable, or w's own.
func (c *Client) Download(ctx context.Context, address string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return &Wrong{Field: "url", Text: "malformed address", Advice: "correct it"}
	}
	host := HostOf(req.URL)
	own, _, err := c.Credential(ctx, req.URL)
	if err != nil {
		return Failed(ctx, host, err)
	}
	if h := own.header(); h != "" {
		req.Header.Set("Authorization", h)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Failed(ctx, host, err)
	}
	defer res.Body.Close() // read whole or reported below
	if res.StatusCode != http.StatusOK {
		return status(host, "url", res.StatusCode)
	}
	return c.copyBody(ctx, host, "url", w, res.Body)
}

// copyBody copies what a host sends, if it is not too large, and tells its errors from w's.
func (c *Client) copyBody(ctx context.Context, host, field string, w io.Writer, r io.Reader) error {
	from := &reader{r: io.LimitReader(r, c.MaxSize()+1)}
	n, err := io.Copy(w, from)
	switch {
	case from.err != nil:
		return Failed(ctx, host, from.err)
	case ctx.Err() != nil: // what has come may be a part that only looks whole
		return Failed(ctx, host, ctx.Err())
	case err != nil:
		return err
	case n > c.MaxSize():
		return TooLarge(field, c.MaxSize())
	}
	return nil
}

// reader remembers the error of reading.
type reader struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
