package repo

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// keyring are the public keys of those who may sign.
type keyring openpgp.EntityList

// parseKeyring reads public keys, one armored block after another or as they are.
func parseKeyring(b []byte) (all keyring, err error) {
	if !bytes.Contains(b, []byte("-----BEGIN PGP")) {
		list, err := openpgp.ReadKeyRing(bytes.NewReader(b))
		if err == nil && len(list) == 0 {
			err = errors.New("it has no key")
		}
		return keyring(list), err
	}
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		block, err := armor.Decode(r)
		if err != nil && len(all) > 0 {
			break // what comes after the last block
		}
		if err != nil {
			return nil, err
		}
		list, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no key")
	}
	return all, nil
}

// verify finds the one who has signed. A key that has expired or was revoked does not count any more, whatever the date that
// the signature says.
func (k keyring) verify(c signed, now time.Time) (string, error) {
	if len(k) == 0 {
		return "", errors.New("it has a GPG signature, and nobody may sign with GPG")
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	who, err := openpgp.CheckArmoredDetachedSignature(openpgp.EntityList(k), bytes.NewReader(c.payload), bytes.NewReader(c.signature), config)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", errors.New("nobody who may sign has the GPG key that signed it")
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", errors.New("the GPG key that signed it has expired")
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", errors.New("the GPG key that signed it was revoked")
	case err != nil:
		return "", fmt.Errorf("its GPG signature is wrong: %w", err)
	}
	if own := who.PrimaryIdentity(); own != nil {
		return own.Name, nil
	}
	return who.PrimaryKey.KeyIdString(), nil
}
