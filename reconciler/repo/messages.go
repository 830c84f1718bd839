package repo

import (
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxMessages is how far Messages goes back.
const maxMessages = 1000

// Messages are the messages of the commits on a branch after since, newest first, and of the heads that were merged into it.
// If since is not one of the branch's own last thousand commits, only the newest message counts: nobody knows then which
// of the others are about what is published.
func (r *Repo) Messages(id, since string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	var out []string
	at := plumbing.NewHash(id)
	for range maxMessages {
		if at.String() == since {
			return out, nil
		}
		c, err := r.smallCommit(at)
		if (errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, errLarge)) && len(out) > 0 {
			break // a shallow clone ends here, and so does what is worth reading
		}
		if err != nil {
			return nil, fmt.Errorf("read message of commit %s: %w", at, err)
		}
		out = append(out, r.messages(c)...)
		if c.NumParents() == 0 {
			break
		}
		at = c.ParentHashes[0]
	}
	return out[:1], nil
}

// messages are a commit's own and those of the heads that it merges.
func (r *Repo) messages(c *object.Commit) []string {
	out := []string{c.Message}
	for _, id := range c.ParentHashes[min(1, len(c.ParentHashes)):] {
		if merged, err := r.smallCommit(id); err == nil {
			out = append(out, merged.Message)
		}
	}
	return out
}

// errLarge says that a commit is larger than any that somebody wrote.
var errLarge = fmt.Errorf("it has more than %d bytes", maxCommit)

func (r *Repo) smallCommit(id plumbing.Hash) (*object.Commit, error) {
	size, err := r.git.Storer.EncodedObjectSize(id)
	if err == nil && size > maxCommit {
		err = errLarge
	}
	if err != nil {
		return nil, err
	}
	return r.git.CommitObject(id)
}
