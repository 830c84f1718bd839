package tree

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// The index and the manifests are lines of words separated by single spaces, between a header and "end LINES". A shell
// reads them with `while read`; what parses, prints back to the same bytes.

type lines struct {
	b []byte
	n int
}

func (w *lines) add(words ...any) {
	w.b = appendLine(w.b, words...)
	w.n++
}

func (w *lines) end() []byte { return appendLine(w.b, "end", w.n) }

// appendLine does what fmt.Appendln does, in a fraction of the time: a tree has many lines.
func appendLine(b []byte, words ...any) []byte {
	for i, word := range words {
		if i > 0 {
			b = append(b, ' ')
		}
		switch word := word.(type) {
		case string:
			b = append(b, word...)
		case artifact.Digest:
			b = hex.AppendEncode(b, word[:])
		case int64:
			b = strconv.AppendInt(b, word, 10)
		case artifact.Format:
			b = append(b, word...)
		default:
			b = fmt.Append(b, word)
		}
	}
	return append(b, '\n')
}

func word(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// lineReader reads lines in order and remembers the first error.
type lineReader struct {
	lines []string
	n     int      // lines read
	words []string // of the line under way
	err   error
}

func readLines(b []byte, header string) (*lineReader, error) {
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, errors.New("truncated: no newline at the end")
	}
	r := &lineReader{lines: strings.Split(text, "\n")}
	last := len(r.lines) - 1
	if r.lines[0] != header {
		return nil, fmt.Errorf("unknown header %q: want %q", clip(r.lines[0]), header)
	}
	if want := "end " + strconv.Itoa(last); r.lines[last] != want {
		return nil, fmt.Errorf("truncated: last line is %q, want %q", clip(r.lines[last]), want)
	}
	r.n = 1
	return r, nil
}

// readSigned reads lines with their signatures, unchecked: signed are the bytes that they cover.
func readSigned(b []byte, header string) (r *lineReader, sigs []Signature, signed []byte, err error) {
	if bytes.HasPrefix(b, []byte(commentPrefix)) {
		if sigs, b, err = ParseSignatures(b); err != nil {
			return nil, nil, nil, err
		}
	}
	r, err = readLines(b, header)
	return r, sigs, b, err
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (r *lineReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("line %d: %w", r.n, fmt.Errorf(format, args...))
	}
}

// next starts the next line if its first word is key, and checks that n words follow.
func (r *lineReader) next(key string, n int) bool {
	if r.err != nil || r.n >= len(r.lines)-1 {
		return false
	}
	words := strings.Split(r.lines[r.n], " ")
	if words[0] != key {
		return false
	}
	r.n++
	r.words = words[1:]
	if len(r.words) != n {
		r.fail("%s has %d words, want %d", key, len(r.words), n)
		return false
	}
	return true
}

func (r *lineReader) word() string {
	if r.err != nil || len(r.words) == 0 {
		return ""
	}
	w := r.words[0]
	r.words = r.words[1:]
	if !isWord(w) {
		r.fail("malformed word %q", clip(w))
	}
	return w
}

// isWord admits what names, versions, hosts and paths consist of: printable ASCII without quotes, blanks and what a
// shell expands.
func isWord(w string) bool {
	for _, c := range []byte(w) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("._+@/-", c) < 0 {
			return false
		}
	}
	return w != "" && len(w) <= 400
}

func (r *lineReader) name(key string) string {
	if !r.next(key, 1) {
		r.fail("want %s", key)
	}
	return r.word()
}

func (r *lineReader) integer(max int64) int64 {
	w := r.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if r.err == nil && (err != nil || n < 0 || n > max || strconv.FormatInt(n, 10) != w) {
		r.fail("malformed number %q", w)
	}
	return n
}

func (r *lineReader) number(key string, max int64) int64 {
	if !r.next(key, 1) {
		r.fail("want %s", key)
	}
	return r.integer(max)
}

func (r *lineReader) either(yes, no string) bool {
	w := r.word()
	if w != yes && w != no {
		r.fail("malformed word %q: want %s or %s", w, yes, no)
	}
	return w == yes
}

func (r *lineReader) choice(key, yes, no string) bool {
	if !r.next(key, 1) {
		r.fail("want %s", key)
	}
	return r.either(yes, no)
}

func (r *lineReader) digest() artifact.Digest {
	w := r.word()
	d, err := artifact.ParseDigest(w)
	if r.err == nil && (err != nil || d.IsZero()) {
		r.fail("malformed digest %q", w)
	}
	return d
}

func (r *lineReader) object() Object {
	o := Object{Format: artifact.Format(r.word())}
	if o.Format != artifact.Gzip && o.Format != artifact.Xz && o.Format != artifact.Zstd {
		r.fail("unknown format %q", o.Format)
	}
	o.Size = r.integer(1 << 40)
	o.Digest = r.digest()
	return o
}

func (r *lineReader) installPath() string {
	p := r.word()
	if r.err == nil && CheckInstallPath(p) != nil {
		r.fail("malformed install path %q", p)
	}
	return p
}

func (r *lineReader) finish() {
	if r.err == nil && r.n != len(r.lines)-1 {
		r.fail("unknown line %q", clip(r.lines[r.n]))
	}
}

// CheckInstallPath says what keeps p from being an absolute, clean path below which an archive unpacks.
func CheckInstallPath(p string) error {
	if !strings.HasPrefix(p, "/") || p == "/" {
		return fmt.Errorf("malformed install path %q: want an absolute path", p)
	}
	for part := range strings.SplitSeq(p[1:], "/") {
		if part == "" || part[0] == '.' {
			return fmt.Errorf("malformed install path %q: want no empty part and none that starts with a dot", p)
		}
	}
	return nil
}
