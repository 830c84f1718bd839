package repo

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Reaches says whether a commit is another one or lies in its past.
func (r *Repo) Reaches(from, to string) (bool, error) {
	if from == to {
		return true, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(); err != nil {
		return false, err
	}
	start, err := r.peel(plumbing.NewHash(from))
	if err != nil {
		return false, fmt.Errorf("read commit %s: %w", from, err)
	}
	target := plumbing.NewHash(to)
	seen, next := map[plumbing.Hash]bool{}, []*object.Commit{start}
	for len(next) > 0 && len(seen) < maxSteps {
		c := next[len(next)-1]
		next = next[:len(next)-1]
		for _, id := range c.ParentHashes {
			if id == target {
				return true, nil
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			parent, err := r.peel(id)
			if err != nil {
				return false, fmt.Errorf("read commit %s: %w", id, err)
			}
			next = append(next, parent)
		}
	}
	return false, nil
}

// Parents are the commits that a commit came of. A clone that does not have them all knows none.
func (r *Repo) Parents(id string) (parents []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(); err != nil {
		return nil, err
	}
	c, err := r.peel(plumbing.NewHash(id))
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	for _, h := range c.ParentHashes {
		if _, err := r.peel(h); err != nil {
			return nil, fmt.Errorf("read parent of commit %.12s: %w", id, err)
		}
		parents = append(parents, h.String())
	}
	return parents, nil
}
