package build

import (
	"context"
	"io"

	"golang.org/x/sync/errgroup"
)

// blocks cuts what is written to it into blocks of one size, compresses them side by side and writes the results in
// order. At most a few blocks are in memory at any time.
type blocks struct {
	ctx      context.Context // ends with the first error
	group    *errgroup.Group
	compress func([]byte) ([]byte, error)
	size     int
	current  []byte
	started  bool
	results  chan chan []byte // one for each block, in order
}

// newBlocks starts to write to w. At least one block is written, even an empty one.
func newBlocks(ctx context.Context, w io.Writer, size, workers int, compress func([]byte) ([]byte, error)) *blocks {
	b := &blocks{compress: compress, size: size, results: make(chan chan []byte, workers-1)}
	b.group, b.ctx = errgroup.WithContext(ctx)
	b.group.SetLimit(workers + 1)
	b.group.Go(func() error { return b.collect(w) })
	return b
}

// Write implements io.Writer.
func (b *blocks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.current == nil {
			b.current = make([]byte, 0, b.size)
		}
		k := min(len(p), b.size-len(b.current))
		b.current = append(b.current, p[:k]...)
		p = p[k:]
		if len(b.current) == b.size {
			if err := b.dispatch(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

// Close writes what is left and says what went wrong first.
func (b *blocks) Close() error {
	if len(b.current) > 0 || !b.started {
		_ = b.dispatch() // it fails only when the group has failed, and Wait says why
	}
	close(b.results)
	return b.group.Wait()
}

func (b *blocks) dispatch() error {
	block := b.current
	b.current, b.started = nil, true
	result := make(chan []byte, 1)
	select {
	case b.results <- result:
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
	b.group.Go(func() error {
		out, err := b.compress(block)
		if err == nil {
			result <- out
		}
		return err
	})
	return nil
}

func (b *blocks) collect(w io.Writer) error {
	for result := range b.results {
		select {
		case out := <-result:
			if _, err := w.Write(out); err != nil {
				return err
			}
		case <-b.ctx.Done():
			return context.Cause(b.ctx)
		}
	}
	return nil
}
