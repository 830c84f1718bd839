package tree

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Token is what one FEC shares with its service, 128 lower-case hex digits. It proves who sends a report.
type Token string

// NewToken is the token of 64 random bytes.
func NewToken(random [64]byte) Token { return Token(hex.EncodeToString(random[:])) }

// ParseToken reads a token.
func ParseToken(s string) (Token, error) {
	if len(s) != 128 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", fmt.Errorf("malformed token: want 128 lower-case hex digits, have %d characters", len(s))
	}
	return Token(s), nil
}

// Prove adds to a form the FEC's clock and the code that only this token makes of all that.
func (t Token) Prove(form string, at time.Time) string {
	form += "&at=" + strconv.FormatInt(at.Unix(), 10)
	return form + macField + t.mac(form)
}

// Proves says whether this token made a form's code, which is its last field.
func (t Token) Proves(form string) bool {
	i := strings.LastIndex(form, macField)
	return i >= 0 && subtle.ConstantTimeCompare([]byte(form[i+len(macField):]), []byte(t.mac(form[:i]))) == 1
}

const macField = "&mac="

// mac is NMAC, for a shell that has sha256sum and nothing else: each half of a token fills one block of SHA-256, and is
// therefore a key of its own.
func (t Token) mac(form string) string {
	inner := sha256.Sum256([]byte(string(t[:64]) + form))
	outer := sha256.Sum256([]byte(string(t[64:]) + hex.EncodeToString(inner[:])))
	return hex.EncodeToString(outer[:])
}
