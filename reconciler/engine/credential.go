package engine

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"time"
)

// Credential is what is known of a file that jobs authenticate with. Nothing in it is secret.
type Credential struct {
	Kind    string    // token (a JWT), certificate (X.509, proxies too), or "" for another
	Expires time.Time // zero: it does not, or nobody but its server knows
	Written time.Time // the file
}

// largestCredential is the largest file that is one, in bytes.
const largestCredential = 1 << 20

// ReadCredential reads until when a credential is good. Errors do not say what is in it.
func ReadCredential(path string) (Credential, error) {
	c, err := readCredential(path)
	if err != nil {
		return c, fmt.Errorf("read credential %s: %w", path, err)
	}
	return c, nil
}

func readCredential(path string) (c Credential, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep it
	if err != nil {
		return c, errors.Unwrap(err) // the path is said already
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return c, err
	}
	if !info.Mode().IsRegular() {
		return c, errors.New("it is no file")
	}
	b, err := io.ReadAll(io.LimitReader(f, largestCredential+1))
	switch {
	case err != nil:
		return c, err
	case len(b) > largestCredential:
		return c, errors.New("it is larger than any credential")
	case len(bytes.TrimSpace(b)) == 0:
		return c, errors.New("it is empty")
	}
	c.Written = info.ModTime().UTC()
	c.Kind, c.Expires, err = expiry(b)
	return c, err
}

func expiry(b []byte) (kind string, expires time.Time, err error) {
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		expires, err = certificateExpiry(b)
		return "certificate", expires, err
	}
	if expires, isToken := tokenExpiry(b); isToken {
		return "token", expires, nil
	}
	return "", time.Time{}, nil
}

// certificateExpiry is when the first certificate of a file ends: those of a proxy are good only together.
func certificateExpiry(rest []byte) (first time.Time, err error) {
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return first, errors.New("a certificate in it cannot be read")
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter.UTC()
		}
	}
	if first.IsZero() {
		return first, errors.New("there is no certificate in it")
	}
	return first, nil
}

// tokenExpiry reads the claim exp of a JSON web token, of which nothing is verified; zero if it has none.
func tokenExpiry(b []byte) (expires time.Time, isToken bool) {
	parts := strings.Split(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(b)), "Bearer ")), ".")
	if len(parts) != 3 {
		return expires, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if !decodePart(parts[0], &header) || header.Algorithm == "" || !decodePart(parts[1], &claims) {
		return expires, false
	}
	if claims.Expires <= 0 || claims.Expires > math.MaxInt32*100.0 {
		return expires, true
	}
	return time.Unix(int64(claims.Expires), 0).UTC(), true
}

func decodePart(part string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(b, into) == nil
}
