package forge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

const (
	dialTimeout   = 15 * time.Second
	answerTimeout = 30 * time.Second // until the first byte of an answer
	callTimeout   = 60 * time.Second // of one request, its answer included
	maxAnswer     = 16 << 20         // bytes: a page of a hundred pull requests is up to 3 MB
	maxErrorText  = 64 << 10         // bytes of an answer that is an error
	maxHeaders    = 64 << 10
	maxRedirects  = 3
	maxTries      = 4
	maxWait       = 2 * time.Minute // that a call waits for a limit to pass
	unnamedWait   = time.Minute     // for a limit that does not say how long (GitHub: "wait for at least one minute")
)

// Limited says that a forge wants no more requests before a time.
type Limited struct {
	Host  string
	Until time.Time
}

// Error says until when.
func (e *Limited) Error() string {
	return fmt.Sprintf("%s takes no more requests until %s", e.Host, e.Until.UTC().Format(time.RFC3339))
}

var errTooLarge = errors.New("its answer is too large")

// transport carries requests to one forge: it proves who we are to that host only, keeps its limits, repeats what may be
// repeated, asks for nothing anew that has not changed, and bounds what comes back. Safe for concurrent use.
type transport struct {
	host   string // the only one that is spoken with
	next   http.RoundTripper
	scheme string // of Authorization
	token  TokenSource
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	cache  cache

	mu    sync.Mutex
	until time.Time // of the limit in force
	last  string    // token

	writes sync.Mutex // GitHub asks for one write at a time
}

// client is an HTTP client for a forge.
type client struct {
	*http.Client
	*transport
}

func newClient(api *url.URL, scheme string, token TokenSource, o Options) client {
	t := &transport{host: remote.HostOf(api), scheme: scheme, token: token, now: o.Now, sleep: o.Sleep, next: newWire(o.TLS)}
	if t.now == nil {
		t.now = time.Now
	}
	if t.sleep == nil {
		t.sleep = sleep
	}
	return client{&http.Client{Transport: t, CheckRedirect: checkRedirect}, t}
}

func newWire(c *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        c,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  answerTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		IdleConnTimeout:        time.Minute,
		MaxIdleConnsPerHost:    4,
		ForceAttemptHTTP2:      true,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkRedirect follows a forge to where it moved a repository, on the same host and with the same method.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from := via[0]
	switch {
	case req.URL.Scheme != "https" || remote.HostOf(req.URL) != remote.HostOf(from.URL):
		return &remote.Wrong{Field: "api", Text: fmt.Sprintf("%s leads to %s", remote.HostOf(from.URL), remote.HostOf(req.URL)), Advice: "name the forge's own address"}
	case req.Method != from.Method:
		return &remote.Wrong{Field: "repository", Text: fmt.Sprintf("%s has moved what was to be changed", remote.HostOf(from.URL)), Advice: "name the repository as the forge names it now"}
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || remote.HostOf(req.URL) != t.host {
		return nil, fmt.Errorf("refuse to speak with %s", remote.HostOf(req.URL))
	}
	if req.Method != http.MethodGet {
		t.writes.Lock()
		defer t.writes.Unlock()
	}
	for try := 1; ; try++ {
		if err := t.await(req.Context()); err != nil {
			return nil, err
		}
		token, err := t.prove(req.Context())
		if err != nil {
			return nil, err
		}
		res, err := t.once(req, token)
		wait, again := t.judge(req, res, err, try)
		if !again {
			return res, err
		}
		if res != nil {
			res.Body.Close() // not read
		}
		if wait == 0 {
			continue
		}
		if err := t.sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// prove is the token that is good now.
func (t *transport) prove(ctx context.Context) (string, error) {
	token, err := t.token.Token(ctx)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	t.last = token
	t.mu.Unlock()
	return token, nil
}

// redact takes our token out of a text that a forge sent.
func (t *transport) redact(s string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == "" {
		return s
	}
	return strings.ReplaceAll(s, t.last, "(secret)")
}

// await waits for a limit to pass, or says that it will not soon.
func (t *transport) await(ctx context.Context) error {
	t.mu.Lock()
	until := t.until
	t.mu.Unlock()
	wait := until.Sub(t.now())
	switch {
	case wait <= 0:
		return nil
	case wait > maxWait:
		return &Limited{t.host, until}
	}
	return t.sleep(ctx, wait)
}

// judge says whether a request is to be sent again, and when. One that was limited or not let in was not carried out; any
// other write may have been.
func (t *transport) judge(req *http.Request, res *http.Response, err error, try int) (time.Duration, bool) {
	if try >= maxTries || req.Context().Err() != nil || req.Body != nil && req.GetBody == nil {
		return 0, false
	}
	backoff := time.Second<<(try-1) + rand.N(time.Second)
	var limited *Limited
	switch {
	case errors.As(err, &limited):
		return 0, limited.Until.Sub(t.now()) <= maxWait // await does the waiting
	case err != nil:
		return backoff, req.Method == http.MethodGet && retryable(err)
	case res.StatusCode == http.StatusUnauthorized:
		return 0, try == 1 && t.renewed(req.Context(), res.Request)
	case res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented:
		return backoff, req.Method == http.MethodGet
	}
	return 0, false
}

// retryable says whether a connection that broke may do better.
func retryable(err error) bool {
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &certificate)
}

// renewed says whether there is another token than the one that was refused: it may have run out on the way.
func (t *transport) renewed(ctx context.Context, refused *http.Request) bool {
	if source, ok := t.token.(interface{ Forget() }); ok {
		source.Forget()
	}
	token, err := t.token.Token(ctx)
	return err == nil && refused.Header.Get("Authorization") != t.scheme+" "+token
}

// once sends a request one time.
func (t *transport) once(req *http.Request, token string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), callTimeout)
	sent := req.Clone(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			cancel()
			return nil, err
		}
		sent.Body = body
	}
	sent.Header.Set("Authorization", t.scheme+" "+token)
	known := t.cache.ask(sent)
	res, err := t.next.RoundTrip(sent)
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &bounded{ReadCloser: res.Body, left: maxAnswer, cancel: cancel, whole: res.StatusCode == http.StatusOK || res.StatusCode == http.StatusCreated}
	var text []byte
	if res.StatusCode >= 300 {
		text = readError(res)
	}
	if err := t.limit(res, text); err != nil {
		res.Body.Close()
		return nil, err
	}
	return t.cache.answer(sent, res, known)
}

// readError reads the text of an error, as much as is of use, and ends the request: go-github would read on for ever, and never
// close it.
func readError(res *http.Response) []byte {
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorText)) // the status says enough
	res.Body.Close()
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return text
}

// limit reads what a forge says of its limits: it becomes an error if this answer was about that, and is remembered for
// requests to come. GitHub has a primary limit (so many an hour) and secondary ones (too fast), with 403 or 429 for both.
func (t *transport) limit(res *http.Response, text []byte) error {
	now, h := t.now(), res.Header
	var until time.Time
	after := h.Get("Retry-After")
	spent := h.Get("X-RateLimit-Remaining") == "0"
	refused := res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusTooManyRequests
	busy := res.StatusCode == http.StatusServiceUnavailable && after != ""
	reset := resetOf(h, now)
	// go-github would keep accounts of its own, refuse by them, and knows 403 only.
	h.Del("X-RateLimit-Remaining")
	h.Del("X-RateLimit-Reset")
	switch {
	case (refused || busy) && after != "":
		until = now.Add(retryAfter(after, now))
	case spent:
		until = reset
	case res.StatusCode == http.StatusTooManyRequests, refused && secondary(text):
		until = now.Add(unnamedWait)
	default:
		return nil
	}
	t.mu.Lock()
	if until.After(t.until) {
		t.until = until
	}
	t.mu.Unlock()
	if refused || busy {
		return &Limited{t.host, until}
	}
	return nil
}

// retryAfter is seconds, or a date; a day at most.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return time.Duration(min(n, 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), 24*time.Hour)
	}
	return unnamedWait
}

// resetOf is when the primary limit starts anew: in an hour at most.
func resetOf(h http.Header, now time.Time) time.Time {
	n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return now.Add(unnamedWait)
	}
	at, most := time.Unix(n, 0).Add(time.Second), now.Add(time.Hour)
	if at.After(most) {
		return most
	}
	return at
}

// secondary says whether an answer is about a secondary limit, by its text.
func secondary(text []byte) bool {
	s := strings.ToLower(string(text))
	return strings.Contains(s, "secondary rate limit") || strings.Contains(s, "secondary-rate-limit") ||
		strings.Contains(s, "abuse-rate-limit") || strings.Contains(s, "abuse detection")
}

// bounded is a body of so many bytes at most. Its end ends the request.
type bounded struct {
	io.ReadCloser
	left   int64
	cancel context.CancelFunc
	whole  bool // nothing at all is no answer: go-github would take it for an empty list
	some   bool
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.some = b.some || n > 0
	switch {
	case int64(n) > b.left:
		n, err = int(b.left), errTooLarge
	case err == io.EOF && b.whole && !b.some:
		err = io.ErrUnexpectedEOF
	}
	b.left -= int64(n)
	return n, err
}

// Close implements io.Closer.
func (b *bounded) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
