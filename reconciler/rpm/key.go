package rpm

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Key is an OpenPGP key that signs repositories. It never prints itself.
type Key struct {
	entity *openpgp.Entity
}

// signing is how keys are made and used: RSA and SHA-256, which every rpm and gpg verifies that is still in use.
var signing = packet.Config{DefaultHash: crypto.SHA256, Algorithm: packet.PubKeyAlgoRSA, RSABits: 3072}

// GenerateKey makes a key that signs and does not expire.
func GenerateKey(name string) (*Key, error) {
	e, err := openpgp.NewEntity(name, "", "", &signing)
	if err != nil {
		return nil, fmt.Errorf("make OpenPGP key: %w", err)
	}
	e.Subkeys = nil // what encrypts is of no use here, and old rpm refuses keys with more than one subkey
	return &Key{e}, nil
}

// ParseSecretKey reads an armored secret key without a passphrase.
func ParseSecretKey(armored []byte) (*Key, error) {
	block, err := armor.Decode(bytes.NewReader(armored))
	if err != nil {
		return nil, errors.New("it is not an armored OpenPGP key: export it with gpg --armor --export-secret-keys")
	}
	if block.Type == openpgp.PublicKeyType {
		return nil, errors.New("it is a public key: export the secret one with gpg --armor --export-secret-keys")
	}
	if block.Type != openpgp.PrivateKeyType {
		return nil, fmt.Errorf("it is a %.40q, not a secret key", strings.ToLower(block.Type))
	}
	list, err := openpgp.ReadKeyRing(block.Body)
	if err != nil {
		return nil, fmt.Errorf("read OpenPGP key: %w", err)
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("it holds %d keys, and one is wanted", len(list))
	}
	return usable(list[0])
}

// usable refuses a key that cannot sign.
func usable(e *openpgp.Entity) (*Key, error) {
	for _, k := range append([]*packet.PrivateKey{e.PrivateKey}, subkeys(e)...) {
		if k != nil && k.Encrypted {
			return nil, errors.New("it has a passphrase, which nobody could enter here: export it without one")
		}
	}
	key, ok := e.SigningKey(time.Now())
	if !ok {
		return nil, errors.New("it cannot sign: it has expired, was revoked or is for encryption only")
	}
	if key.PrivateKey == nil || key.PrivateKey.Dummy() {
		return nil, errors.New("its secret part is not there: the key that signs is kept elsewhere")
	}
	return &Key{e}, nil
}

func subkeys(e *openpgp.Entity) (all []*packet.PrivateKey) {
	for _, s := range e.Subkeys {
		all = append(all, s.PrivateKey)
	}
	return all
}

// SignDetached is an armored signature of b made now, as gpg --armor --detach-sign makes it.
func (k *Key) SignDetached(b []byte) ([]byte, error) { return k.SignDetachedAt(b, time.Now()) }

// SignDetachedAt is a signature that says it was made at a time, or when the key was made if that is later. A key of RSA or EdDSA always makes the
// same of the same bytes and time, so that whoever writes a repository again writes the same.
func (k *Key) SignDetachedAt(b []byte, at time.Time) ([]byte, error) {
	if made := k.made(); at.Before(made) {
		at = made
	}
	config, salted := signing, false
	config.Time, config.NonDeterministicSignaturesViaNotation = func() time.Time { return at }, &salted
	var out bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&out, k.entity, bytes.NewReader(b), &config); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return append(out.Bytes(), '\n'), nil
}

// made is when the last part of the key was.
func (k *Key) made() time.Time {
	last := k.entity.PrimaryKey.CreationTime
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for _, i := range k.entity.Identities {
		if i.SelfSignature != nil {
			later(i.SelfSignature.CreationTime)
		}
	}
	for _, s := range k.entity.Subkeys {
		later(s.PublicKey.CreationTime)
		if s.Sig != nil {
			later(s.Sig.CreationTime)
		}
	}
	return last
}

// PublicArmored is the public key, for rpm --import and a .repo file's gpgkey.
func (k *Key) PublicArmored() ([]byte, error) {
	return armored(openpgp.PublicKeyType, k.entity.Serialize)
}

// SecretArmored is the whole key as ParseSecretKey reads it.
func (k *Key) SecretArmored() ([]byte, error) {
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error { return k.entity.SerializePrivate(w, &signing) })
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		err = errors.Join(write(w), w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("write OpenPGP key: %w", err)
	}
	return append(out.Bytes(), '\n'), nil
}

// Fingerprint is the key's fingerprint, 40 upper-case hex digits.
func (k *Key) Fingerprint() string { return fmt.Sprintf("%X", k.entity.PrimaryKey.Fingerprint) }

// ID is the end of the fingerprint, as Package.SigningKeyID has it of a package that the key has signed.
func (k *Key) ID() string { return k.entity.PrimaryKey.KeyIdString() }
