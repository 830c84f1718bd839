package forge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/forge/forgetest"
)

const (
	headCommit  = forgetest.HeadCommit
	otherCommit = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
	theToken    = forgetest.Token
	theHook     = "https://pomona.example.org/-/webhooks/github"
)

type object = forgetest.Object

var (
	answer = forgetest.Answer
	refuse = forgetest.Refuse
)

// fake is a GitHub with a clock that only sleeping moves.
type fake struct {
	*forgetest.GitHub
	t     testing.TB
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newFake(t testing.TB) *fake {
	t.Helper()
	return &fake{GitHub: forgetest.NewGitHub(t, forgetest.Options{}), t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
}

// options reach the fake.
func (f *fake) options() Options {
	return Options{
		API: f.Server.URL, Repository: "octocat/Hello-World", Branch: "main", Site: "demo", Hook: theHook,
		Token: TokenFunc(func(context.Context) (string, error) { return theToken, nil }), TLS: trust(f.Server),
		Now: func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.now },
		Sleep: func(ctx context.Context, d time.Duration) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.now, f.slept = f.now.Add(d), append(f.slept, d)
			return ctx.Err()
		},
	}
}

func trust(s *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

// github is a GitHub that talks to the fake, as an App or with a user's token.
func (f *fake) github(change ...func(*Options)) *GitHub {
	f.t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	g, err := NewGitHub(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

func asApp(o *Options) { o.App = &App{ID: forgetest.AppID, Proof: o.Token} }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError holds an error to a kind.
func wantError[E error](t testing.TB, err error, text string) {
	t.Helper()
	var kind E
	if !errors.As(err, &kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v (%T), want one with %q", err, err, text)
	}
	if err != nil && strings.Contains(err.Error(), theToken) {
		t.Errorf("the error tells the token: %v", err)
	}
}
