package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// What is read of a package is bounded by these; the largest packages of distributions stay well below.
const (
	maxTags      = 1 << 16  // of one header
	maxSignature = 16 << 20 // bytes of the signature header's data
	maxHeader    = 64 << 20 // bytes of the main header's data
	maxItems     = 1 << 18  // strings or numbers of one tag
	maxPaths     = 64 << 20 // bytes of all paths of a package
)

const (
	leadSize  = 96
	introSize = 16 // magic, reserved, number of tags, size of data
	indexSize = 16 // tag, type, offset, count
)

// Types of values in a header.
const (
	typeInt8        = 2
	typeInt16       = 3
	typeInt32       = 4
	typeInt64       = 5
	typeString      = 6
	typeBin         = 7
	typeStringArray = 8
	typeI18N        = 9
)

var headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01}

// header is a header as it lies in a package: its index and the data that this points into. Both are hostile.
type header struct {
	raw   []byte // with the intro: what a signature of the header covers
	index []byte
	data  []byte
}

// file is what a package begins with.
type file struct {
	signature, main header
	start           int64 // of the main header
}

// readFile reads the lead and both headers, and nothing of the payload.
func readFile(r io.Reader) (file, error) {
	head := make([]byte, leadSize+introSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return file{}, fmt.Errorf("read lead: %w", noEOF(err))
	}
	if !bytes.HasPrefix(head, []byte{0xed, 0xab, 0xee, 0xdb}) {
		return file{}, errors.New("it is not an RPM package")
	}
	var f file
	var err error
	if f.signature, err = readHeader(r, head[leadSize:], maxSignature); err != nil {
		return file{}, fmt.Errorf("read signature: %w", err)
	}
	pad := -len(f.signature.data) & 7
	next := make([]byte, pad+introSize)
	if _, err := io.ReadFull(r, next); err != nil {
		return file{}, fmt.Errorf("read header: %w", noEOF(err))
	}
	f.start = int64(leadSize + len(f.signature.raw) + pad)
	if f.main, err = readHeader(r, next[pad:], maxHeader); err != nil {
		return file{}, fmt.Errorf("read header: %w", err)
	}
	return f, nil
}

// readHeader reads what follows a header's intro.
func readHeader(r io.Reader, intro []byte, most uint32) (header, error) {
	if !bytes.HasPrefix(intro, headerMagic) {
		return header{}, errors.New("it does not begin as one")
	}
	tags, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if tags > maxTags || size > most {
		return header{}, fmt.Errorf("%d tags with %d bytes are more than %d with %d", tags, size, maxTags, most)
	}
	n := introSize + int(tags)*indexSize + int(size)
	raw, err := readAtMost(r, append(make([]byte, 0, min(n, 1<<20)), intro...), n)
	if err != nil {
		return header{}, err
	}
	return header{raw: raw, index: raw[introSize : introSize+int(tags)*indexSize], data: raw[introSize+int(tags)*indexSize:]}, nil
}

// readAtMost appends to b what r has, until there are n bytes. Memory grows with what comes: a few bytes cannot ask for much.
func readAtMost(r io.Reader, b []byte, n int) ([]byte, error) {
	for len(b) < n {
		if len(b) == cap(b) {
			b = slices.Grow(b, min(n-len(b), len(b)))
		}
		more, err := io.ReadFull(r, b[len(b):min(cap(b), n)])
		b = b[:len(b)+more]
		if err != nil {
			return nil, noEOF(err)
		}
	}
	return b, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// find is a tag's type, number of values and data from its first value on.
func (h header) find(tag uint32) (kind, count uint32, data []byte, ok bool) {
	for i := 0; i < len(h.index); i += indexSize {
		e := h.index[i : i+indexSize]
		if binary.BigEndian.Uint32(e) != tag {
			continue
		}
		offset := binary.BigEndian.Uint32(e[8:])
		if int64(offset) > int64(len(h.data)) {
			return 0, 0, nil, false
		}
		return binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[12:]), h.data[offset:], true
	}
	return 0, 0, nil, false
}

func (h header) has(tag uint32) bool {
	_, _, _, ok := h.find(tag)
	return ok
}

// strings are all values of a tag; none if there is no such tag.
func (h header) strings(tag uint32) ([]string, error) {
	return h.someStrings(tag, maxItems)
}

// someStrings are the first values of a tag.
func (h header) someStrings(tag uint32, most int) ([]string, error) {
	kind, count, data, ok := h.find(tag)
	if !ok {
		return nil, nil
	}
	if kind != typeString && kind != typeStringArray && kind != typeI18N {
		return nil, fmt.Errorf("tag %d is no text", tag)
	}
	if kind == typeString {
		count = 1
	}
	if count > maxItems || int64(count) > int64(len(data)) {
		return nil, fmt.Errorf("tag %d has %d values", tag, count)
	}
	n, end := min(int(count), most), 0
	for range n {
		zero := bytes.IndexByte(data[end:], 0)
		if zero < 0 {
			return nil, fmt.Errorf("tag %d does not end", tag)
		}
		end += zero + 1
	}
	all, values := string(data[:end]), make([]string, 0, n)
	for range n {
		var s string
		s, all, _ = strings.Cut(all, "\x00")
		s, err := readable(s)
		if err != nil {
			return nil, fmt.Errorf("tag %d: %w", tag, err)
		}
		values = append(values, s)
	}
	return values, nil
}

// string is the first value of a tag, empty without one.
func (h header) string(tag uint32) (string, error) {
	values, err := h.someStrings(tag, 1)
	if err != nil || len(values) == 0 {
		return "", err
	}
	return values[0], nil
}

// numbers are all values of a tag; none if there is no such tag.
func (h header) numbers(tag uint32) ([]uint64, error) {
	kind, count, data, ok := h.find(tag)
	if !ok {
		return nil, nil
	}
	width := map[uint32]int{typeInt8: 1, typeInt16: 2, typeInt32: 4, typeInt64: 8}[kind]
	if width == 0 {
		return nil, fmt.Errorf("tag %d is no number", tag)
	}
	if count > maxItems || int64(count)*int64(width) > int64(len(data)) {
		return nil, fmt.Errorf("tag %d has %d values", tag, count)
	}
	values := make([]uint64, count)
	for i := range values {
		for _, b := range data[i*width : (i+1)*width] {
			values[i] = values[i]<<8 | uint64(b)
		}
	}
	return values, nil
}

// number is the first value of the first of some tags that there is, 0 without one.
func (h header) number(tags ...uint32) (uint64, error) {
	for _, tag := range tags {
		values, err := h.numbers(tag)
		if err != nil || len(values) > 0 {
			return first(values), err
		}
	}
	return 0, nil
}

func first(values []uint64) uint64 {
	if len(values) == 0 {
		return 0
	}
	return values[0]
}

// bytes are the value of a binary tag; none if there is no such tag.
func (h header) bytes(tag uint32) []byte {
	kind, count, data, ok := h.find(tag)
	if !ok || kind != typeBin || int64(count) > int64(len(data)) {
		return nil
	}
	return data[:count]
}

// readable is s as UTF-8; what is not UTF-8 is taken for Latin-1, as createrepo_c does. Control characters have no place in XML.
func readable(s string) (string, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return "", fmt.Errorf("control character %#x in %.40q", c, s)
		}
	}
	if utf8.ValidString(s) {
		if strings.ContainsAny(s, "\ufffe\uffff") {
			return "", fmt.Errorf("a character that is none in %.40q", s)
		}
		return s, nil
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x80 || c >= 0xc0 {
			b.WriteRune(rune(c))
		}
	}
	return b.String(), nil
}
