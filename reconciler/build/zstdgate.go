package build

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// zstdGate looks at the frames of zstd data (RFC 8878, 3.1).
type zstdGate struct {
	gate
	of       *inspection
	checksum bool // of the current frame
}

func newZstdGate(i *inspection, in *bufio.Reader) *zstdGate {
	g := &zstdGate{gate: gate{in: in}, of: i}
	g.next = g.frame
	return g
}

func (g *zstdGate) frame() (int64, error) {
	if g.ended() {
		return 0, io.EOF
	}
	b, err := g.in.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return 0, err
	}
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return 0, err
	}
	if h.Skippable {
		return int64(h.HeaderSize) + int64(h.SkippableSize), nil
	}
	if h.DictionaryID != 0 {
		return 0, g.of.stop("pack it without a dictionary", "needs a zstd dictionary to unpack")
	}
	size := h.WindowSize
	if h.SingleSegment {
		size = h.FrameContentSize // all of it is the window
	}
	g.checksum, g.next = h.HasCheckSum, g.block
	return int64(h.HeaderSize), g.of.window(int64(min(size, 1<<62)))
}

// block is a header of three bytes: last, two bits of type, size; then the data.
func (g *zstdGate) block() (int64, error) {
	b, err := g.peek(3)
	if err != nil {
		return 0, err
	}
	last, kind, size := b[0]&1 != 0, b[0]>>1&3, int64(b[0])>>3|int64(b[1])<<5|int64(b[2])<<13
	switch kind {
	case 1: // one byte, many times
		size = 1
	case 3:
		return 0, errors.New("malformed zstd block")
	}
	if last {
		g.next = g.frame
		if g.checksum {
			size += 4
		}
	}
	return 3 + size, nil
}
