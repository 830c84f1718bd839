package build

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzGate looks at the streams of xz data (the .xz file format 1.2, sections 2 to 4, and LZMA2 chunks as xz-embedded's
// xz_dec_lzma2.c has them).
type xzGate struct {
	gate
	of         *inspection
	check      int64  // bytes of a block's check
	length     int64  // bytes of LZMA2 data in the current block, or of the current index
	records    uint64 // fields of the current index that are still to come
	blocks     int64
	dictionary int64 // largest so far
	unpacked   int64 // bytes, of all blocks
}

func newXzGate(i *inspection, in *bufio.Reader) *xzGate {
	g := &xzGate{gate: gate{in: in}, of: i}
	g.next = g.stream
	return g
}

var errXz = errors.New("malformed xz data")

// stream is a header of 12 bytes, or padding between streams.
func (g *xzGate) stream() (int64, error) {
	if g.ended() {
		return 0, io.EOF
	}
	b, err := g.peek(4)
	if err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(b) == 0 {
		return 4, nil
	}
	if b, err = g.peek(12); err != nil {
		return 0, err
	}
	var known bool
	if g.check, known = map[byte]int64{0: 0, 1: 4, 4: 8, 10: 32}[b[7]]; !known {
		return 0, errXz
	}
	g.next = g.block
	return 12, nil
}

// block is a block's header, or where the index begins.
func (g *xzGate) block() (int64, error) {
	b, err := g.peek(1)
	if err != nil {
		return 0, err
	}
	if b[0] == 0 {
		g.next, g.length = g.indexCount, 1
		return 1, nil
	}
	if b, err = g.peek((int(b[0]) + 1) * 4); err != nil {
		return 0, err
	}
	if err := g.filters(b); err != nil {
		return 0, err
	}
	// Each block costs a dictionary, so many small ones are a bomb of their own.
	if g.blocks++; g.blocks > 64 && g.unpacked/g.blocks < g.dictionary/64 {
		return 0, g.of.stop("pack it again with larger blocks", "has too many small xz blocks")
	}
	g.next, g.length = g.chunk, 0
	return int64(len(b)), nil
}

// filters reads a block header: size, flags, sizes if the flags say so, then each filter's id, size of properties and
// properties. LZMA2 is always the last filter, so it must be the first.
func (g *xzGate) filters(b []byte) error {
	flags, b := b[1], b[2:]
	for _, present := range []bool{flags&0x40 != 0, flags&0x80 != 0} {
		if present {
			var ok bool
			if _, b, ok = varint(b); !ok {
				return errXz
			}
		}
	}
	id, b, ok1 := varint(b)
	size, b, ok2 := varint(b)
	if !ok1 || !ok2 {
		return errXz
	}
	const lzma2 = 0x21
	if id != lzma2 {
		return g.of.stop("pack it with xz -6 alone", "uses an xz filter (BCJ or delta), which busybox cannot unpack")
	}
	if size != 1 || len(b) == 0 {
		return errXz
	}
	n, err := lzma.DecodeDictCap(b[0])
	if err != nil {
		return err
	}
	g.dictionary = max(g.dictionary, n)
	return g.of.window(n)
}

// chunk is one LZMA2 chunk, or the end of the block: padding to four bytes, and the check.
func (g *xzGate) chunk() (int64, error) {
	b, err := g.peek(1)
	if err != nil {
		return 0, err
	}
	control := b[0]
	head := 6 // control, two sizes of two bytes, properties
	switch {
	case control == 0:
		g.next = g.block
		return 1 + padding(g.length+1) + g.check, nil
	case control <= 2: // not compressed
		head = 3
	case control < 0x80:
		return 0, errXz
	case control < 0xc0: // without properties
		head = 5
	}
	if b, err = g.peek(head); err != nil {
		return 0, err
	}
	n := int64(binary.BigEndian.Uint16(b[1:])) + 1
	g.unpacked += n
	if control >= 0x80 {
		g.unpacked += int64(control&0x1f) << 16
		n = int64(binary.BigEndian.Uint16(b[3:])) + 1
	}
	g.length += int64(head) + n
	return int64(head) + n, nil
}

// indexCount is how many records of two fields follow.
func (g *xzGate) indexCount() (int64, error) {
	count, n, err := g.field()
	if err != nil || count > 1<<40 {
		return 0, errors.Join(errXz, err)
	}
	g.records, g.next = 2*count, g.indexRecord
	return n, nil
}

// indexRecord is one field of the index; after the last come padding, a check of four bytes and the footer of twelve.
func (g *xzGate) indexRecord() (int64, error) {
	if g.records == 0 {
		g.next = g.stream
		return padding(g.length) + 4 + 12, nil
	}
	g.records--
	_, n, err := g.field()
	return n, err
}

// field is a number of the index, and its length.
func (g *xzGate) field() (uint64, int64, error) {
	for n := 1; n <= maxVarint; n++ {
		b, err := g.peek(n)
		if err != nil {
			return 0, 0, err
		}
		if v, _, ok := varint(b); ok {
			g.length += int64(n)
			return v, int64(n), nil
		}
	}
	return 0, 0, errXz
}

// maxVarint is the longest number, in bytes (section 1.2).
const maxVarint = 9

// varint reads a number and what follows it.
func varint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b[:min(len(b), maxVarint)])
	return v, b[max(n, 0):], n > 0
}

// padding completes n bytes to a multiple of four.
func padding(n int64) int64 { return -n & 3 }
