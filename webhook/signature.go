package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
)

// signedBy says whether one of the secrets signed the body: its HMAC-SHA256 in hex, after a prefix. Weaker signatures beside
// it count for nothing.
func signedBy(ss []secret, header []string, prefix string, body []byte) bool {
	if len(header) != 1 {
		return false
	}
	digits, ok := strings.CutPrefix(header[0], prefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return false
	}
	given, err := hex.DecodeString(digits)
	if err != nil {
		return false
	}
	signed := false
	for _, s := range ss {
		mac := hmac.New(sha256.New, s)
		mac.Write(body)
		signed = hmac.Equal(mac.Sum(nil), given) || signed
	}
	return signed
}

// sentBy says whether the header is one of the secrets themselves, in a time that tells nothing about them.
func sentBy(ss []secret, header []string) bool {
	if len(header) != 1 {
		return false
	}
	given := sha256.Sum256([]byte(header[0]))
	same := 0
	for _, s := range ss {
		want := sha256.Sum256(s)
		same |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return same == 1
}

// firstOf is the first of some headers that is there.
func firstOf(h http.Header, names ...string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}
