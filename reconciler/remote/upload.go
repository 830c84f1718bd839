package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// BlobPath is where a service takes and has files by digest, below its address.
const BlobPath = "/-/blobs/sha256/"

// Blob is a file to upload.
type Blob struct {
	Digest artifact.Digest
	Size   int64 // bytes
	Open   func() (io.ReadCloser, error)
}

// Upload puts a file into the blob store of the service at an address, with the token that is known for its host. What is
// there already is not sent again. Its error is a *Wrong, which no other try helps, or an *Unavailable. A token goes over
// plain http to this machine only, or with clear to any.
func (c *Client) Upload(ctx context.Context, address string, b Blob, clear bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return &Wrong{Field: "to", Text: fmt.Sprintf("malformed address of a service %q", address), Advice: "want https://HOST"}
	}
	if u.Scheme == "http" && !clear && !onThisMachine(u) {
		return &Wrong{Field: "to", Text: fmt.Sprintf("a token would go to %s in the clear", HostOf(u)), Advice: "put https before the service, or say that its network may read along"}
	}
	own, known, err := c.Credential(ctx, u)
	if err != nil {
		return Failed(ctx, HostOf(u), err)
	}
	token, ok := own.Token()
	if !known || !ok {
		return &Wrong{Field: "to", Text: fmt.Sprintf("there is no token for %s", HostOf(u)), Advice: fmt.Sprintf("give one with --credential %s=FILE", HostOf(u))}
	}
	body, err := b.Open()
	if err != nil {
		return err
	}
	defer body.Close() // only read
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, strings.TrimSuffix(address, "/")+BlobPath+b.Digest.String(), body)
	if err != nil {
		return &Wrong{Field: "to", Text: "malformed address", Advice: "want https://HOST"}
	}
	req.ContentLength = b.Size
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // it may be there already, or not be welcome
	res, err := c.uploads(u.Scheme).Do(req)
	if err != nil {
		return Failed(ctx, HostOf(u), err)
	}
	defer res.Body.Close() // read as far as it counts
	said, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	return uploaded(HostOf(u), res.StatusCode, strings.TrimSpace(string(said)))
}

// uploaded tells what an answer means.
func uploaded(host string, code int, said string) error {
	switch code {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return &Wrong{Field: "to", Text: host + " does not accept the token", Advice: "ask its operator for another one"}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return &Wrong{Field: "to", Text: host + " takes no uploads", Advice: "correct the address, or have its operator give the service a token file"}
	case http.StatusRequestEntityTooLarge:
		return &Wrong{Field: "to", Text: host + " takes no file of that size", Advice: "make it smaller, or have its operator raise the limit"}
	case http.StatusBadRequest, http.StatusLengthRequired:
		return &Wrong{Field: "to", Text: fmt.Sprintf("%s refuses the file: %q", host, said), Advice: "try once more; a proxy may have changed it"}
	}
	if said == "" {
		said = http.StatusText(code)
	}
	return &Unavailable{host, fmt.Errorf("status %d %q", code, said)}
}

// uploads is a client that follows no redirect: a token goes to nobody else.
func (c *Client) uploads(scheme string) *http.Client {
	t := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		TLSClientConfig:       c.options.TLS,
		ResponseHeaderTimeout: answerTimeout,
		ExpectContinueTimeout: dialTimeout,
		DisableKeepAlives:     true,
	}
	if scheme == "https" {
		t.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func onThisMachine(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
