package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// mergeCommits merges a head into a base and keeps the result as a commit that is the same wherever it is made. The history
// is that of the head back to what the base descends from.
func (r *Repo) mergeCommits(ctx context.Context, base, head plumbing.Hash, h history) (Commit, error) {
	from, err := r.mergeBase(ctx, h)
	if err != nil {
		return Commit{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var trees [3]plumbing.Hash
	var last *object.Commit
	for i, id := range []plumbing.Hash{from, base, head} {
		o, err := readObject(r.git.Storer, plumbing.CommitObject, id, maxCommit)
		if err != nil {
			return Commit{}, asIncomplete(ctx, err)
		}
		if last, err = r.decodeCommit(o); err != nil {
			return Commit{}, malformed("commit anew", "%v", err)
		}
		trees[i] = last.TreeHash
	}
	m := merging{ctx: ctx, repo: r}
	tree, err := m.trees(trees[0], trees[1], trees[2], "")
	if err != nil {
		return Commit{}, asIncomplete(ctx, err)
	}
	if len(m.both) > 0 {
		slices.Sort(m.both)
		return Commit{}, &NeedsRebase{m.both}
	}
	who := object.Signature{Name: "Pomona", Email: "pomona@localhost", When: last.Committer.When.UTC()}
	c := &object.Commit{Author: who, Committer: who, Message: fmt.Sprintf("Merge %s into %s\n", head, base), TreeHash: tree, ParentHashes: []plumbing.Hash{base, head}}
	if c.Hash, err = r.keep(c); err != nil {
		return Commit{}, err
	}
	return describe(c), nil
}

// mergeBase is the one commit from which the head parts from the base.
func (r *Repo) mergeBase(ctx context.Context, h history) (plumbing.Hash, error) {
	best, past := maps.Clone(h.reached), commitSet{}
	for id := range h.reached {
		older, err := r.walkBack(ctx, id, past) // each commit once, however many a head has merged
		if err != nil {
			return id, asIncomplete(ctx, err)
		}
		for _, fresh := range older.fresh {
			past[fresh], older.reached[fresh] = struct{}{}, struct{}{}
		}
		delete(older.reached, id)
		for ancestor := range older.reached {
			delete(best, ancestor)
		}
	}
	for id := range best {
		if len(best) == 1 {
			return id, nil
		}
	}
	return plumbing.ZeroHash, &NeedsRebase{}
}

// merging is one merge. It counts what it looks at, as a listing does: identical folders are taken as they are.
type merging struct {
	listing
	ctx  context.Context
	repo *Repo
	both []string // paths that both sides have changed
}

// trees merges two folders that come from a third; any of them may be zero, which is an empty one.
func (m *merging) trees(from, base, head plumbing.Hash, prefix string) (plumbing.Hash, error) {
	if err := m.ctx.Err(); err != nil {
		return plumbing.ZeroHash, err
	}
	var sides [3]map[string]object.TreeEntry
	names := map[string]bool{}
	for i, id := range []plumbing.Hash{from, base, head} {
		var err error
		if sides[i], err = m.entries(id); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("read folder %q: %w", prefix, err)
		}
		for name := range sides[i] {
			names[name] = true
		}
	}
	out := &object.Tree{}
	for name := range names {
		path := prefix + name
		if err := m.enter(path); err != nil {
			return plumbing.ZeroHash, err
		}
		e, err := m.entry(sides[0][name], sides[1][name], sides[2][name], path)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if !e.Hash.IsZero() {
			e.Name = name
			out.Entries = append(out.Entries, e)
		}
	}
	if len(out.Entries) == 0 && prefix != "" {
		return plumbing.ZeroHash, nil // git has no empty folders
	}
	sort.Sort(object.TreeEntrySorter(out.Entries))
	return m.repo.keep(out)
}

// entry is what becomes of one name: whatever side has changed it wins; a folder that both have changed is looked into.
func (m *merging) entry(from, base, head object.TreeEntry, path string) (object.TreeEntry, error) {
	same := func(a, b object.TreeEntry) bool { return a.Hash == b.Hash && a.Mode == b.Mode }
	switch {
	case same(base, head), same(from, head):
		return base, nil
	case same(from, base):
		return head, nil
	case base.Mode != filemode.Dir || head.Mode != filemode.Dir:
		m.both = append(m.both, path)
		return base, nil
	}
	if from.Mode != filemode.Dir {
		from.Hash = plumbing.ZeroHash
	}
	id, err := m.trees(from.Hash, base.Hash, head.Hash, path+"/")
	return object.TreeEntry{Mode: filemode.Dir, Hash: id}, err
}

func (m *merging) entries(id plumbing.Hash) (map[string]object.TreeEntry, error) {
	if id.IsZero() {
		return nil, nil
	}
	all, err := readTree(m.repo.git.Storer, id)
	byName := make(map[string]object.TreeEntry, len(all))
	for _, e := range all {
		byName[e.Name] = e
	}
	return byName, err
}

// keep writes an object, unless it is there.
func (r *Repo) keep(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	made := r.storage.NewEncodedObject()
	if err := o.Encode(made); err != nil {
		return plumbing.ZeroHash, err
	}
	if r.storage.HasEncodedObject(made.Hash()) == nil {
		return made.Hash(), nil
	}
	return r.storage.SetEncodedObject(made)
}
