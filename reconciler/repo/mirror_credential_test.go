package repo_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// guarded lets git's server ask for a user and a password.
func (u *upstream) guarded(valid func(user, password string) bool) {
	u.answer(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || !valid(user, password) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		u.backend.ServeHTTP(w, r)
	})
}

// TestMirrorCredentialChanges changes a password there, and then in its file.
func TestMirrorCredentialChanges(t *testing.T) {
	u := newUpstream(t)
	password := "one"
	u.guarded(func(user, p string) bool { return user == "me" && p == password })
	file := filepath.Join(u.dir, "credential")
	write(t, u.dir, "credential", "me:one\n", 0o600)
	c, err := remote.CredentialFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := u.options()
	at := u.server.Listener.Addr().String()
	o.Client = remote.New(remote.Options{TLS: u.tls(), Credentials: remote.Credentials{at: c}, Stall: 5 * time.Second})
	m := open(t, o)
	m.moves(u.head())
	password = "two"
	first := u.head()
	u.commit("second")
	var unavailable *remote.Unavailable
	m.fails(first, &unavailable, "another credential")
	write(t, u.dir, "credential", "me:two\n", 0o600)
	m.moves(u.head())
	// Nobody else's credential is tried.
	o.Dir += "2"
	o.Client = remote.New(remote.Options{TLS: u.tls(), Credentials: remote.Credentials{"example.org": c}, Stall: 5 * time.Second})
	open(t, o).fails("", &unavailable, "another credential")
}

// TestMirrorAsGitHubApp takes tokens that expire and are revoked at any time.
func TestMirrorAsGitHubApp(t *testing.T) {
	u := newUpstream(t)
	token, asked, down := "", 0, false
	u.guarded(func(user, password string) bool { return user == "x-access-token" && password == token })
	git := *u.fault.Load()
	u.answer(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v3/") {
			git(w, r)
			return
		}
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		asked++
		token = fmt.Sprint("ghs_", asked)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token": %q, "expires_at": %q}`, token, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, u.dir, "app.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), 0o600)
	app, err := remote.NewApp(remote.AppOptions{
		ID: "1", Installation: 2, KeyFile: filepath.Join(u.dir, "app.pem"), API: u.server.URL + "/api/v3",
		Client: remote.New(remote.Options{TLS: u.tls()}),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := u.options()
	o.Client = remote.New(remote.Options{TLS: u.tls(), Credentials: remote.Credentials{u.server.Listener.Addr().String(): app.Credential()}, Stall: 5 * time.Second})
	m := open(t, o)
	m.moves(u.head())
	m.stays(u.head())
	if asked != 1 {
		t.Errorf("%d tokens for two updates", asked)
	}
	token = "revoked"
	m.moves(u.commit("after the token was revoked"))
	if asked != 2 {
		t.Errorf("%d tokens, want another one", asked)
	}
	at := u.head()
	token, down = "revoked again", true
	u.commit("while the forge gives no token")
	var unavailable *remote.Unavailable
	m.fails(at, &unavailable, "502")
	down = false
	m.moves(u.head())
	if err := os.Remove(filepath.Join(u.dir, "app.pem")); err != nil {
		t.Fatal(err)
	}
	m.stays(u.head())
}
