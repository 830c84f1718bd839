// Pomona-verify checks one signature for the boot client, on images that have no other verifier:
//
//	pomona-verify PUBKEY SIGFILE MESSAGE
//
// Keys and signatures have the format of OpenBSD's signify(1). The exit status is 0 when the key has signed the message,
// 1 when it has not, and 2 when the files cannot be read or have another format.
//
// It uses the standard library of Go 1.18 without type parameters, so that gccgo 12 builds it for 32-bit PowerPC.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

const (
	algorithm = "Ed"
	idSize    = 8 // bytes of a key number, behind the algorithm

	commentPrefix = "untrusted comment: "
	maxComment    = 1024 // bytes; signify(1) accepts no longer comment
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: pomona-verify PUBKEY SIGFILE MESSAGE")
		os.Exit(2)
	}
	signed, err := verify(os.Args[1], os.Args[2], os.Args[3])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "pomona-verify:", err)
		os.Exit(2)
	case !signed:
		fmt.Fprintf(os.Stderr, "pomona-verify: %s has not signed %s\n", os.Args[1], os.Args[3])
		os.Exit(1)
	}
}

func verify(keyFile, signatureFile, messageFile string) (bool, error) {
	keyID, key, err := read(keyFile, ed25519.PublicKeySize)
	if err != nil {
		return false, err
	}
	signatureID, signature, err := read(signatureFile, ed25519.SignatureSize)
	if err != nil {
		return false, err
	}
	message, err := os.ReadFile(messageFile)
	if err != nil {
		return false, err
	}
	return bytes.Equal(keyID, signatureID) && ed25519.Verify(ed25519.PublicKey(key), message, signature), nil
}

func read(name string, size int) (id, body []byte, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	id, body, err = parse(b, size)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return id, body, nil
}

// parse reads one comment line and one line of base64: the algorithm, a key number, and size bytes.
func parse(b []byte, size int) (id, body []byte, err error) {
	lines := bytes.SplitN(b, []byte("\n"), 3)
	if len(lines) != 3 || len(lines[2]) > 0 {
		return nil, nil, errors.New("want two lines")
	}
	if !bytes.HasPrefix(lines[0], []byte(commentPrefix)) || len(lines[0]) > maxComment {
		return nil, nil, fmt.Errorf("want a comment line that starts with %q", commentPrefix)
	}
	head := len(algorithm) + idSize
	raw, err := base64.StdEncoding.Strict().DecodeString(string(lines[1]))
	if err != nil || len(raw) != head+size || string(raw[:len(algorithm)]) != algorithm {
		return nil, nil, fmt.Errorf("want %d bytes in base64 that start with %s", head+size, algorithm)
	}
	return raw[len(algorithm):head], raw[head:], nil
}
