// Package artifact names bytes: digests, archive formats, and the files of a commit. It does no I/O of its own.
package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Digest is the SHA-256 of some bytes. It is comparable; the zero value names nothing.
type Digest [sha256.Size]byte

// Sum is the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest reads 64 lower-case hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) {
		return d, fmt.Errorf("malformed digest %q: want %d hex digits", s, 2*len(d))
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, fmt.Errorf("malformed digest %q: want lower-case hex digits", s)
		}
	}
	// Only hex digits are left, so this cannot fail.
	_, err := hex.Decode(d[:], []byte(s))
	return d, err
}

// String is the digest as 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero says whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes what ParseDigest reads.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDigest(string(b))
	return err
}

// Path is where the object store keeps d, relative to ROOT/objects: sha256/ab/ab12….
func (d Digest) Path() string {
	s := d.String()
	return "sha256/" + s[:2] + "/" + s
}
