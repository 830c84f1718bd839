package repo

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Text is a file of a commit, if it has no more than so many bytes. The commit is an id of 40 hex digits.
func (r *Repo) Text(commit, name string, most int64) ([]byte, error) {
	c, err := r.Commit(commit)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	id, err := r.blobOf(c, name)
	if err == nil && id.IsZero() {
		err = errors.New("no such file")
	}
	var blob *object.Blob
	if err == nil {
		blob, err = object.GetBlob(r.git.Storer, id)
	}
	if err == nil && blob.Size > most {
		err = fmt.Errorf("it has %d bytes, which is more than %d", blob.Size, most)
	}
	if err != nil {
		return nil, fmt.Errorf("read %q of commit %.12s: %w", name, commit, err)
	}
	content, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %q of commit %.12s: %w", name, commit, err)
	}
	b, err := io.ReadAll(verified(content, plumbing.BlobObject, blob.Size, id))
	return b, errors.Join(err, content.Close())
}
