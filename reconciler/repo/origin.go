package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Saying is a commit whose CUE files have some words in one file, otherwise than each of its parents.
type Saying struct {
	Commit  string
	Parents []string
	Adds    bool // each word is in a line that no parent has in that file
}

// Sayings are the commits, up to where the search starts, that changed files with all words of a list, by the index of the list, ancestors first.
// Merges are followed to all their parents.
func (c *Changes) Sayings(ctx context.Context, words [][]string) ([][]Saying, error) {
	s := sayings{Changes: c, words: words, blobs: map[plumbing.Hash][]bool{}, trees: map[plumbing.Hash][]wording{}}
	all, err := c.ancestorsFirst(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for records: %w", err)
	}
	out := make([][]Saying, len(words))
	for _, at := range all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.look(at, out); err != nil {
			return nil, fmt.Errorf("look for records: %w", err)
		}
	}
	return out, nil
}

// ancestorsFirst is all history, in an order in which no commit follows one that came of it.
func (c *Changes) ancestorsFirst(ctx context.Context) (all []*object.Commit, err error) {
	type step struct {
		at      *object.Commit
		parents []*object.Commit
	}
	seen, stack := map[plumbing.Hash]bool{c.start.Hash: true}, []step{}
	push := func(at *object.Commit) error {
		parents, err := c.parents(at)
		stack = append(stack, step{at, parents})
		return err
	}
	if err := push(c.start); err != nil {
		return nil, err
	}
	for len(stack) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		top := &stack[len(stack)-1]
		if len(top.parents) == 0 {
			all, stack = append(all, top.at), stack[:len(stack)-1]
			continue
		}
		p := top.parents[0]
		top.parents = top.parents[1:]
		if seen[p.Hash] {
			continue
		}
		if seen[p.Hash] = true; len(seen) > maxVisits {
			return nil, fmt.Errorf("not within %d commits", maxVisits)
		}
		if err := push(p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// wording is a file that has all words of a list.
type wording struct {
	words int
	path  string
	id    plumbing.Hash
}

// sayings remember what files and folders have.
type sayings struct {
	*Changes
	words [][]string
	blobs map[plumbing.Hash][]bool
	trees map[plumbing.Hash][]wording
}

func (s *sayings) look(at *object.Commit, out [][]Saying) error {
	now, err := s.tree(at.TreeHash)
	if err != nil || len(now) == 0 {
		return err
	}
	parents, err := s.parents(at)
	if err != nil {
		return err
	}
	differ := changed(now, nil)
	for _, p := range parents {
		was, err := s.tree(p.TreeHash)
		if err != nil {
			return err
		}
		here := changed(now, was)
		maps.DeleteFunc(differ, func(words int, _ bool) bool { return !here[words] })
	}
	for i := range differ {
		own := of(now, i)
		say := Saying{Commit: at.Hash.String()}
		for _, h := range at.ParentHashes {
			say.Parents = append(say.Parents, h.String())
		}
		if say.Adds, err = s.adds(own, parents, i); err != nil {
			return err
		}
		out[i] = append(out[i], say)
	}
	return nil
}

// changed are the lists of words of which other files have all than before, or the same otherwise.
func changed(now, was []wording) map[int]bool {
	for len(now) > 0 && len(was) > 0 && now[0] == was[0] {
		now, was = now[1:], was[1:]
	}
	for len(now) > 0 && len(was) > 0 && now[len(now)-1] == was[len(was)-1] {
		now, was = now[:len(now)-1], was[:len(was)-1]
	}
	lists, before := map[int]bool{}, map[wording]bool{}
	for _, w := range was {
		before[w] = true
	}
	for _, w := range now {
		if !before[w] {
			lists[w.words] = true
		}
		delete(before, w)
	}
	for w := range before {
		lists[w.words] = true
	}
	return lists
}

// of are the files with the words of one list.
func of(all []wording, words int) (own []wording) {
	for _, w := range all {
		if w.words == words {
			own = append(own, w)
		}
	}
	return own
}

// adds says whether one of some files has each word in a line that it has in no parent.
func (s *sayings) adds(files []wording, parents []*object.Commit, words int) (bool, error) {
	b := blame{Changes: s.Changes}
	for _, f := range files {
		now, err := b.text(f.id)
		if err != nil {
			return false, err
		}
		before := map[string]bool{}
		for _, p := range parents {
			id, err := s.entry(p.TreeHash, f.path)
			if err != nil {
				return false, err
			}
			if id.IsZero() {
				continue
			}
			text, err := b.text(id)
			if err != nil {
				return false, err
			}
			for line := range strings.Lines(text) {
				before[strings.TrimSpace(line)] = true
			}
		}
		lacks := slices.Clone(s.words[words])
		for line := range strings.Lines(now) {
			if !before[strings.TrimSpace(line)] {
				lacks = slices.DeleteFunc(lacks, func(word string) bool { return strings.Contains(line, word) })
			}
		}
		if len(lacks) == 0 {
			return true, nil
		}
	}
	return false, nil
}

// tree are the files with words in a folder, each folder looked at once.
func (s *sayings) tree(id plumbing.Hash) ([]wording, error) {
	if found, ok := s.trees[id]; ok {
		return found, nil
	}
	t, err := object.GetTree(s.git.Storer, id)
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", id, err)
	}
	var all []wording
	for _, e := range t.Entries {
		switch {
		case e.Mode == filemode.Dir:
			below, err := s.tree(e.Hash)
			if err != nil {
				return nil, err
			}
			for _, w := range below {
				all = append(all, wording{w.words, e.Name + "/" + w.path, w.id})
			}
		case e.Mode.IsFile() && strings.HasSuffix(e.Name, ".cue"):
			has, err := s.blob(e.Hash)
			if err != nil {
				return nil, err
			}
			for i, whole := range has {
				if whole {
					all = append(all, wording{i, e.Name, e.Hash})
				}
			}
		}
	}
	s.trees[id] = all
	return all, nil
}

// blob says which lists of words a file has.
func (s *sayings) blob(id plumbing.Hash) ([]bool, error) {
	if has, ok := s.blobs[id]; ok {
		return has, nil
	}
	text, err := (&blame{Changes: s.Changes}).text(id)
	if err != nil {
		return nil, err
	}
	has := make([]bool, len(s.words))
	for i, words := range s.words {
		has[i] = !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	}
	s.blobs[id] = has
	return has, nil
}
