package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

var errMalformed = errors.New("its answer is malformed")

// refusal is an answer that is no success.
type refusal struct {
	code int
	text string // what the forge says
}

// Error is for tests; failed makes of it what people see.
func (r *refusal) Error() string {
	return fmt.Sprintf("status %d %s: %s", r.code, http.StatusText(r.code), r.text)
}

// failed tells what an error of a call means.
func (t *transport) failed(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, t.cause(ctx, err))
}

func (t *transport) cause(ctx context.Context, err error) error {
	var limited *Limited
	var refused *refusal
	switch {
	case errors.As(err, &limited):
		return limited
	case !errors.As(err, &refused):
		var at *url.Error
		for errors.As(err, &at) {
			err = at.Err // an address may hold what a redirect brought
		}
		return remote.Failed(ctx, t.host, err)
	}
	text := cutLine(t.redact(refused.text), 300)
	switch refused.code {
	case http.StatusUnauthorized:
		return &remote.Wrong{Field: "token", Text: t.host + " does not accept the token", Advice: "give another"}
	case http.StatusForbidden:
		return &remote.Wrong{Field: "token", Text: fmt.Sprintf("%s does not allow that: %s", t.host, text), Advice: "give the token that permission"}
	case http.StatusNotFound, http.StatusGone:
		return &remote.Wrong{Field: "repository", Text: fmt.Sprintf("%s has no such thing, or hides it from this token", t.host), Advice: "correct the repository, or give the token permission"}
	case http.StatusUnprocessableEntity, http.StatusConflict, http.StatusBadRequest:
		return &remote.Wrong{Field: "repository", Text: fmt.Sprintf("%s refuses that: %s", t.host, text), Advice: "change what it names"}
	}
	return &remote.Unavailable{Host: t.host, Err: fmt.Errorf("status %d %s", refused.code, http.StatusText(refused.code))}
}
