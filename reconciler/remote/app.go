package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Times of a GitHub App's tokens (GitHub: "Generating a JSON Web Token for a GitHub App").
const (
	jwtLife   = 9 * time.Minute // GitHub takes at most ten
	jwtSkew   = time.Minute     // for clocks that differ
	tokenSlip = 5 * time.Minute // a token is replaced so long before it expires
	maxAnswer = 1 << 20         // bytes of an answer to a request for a token
)

// App is a GitHub App that is installed where the repository is. Its tokens are good for the API's host and for git's.
type App struct {
	options AppOptions
	mu      sync.Mutex
	token   string
	before  string // the token before this one: a request may still carry it
	expires time.Time
	found   int64 // installation that was asked for; 0: none yet
}

// AppOptions say which App it is.
type AppOptions struct {
	ID           string  // the App's id or client id
	Installation int64   // 0: that of Repository, which is asked for
	Repository   string  // OWNER/NAME
	KeyFile      string  // private key in PEM, read each time that it is needed
	API          string  // https://api.github.com, or https://HOST/api/v3
	Client       *Client // reaches the API; it needs no credential for that
	Now          func() time.Time
}

// NewApp is an App. Its key must be readable now.
func NewApp(o AppOptions) (*App, error) {
	o.API = strings.TrimSuffix(cmp.Or(o.API, "https://api.github.com"), "/")
	if o.Now == nil {
		o.Now = time.Now
	}
	if u, err := url.Parse(o.API); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("malformed address of an API %q: want https", o.API)
	}
	if _, err := readKey(o.KeyFile); err != nil {
		return nil, fmt.Errorf("read key of GitHub App: %w", err)
	}
	return &App{options: o}, nil
}

// Credential is the App as one host's credential, for git and for the API.
func (a *App) Credential() Credential { return Credential{source: a} }

// Token is a token that is good for some minutes at least.
func (a *App) Token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && a.options.Now().Before(a.expires.Add(-tokenSlip)) {
		return a.token, nil
	}
	token, expires, err := a.ask(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for token of GitHub App: %w", err)
	}
	a.before, a.token, a.expires = a.token, token, expires
	return token, nil
}

// now implements source: what git's host takes (GitHub: "Authenticating as a GitHub App installation").
func (a *App) now(ctx context.Context) (Credential, error) {
	token, err := a.Token(ctx)
	return Credential{user: "x-access-token", password: token}, err
}

// proves implements source, for either way in which a token is given.
func (a *App) proves(header string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc([]string{a.token, a.before}, func(token string) bool {
		return token != "" && (header == "Bearer "+token || header == "token "+token || header == Credential{user: "x-access-token", password: token}.header())
	})
}

// Forget drops a token that was refused, so that the next one is new.
func (a *App) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expires = time.Time{}
}

func (a *App) ask(ctx context.Context) (token string, expires time.Time, err error) {
	installation, err := a.installation(ctx)
	if err != nil {
		return "", expires, err
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	host, err := a.call(ctx, http.MethodPost, fmt.Sprintf("app/installations/%d/access_tokens", installation), http.StatusCreated, &answer)
	if err != nil {
		a.found = 0 // it may have been installed anew
		return "", expires, err
	}
	if answer.Token == "" || strings.ContainsAny(answer.Token, " \r\n\t") {
		return "", expires, &Unavailable{host, errors.New("its answer holds no token")}
	}
	return answer.Token, answer.Expires, nil
}

// installation is where the App is installed.
func (a *App) installation(ctx context.Context) (int64, error) {
	if known := cmp.Or(a.options.Installation, a.found); known != 0 {
		return known, nil
	}
	var answer struct {
		ID int64 `json:"id"`
	}
	host, err := a.call(ctx, http.MethodGet, "repos/"+a.options.Repository+"/installation", http.StatusOK, &answer)
	if err != nil {
		return 0, err
	}
	if answer.ID == 0 {
		return 0, &Unavailable{host, errors.New("its answer names no installation")}
	}
	a.found = answer.ID
	return answer.ID, nil
}

// call asks the API as the App itself.
func (a *App) call(ctx context.Context, method, path string, want int, into any) (host string, err error) {
	proof, err := a.Proof(ctx)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, a.options.API+"/"+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+proof)
	req.Header.Set("Accept", "application/vnd.github+json")
	client := *a.options.Client.HTTP()
	client.CheckRedirect = SameHost
	res, err := client.Do(req)
	host = HostOf(req.URL)
	if err != nil {
		return host, Failed(ctx, host, err)
	}
	defer res.Body.Close() // read whole or reported below
	if res.StatusCode != want {
		return host, &Unavailable{host, fmt.Errorf("status %d %s", res.StatusCode, http.StatusText(res.StatusCode))}
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return host, Failed(ctx, host, err)
	}
	if json.Unmarshal(b, into) != nil {
		return host, &Unavailable{host, errors.New("its answer is malformed")}
	}
	return host, nil
}

// Proof is a JSON web token that says which App asks, signed RS256: for what an App is asked about itself.
func (a *App) Proof(context.Context) (string, error) {
	key, err := readKey(a.options.KeyFile)
	if err != nil {
		return "", err
	}
	now := a.options.Now()
	claims, err := json.Marshal(map[string]any{"iss": a.options.ID, "iat": now.Add(-jwtSkew).Unix(), "exp": now.Add(jwtLife).Unix()})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}

// readKey reads an RSA key as GitHub gives it out, or as openssl writes it anew.
func readKey(name string) (*rsa.PrivateKey, error) {
	b, _, err := readChanged(name, "")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(bytes.TrimSpace(b))
	if block == nil {
		return nil, fmt.Errorf("%q is no PEM file", name)
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if rsaKey, ok := key.(*rsa.PrivateKey); ok && err == nil {
		return rsaKey, nil
	}
	return nil, fmt.Errorf("%q is no RSA private key", name)
}
