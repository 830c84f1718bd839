package build

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// magic is how each format begins (RFC 1952; xz file format, 2.1.1.1; RFC 8878).
var magic = map[artifact.Format]string{
	artifact.Gzip: "\x1f\x8b",
	artifact.Xz:   "\xfd7zXZ\x00",
	artifact.Zstd: "\x28\xb5\x2f\xfd",
}

// busyboxXz is the largest dictionary, in bytes, that busybox unpacks (archival/libarchive/decompress_unxz.c).
const busyboxXz = 64 * mebibyte

// decompressor reads f from in. A gate before the library sees to it that no window is larger than allowed.
func (i *inspection) decompressor(in *bufio.Reader, f artifact.Format) (io.Reader, error) {
	head, _ := in.Peek(len(lfsPointer)) // a short or failed read shows below, or when it is read again
	switch {
	case bytes.HasPrefix(head, []byte(lfsPointer)):
		return nil, i.stop("add the archive to git itself", "is a Git LFS pointer, not the archive")
	case !bytes.HasPrefix(head, []byte(magic[f])):
		return nil, i.stop("say what it is", "is not %s, as its name or format says%s", f, butIs(head))
	}
	switch f {
	case artifact.Xz:
		i.limits.Memory = min(i.limits.Memory, busyboxXz)
		return xz.NewReader(newXzGate(i, in))
	case artifact.Zstd:
		return zstd.NewReader(newZstdGate(i, in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(i.limits.Memory)))
	}
	return gzip.NewReader(in)
}

// butIs says what the bytes are instead.
func butIs(head []byte) string {
	for f, m := range magic {
		if bytes.HasPrefix(head, []byte(m)) {
			return ", but " + string(f)
		}
	}
	return ""
}

// gate passes compressed bytes on, one structure of its format at a time, after a look at it.
type gate struct {
	in   *bufio.Reader
	left int64                 // bytes of the current structure that are still to pass
	next func() (int64, error) // looks at the next structure and says how long it is
}

// Read implements io.Reader.
func (g *gate) Read(p []byte) (int, error) {
	for g.left == 0 {
		n, err := g.next()
		if err != nil {
			return 0, err
		}
		g.left = n
	}
	n, err := g.in.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// peek are the next n bytes, which must be there.
func (g *gate) peek(n int) ([]byte, error) {
	b, err := g.in.Peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// ended says whether nothing is left at all.
func (g *gate) ended() bool {
	_, err := g.in.Peek(1)
	return err == io.EOF
}
