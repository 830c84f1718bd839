package build

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// lfsPointer starts a file that Git LFS keeps elsewhere; such a file has less than 1024 bytes (git-lfs, docs/spec.md).
const (
	lfsPointer     = "version https://git-lfs"
	lfsPointerSize = 1024
)

// plainFile says why f is not the bytes that it stands for.
func plainFile(ctx context.Context, src artifact.Source, f artifact.File) (*Finding, error) {
	if reason := notAFile(f); reason != nil || f.Size >= lfsPointerSize || f.Size < int64(len(lfsPointer)) {
		return reason, nil
	}
	b, err := content(ctx, src, f)
	if err != nil || !bytes.HasPrefix(b, []byte(lfsPointer)) {
		return nil, err
	}
	return &Finding{Text: "is a Git LFS pointer, not the file itself", Advice: "add the file to git itself, or take it out of the payload"}, nil
}

// notAFile says what f is when it has no content of its own.
func notAFile(f artifact.File) *Finding {
	switch f.Mode {
	case artifact.Module:
		return &Finding{Text: "is a submodule", Advice: "add its files to this repository"}
	case artifact.Link:
		return &Finding{Text: "is a symbolic link", Advice: "name the file itself"}
	}
	return nil
}

// content is all of a small file: a link's target or a pointer. What is longer is cut off behind the longest path.
func content(ctx context.Context, src artifact.Source, f artifact.File) (b []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = reading(src, f, func(r io.Reader) error {
		b, err = io.ReadAll(io.LimitReader(r, maxPath+1))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return b, nil
}
