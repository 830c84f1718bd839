package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

// AddBlob puts what r holds into the blob store of a root, which is made if it is not there, also in the place of a copy that
// may be damaged. It needs no lock: a blob gets its name when it is whole, and no pass removes one.
func AddBlob(ctx context.Context, root string, r io.Reader) (d artifact.Digest, size int64, err error) {
	if err := MakeRoot(root); err != nil {
		return d, 0, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(root, nil)
	if err != nil {
		return d, 0, fmt.Errorf("open root: %w", err)
	}
	defer dir.Close() // every write reports its own error
	if err := dir.Prepare(); err != nil {
		return d, 0, fmt.Errorf("prepare root: %w", err)
	}
	if err := dir.Mkdir(fetch.Blobs, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return d, 0, fmt.Errorf("make blob store: %w", err)
	}
	blobs, err := durable.Open(root+"/"+fetch.Blobs, nil)
	if err != nil {
		return d, 0, fmt.Errorf("open blob store: %w", err)
	}
	defer blobs.Close() // every write reports its own error
	if err := blobs.Prepare(); err != nil {
		return d, 0, fmt.Errorf("prepare blob store: %w", err)
	}
	return store.New(blobs).Replace(ctx, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}
