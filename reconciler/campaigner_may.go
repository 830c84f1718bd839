package reconciler

import (
	"context"
	"fmt"

	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// OrderVia is how an order came.
type OrderVia string

// Ways of an order. At the socket of a root are those who may read and write it; over the API who has a token of role operate.
const (
	ViaSocket OrderVia = "operator"
	ViaAPI    OrderVia = "submission-api"
)

// mayOrder says why somebody, by the name that they say at the socket or that their token says, may give no orders about a campaign, who may order at all; nil: they may.
func (s *Campaigner) mayOrder(ctx context.Context, who string, c tended) error {
	site, _, err := s.PublishedSite(ctx)
	if err != nil || site.Settings.Campaigns.MayOrder(who, c.spec) {
		return err
	}
	return refused{fmt.Errorf("%s may give no orders about campaign %s of role %s: site.campaigns.people names those who may", who, c.uid, c.spec.TheRole()), serve.ErrForbidden}
}

// refused is an order that is not carried out, and which of the submission API's reasons that is.
type refused struct {
	error
	because error // serve.ErrNoSuch, serve.ErrConflict, serve.ErrForbidden or serve.ErrMalformed
}

// Is implements what errors.Is asks for.
func (r refused) Is(target error) bool { return target == r.because }

// Unwrap implements what errors.As asks for.
func (r refused) Unwrap() error { return r.error }

// conflict refuses an order that does not go with what is known.
func conflict(format string, a ...any) error {
	return refused{fmt.Errorf(format, a...), serve.ErrConflict}
}
