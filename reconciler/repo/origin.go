package repo

import (
	"context"
	"fmt"
	"math/bits"
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
	s := newSayings(c, words)
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

// sayings remember of which lists files and folders have all words.
type sayings struct {
	*Changes
	words [][]string
	ends  map[[endBytes]byte][]int // lists by the end of their first word, by which few are alike
	short []int                    // lists whose first word is shorter
	blobs map[plumbing.Hash]lists
	trees map[plumbing.Hash]lists
	read  map[plumbing.Hash]*object.Tree
}

const endBytes = 8

func newSayings(c *Changes, words [][]string) *sayings {
	s := &sayings{Changes: c, words: words, ends: map[[endBytes]byte][]int{}, blobs: map[plumbing.Hash]lists{}, trees: map[plumbing.Hash]lists{},
		read: map[plumbing.Hash]*object.Tree{}}
	for i, list := range words {
		if len(list) == 0 || len(list[0]) < endBytes {
			s.short = append(s.short, i)
			continue
		}
		end := [endBytes]byte([]byte(list[0][len(list[0])-endBytes:]))
		s.ends[end] = append(s.ends[end], i)
	}
	return s
}

// lists are some of the lists of words, by a bit each. None has no bits at all.
type lists []uint64

func (l *lists) set(i int) {
	for len(*l) <= i/64 {
		*l = append(*l, 0)
	}
	(*l)[i/64] |= 1 << (i % 64)
}

func (l *lists) join(o lists) {
	for len(*l) < len(o) {
		*l = append(*l, 0)
	}
	for i, word := range o {
		(*l)[i] |= word
	}
}

// meet leaves what others have too.
func (l lists) meet(o lists) {
	for i := range l {
		if i < len(o) {
			l[i] &= o[i]
		} else {
			l[i] = 0
		}
	}
}

func (l lists) has(i int) bool { return i/64 < len(l) && l[i/64]&(1<<(i%64)) != 0 }

// all are the numbers of lists.
func (l lists) all(yield func(int) bool) {
	for i, word := range l {
		for ; word != 0; word &= word - 1 {
			if !yield(i*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
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
	differ := slices.Clone(now)
	for _, p := range parents {
		var here lists
		if err := s.changed(at.TreeHash, p.TreeHash, &here); err != nil {
			return err
		}
		differ.meet(here)
	}
	for i := range differ.all {
		own, err := s.of(nil, "", at.TreeHash, i)
		if err != nil {
			return err
		}
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

// changed adds the lists of which other files have all words in one folder than in another, or the same otherwise.
func (s *sayings) changed(now, was plumbing.Hash, differ *lists) error {
	if now == was {
		return nil
	}
	has, err := s.tree(now)
	if err != nil {
		return err
	}
	had, err := s.tree(was)
	if err != nil || len(has) == 0 && len(had) == 0 {
		return err
	}
	before := map[string]object.TreeEntry{}
	old, err := s.folder(was)
	if err != nil {
		return err
	}
	for _, e := range old.Entries {
		before[e.Name] = e
	}
	fresh, err := s.folder(now)
	if err != nil {
		return err
	}
	for _, e := range fresh.Entries {
		o, ok := before[e.Name]
		delete(before, e.Name)
		switch {
		case ok && o.Hash == e.Hash && o.Mode == e.Mode:
			continue
		case ok && o.Mode == filemode.Dir && e.Mode == filemode.Dir:
			err = s.changed(e.Hash, o.Hash, differ)
		case ok && o.Hash == e.Hash && o.Mode.IsFile() && e.Mode.IsFile(): // it may be run now, and says the same
		default:
			if err = s.add(e, differ); err == nil && ok {
				err = s.add(o, differ)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, o := range before {
		if err := s.add(o, differ); err != nil {
			return err
		}
	}
	return nil
}

// add adds the lists of which something in a folder has all words.
func (s *sayings) add(e object.TreeEntry, to *lists) error {
	has, err := s.entryLists(e)
	to.join(has)
	return err
}

// entryLists are the lists of which something in a folder has all words.
func (s *sayings) entryLists(e object.TreeEntry) (lists, error) {
	switch {
	case e.Mode == filemode.Dir:
		return s.tree(e.Hash)
	case e.Mode.IsFile() && strings.HasSuffix(e.Name, ".cue"):
		return s.blob(e.Hash)
	}
	return nil, nil
}

// spoken is a file that has all words of a list.
type spoken struct {
	path string
	id   plumbing.Hash
}

// of adds the files in a folder with all words of one list.
func (s *sayings) of(files []spoken, at string, folder plumbing.Hash, list int) ([]spoken, error) {
	t, err := s.folder(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range t.Entries {
		has, err := s.entryLists(e)
		switch {
		case err != nil:
			return nil, err
		case !has.has(list):
		case e.Mode == filemode.Dir:
			if files, err = s.of(files, at+e.Name+"/", e.Hash, list); err != nil {
				return nil, err
			}
		default:
			files = append(files, spoken{at + e.Name, e.Hash})
		}
	}
	return files, nil
}

// adds says whether one of some files has each word in a line that it has in no parent.
func (s *sayings) adds(files []spoken, parents []*object.Commit, words int) (bool, error) {
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

// maxRead is how many folders are remembered: those of a commit and of those before it.
const maxRead = 256

// folder reads a folder.
func (s *sayings) folder(id plumbing.Hash) (*object.Tree, error) {
	if t, ok := s.read[id]; ok {
		return t, nil
	}
	t, err := object.GetTree(s.git.Storer, id)
	if err != nil {
		return nil, fmt.Errorf("read folder %s: %w", id, err)
	}
	if len(s.read) == maxRead {
		clear(s.read)
	}
	s.read[id] = t
	return t, nil
}

// tree are the lists of which files in a folder have all words, each folder looked at once.
func (s *sayings) tree(id plumbing.Hash) (lists, error) {
	if found, ok := s.trees[id]; ok {
		return found, nil
	}
	t, err := s.folder(id)
	if err != nil {
		return nil, err
	}
	var all lists
	for _, e := range t.Entries {
		if err := s.add(e, &all); err != nil {
			return nil, err
		}
	}
	s.trees[id] = all
	return all, nil
}

// blob are the lists of which a file has all words.
func (s *sayings) blob(id plumbing.Hash) (has lists, err error) {
	if has, ok := s.blobs[id]; ok {
		return has, nil
	}
	text, err := (&blame{Changes: s.Changes}).text(id)
	if err != nil {
		return nil, err
	}
	whole := func(i int) {
		if !slices.ContainsFunc(s.words[i], func(word string) bool { return !strings.Contains(text, word) }) {
			has.set(i)
		}
	}
	for _, i := range s.short {
		whole(i)
	}
	if len(s.ends) > 0 {
		for at := 0; at+endBytes <= len(text); at++ {
			for _, i := range s.ends[[endBytes]byte([]byte(text[at:at+endBytes]))] {
				if !has.has(i) {
					whole(i)
				}
			}
		}
	}
	s.blobs[id] = has
	return has, nil
}
