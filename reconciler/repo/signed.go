package repo

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// SignedBy is who signed a commit, of those whose signatures count. An error says why nobody did.
func (r *Repo) SignedBy(id string, signers *Signers) (who string, err error) {
	raw, err := r.raw(id)
	if err == nil {
		who, err = signers.Verify(raw)
	}
	if err != nil {
		return "", fmt.Errorf("read signature of commit %.12s: %w", id, err)
	}
	return who, nil
}

func (r *Repo) raw(id string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	return r.rawCommit(plumbing.NewHash(id))
}
