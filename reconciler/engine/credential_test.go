package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate is one that is good until a time, as PEM.
func certificate(t *testing.T, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func token(header, claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(header)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

func TestCredentialsSayUntilWhenTheyAreGood(t *testing.T) {
	until := time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("secret")}))
	for name, c := range map[string]struct {
		content, kind string
		expires       time.Time
	}{
		"token":               {token(`{"alg":"RS256"}`, `{"sub":"pomona","exp":1796112000}`), "token", until},
		"token of a header":   {"Bearer " + token(`{"alg":"ES256"}`, `{"exp":1796112000.5}`) + "\n", "token", until},
		"token for ever":      {token(`{"alg":"RS256"}`, `{"sub":"pomona"}`), "token", time.Time{}},
		"certificate":         {certificate(t, until), "certificate", until},
		"proxy":               {certificate(t, until) + key + certificate(t, until.Add(time.Hour)), "certificate", until},
		"proxy of an old":     {certificate(t, until.Add(time.Hour)) + key + certificate(t, until), "certificate", until},
		"another":             {"hvs.CAESIJ", "", time.Time{}},
		"host and word":       {"submit.example.org", "", time.Time{}},
		"almost a token":      {token(`{"typ":"x"}`, `{"exp":1}`), "", time.Time{}},
		"a token far too far": {token(`{"alg":"RS256"}`, `{"exp":1e300}`), "token", time.Time{}},
	} {
		file := filepath.Join(t.TempDir(), "credential")
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		written := until.Add(-24 * time.Hour)
		if err := os.Chtimes(file, written, written); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCredential(file); err != nil || got != (Credential{c.kind, c.expires, written}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, content := range map[string]string{
		"empty": " \n", "no certificate": key, "half": "-----BEGIN CERTIFICATE-----\nsecret", "not one": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("secret")})),
		"too large": strings.Repeat("x", largestCredential+1),
	} {
		file := filepath.Join(t.TempDir(), "credential")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadCredential(file); err == nil || strings.Contains(err.Error(), "secret") || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, file := range []string{t.TempDir(), "/nonexistent/token"} {
		if _, err := ReadCredential(file); err == nil || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func FuzzCredential(f *testing.F) {
	f.Add([]byte(token(`{"alg":"RS256"}`, `{"exp":1796112000}`)))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, expires, err := expiry(b); kind == "" && (err != nil || !expires.IsZero()) {
			t.Errorf("of no kind, but %v, %v", expires, err)
		}
	})
}
