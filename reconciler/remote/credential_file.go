package remote

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
)

// maxCredential is the largest credential file, in bytes.
const maxCredential = 64 << 10

// CredentialFile is the credential that a file holds, read anew whenever the file changes. While the new one cannot be read,
// the last one counts: whoever replaces it may be in the middle of doing so. It must be readable now. Each of conceal is given
// what was read, each time that it is.
func CredentialFile(name string, conceal ...func(content []byte)) (Credential, error) {
	f := &file{name: name, conceal: conceal}
	if _, err := f.now(context.Background()); err != nil {
		return Credential{}, err
	}
	return Credential{source: f}, nil
}

// file is a credential file. It remembers what it gave before: a request may still be on its way with that.
type file struct {
	name    string
	conceal []func(content []byte)

	mu   sync.Mutex
	seen string // what the last good one was read from
	last [2]Credential
}

func (f *file) now(context.Context) (Credential, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, stamp, err := readChanged(f.name, f.seen)
	if err == nil && stamp != f.seen {
		for _, conceal := range f.conceal {
			conceal(b)
		}
		var c Credential
		if c, err = ParseCredential(b); err == nil {
			f.last, f.seen = [2]Credential{c, f.last[0]}, stamp
		}
	}
	if f.seen == "" {
		return Credential{}, err
	}
	return f.last[0], nil
}

func (f *file) proves(header string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.last[:], func(c Credential) bool { return c.header() == header })
}

// readChanged reads a secret file unless it is the one that was seen. Others must not be able to read it.
func readChanged(name, seen string) (b []byte, stamp string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, seen, err
	}
	stamp = fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode(), inode(info))
	switch {
	case stamp == seen:
		return nil, seen, nil
	case info.Mode().Perm()&0o077 != 0:
		return nil, seen, fmt.Errorf("others may read %q: chmod 600 it", name)
	case info.Size() > maxCredential:
		return nil, seen, fmt.Errorf("%q is no credential: it has %d bytes", name, info.Size())
	}
	b, err = os.ReadFile(name)
	return b, stamp, err
}

// inode tells a file from another that was put in its place within one tick of the clock.
func inode(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
