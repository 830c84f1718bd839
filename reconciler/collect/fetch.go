package collect

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// compressor writes a gzip file, in large pieces.
type compressor struct {
	*gzip.Writer
	out *bufio.Writer
}

// compressors are used again: each has large tables. They are quick, because a service compresses for many FECs at once.
var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // there is such a level
	return &compressor{z, bufio.NewWriterSize(io.Discard, 64<<10)}
}}

func (c *compressor) reset(f io.Writer) {
	c.out.Reset(f)
	c.Writer.Reset(c.out)
}

// finish completes the file.
func (c *compressor) finish() error {
	if err := c.Close(); err != nil {
		return err
	}
	return c.out.Flush()
}

// collect brings one FEC's data of one name. What is there already is read whole before it counts as the same.
func (c *Collector) collect(ctx context.Context, fec, name string, p desired.Persistence, shrunken bool) (Outcome, error) {
	have, err := c.shelf.of(fec)
	if err != nil {
		return Failed, err
	}
	f, temp, err := c.shelf.temp()
	if err != nil {
		return Failed, err
	}
	defer c.shelf.dir.Remove(temp) // it may have its place; else the next start removes it
	next := Snapshot{FEC: fec, Name: name, Schema: p.Schema, Path: p.Path, At: c.Now().UTC().Truncate(time.Millisecond)}
	for _, h := range have {
		if h.Name == name && !next.At.After(h.At) {
			next.At = h.At.Add(time.Millisecond) // the newest one is newest by any clock
		}
	}
	site, of := c.now(fec)
	err = c.fetch(ctx, of.Host, f, temp, &next)
	before, known := last(have, name, next.Schema)
	switch {
	case !known && isAbsent(err):
		return Nothing, nil
	case err != nil:
		return Failed, err
	case !shrunken && known:
		if err := c.shrunken(before, next); err != nil {
			return Failed, err
		}
	case !known && next.Files == 0:
		return Nothing, nil
	}
	if known && before.Content == next.Content && before.Path == next.Path && whole(c.shelf.dir.Root(), before) {
		return Unchanged, c.shelf.seen(before, c.Now())
	}
	if err := c.shelf.put(temp, next); err != nil {
		return Failed, err
	}
	if err := c.shelf.settle(site, fec, of.Data, c.Keys); err != nil {
		c.unsettle(fec) // the snapshot is there, and not named yet
		return Failed, err
	}
	return Collected, nil
}

// isAbsent says whether a FEC has nothing at the path, as tar or pomona-fec says it.
func isAbsent(err error) bool {
	var exit *remote.ExitError
	return errors.As(err, &exit) && (strings.Contains(exit.Said, "No such file or directory") || strings.HasSuffix(exit.Said, " is not there"))
}

// shrunken says why a snapshot must not replace the one before it.
func (c *Collector) shrunken(before, next Snapshot) error {
	less := func(now, then int64) bool { return now*100 < then*int64(c.Least) }
	if next.Files > 0 && !less(next.Files, before.Files) && !less(next.Bytes, before.Bytes) {
		return nil
	}
	return refuse("it has %d bytes, files: %d, and had %d bytes, files: %d; the last snapshot stays; if this is right, say so with pomona data collect %s %s --shrunken",
		next.Bytes, next.Files, before.Bytes, before.Files, next.FEC, next.Name)
}

// fetch has a FEC pack its data, and writes it as a snapshot to f, which is named temp, synced.
func (c *Collector) fetch(ctx context.Context, host remote.Host, f *os.File, temp string, s *Snapshot) error {
	err := c.inTurn(ctx, func() error { return c.transfer(ctx, host, f, s) }) // syncing takes nothing from FECs
	if err == nil {
		err = seal(f, s)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return c.shelf.dir.SyncTogether(temp)
}

// inTurn does something that asks a FEC, not too many at once.
func (c *Collector) inTurn(ctx context.Context, do func() error) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.slots }()
	return do()
}

// transfer has a FEC pack its data, and writes to f what is good of it.
func (c *Collector) transfer(ctx context.Context, host remote.Host, f *os.File, s *Snapshot) error {
	z := compressors.Get().(*compressor)
	defer compressors.Put(z)
	z.reset(f)
	z.Comment, z.OS = s.comment(), 255
	content := sha256.New()
	below := strings.TrimPrefix(s.Path, "/")
	in, ran := c.run(ctx, host, fmt.Sprintf("tar -cf - -C %s %s", c.Folder, below))
	found, err := rewrite(in, io.MultiWriter(z, content), below, c.Largest)
	if err == nil {
		err = z.finish()
	}
	in.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // whoever still sends is told
	if said := <-ran; said != nil && (err == nil || errors.Is(err, said)) {
		return said
	} else if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	if found.Format != "" {
		s.Schema = found.Format
	}
	s.Files, s.Bytes, s.Content = found.Files, found.Bytes, artifact.Digest(content.Sum(nil))
	return nil
}

// run runs a command on a FEC, whose output is read from in. It is to be closed; then ran says how it ended.
func (c *Collector) run(ctx context.Context, host remote.Host, command string) (in *io.PipeReader, ran chan error) {
	in, out := io.Pipe()
	ran = make(chan error, 1)
	go func() {
		err := c.SSH.Run(ctx, host, command, nil, out)
		out.CloseWithError(err)
		ran <- err
	}()
	return in, ran
}

// seal completes the header of a snapshot's file, and names it.
func seal(f *os.File, s *Snapshot) error {
	if _, err := f.WriteAt([]byte(s.comment()), commentAt); err != nil {
		return err
	}
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	var err error
	if s.Size, err = io.Copy(sum, f); err != nil {
		return err
	}
	s.Object = artifact.Digest(sum.Sum(nil))
	return nil
}
