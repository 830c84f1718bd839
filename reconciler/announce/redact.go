package announce

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const masked = "[redacted]"

// Secrets are what nobody may read in a log or a notification. The zero value knows none, and masks by their look alone: a
// nil one too.
type Secrets struct {
	mu    sync.RWMutex
	forms []string // each secret in every form that a log writes, the longest first
}

// Add registers a secret. One of fewer than 6 bytes is not registered: words would go with it.
func (s *Secrets) Add(secret string) {
	if s == nil || len(secret) < 6 {
		return
	}
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(strconv.Quote(secret), `"`)}
	if b, err := json.Marshal(secret); err == nil {
		forms = append(forms, strings.Trim(string(b), `"`))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms = append(s.forms, forms...)
	slices.SortFunc(s.forms, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	s.forms = slices.Compact(s.forms)
}

// looks are what credentials look like, what stays of them, and what a text has that may hold one, in lower case: most lines of
// a log hold none, and are not searched further.
var looks = []struct {
	like *regexp.Regexp
	left string
	hint []string
}{
	{regexp.MustCompile(`(?i)(\bhttps?://)[^\s"'/?#@]*@`), "${1}" + masked + "@", []string{"://"}},
	{regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://[^\s"'/?#@:]*:)[^\s"'/?#@]*@`), "${1}" + masked + "@", []string{"://"}},
	{regexp.MustCompile(`(?i)((?:authorization|private-token|x-api-key)\\*["']?\s*[:=]\s*\[?\\*["']?)(?:(basic|bearer|token|digest|negotiate)\s+)?[^\s"'\\,\]}]+`),
		"${1}" + masked, []string{"authorization", "private-token", "x-api-key"}},
	{regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[a-z0-9+/=._~-]{16,}`), "${1}" + masked, []string{"bearer", "basic"}},
	{regexp.MustCompile(`(?i)([?&](?:access_token|private_token|token|password|passwd|secret|client_secret|api_key|apikey|signature)=)[^&\s"'#\\]+`),
		"${1}" + masked, []string{"?", "&"}},
	{regexp.MustCompile(`\b(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{8,})`),
		masked, []string{"gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "xox"}},
	{regexp.MustCompile(`(https?://hooks\.slack\.com/)[^\s"'\\]+`), "${1}" + masked, []string{"://hooks.slack.com/"}},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), masked, []string{"private key"}},
}

// Mask is the text without secrets: the registered ones, and credentials in URLs, in headers and by their look.
func (s *Secrets) Mask(text string) string {
	if s != nil {
		s.mu.RLock()
		for _, f := range s.forms {
			text = strings.ReplaceAll(text, f, masked)
		}
		s.mu.RUnlock()
	}
	lower := strings.ToLower(text)
	for _, l := range looks {
		if slices.ContainsFunc(l.hint, func(h string) bool { return strings.Contains(lower, h) }) {
			text = l.like.ReplaceAllString(text, l.left)
		}
	}
	return text
}

// Writer masks what is written, each write by itself: the handlers of log/slog write a record at once.
func (s *Secrets) Writer(w io.Writer) io.Writer { return masking{s, w} }

type masking struct {
	*Secrets
	to io.Writer
}

func (m masking) Write(b []byte) (int, error) {
	if _, err := io.WriteString(m.to, m.Mask(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read reads a secret from a file that nobody else may read, and registers it. It is read again for each use, so that it
// may be replaced.
func (s *Secrets) Read(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("read secret: others may read or write %q: chmod 600 it", file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", fmt.Errorf("read secret: %q is empty", file)
	}
	s.Add(secret)
	return secret, nil
}
