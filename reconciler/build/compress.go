package build

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Compression is a compromise between size, time and memory, here and on a front-end computer. All sizes are fixed,
// because where a block ends decides about bytes; only the number of workers follows the machine.
const (
	gzipLevel = 8       // of this library: within 3 % of what zlib makes at its level 6
	gzipBlock = 1 << 20 // bytes that one worker compresses
	xzBlock   = 8 << 20
	mebibyte  = 1 << 20
)

// window is the memory, in bytes, that unpacking what Pomona packs takes beside small fixed buffers: deflate's window
// (RFC 1951), the dictionary of xz and the window of zstd. Twice as much for the latter two saves 1 % of size and costs
// the memory again, there and here.
var window = map[artifact.Format]int64{
	artifact.Gzip: 32 << 10,
	artifact.Xz:   4 * mebibyte,
	artifact.Zstd: 4 * mebibyte,
}

// workers compress blocks of one archive side by side. More of them would take more than 150 MB with zstd and xz.
func workers() int { return min(runtime.GOMAXPROCS(0), 2) }

// compressor writes f to w. Its bytes depend on nothing but the bytes written to it. It must be closed.
func compressor(ctx context.Context, w io.Writer, f artifact.Format) (io.WriteCloser, error) {
	switch f {
	case artifact.Gzip:
		return gzipWriter(w)
	case artifact.Xz:
		return newBlocks(ctx, w, xzBlock, workers(), xzStream), nil
	case artifact.Zstd:
		return zstdWriter(w)
	}
	return nil, fmt.Errorf("unknown format %q", f)
}

func gzipWriter(w io.Writer) (io.WriteCloser, error) {
	z, err := pgzip.NewWriterLevel(w, gzipLevel)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // zero in the header; without it the library writes 2042
	return z, z.SetConcurrency(gzipBlock, 2*workers())
}

// zstdWriter compresses jobs of four windows side by side, each with the end of the one before as its prefix. Two
// workers run even on one processor: with one, the library takes another path and makes other bytes.
func zstdWriter(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(int(window[artifact.Zstd])),
		zstd.WithConcurrentBlocks(true), zstd.WithEncoderConcurrency(2))
}

// xzStream is one block as a whole xz stream. Streams one after the other are one .xz file (xz file format, 2), for
// busybox too. No filter but LZMA2: busybox refuses the others.
func xzStream(block []byte) ([]byte, error) {
	defer runtime.GC() // the encoder leaves 30 MB behind for every block of a second; this halves the peak
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: int(window[artifact.Xz]), CheckSum: xz.CRC64}.NewWriter(&out)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(block); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}
