package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// Sizes of a secret, in bytes. Shorter ones can be guessed.
const (
	minSecret = 16
	maxSecret = 4 << 10
)

// secrets are the secrets of one source, each in a file that is read anew when it changes. While a changed file cannot be
// read its last secret counts, because whoever replaces it may be in the middle of that; a file that is gone is revoked.
type secrets struct {
	mu    sync.Mutex
	files []secretFile
}

type secretFile struct {
	name  string
	stamp string // of the file that the secret was read from
	value secret
}

// secret is never printed.
type secret []byte

// String and GoString keep a secret out of logs and errors.
func (s secret) String() string   { return "(secret)" }
func (s secret) GoString() string { return "(secret)" }

// openSecrets reads all of a source's secrets: each must be there at the start.
func openSecrets(names []string) (*secrets, error) {
	if len(names) == 0 {
		return nil, errors.New("no secret: name the file of one")
	}
	s := &secrets{}
	for _, name := range names {
		f := secretFile{name: name}
		if err := f.refresh(); err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// now are the secrets that count, and what is wrong with their files.
func (s *secrets) now() ([]secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []secret
	var errs []error
	for i := range s.files {
		f := &s.files[i]
		errs = append(errs, f.refresh())
		if f.value != nil {
			found = append(found, f.value)
		}
	}
	return found, errors.Join(errs...)
}

func (f *secretFile) refresh() error {
	info, err := os.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		f.value, f.stamp = nil, ""
	}
	if err != nil {
		return fmt.Errorf("read secret: %w", err)
	}
	stamp := stampOf(info)
	if stamp == f.stamp {
		return nil
	}
	value, err := readSecret(f.name, info)
	if err != nil {
		return err
	}
	f.value, f.stamp = value, stamp
	return nil
}

// stampOf tells a file from another that was put in its place.
func stampOf(info os.FileInfo) string {
	var inode uint64
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode(), inode)
}

func readSecret(name string, info os.FileInfo) (secret, error) {
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is no secret: it is no file", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read %q: chmod 600 it", name)
	case info.Size() > maxSecret:
		return nil, fmt.Errorf("%q is no secret: it has %d bytes", name, info.Size())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) < minSecret {
		return nil, fmt.Errorf("secret in %q is too short: want %d characters at least", name, minSecret)
	}
	return b, nil
}
