package remote_test

import (
	"bytes"
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
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// TestCredentialFilesAreReadAgain changes a credential while it is used; a host gets the new one, and no other host either.
func TestCredentialFilesAreReadAgain(t *testing.T) {
	var seen []string
	own := serve(t, func(w http.ResponseWriter, r *http.Request) { seen = append(seen, r.Header.Get("Authorization")) })
	file := filepath.Join(t.TempDir(), "token")
	put := func(content string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(file+".new", []byte(content), mode), os.Chmod(file+".new", mode), os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := remote.CredentialFile(file); err == nil {
		t.Error("a file that is not there is a credential")
	}
	put("one", 0o644)
	if _, err := remote.CredentialFile(file); err == nil || !strings.Contains(err.Error(), "others may read") {
		t.Errorf("others may read it: %v", err)
	}
	put("one\n", 0o600)
	c, err := remote.CredentialFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(s, "one") {
		t.Errorf("it is printed: %s", s)
	}
	cl := client(own, remote.Credentials{own.Listener.Addr().String(): c})
	get := func() {
		t.Helper()
		if err := cl.Download(t.Context(), own.URL+"/a", &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	}
	get()
	put("two\n", 0o600)
	get()
	put("me:three\n", 0o600)
	get()
	for _, odd := range []string{"", "a\nb\n"} { // somebody is writing it
		put(odd, 0o600)
		get()
	}
	put("open", 0o644)
	get()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	get()
	put("four", 0o600)
	get()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:three"))
	want := []string{"Bearer one", "Bearer two", basic, basic, basic, basic, basic, "Bearer four"}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// forge is GitHub as far as an App needs it.
type forge struct {
	*httptest.Server
	mu      sync.Mutex
	t       *testing.T
	key     *rsa.PrivateKey
	asked   int
	expires time.Duration
	now     func() time.Time
	answer  http.HandlerFunc
}

func (f *forge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.answer != nil {
		f.answer(w, r)
		return
	}
	if r.URL.Path == "/api/v3/repos/controls/site/installation" && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
		fmt.Fprint(w, `{"id": 42, "app_id": 1234}`)
		return
	}
	proof, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(proof, ".")
	if !ok || len(parts) != 3 || r.URL.Path != "/api/v3/app/installations/42/access_tokens" || r.Method != http.MethodPost {
		f.t.Errorf("%s %s with %q", r.Method, r.URL, r.Header)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err1 := base64.RawURLEncoding.DecodeString(parts[2])
	head, err2 := base64.RawURLEncoding.DecodeString(parts[0])
	body, err3 := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	if err := errors.Join(err1, err2, err3, json.Unmarshal(body, &claims)); err != nil {
		f.t.Error(err)
	}
	if rsa.VerifyPKCS1v15(&f.key.PublicKey, crypto.SHA256, sum[:], signature) != nil || string(head) != `{"alg":"RS256","typ":"JWT"}` {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if now := f.now().Unix(); claims.Iss != "1234" || claims.Iat > now || claims.Exp <= now || claims.Exp-claims.Iat > 600 {
		f.t.Errorf("claims %s at %d", body, now)
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"token": "ghs_%d", "expires_at": %q}`, f.asked, f.now().Add(f.expires).UTC().Format(time.RFC3339))
}

func writeKey(t *testing.T, file string, key *rsa.PrivateKey, pkcs8 bool) {
	t.Helper()
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if pkcs8 {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAppTokens(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f := &forge{t: t, key: key, expires: time.Hour, now: func() time.Time { return now }}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	file := filepath.Join(t.TempDir(), "key.pem")
	o := remote.AppOptions{ID: "1234", Installation: 42, KeyFile: file, API: f.URL + "/api/v3/", Client: client(f.Server, nil), Now: f.now}
	if _, err := remote.NewApp(o); err == nil {
		t.Error("an App without a key")
	}
	writeKey(t, file, key, false)
	plain := o
	plain.API = "http://127.0.0.1/"
	if _, err := remote.NewApp(plain); err == nil {
		t.Error("a token is asked for in the clear")
	}
	app, err := remote.NewApp(o)
	if err != nil {
		t.Fatal(err)
	}
	token := func(want string) {
		t.Helper()
		if got, err := app.Token(t.Context()); got != want || err != nil {
			t.Errorf("token %q, %v; want %q", got, err, want)
		}
	}
	token("ghs_1")
	token("ghs_1")
	now = now.Add(54 * time.Minute)
	token("ghs_1")
	now = now.Add(2 * time.Minute) // some minutes before it expires
	writeKey(t, file, key, true)
	token("ghs_2")

	// What git's host and another host get.
	var seen []string
	git := serve(t, func(w http.ResponseWriter, r *http.Request) { seen = append(seen, r.Header.Get("Authorization")) })
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { seen = append(seen, r.Header.Get("Authorization")) })
	cl := client(git, remote.Credentials{git.Listener.Addr().String(): app.Credential()})
	if err := cl.Download(t.Context(), git.URL, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"Bearer ghs_2", "token ghs_2", "Bearer ghs_1", "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:ghs_2"))} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, other.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", header)
		res, err := cl.HTTP().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	want := []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:ghs_2")), "", "", "", ""}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("seen %q, want %q", seen, want)
	}

	// A token that is refused is asked for anew.
	at, err := url.Parse(git.URL)
	if err != nil || !cl.Forget(at) {
		t.Error(err)
	}
	token("ghs_3")
	elsewhere, err := url.Parse(other.URL)
	if err != nil || cl.Forget(elsewhere) {
		t.Error("a host without an App has a token")
	}

	// Where it is installed is asked for, once.
	found := o
	found.Installation, found.Repository = 0, "controls/site"
	if other, err := remote.NewApp(found); err != nil {
		t.Error(err)
	} else {
		for range 2 {
			other.Forget()
			if got, err := other.Token(t.Context()); err != nil {
				t.Errorf("token %q, %v", got, err)
			}
		}
		if f.asked != 6 {
			t.Errorf("%d requests, want 6: three tokens of one App, one installation, two tokens of the other", f.asked)
		}
	}

	// Another key, and answers that are none.
	now = now.Add(time.Hour)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	writeKey(t, file, stranger, false)
	var unavailable *remote.Unavailable
	if _, err := app.Token(t.Context()); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "401") {
		t.Errorf("another key: %v", err)
	}
	writeKey(t, file, key, false)
	for name, answer := range map[string]http.HandlerFunc{
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) },
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.Write([]byte("<html>"))
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			for range 1 << 10 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"two lines": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.Write([]byte(`{"token": "a\r\nb", "expires_at": "2099-01-01T00:00:00Z"}`))
		},
	} {
		f.mu.Lock()
		f.answer = answer
		f.mu.Unlock()
		before := len(seen)
		if got, err := app.Token(t.Context()); err == nil || got != "" {
			t.Errorf("%s: token %q", name, got)
		}
		if len(seen) != before {
			t.Errorf("%s: another host was asked", name)
		}
	}
}

// TestAnAppThatIsInstalledAnewIsFound removes the App from the repository and installs it again: it has another number then.
func TestAnAppThatIsInstalledAnewIsFound(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	installed := 42
	f := &forge{t: t, answer: func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/repos/controls/site/installation":
			fmt.Fprintf(w, `{"id": %d}`, installed)
		case fmt.Sprintf("/app/installations/%d/access_tokens", installed):
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"token": "ghs_%d", "expires_at": "2099-01-01T00:00:00Z"}`, installed)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	file := filepath.Join(t.TempDir(), "key.pem")
	writeKey(t, file, key, false)
	app, err := remote.NewApp(remote.AppOptions{ID: "1234", Repository: "controls/site", KeyFile: file, API: f.URL, Client: client(f.Server, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := app.Token(t.Context()); got != "ghs_42" || err != nil {
		t.Errorf("token %q, %v", got, err)
	}
	installed = 43
	app.Forget()
	if _, err := app.Token(t.Context()); err == nil {
		t.Error("a token of an installation that is gone")
	}
	if got, err := app.Token(t.Context()); got != "ghs_43" || err != nil {
		t.Errorf("token %q, %v", got, err)
	}
}
