package tree

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys and signatures are written in the format of OpenBSD's signify(1), which usign reads too: an untrusted comment,
// then one line of base64 that starts with the algorithm "Ed" and an eight-byte key number.

const (
	commentPrefix = "untrusted comment: "
	maxComment    = 1024 // signify(1) accepts no longer comment line
)

// KeyID is the number by which a signature names its key.
type KeyID [8]byte

// String is the key number in hex, as file names and comments show it.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// PublicKey verifies signatures.
type PublicKey struct {
	ID  KeyID
	Key ed25519.PublicKey // 32 bytes
}

// SecretKey signs. It is never logged: its String is its key number.
type SecretKey struct {
	ID  KeyID
	key ed25519.PrivateKey // 64 bytes
}

// Signature is one key's word on some bytes.
type Signature struct {
	ID  KeyID
	Sig [ed25519.SignatureSize]byte
}

// NewSecretKey makes a key from 32 bytes of seed and a key number, both random.
func NewSecretKey(seed [ed25519.SeedSize]byte, id KeyID) SecretKey {
	return SecretKey{ID: id, key: ed25519.NewKeyFromSeed(seed[:])}
}

// Public is the key that verifies what k signs.
func (k SecretKey) Public() PublicKey {
	return PublicKey{ID: k.ID, Key: k.key.Public().(ed25519.PublicKey)}
}

// String names the key without giving it away.
func (k SecretKey) String() string { return "secret key " + k.ID.String() }

// GoString keeps the key out of %#v.
func (k SecretKey) GoString() string { return k.String() }

// Sign signs message.
func (k SecretKey) Sign(message []byte) Signature {
	s := Signature{ID: k.ID}
	copy(s.Sig[:], ed25519.Sign(k.key, message))
	return s
}

// Verify says whether s is k's signature of message.
func (k PublicKey) Verify(message []byte, s Signature) bool {
	return s.ID == k.ID && ed25519.Verify(k.Key, message, s.Sig[:])
}

// Marshal writes what ParsePublicKey and signify -V -p read.
func (k PublicKey) Marshal() []byte {
	return armor("pomona public key "+k.ID.String(), k.ID, k.Key)
}

// Marshal writes what ParseSecretKey and signify -S -s read: a key without a passphrase.
func (k SecretKey) Marshal() []byte {
	sum := sha512.Sum512(k.key)
	b := append([]byte("BK"), make([]byte, 4+16)...) // no key derivation rounds, no salt
	b = append(b, sum[:8]...)
	b = append(append(b, k.ID[:]...), k.key...)
	return armorRaw("pomona secret key "+k.ID.String(), append([]byte("Ed"), b...))
}

// Marshal writes what ParseSignatures and signify -V -x read.
func (s Signature) Marshal() []byte {
	return armor("signed by pomona key "+s.ID.String(), s.ID, s.Sig[:])
}

func armor(comment string, id KeyID, body []byte) []byte {
	return armorRaw(comment, bytes.Join([][]byte{[]byte("Ed"), id[:], body}, nil))
}

func armorRaw(comment string, raw []byte) []byte {
	return []byte(commentPrefix + comment + "\n" + base64.StdEncoding.EncodeToString(raw) + "\n")
}

// dearmor reads one comment line and one base64 line of n bytes that start with "Ed", and gives back what follows.
func dearmor(b []byte, n int) (raw, rest []byte, err error) {
	comment, b, ok := bytes.Cut(b, []byte("\n"))
	if !ok || !bytes.HasPrefix(comment, []byte(commentPrefix)) || len(comment) > maxComment {
		return nil, nil, fmt.Errorf("want a line that starts with %q", strings.TrimSpace(commentPrefix))
	}
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return nil, nil, errors.New("want a line of base64")
	}
	raw, err = base64.StdEncoding.Strict().DecodeString(string(line))
	if err != nil || len(raw) != n || !bytes.HasPrefix(raw, []byte("Ed")) {
		return nil, nil, fmt.Errorf("want %d bytes in base64 that start with Ed", n)
	}
	return raw[2:], rest, nil
}

// ParsePublicKey reads a signify public key.
func ParsePublicKey(b []byte) (PublicKey, error) {
	raw, rest, err := dearmor(b, 2+8+ed25519.PublicKeySize)
	if err != nil || len(rest) > 0 {
		return PublicKey{}, malformed("public key", err)
	}
	return PublicKey{ID: KeyID(raw[:8]), Key: ed25519.PublicKey(raw[8:])}, nil
}

// ParseSecretKey reads a signify secret key without a passphrase.
func ParseSecretKey(b []byte) (SecretKey, error) {
	raw, rest, err := dearmor(b, 2+2+4+16+8+8+ed25519.PrivateKeySize)
	if err != nil || len(rest) > 0 || string(raw[:2]) != "BK" {
		return SecretKey{}, malformed("secret key", err)
	}
	if binary.BigEndian.Uint32(raw[2:6]) != 0 {
		return SecretKey{}, errors.New("secret key has a passphrase: make one without, with pomona keygen or signify -G -n")
	}
	key := ed25519.PrivateKey(raw[38:])
	sum := sha512.Sum512(key)
	whole := bytes.Equal(ed25519.NewKeyFromSeed(key.Seed()), key)
	if subtle.ConstantTimeCompare(sum[:8], raw[22:30]) != 1 || !whole {
		return SecretKey{}, errors.New("malformed secret key: checksum differs")
	}
	return SecretKey{ID: KeyID(raw[30:38]), key: key}, nil
}

// ParseSignatures reads one or more signatures from the start of b, and gives back what follows them.
func ParseSignatures(b []byte) (sigs []Signature, rest []byte, err error) {
	for len(sigs) == 0 || bytes.HasPrefix(b, []byte(commentPrefix)) {
		var raw []byte
		if raw, b, err = dearmor(b, 2+8+ed25519.SignatureSize); err != nil {
			return nil, nil, malformed("signature", err)
		}
		sigs = append(sigs, Signature{ID: KeyID(raw[:8]), Sig: [ed25519.SignatureSize]byte(raw[8:])})
	}
	return sigs, b, nil
}

// Sign signs message with every key and writes the signatures one below the other. While a key is being replaced there
// are two, so that a FEC that knows either accepts the message.
func Sign(message []byte, keys []SecretKey) []byte {
	var b []byte
	for _, k := range keys {
		b = append(b, k.Sign(message).Marshal()...)
	}
	return b
}

// Verify says whether one of the keys made one of the signatures of message.
func Verify(message []byte, sigs []Signature, keys []PublicKey) bool {
	for _, s := range sigs {
		for _, k := range keys {
			if k.Verify(message, s) {
				return true
			}
		}
	}
	return false
}

func malformed(what string, err error) error {
	if err == nil {
		return fmt.Errorf("malformed %s", what)
	}
	return fmt.Errorf("malformed %s: %w", what, err)
}
