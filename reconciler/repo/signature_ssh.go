package repo

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	sshBegin     = "-----BEGIN SSH SIGNATURE-----"
	sshEnd       = "-----END SSH SIGNATURE-----"
	sshMagic     = "SSHSIG"
	sshNamespace = "git"
)

// sshSigner is one line of allowed signers.
type sshSigner struct {
	principals    string
	key           ssh.PublicKey
	after, before time.Time // zero: no bound
	noTouch       bool
}

// parseAllowed reads allowed signers: PRINCIPALS [OPTIONS] TYPE KEY [COMMENT], as ssh-keygen(1) has them.
func parseAllowed(b []byte) (all []sshSigner, err error) {
	n := 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := parseSigner(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if s.key != nil {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it names nobody")
	}
	return all, nil
}

// parseSigner reads one line. One that is not for git has no key.
func parseSigner(line string) (sshSigner, error) {
	principals, rest, _ := strings.Cut(line, " ")
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return sshSigner{}, errors.New("malformed: want WHO [OPTIONS] TYPE KEY")
	}
	s := sshSigner{principals: principals, key: key}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "valid-after":
			s.after, err = parseBound(value)
		case "valid-before":
			s.before, err = parseBound(value)
		case "namespaces":
			if !matchesNamespace(value) {
				return sshSigner{}, nil
			}
		case "no-touch-required":
			s.noTouch = true
		default:
			err = fmt.Errorf("option %q is not supported", name)
		}
		if err != nil {
			return sshSigner{}, err
		}
	}
	return s, nil
}

func matchesNamespace(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if name == sshNamespace || name == "*" || name == "g*" || name == "gi*" || name == "git*" {
			return true
		}
	}
	return false
}

// parseBound reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, local time, or with a Z, UTC.
func parseBound(s string) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) == len(layout) {
			return time.ParseInLocation(layout, digits, zone)
		}
	}
	return time.Time{}, fmt.Errorf("malformed time %q", s)
}

// covers says whether a key was allowed when the commit says that it was made, and still is: what a commit says of its date
// proves nothing once a key may be in other hands.
func (s sshSigner) covers(at ...time.Time) bool {
	for _, t := range at {
		if !s.after.IsZero() && t.Before(s.after) || !s.before.IsZero() && !t.Before(s.before) {
			return false
		}
	}
	return true
}

// sshSignature is the blob of an SSH signature (PROTOCOL.sshsig in OpenSSH).
type sshSignature struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// verifySSH finds the one who has signed.
func verifySSH(all []sshSigner, c signed, now time.Time) (string, error) {
	sig, err := parseSSHSignature(c.signature)
	if err != nil {
		return "", err
	}
	key, err := ssh.ParsePublicKey(sig.PublicKey)
	if err != nil {
		return "", errors.New("malformed key in its signature")
	}
	if err := sig.check(key, c.payload, false); err != nil {
		return "", err
	}
	known := false
	for _, s := range all {
		if !bytes.Equal(s.key.Marshal(), key.Marshal()) {
			continue
		}
		if known = true; !s.covers(c.committed, now) {
			continue
		}
		return s.principals, sig.check(key, c.payload, !s.noTouch)
	}
	if known {
		return "", fmt.Errorf("the key that signed it, %s, has expired or was not valid yet", ssh.FingerprintSHA256(key))
	}
	return "", fmt.Errorf("nobody who may sign has the key that signed it, %s", ssh.FingerprintSHA256(key))
}

func parseSSHSignature(armored []byte) (sig sshSignature, err error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(string(armored)), sshBegin)
	text, ok2 := strings.CutSuffix(text, sshEnd)
	blob, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	blob, ok3 := bytes.CutPrefix(blob, []byte(sshMagic))
	if !ok || !ok2 || !ok3 || err != nil || ssh.Unmarshal(blob, &sig) != nil || sig.Version != 1 {
		return sig, errors.New("malformed SSH signature")
	}
	if sig.Namespace != sshNamespace {
		return sig, fmt.Errorf("its SSH signature is for %q, not for git", sig.Namespace)
	}
	return sig, nil
}

// check verifies the signature of a message; of a key on a token, also that somebody touched it.
func (s sshSignature) check(key ssh.PublicKey, message []byte, touch bool) error {
	var sum []byte
	switch s.Hash {
	case "sha256":
		h := sha256.Sum256(message)
		sum = h[:]
	case "sha512":
		h := sha512.Sum512(message)
		sum = h[:]
	default:
		return fmt.Errorf("its SSH signature uses hash %q", s.Hash)
	}
	var inner ssh.Signature
	if err := ssh.Unmarshal(s.Signature, &inner); err != nil {
		return errors.New("malformed SSH signature")
	}
	if inner.Format == ssh.KeyAlgoRSA {
		return errors.New("its SSH signature uses SHA-1")
	}
	over := append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, Hash string
		Sum                       []byte
	}{s.Namespace, s.Reserved, s.Hash, sum})...)
	if err := key.Verify(over, &inner); err != nil {
		return errors.New("its SSH signature is wrong")
	}
	const present = 1 // the flag of a token that somebody touched it
	if touch && strings.HasPrefix(key.Type(), "sk-") && (len(inner.Rest) == 0 || inner.Rest[0]&present == 0) {
		return errors.New("nobody touched the token that signed it")
	}
	return nil
}
