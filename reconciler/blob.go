package reconciler

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// Blobs is the blob store of a root. Any number of processes may use it at once, and none needs the root's lock: a blob gets
// its name when it is whole, and no pass removes one.
type Blobs struct {
	dir   *durable.Dir
	store *store.Store
}

// OpenBlobs opens the blob store of a root; both are made if they are not there.
func OpenBlobs(root string) (*Blobs, error) {
	if err := MakeRoot(root); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(root, nil)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	defer dir.Close() // every write reports its own error
	if err := dir.Prepare(); err != nil {
		return nil, fmt.Errorf("prepare root: %w", err)
	}
	if err := dir.Mkdir(fetch.Blobs, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make blob store: %w", err)
	}
	return openBlobs(root + "/" + fetch.Blobs)
}

func openBlobs(path string) (*Blobs, error) {
	dir, err := durable.Open(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	b := &Blobs{dir, store.New(dir)}
	if err := dir.Prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare blob store: %w", err), dir.Close())
	}
	return b, nil
}

// Close releases the store.
func (b *Blobs) Close() error { return b.dir.Close() }

// Has says whether a blob is there, whole.
func (b *Blobs) Has(d artifact.Digest) bool {
	f, err := b.store.Open(d)
	if err != nil {
		return false
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false
	}
	return artifact.Digest(h.Sum(nil)) == d
}

// Put stores what write produces, or nothing when write fails, also in the place of a copy that may be damaged. What a killed
// process left half done is removed first, if nobody else is storing anything.
func (b *Blobs) Put(ctx context.Context, write func(io.Writer) error) (artifact.Digest, int64, error) {
	if unlock, err := b.dir.Lock(); err == nil {
		_, err := b.dir.Recover()
		unlock()
		if err != nil {
			return artifact.Digest{}, 0, fmt.Errorf("clean blob store: %w", err)
		}
	}
	unlock, err := b.dir.ShareLock()
	if err != nil {
		return artifact.Digest{}, 0, fmt.Errorf("lock blob store: %w", err)
	}
	defer unlock()
	return b.store.Replace(ctx, write)
}

// AddBlob puts what r holds into the blob store of a root, which is made if it is not there, also in the place of a copy that
// may be damaged.
func AddBlob(ctx context.Context, root string, r io.Reader) (d artifact.Digest, size int64, err error) {
	blobs, err := OpenBlobs(root)
	if err != nil {
		return d, 0, err
	}
	defer blobs.Close() // every write reports its own error
	return blobs.Put(ctx, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}
