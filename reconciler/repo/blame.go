package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/utils/diff"
)

// Limits of a search through history.
const (
	maxVisits = 200_000         // commits that one search looks at
	maxBlame  = 1 << 20         // bytes of a file whose lines are followed
	diffTime  = 2 * time.Second // for one comparison of two files; what it does not reach counts as changed
)

// Changes finds the commits that changed files and lines last. It follows what stays the same, by ids, from commit to
// parent, through merges to whoever made the change; renames it does not follow. It is for one goroutine, and remembers
// what it has read.
type Changes struct {
	git     *git.Repository
	start   *object.Commit
	commits map[plumbing.Hash]*object.Commit // nil: not there, since the clone is shallow
	entries map[entryKey]plumbing.Hash
	steps   int
}

type entryKey struct {
	tree plumbing.Hash
	name string
}

// Changes looks back from a commit.
func (r *Repo) Changes(from Commit) (*Changes, error) {
	own, _, err := r.handle() // a search may be long, and go-git's storage is for one goroutine
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	c := &Changes{git: own, commits: map[plumbing.Hash]*object.Commit{}, entries: map[entryKey]plumbing.Hash{}}
	if c.start, err = c.commit(plumbing.NewHash(from.ID)); err != nil {
		return nil, err
	}
	if c.start == nil {
		return nil, fmt.Errorf("read commit %s: not there", from.ID)
	}
	return c, nil
}

// Path is the last commit that changed a file or anything in a folder.
func (c *Changes) Path(ctx context.Context, name string) (Commit, error) {
	name = path.Clean(name)
	id, err := c.entry(c.start.TreeHash, name)
	if err != nil {
		return Commit{}, err
	}
	if id.IsZero() {
		return Commit{}, fmt.Errorf("find changes of %q: no such file or folder", name)
	}
	c.steps = 0
	at, _, err := c.oldest(ctx, c.start, name, id)
	if err != nil {
		return Commit{}, fmt.Errorf("find changes of %q: %w", name, err)
	}
	return describe(at), nil
}

// Lines are the last commits that changed some lines of a file, by their numbers, from 1.
func (c *Changes) Lines(ctx context.Context, name string, lines []int) (map[int]Commit, error) {
	b := blame{Changes: c, ctx: ctx, name: path.Clean(name), found: map[int]Commit{}}
	id, err := c.entry(c.start.TreeHash, b.name)
	if err == nil && id.IsZero() {
		err = errors.New("no such file")
	}
	follow := map[int]int{}
	for _, l := range lines {
		follow[l] = l - 1
	}
	c.steps = 0
	if err == nil {
		err = b.back(c.start, id, follow)
	}
	if err != nil {
		return nil, fmt.Errorf("find changes of lines of %q: %w", name, err)
	}
	return b.found, nil
}

// oldest goes back as long as a parent has the same id at name. It also returns that commit's parents.
func (c *Changes) oldest(ctx context.Context, at *object.Commit, name string, id plumbing.Hash) (*object.Commit, []*object.Commit, error) {
	for {
		if c.steps++; c.steps > maxVisits {
			return nil, nil, fmt.Errorf("not within %d commits", maxVisits)
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		parents, err := c.parents(at)
		if err != nil {
			return nil, nil, err
		}
		var same *object.Commit
		for _, p := range parents {
			was, err := c.entry(p.TreeHash, name)
			if err != nil {
				return nil, nil, err
			}
			if was == id {
				same = p
				break
			}
		}
		if same == nil {
			return at, parents, nil
		}
		at = same
	}
}

func (c *Changes) parents(of *object.Commit) (parents []*object.Commit, err error) {
	for _, h := range of.ParentHashes {
		p, err := c.commit(h)
		if err != nil {
			return nil, err
		}
		if p != nil {
			parents = append(parents, p)
		}
	}
	return parents, nil
}

// commit is nil for one that is not there.
func (c *Changes) commit(id plumbing.Hash) (*object.Commit, error) {
	if found, ok := c.commits[id]; ok {
		return found, nil
	}
	found, err := c.git.CommitObject(id)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		found, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", id, err)
	}
	c.commits[id] = found
	return found, nil
}

// entry is the id of what lies at a path of a tree; zero for nothing.
func (c *Changes) entry(tree plumbing.Hash, name string) (plumbing.Hash, error) {
	for part := range strings.SplitSeq(name, "/") {
		next, err := c.child(tree, part)
		if err != nil || next.IsZero() {
			return plumbing.ZeroHash, err
		}
		tree = next
	}
	return tree, nil
}

func (c *Changes) child(tree plumbing.Hash, name string) (plumbing.Hash, error) {
	key := entryKey{tree, name}
	if id, ok := c.entries[key]; ok {
		return id, nil
	}
	t, err := object.GetTree(c.git.Storer, tree)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return plumbing.ZeroHash, nil // a file where another commit has a folder
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read folder %s: %w", tree, err)
	}
	var id plumbing.Hash
	for _, e := range t.Entries {
		if e.Name == name {
			id = e.Hash
			break
		}
	}
	c.entries[key] = id
	return id, nil
}

// blame follows the lines of one file.
type blame struct {
	*Changes
	ctx   context.Context
	name  string
	found map[int]Commit
}

// back follows lines, as line asked for to its index in the file of this id, to the commits that made them.
func (b *blame) back(at *object.Commit, id plumbing.Hash, lines map[int]int) error {
	for len(lines) > 0 {
		changed, parents, err := b.oldest(b.ctx, at, b.name, id)
		if err != nil {
			return err
		}
		now, err := b.text(id)
		if err != nil {
			return err
		}
		type step struct {
			at    *object.Commit
			id    plumbing.Hash
			lines map[int]int
		}
		var steps []step
		for _, p := range parents {
			was, err := b.entry(p.TreeHash, b.name)
			if err != nil {
				return err
			}
			if was.IsZero() {
				continue
			}
			before, err := b.text(was)
			if err != nil {
				return err
			}
			steps = append(steps, step{p, was, take(lines, before, now)})
		}
		for line := range lines {
			b.found[line] = describe(changed)
		}
		if len(steps) == 0 {
			return nil
		}
		for _, s := range steps[1:] {
			if err := b.back(s.at, s.id, s.lines); err != nil {
				return err
			}
		}
		at, id, lines = steps[0].at, steps[0].id, steps[0].lines
	}
	return nil
}

// text is a file's content; empty for one that is too large.
func (b *blame) text(id plumbing.Hash) (string, error) {
	blob, err := b.git.BlobObject(id)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return "", nil // a folder of that name
	}
	if err != nil {
		return "", fmt.Errorf("read file %s: %w", id, err)
	}
	if blob.Size > maxBlame {
		return "", nil
	}
	r, err := blob.Reader()
	if err != nil {
		return "", fmt.Errorf("read file %s: %w", id, err)
	}
	text, err := io.ReadAll(r)
	return string(text), errors.Join(err, r.Close())
}

// take moves the lines that were there before, with their indexes then.
func take(lines map[int]int, before, now string) map[int]int {
	was := unchanged(before, now)
	taken := map[int]int{}
	for line, index := range lines {
		if old, ok := was[index]; ok {
			taken[line] = old
			delete(lines, line)
		}
	}
	return taken
}

// unchanged maps the index of each line that stayed to its index before.
func unchanged(before, now string) map[int]int {
	const equal, insert = 0, 1 // of diffmatchpatch.Operation
	same := map[int]int{}
	i, j := 0, 0
	for _, d := range diff.DoWithTimeout(before, now, diffTime) {
		n := strings.Count(d.Text, "\n")
		if !strings.HasSuffix(d.Text, "\n") && d.Text != "" {
			n++
		}
		switch d.Type {
		case equal:
			for k := range n {
				same[j+k] = i + k
			}
			i, j = i+n, j+n
		case insert:
			j += n
		default:
			i += n
		}
	}
	return same
}
