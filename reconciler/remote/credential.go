package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Credential is what one host accepts: a user with a password, a bearer token, or a private key for ssh. It is never
// printed.
type Credential struct {
	user, password string
	token          string
	key            []byte
	source         source // what it is read from each time, or nil
}

// source is where a credential comes from that changes.
type source interface {
	now(context.Context) (Credential, error)
	proves(header string) bool // whether it has given a credential with this header lately
}

// ParseCredential reads a credential file: one line USER:PASSWORD or a bearer token, or a private key for ssh.
func ParseCredential(b []byte) (Credential, error) {
	text := strings.TrimSpace(string(b))
	user, password, pair := strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, "-----BEGIN "):
		return Credential{key: b}, nil
	case text == "":
		return Credential{}, errors.New("malformed credential: the file is empty")
	case strings.ContainsAny(text, "\r\n"):
		return Credential{}, errors.New("malformed credential: want one line, USER:PASSWORD or a token")
	case pair && (user == "" || password == ""):
		return Credential{}, errors.New("malformed credential: want USER:PASSWORD, both not empty")
	case pair:
		return Credential{user: user, password: password}, nil
	}
	return Credential{token: text}, nil
}

// User is the user and the password, if it is that.
func (c Credential) User() (user, password string, ok bool) { return c.user, c.password, c.user != "" }

// Token is the bearer token, if it is that.
func (c Credential) Token() (string, bool) { return c.token, c.token != "" }

// Key is the private key for ssh, if it is that.
func (c Credential) Key() ([]byte, bool) { return c.key, c.key != nil }

// String and GoString keep a credential out of logs and errors.
func (c Credential) String() string   { return "(secret)" }
func (c Credential) GoString() string { return "(secret)" }

// proves says whether an HTTP header is that of this credential.
func (c Credential) proves(header string) bool {
	if header == "" {
		return false
	}
	return c.source != nil && c.source.proves(header) || c.header() == header
}

// header is what proves the credential to an HTTP server; empty if it is none for that.
func (c Credential) header() string {
	switch {
	case c.user != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password))
	case c.token != "":
		return "Bearer " + c.token
	}
	return ""
}

// Credentials are credentials by host: a name, with its port unless that is the usual one, for instance git.example.org or
// registry.example.org:5000.
type Credentials map[string]Credential

// of is the credential for a host, as it is now.
func (cs Credentials) of(ctx context.Context, host string) (Credential, bool, error) {
	c, ok := cs[host]
	if c.source == nil {
		return c, ok, nil
	}
	c, err := c.source.now(ctx)
	return c, ok, err
}

// HostOf is the host of an address, with its port unless that is the usual one.
func HostOf(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	usual := map[string]string{"https": "443", "http": "80", "ssh": "22"}[u.Scheme]
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == usual {
		return host
	}
	return host + ":" + port
}

// ParseHost reads a host as Credentials has it.
func ParseHost(s string) (string, error) {
	u, err := url.Parse("https://" + s)
	if err != nil || u.Host == "" || u.Host != s || u.User != nil {
		return "", fmt.Errorf("malformed host %q: want NAME or NAME:PORT", s)
	}
	return HostOf(u), nil
}
