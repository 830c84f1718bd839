package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// Blobs is the site's blob store below a root: an object store of its own, which no pass sweeps.
const Blobs = durable.Private + "/blobs"

// keep is the file with a digest: one that is there, else what download writes.
func (f *Fetcher) keep(ctx context.Context, field string, want artifact.Digest, download func(io.Writer) error) (object, error) {
	defer f.alone(want.String())()
	if o, ok := f.find(want); ok {
		return o, nil
	}
	cache, err := f.open()
	if err != nil {
		return object{}, err
	}
	// What is there is damaged, or find had found it.
	_, size, err := cache.Replace(ctx, func(w io.Writer) error { return checked(w, field, want, download) })
	return object{path: onDisk(f.options.Cache, want), size: size}, err
}

// checked downloads to w and fails unless the digest is what was wanted: then the cache keeps nothing.
func checked(w io.Writer, field string, want artifact.Digest, download func(io.Writer) error) error {
	h := sha256.New()
	if err := download(io.MultiWriter(w, h)); err != nil {
		return err
	}
	if got := artifact.Digest(h.Sum(nil)); got != want {
		return &remote.Wrong{Field: field, Text: fmt.Sprintf("what came has the digest %s", got), Advice: "find out who changed it; write this digest only if it is what you want"}
	}
	return nil
}

// find looks for a file in the cache, the blob store and among the objects of the root.
func (f *Fetcher) find(d artifact.Digest) (object, bool) {
	if o, ok := look(f.options.Cache, d); ok {
		used(o.path)
		return o, true
	}
	var shelves []string
	if f.options.Root != "" {
		shelves = append(shelves, filepath.Join(f.options.Root, Blobs), f.options.Root)
	}
	for _, shelf := range shelves {
		if o, ok := look(shelf, d); ok {
			return o, true
		}
	}
	return object{}, false
}

// look finds a file in the store at dir. One that does not hold what its name says is passed over: it is fetched again,
// or reported as missing.
func look(dir string, d artifact.Digest) (object, bool) {
	o := object{path: onDisk(dir, d)}
	if dir == "" {
		return o, false
	}
	r, err := os.Open(o.path)
	if err != nil {
		return o, false
	}
	defer r.Close() // only read
	h := sha256.New()
	o.size, err = io.Copy(h, r)
	return o, err == nil && artifact.Digest(h.Sum(nil)) == d
}

func onDisk(dir string, d artifact.Digest) string {
	return filepath.Join(dir, filepath.FromSlash(store.Path(d)))
}

// Put keeps what write produces in the cache, as if it had been fetched, and says what it was.
func (f *Fetcher) Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	cache, err := f.open()
	if err != nil {
		return artifact.Digest{}, 0, err
	}
	return cache.Put(ctx, write)
}

// Open reads a file that Put has kept.
func (f *Fetcher) Open(d artifact.Digest) (io.ReadCloser, error) {
	cache, err := f.open()
	if err != nil {
		return nil, err
	}
	return cache.Open(d)
}

// open makes the cache when it is needed first.
func (f *Fetcher) open() (*store.Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache != nil {
		return f.cache, nil
	}
	if f.options.Cache == "" {
		return nil, errors.New("no folder to fetch into: give --cache")
	}
	if err := os.MkdirAll(f.options.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	dir, err := durable.Open(f.options.Cache, nil)
	if err == nil {
		err = dir.Prepare()
	}
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	f.dir, f.cache = dir, store.New(dir)
	return f.cache, f.sweep()
}

// object is a file in a store, as a source of its own.
type object struct {
	path string // on disk
	size int64
	name string // in the source
}

// Files is the one file.
func (o object) Files() artifact.Files { return artifact.Files{{Path: o.name, Size: o.size}} }

func (o object) read(to io.Writer) error {
	r, err := os.Open(o.path)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, r)
	return errors.Join(err, r.Close())
}

// Open reads it.
func (o object) Open(artifact.File) (io.ReadCloser, error) { return os.Open(o.path) }
