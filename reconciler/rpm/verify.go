package rpm

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	sigDSA        = 267 // of the main header, and EdDSA too
	sigRSA        = 268
	sigOpenPGP    = 278  // the same since rpm 6, in base64
	sigWholeRSA   = 1002 // of main header and payload
	sigWholeDSA   = 1005
	tagPayload    = 5092 // digest of the compressed payload
	tagPayloadAlg = 5093
)

// Keyring is the public keys of those whose packages are trusted.
type Keyring struct {
	keys openpgp.EntityList
}

// ParseKeyring reads armored public keys, one block after another.
func ParseKeyring(armored []byte) (Keyring, error) {
	var ring Keyring
	for r := bytes.NewReader(armored); ; {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Keyring{}, fmt.Errorf("read OpenPGP keys: %w", err)
		}
		if block.Type != openpgp.PublicKeyType {
			return Keyring{}, fmt.Errorf("it holds a %.40q, not only public keys", block.Type)
		}
		list, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return Keyring{}, fmt.Errorf("read OpenPGP keys: %w", err)
		}
		ring.keys = append(ring.keys, list...)
	}
	if len(ring.keys) == 0 {
		return Keyring{}, errors.New("it has no armored public key")
	}
	return ring, nil
}

// Why a package is not trusted.
var (
	ErrUnsigned   = errors.New("it is not signed")
	ErrUnknownKey = errors.New("nobody who is trusted has signed it")
	ErrChanged    = errors.New("it is not what was signed")
)

// VerifyPackage reads a whole package and says whose key of the ring has signed it, by fingerprint. A signature covers the header, and
// the header's digest the payload; of packages of old, the signature covers both.
func VerifyPackage(r io.Reader, ring Keyring) (fingerprint string, err error) {
	f, err := readFile(r)
	if err != nil {
		return "", err
	}
	digest, err := f.main.payloadDigest()
	if err != nil {
		return "", err
	}
	blob, whole := f.signature.headerSignature(), false
	if blob == nil || digest == nil {
		blob, whole = f.signature.wholeSignature(), true
	}
	if blob == nil {
		return "", ErrUnsigned
	}
	sig, err := parseSignature(blob)
	if err != nil {
		return "", err
	}
	keys := ring.of(sig)
	if len(keys) == 0 {
		return "", fmt.Errorf("%w: the key is %s", ErrUnknownKey, issuer(sig))
	}
	if !sig.Hash.Available() || sig.Hash == crypto.MD5 || sig.Hash == crypto.SHA1 {
		return "", fmt.Errorf("its signature's digest is too weak: %s", sig.Hash)
	}
	signed := sig.Hash.New()
	signed.Write(f.main.raw) // never fails (hash.Hash)
	var sums []io.Writer
	payload := crypto.SHA256.New()
	if digest != nil {
		sums = append(sums, payload)
	}
	if whole {
		sums = append(sums, signed)
	}
	if _, err := io.Copy(io.MultiWriter(sums...), r); err != nil {
		return "", fmt.Errorf("read payload: %w", err)
	}
	if digest != nil && !bytes.Equal(payload.Sum(nil), digest) {
		return "", fmt.Errorf("%w: its payload has another digest", ErrChanged)
	}
	return madeBy(keys, sig, signed)
}

// madeBy finds the key that made a signature of what was hashed.
func madeBy(keys []openpgp.Key, sig *packet.Signature, signed hash.Hash) (string, error) {
	for _, k := range keys {
		if k.Revoked(sig.CreationTime) || k.Entity.Revoked(sig.CreationTime) {
			return "", fmt.Errorf("%w: the key %s was revoked", ErrUnknownKey, k.PublicKey.KeyIdString())
		}
		each, err := signed.(hash.Cloner).Clone() // every hash of the standard library is one
		if err != nil {
			return "", err
		}
		if k.PublicKey.VerifySignature(each, sig) == nil {
			return fmt.Sprintf("%X", k.Entity.PrimaryKey.Fingerprint), nil
		}
	}
	return "", fmt.Errorf("%w: its signature is wrong", ErrChanged)
}

// of are the keys that may have made a signature.
func (r Keyring) of(sig *packet.Signature) []openpgp.Key {
	if sig.IssuerKeyId == nil {
		return nil
	}
	return r.keys.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)
}

// payloadDigest is the SHA-256 of the payload that the header names; none in packages of old.
func (h header) payloadDigest() ([]byte, error) {
	algorithm, err1 := h.number(tagPayloadAlg)
	digest, err2 := h.string(tagPayload)
	if err := errors.Join(err1, err2); err != nil || digest == "" {
		return nil, err
	}
	if algorithm != 8 {
		return nil, fmt.Errorf("its payload's digest is of kind %d, and SHA-256 is wanted", algorithm)
	}
	return hex.DecodeString(digest)
}

func (h header) headerSignature() []byte {
	for _, tag := range []uint32{sigRSA, sigDSA} {
		if b := h.bytes(tag); len(b) > 0 {
			return b
		}
	}
	s, err := h.string(sigOpenPGP)
	if err != nil || s == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

func (h header) wholeSignature() []byte {
	for _, tag := range []uint32{sigWholeRSA, sigWholeDSA} {
		if b := h.bytes(tag); len(b) > 0 {
			return b
		}
	}
	return nil
}

// keyID is whose key a package's signature names, empty without one.
func (h header) keyID() string {
	blob := h.headerSignature()
	if blob == nil {
		blob = h.wholeSignature()
	}
	sig, err := parseSignature(blob)
	if err != nil {
		return ""
	}
	return issuer(sig)
}

func issuer(sig *packet.Signature) string {
	if sig.IssuerKeyId == nil {
		return "unknown"
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}

func parseSignature(blob []byte) (*packet.Signature, error) {
	p, err := packet.Read(bytes.NewReader(blob))
	if err != nil {
		return nil, fmt.Errorf("read its signature: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, errors.New("its signature is none of OpenPGP 4")
	}
	return sig, nil
}
