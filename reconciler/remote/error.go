package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
)

// Unavailable says that a host did not give what it may well have: it was not reached, it refused, or it broke off. Another
// try may succeed, and no change of the site is called for.
type Unavailable struct {
	Host string
	Err  error
}

// Error names the host and says that nothing is lost.
func (e *Unavailable) Error() string {
	return fmt.Sprintf("%s is unavailable: %v; another try may succeed", e.Host, e.Err)
}

// Unwrap is the cause.
func (e *Unavailable) Unwrap() error { return e.Err }

// Wrong says that a host answered, and has not what was asked for. A person must change something; no try helps.
type Wrong struct {
	Field  string // of the payload's source that is to be changed, for instance sha256
	Text   string
	Advice string
}

// Error is the text with the advice.
func (e *Wrong) Error() string { return e.Text + "; " + e.Advice }

// TooLarge says that something has more bytes than are fetched.
func TooLarge(field string, most int64) error {
	return &Wrong{Field: field, Text: fmt.Sprintf("what lies there is larger than %d MiB", most>>20), Advice: "make it smaller"}
}

// Failed tells what an error of a connection to a host means. An address may hold a secret that a redirect brought, so that
// only the cause is kept.
func Failed(ctx context.Context, host string, err error) error {
	var wrong *Wrong
	var unavailable *Unavailable
	if err == nil || errors.As(err, &wrong) || errors.As(err, &unavailable) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var disk *fs.PathError
	if errors.Is(err, context.Canceled) || errors.As(err, &disk) {
		return err // somebody ended the pass, or it is this machine's fault
	}
	var at *url.Error
	for errors.As(err, &at) {
		err = at.Err
	}
	return &Unavailable{host, err}
}

// status tells what an answer means that is no success.
func status(host, field string, code int) error {
	if code == http.StatusNotFound || code == http.StatusGone {
		return &Wrong{Field: field, Text: fmt.Sprintf("%s has no such file (status %d)", host, code), Advice: "correct the address, or put the file there"}
	}
	return &Unavailable{host, fmt.Errorf("status %d %s", code, http.StatusText(code))}
}
