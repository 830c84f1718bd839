package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/pomona-gitops/pomona/reconciler/durable"
)

// maxInflation is how much larger than the limit of a fetch all its objects together may be, unpacked.
const maxInflation = 32

// excess says that a fetch exceeds a limit.
type excess struct{ error }

// Unwrap is the cause.
func (e excess) Unwrap() error { return e.error }

// fetchPack asks for objects, but for those that the haves lead to, and puts them into the repository at dir as one pack. The
// pack is on the disk, checked and indexed, before it has its name; until then nothing reads it.
func (t talk) fetchPack(ctx context.Context, dir string, l Limits, wants, haves []plumbing.Hash) error {
	req := packp.NewUploadPackRequestFromCapabilities(t.refs.Capabilities)
	req.Wants, req.Haves = wants, haves
	if t.refs.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	res, err := t.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer res.Close() // what is missing shows when the pack is read
	tooLarge := excess{fmt.Errorf("more than %d MiB are to be fetched", l.Fetch>>20)}
	return storePack(ctx, dir, l, &atMost{r: demultiplexed(req.Capabilities, res), left: l.Fetch, err: tooLarge})
}

// storePack writes a pack with its index into the repository at dir.
func storePack(ctx context.Context, dir string, l Limits, from io.Reader) (err error) {
	dir = filepath.Join(dir, packFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	pack, err := os.OpenFile(filepath.Join(dir, packPrefix+"pack_"+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropTemp(pack)) }()
	if _, err := io.Copy(pack, from); err != nil {
		return err
	}
	if err := checkPack(ctx, pack, l); err != nil {
		return broken(ctx, err)
	}
	index, name, err := indexPack(ctx, pack)
	if err != nil {
		return broken(ctx, err)
	}
	idx, err := os.OpenFile(filepath.Join(dir, packPrefix+"idx_"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dropTemp(idx)) }()
	if _, err := idxfile.NewEncoder(idx).Encode(index); err != nil {
		return err
	}
	return settlePack(dir, name, pack, idx)
}

// broken is an error of reading a pack that has come.
func broken(ctx context.Context, err error) error {
	if much := new(excess); errors.As(err, much) {
		return err
	}
	return asIncomplete(ctx, fmt.Errorf("read pack: %w", err))
}

// settlePack gives a pack its name, when it is on the disk. go-git looks for packs, and then for their indices: these come
// first.
func settlePack(dir string, name plumbing.Hash, pack, idx *os.File) error {
	base := filepath.Join(dir, "pack-"+name.String())
	if _, err := os.Stat(base + ".pack"); err == nil {
		return nil // the very same
	}
	if err := errors.Join(pack.Sync(), idx.Sync()); err != nil {
		return err
	}
	if err := os.Rename(idx.Name(), base+".idx"); err != nil {
		return err
	}
	if err := os.Rename(pack.Name(), base+".pack"); err != nil {
		return err
	}
	return durable.SyncFolder(dir)
}

// dropTemp closes a temporary file and removes it, if it has not got another name meanwhile.
func dropTemp(f *os.File) error {
	err := f.Close()
	if gone := os.Remove(f.Name()); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// checkPack holds a pack to the limits, object by object, before anything is unpacked as a whole.
func checkPack(ctx context.Context, pack *os.File, l Limits) error {
	in, err := rewound(ctx, pack)
	if err != nil {
		return err
	}
	s := packfile.NewScanner(in)
	_, count, err := s.Header()
	if err != nil {
		return err
	}
	if int64(count) > int64(l.Objects) {
		return excess{fmt.Errorf("%d objects are to be fetched, more than %d", count, l.Objects)}
	}
	total := int64(0)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return err
		}
		if h.Length > l.Object {
			return excess{fmt.Errorf("an object has %d MiB, more than %d", h.Length>>20, l.Object>>20)}
		}
		var begin beginning
		if _, _, err := s.NextObject(&begin); err != nil {
			return err
		}
		size := h.Length
		if h.Type.IsDelta() {
			size = begin.target()
		}
		if size > l.Object || size < 0 {
			return excess{fmt.Errorf("an object has %d MiB, more than %d", size>>20, l.Object>>20)}
		}
		if total += size; total > maxInflation*l.Fetch {
			return excess{fmt.Errorf("its objects have more than %d MiB together", maxInflation*l.Fetch>>20)}
		}
	}
	return nil
}

// beginning keeps the first bytes of what is written to it.
type beginning struct{ first []byte }

// Write implements io.Writer.
func (b *beginning) Write(p []byte) (int, error) {
	if n := 20 - len(b.first); n > 0 {
		b.first = append(b.first, p[:min(n, len(p))]...)
	}
	return len(p), nil
}

// target is the size that a delta says its result has, in bytes: the second of two numbers, seven bits to a byte.
func (b *beginning) target() int64 {
	var size int64
	rest := b.first
	for range 2 {
		size = 0
		for shift := 0; len(rest) > 0 && shift < 63; shift += 7 {
			c := rest[0]
			rest = rest[1:]
			size |= int64(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
	}
	return size
}

// indexPack unpacks and hashes every object of a pack.
func indexPack(ctx context.Context, pack *os.File) (index *idxfile.MemoryIndex, name plumbing.Hash, err error) {
	// A pack is made by somebody else, and so is what reads it: no pack may end the service.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	in, err := rewound(ctx, pack)
	if err != nil {
		return nil, name, err
	}
	var w idxfile.Writer
	p, err := packfile.NewParser(packfile.NewScanner(in), &w)
	if err != nil {
		return nil, name, err
	}
	if name, err = p.Parse(); err != nil {
		return nil, name, err
	}
	index, err = w.Index()
	return index, name, err
}

// rewound reads a file from its beginning until the context ends.
func rewound(ctx context.Context, f *os.File) (io.ReadSeeker, error) {
	_, err := f.Seek(0, io.SeekStart)
	return whileWanted{f, ctx}, err
}

type whileWanted struct {
	*os.File
	ctx context.Context
}

// Read implements io.Reader.
func (w whileWanted) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.File.Read(p)
}

// packsOf are the packs of a repository and all its bytes.
func packsOf(dir string) (packs int, bytes int64, err error) {
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += s.Blocks * 512
		}
		if filepath.Ext(name) == ".pack" {
			packs++
		}
		return nil
	})
	return packs, bytes, err
}
