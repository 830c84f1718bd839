package build

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	block    = 512          // bytes; all of a tar is a multiple of it
	maxHeads = 4 * mebibyte // bytes of headers before one entry
)

// tar judges every entry up to the two blocks of zeros that end a tar.
func (i *inspection) tar(t *tape) error {
	r := tar.NewReader(t)
	for pad := int64(0); ; {
		t.record()
		h, err := r.Next()
		heads := t.recorded()
		if err == io.EOF && t.ended {
			return errors.New("its end is missing")
		}
		if err != nil {
			return ignoreEOF(err)
		}
		if flaw := headsFlaw(heads[min(pad, int64(len(heads))):]); flaw != "" {
			return i.stop("pack it with GNU tar", "has an entry %q that programs read differently: %s", shown(h.Name), flaw)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			i.entries.attributes("", folder, h)
			pad = -int64(len(heads)) & (block - 1)
			continue
		}
		i.entries.add(h)
		if i.entries.full() {
			return i.stop("pack fewer files", "has more than %d entries", i.limits.Entries)
		}
		if sparse(h) {
			i.stopped = true // its zeros may be without end; entries has a finding about it
			return errStop
		}
		n, err := i.contents.add(h, io.Discard, r)
		if err != nil {
			return fmt.Errorf("read %q: %w", shown(h.Name), err)
		}
		pad = -n & (block - 1)
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// headsFlaw says why Go's reader, GNU tar and busybox may understand the headers of one entry differently, so that
// what was linted is not what is unpacked. heads are the blocks of that entry: extended headers with their data, then
// its own header.
func headsFlaw(heads []byte) string {
	seen := map[byte]bool{}
	for len(heads) >= block {
		b := heads[:block]
		typeflag := b[156]
		// busybox takes a header without a name for the end, and a prefix for a part of the name in every format.
		if b[0] == 0 {
			return "a header has no name"
		}
		posix := bytes.HasPrefix(b[257:], []byte("ustar\x00")) && !bytes.HasPrefix(b[508:], []byte("tar\x00"))
		if !posix && typeflag != tar.TypeGNUSparse && len(bytes.Trim(b[345:500], "\x00")) > 0 {
			return "a header has more than its format knows"
		}
		// Of two headers of one type, some take the first and some the last.
		if seen[typeflag] || typeflag == tar.TypeXGlobalHeader && len(seen) > 0 {
			return "it has extended headers one after another"
		}
		seen[typeflag] = true
		heads = heads[block:]
		if len(heads) > 0 {
			size, err := strconv.ParseInt(strings.Trim(string(b[124:136]), " \x00"), 8, 64)
			if err != nil || size > maxHeads {
				return "an extended header has a malformed size"
			}
			heads = heads[min((int(size)+block-1)/block*block, len(heads)):]
		}
	}
	return ""
}

// tape is a tar being read. It keeps what the reader took since record.
type tape struct {
	from      io.Reader
	recording bool
	heads     []byte
	ended     bool // nothing was left when more was asked for
}

func (t *tape) record() { t.recording, t.heads = true, t.heads[:0] }

func (t *tape) recorded() []byte {
	t.recording = false
	return t.heads
}

// Read implements io.Reader.
func (t *tape) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	if t.recording {
		if t.heads = append(t.heads, p[:n]...); len(t.heads) > maxHeads {
			return 0, errors.New("its headers are too long")
		}
	}
	t.ended = n == 0 && err == io.EOF
	return n, err
}
