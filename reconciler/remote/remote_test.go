package remote_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s
}

func client(s *httptest.Server, cs remote.Credentials) *remote.Client {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return remote.New(remote.Options{Credentials: cs, TLS: &tls.Config{RootCAs: pool}, Stall: 100 * time.Millisecond})
}

func credential(t *testing.T, s string) remote.Credential {
	t.Helper()
	c, err := remote.ParseCredential([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAHostThatFallsSilentIsGivenUp(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a beginning"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	var got bytes.Buffer
	err := client(s, nil).Download(t.Context(), s.URL, &got)
	var unavailable *remote.Unavailable
	if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "stopped answering") || got.String() != "a beginning" {
		t.Errorf("after %q: %v", &got, err)
	}
}

func TestALargeFileIsAProblem(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1001)) })
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	for most, ok := range map[int64]bool{1000: false, 1001: true} {
		err := remote.New(remote.Options{TLS: &tls.Config{RootCAs: pool}, MaxSize: most}).Download(t.Context(), s.URL, &bytes.Buffer{})
		var wrong *remote.Wrong
		if ok != (err == nil) || !ok && !errors.As(err, &wrong) {
			t.Errorf("at most %d: %v", most, err)
		}
	}
}

func TestALargeLayerIsAProblemOfItsImage(t *testing.T) {
	content := make([]byte, 1001)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	layer, err := remote.FindLayer(fmt.Appendf(nil, `{"layers": [{"digest": "sha256:%s", "size": 1001}]}`, artifact.Sum(content)), "")
	if err != nil {
		t.Fatal(err)
	}
	c := remote.New(remote.Options{TLS: &tls.Config{RootCAs: pool}, MaxSize: 1000})
	err = c.DownloadLayer(t.Context(), remote.Image{Host: strings.TrimPrefix(s.URL, "https://"), Name: "a/b"}, layer, &bytes.Buffer{})
	var wrong *remote.Wrong
	if !errors.As(err, &wrong) || wrong.Field != "image" {
		t.Errorf("%#v", err)
	}
}

func TestUnknownCertificateIsUnavailable(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) })
	var unavailable *remote.Unavailable
	if err := remote.New(remote.Options{}).Download(t.Context(), s.URL, &bytes.Buffer{}); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

func TestNothingIsSentInTheClear(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer s.Close()
	if err := remote.New(remote.Options{}).Download(t.Context(), s.URL, &bytes.Buffer{}); err == nil {
		t.Error("a download in the clear succeeds")
	}
}

func TestAFullDiskIsNoHostsFault(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) })
	full := errors.New("no space left")
	var unavailable *remote.Unavailable
	if err := client(s, nil).Download(t.Context(), s.URL, broken{full}); !errors.Is(err, full) || errors.As(err, &unavailable) {
		t.Errorf("%v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// TestCredentialsAreBoundToTheirHost follows redirects: to another host, back from there, and on to a path of the same.
func TestCredentialsAreBoundToTheirHost(t *testing.T) {
	var seen []string
	var own, other *httptest.Server
	note := func(who string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, who+r.URL.Path+" "+r.Header.Get("Authorization"))
			h(w, r)
		}
	}
	own = serve(t, note("own", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/1":
			http.Redirect(w, r, "/2", http.StatusFound)
		case "/2":
			http.Redirect(w, r, other.URL+"/3", http.StatusFound)
		default:
			w.Write([]byte("done"))
		}
	}))
	other = serve(t, note("other", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/3" {
			http.Redirect(w, r, "/4", http.StatusFound)
			return
		}
		http.Redirect(w, r, own.URL+"/5", http.StatusFound)
	}))
	cs := remote.Credentials{own.Listener.Addr().String(): credential(t, "token-of-own\n")}
	if err := client(own, cs).Download(t.Context(), own.URL+"/1", &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"own/1 Bearer token-of-own", "own/2 Bearer token-of-own", "other/3 ", "other/4 ", "own/5 "}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}

// TestARegistrysTokenServerGetsOnlyItsOwnCredential holds the token protocol of registries to the same rule.
func TestARegistrysTokenServerGetsOnlyItsOwnCredential(t *testing.T) {
	for name, shared := range map[string]bool{"given for the token server too": true, "given for the registry alone": false} {
		t.Run(name, func(t *testing.T) {
			tokens := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if _, _, ok := r.BasicAuth(); ok != shared {
					t.Errorf("the token server gets a credential: %v", ok)
				}
				fmt.Fprint(w, `{"token": "t"}`)
			})
			registry := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.Header.Get("Authorization"), "Basic") {
					t.Error("the registry gets a password that it did not ask for")
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q,service=\"s\"", tokens.URL+"/token"))
				w.WriteHeader(http.StatusUnauthorized)
			})
			at := registry.Listener.Addr().String()
			cs := remote.Credentials{at: credential(t, "me:secret")}
			if shared {
				cs[tokens.Listener.Addr().String()] = credential(t, "me:secret")
			}
			_, err := client(registry, cs).Manifest(t.Context(), remote.Image{Host: at, Name: "a/b"})
			var unavailable *remote.Unavailable
			if !errors.As(err, &unavailable) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestNoHostLearnsWhereARedirectCameFrom: an address that a redirect brought may hold a secret.
func TestNoHostLearnsWhereARedirectCameFrom(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Referer"))
		switch r.URL.Path {
		case "/a":
			http.Redirect(w, r, "/b?signature=secret", http.StatusFound)
		case "/b":
			http.Redirect(w, r, "/c", http.StatusFound)
		}
	})
	if err := client(s, nil).Download(t.Context(), s.URL+"/a", io.Discard); err != nil || strings.Join(got, "") != "" || len(got) != 3 {
		t.Errorf("%q, %v", got, err)
	}
}

// TestARegistryIsTheSameHoweverItIsWritten: host names have no case.
func TestARegistryIsTheSameHoweverItIsWritten(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); ok {
			got = append(got, user)
			http.NotFound(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "https://"), ":")
	c := remote.New(remote.Options{
		TLS: &tls.Config{RootCAs: pool, ServerName: "example.com"}, Credentials: remote.Credentials{"localhost:" + port: credential(t, "reader:secret")},
	})
	_, err := c.Manifest(t.Context(), remote.Image{Host: "LocalHost:" + port, Name: "a/b", Digest: artifact.Sum([]byte("x"))})
	var wrong *remote.Wrong
	if !errors.As(err, &wrong) || len(got) == 0 || got[0] != "reader" {
		t.Errorf("credentials %q, %v", got, err)
	}
}

func TestParseCredential(t *testing.T) {
	if user, password, ok := credential(t, "me:a:b \n").User(); !ok || user != "me" || password != "a:b" {
		t.Errorf("user %q, password %q, %v", user, password, ok)
	}
	if token, ok := credential(t, "abc.def\n").Token(); !ok || token != "abc.def" {
		t.Errorf("token %q, %v", token, ok)
	}
	if key, ok := credential(t, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").Key(); !ok || len(key) == 0 {
		t.Errorf("key %q, %v", key, ok)
	}
	for _, s := range []string{"", "\n", "a:b\nc:d", ":b", "a:"} {
		if _, err := remote.ParseCredential([]byte(s)); err == nil {
			t.Errorf("%q is a credential", s)
		}
	}
	c := credential(t, "me:secret")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "secret)") != true || strings.Contains(s, "me") {
			t.Errorf("%s prints %s", format, s)
		}
	}
}

func TestHosts(t *testing.T) {
	for s, want := range map[string]string{
		"Git.Example.org": "git.example.org", "git.example.org:443": "git.example.org", "a:5000": "a:5000", "[::1]:8443": "[::1]:8443",
	} {
		if got, err := remote.ParseHost(s); got != want || err != nil {
			t.Errorf("ParseHost(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "a/b", "https://a", "me@a", "a b"} {
		if got, err := remote.ParseHost(s); err == nil {
			t.Errorf("ParseHost(%q) = %q", s, got)
		}
	}
	for s, want := range map[string]string{"ssh://git@a/b": "a", "ssh://a:22/b": "a", "ssh://a:2222/b": "a:2222", "https://a:443/b": "a", "https://a:22/b": "a:22"} {
		if u, err := url.Parse(s); err != nil || remote.HostOf(u) != want {
			t.Errorf("HostOf(%q) = %q, %v", s, remote.HostOf(u), err)
		}
	}
}

func TestParseImage(t *testing.T) {
	digest := artifact.Sum([]byte("x"))
	for s, want := range map[string]remote.Image{
		"a:5000/b/c:v1@sha256:" + digest.String(): {Host: "a:5000", Name: "b/c", Tag: "v1", Digest: digest},
		"a.org/b@sha256:" + digest.String():       {Host: "a.org", Name: "b", Digest: digest},
	} {
		if got, err := remote.ParseImage(s); got != want || err != nil {
			t.Errorf("ParseImage(%q) = %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "a/b", "a@sha256:" + digest.String(), "a/b@sha256:12", "a/b@md5:" + digest.String()} {
		if got, err := remote.ParseImage(s); err == nil {
			t.Errorf("ParseImage(%q) = %+v", s, got)
		}
	}
}

func TestFindLayer(t *testing.T) {
	layer := func(title string) string {
		return fmt.Sprintf(`{"digest": "sha256:%s", "size": 1, "annotations": {"org.opencontainers.image.title": %q}}`, artifact.Sum([]byte(title)), title)
	}
	for _, c := range []struct{ manifest, title, want string }{
		{`{"layers": [` + layer("a") + `]}`, "", ""},
		{`{"layers": [` + layer("a") + `,` + layer("b") + `]}`, "a", ""},
		{`{"layers": [` + layer("a") + `,` + layer("b") + `]}`, "", "it has 2 layers"},
		{`{"layers": [` + layer("a") + `]}`, "b", "0 layers have this title"},
		{`{"manifests": []}`, "", "no artifact with layers"},
		{`{"layers": [{"digest": "sha512:00"}]}`, "", "no sha256 digest"},
		{`<html>`, "", "no JSON"},
	} {
		l, err := remote.FindLayer([]byte(c.manifest), c.title)
		var wrong *remote.Wrong
		if c.want == "" && (err != nil || l.Digest != artifact.Sum([]byte("a"))) || c.want != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %q: %v, %v", c.manifest, c.title, l.Digest, err)
		}
	}
}
