package forge

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
)

const maxToken = 4 << 10 // bytes

// TokenFile is the token in a file, which is read anew when it changes. While the new one cannot be read, the last one counts.
// It must be readable now. Each of conceal is given the token, each time that it is read.
func TokenFile(name string, conceal ...func(token []byte)) (TokenSource, error) {
	f := &tokenFile{name: name, conceal: conceal}
	_, err := f.Token(context.Background())
	return f, err
}

type tokenFile struct {
	name    string
	conceal []func(token []byte)

	mu   sync.Mutex
	seen os.FileInfo
	last string
}

// Token implements TokenSource.
func (f *tokenFile) Token(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.name)
	if err == nil && !sameFile(info, f.seen) {
		var token string
		if token, err = readToken(f.name, info); err == nil {
			f.seen, f.last = info, token
			for _, conceal := range f.conceal {
				conceal([]byte(token))
			}
		}
	}
	if f.last == "" {
		return "", fmt.Errorf("read token: %w", err)
	}
	return f.last, nil
}

func sameFile(a, b os.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

func readToken(name string, info os.FileInfo) (string, error) {
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read %q: chmod 600 it", name)
	}
	if !info.Mode().IsRegular() || info.Size() > maxToken {
		return "", fmt.Errorf("%q holds no token", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(b))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%q holds no token: want one line", name)
	}
	return token, nil
}
