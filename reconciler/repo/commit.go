package repo

import (
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Commit is the commit of an id of 40 hex digits.
func (r *Repo) Commit(id string) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !plumbing.IsHash(id) {
		return Commit{}, fmt.Errorf("malformed commit id %q", id)
	}
	if err := r.ready(); err != nil {
		return Commit{}, err
	}
	c, err := r.git.CommitObject(plumbing.NewHash(id))
	if err != nil {
		return Commit{}, fmt.Errorf("read commit %s: %w", id, err)
	}
	return describe(c), nil
}

// describe is what people want to know of a commit.
func describe(c *object.Commit) Commit {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return Commit{ID: c.Hash.String(), Tree: c.TreeHash.String(), Author: c.Author.String(), Time: c.Committer.When, Subject: subject}
}
