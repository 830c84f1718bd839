package build

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Limits are what a finished archive must keep to. Zero values mean the defaults.
type Limits struct {
	Install  string // absolute path below which all entries lie; empty for anywhere
	Memory   int64  // bytes that unpacking may take for its window; 64 MiB
	Entries  int    // entries and the folders that they make; 100,000
	Unpacked int64  // bytes; 4 GiB
}

// A payload unpacks to at most maxRatio times its size. The first ratioSlack bytes are free, because a tar pads small
// files with zeros.
const (
	maxRatio   = 200
	ratioSlack = 64 * mebibyte
)

func (l Limits) orDefaults() Limits {
	l.Memory = cmp.Or(l.Memory, busyboxXz)
	l.Entries = cmp.Or(l.Entries, 100_000)
	l.Unpacked = cmp.Or(l.Unpacked, 4096*mebibyte)
	return l
}

// Lint reads a finished archive to its end and reports everything wrong with it. It stops early where going on would
// cost more than the limits allow. It never holds more than some megabytes beside the archive's window and names.
func Lint(r io.Reader, f artifact.Format, l Limits) []Finding {
	found, _, err := lint(context.Background(), r, f, l, nil)
	if err != nil {
		found.add("", "", "cannot be read: %v", err)
	}
	return found
}

// lint is Lint that also says how much memory unpacking takes, and notes what is in the archive. Its error is the reader's,
// never the archive's.
func lint(ctx context.Context, r io.Reader, f artifact.Format, l Limits, in *contents) (Findings, int64, error) {
	l = l.orDefaults()
	i := &inspection{limits: l, entries: newEntries(l), memory: window[artifact.Gzip], contents: in}
	i.in = input{ctx: ctx, r: r}
	err := i.archive(f)
	if i.in.err != nil {
		return nil, 0, i.in.err
	}
	if err != nil && !i.stopped {
		i.entries.found.add("", "pack it again", "is damaged: %v", err)
	}
	return i.entries.found, i.memory, nil
}

// inspection is one archive being linted.
type inspection struct {
	limits   Limits
	entries  *entries
	in       input
	contents *contents
	memory   int64 // bytes that unpacking takes for the largest window so far
	stopped  bool  // a finding ended the inspection
}

// errStop ends an inspection; a finding says why.
var errStop = errors.New("stop")

func (i *inspection) stop(advice, format string, args ...any) error {
	i.entries.found.add("", advice, format, args...)
	i.stopped = true
	return errStop
}

// window notes that unpacking takes n bytes, unless that is too much.
func (i *inspection) window(n int64) error {
	if n < 0 || n > i.limits.Memory {
		return i.stop("pack it with a lower level", "takes %d KiB to unpack, more than the %d KiB that are there", uint64(n)>>10, i.limits.Memory>>10)
	}
	i.memory = max(i.memory, n)
	return nil
}

// archive reads everything, to the last byte.
func (i *inspection) archive(f artifact.Format) error {
	in := bufio.NewReaderSize(&i.in, 64<<10)
	z, err := i.decompressor(in, f)
	if err != nil {
		return err
	}
	t := &tape{from: &bounded{of: i, from: z}}
	if err := i.tar(t); err != nil {
		return err
	}
	return i.rest(t)
}

// rest reads what follows the end of the tar: zeros, as many as anyone likes.
func (i *inspection) rest(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return i.stop("pack it again", "has data after its end")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// input counts what is read, remembers the error that is no fault of the archive, and stops with its context.
type input struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	if in.err = in.ctx.Err(); in.err != nil {
		return 0, in.err
	}
	n, err := in.r.Read(p)
	in.n += int64(n)
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// bounded stops at decompression bombs.
type bounded struct {
	of   *inspection
	from io.Reader
	n    int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.of.limits.Unpacked:
		return 0, b.of.stop("make it smaller", "unpacks to more than %d MiB", b.of.limits.Unpacked>>20)
	case b.n > ratioSlack && b.n > maxRatio*b.of.in.n:
		return 0, b.of.stop("leave empty data out", "unpacks to more than %d times its size", maxRatio)
	}
	return n, err
}
