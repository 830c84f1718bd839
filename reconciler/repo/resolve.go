package repo

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Limits of what a revision may lead through.
const (
	maxTags   = 8       // tags of tags
	maxSteps  = 100_000 // commits back
	maxCommit = 1 << 20 // bytes of a commit or a tag, with its message and its signature
)

// Resolve finds the commit that a revision names: HEAD, a commit id, a branch, a tag, a remote's branch or the beginning
// of an id, in this order, also with ~ and ^. Of a branch and a tag with one name the branch is meant, because that is
// what people push to; refs/tags/NAME names the tag.
func (r *Repo) Resolve(rev string) (Commit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refresh(); err != nil {
		return Commit{}, err
	}
	c, err := r.resolve(rev)
	if errors.Is(err, plumbing.ErrReferenceNotFound) && rev == "HEAD" {
		return Commit{}, errors.New("the repository has no commit yet")
	}
	if err != nil {
		return Commit{}, fmt.Errorf("resolve revision %q: %w", rev, err)
	}
	return describe(c), nil
}

func (r *Repo) resolve(rev string) (*object.Commit, error) {
	name, path := rev, ""
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		name, path = rev[:i], rev[i:]
	}
	id, err := r.named(r.own(name))
	if err != nil {
		return nil, err
	}
	c, err := r.peel(id)
	if err != nil {
		return nil, err
	}
	return r.follow(c, path)
}

// named is the object that a name without ~ and ^ stands for.
func (r *Repo) named(name string) (plumbing.Hash, error) {
	if plumbing.IsHash(name) {
		return plumbing.NewHash(name), nil
	}
	for _, form := range []string{"refs/heads/%s", "refs/tags/%s", "refs/remotes/%s", "refs/remotes/%s/HEAD"} {
		full := fmt.Sprintf(form, name)
		if name == "HEAD" || strings.HasPrefix(name, "refs/") {
			full = name
		}
		ref := plumbing.ReferenceName(full)
		if err := ref.Validate(); err != nil {
			return plumbing.ZeroHash, err
		}
		found, err := r.reference(ref)
		if err == nil || !errors.Is(err, plumbing.ErrReferenceNotFound) {
			return found, err
		}
	}
	return r.abbreviated(name)
}

// reference follows symbolic references, a few of them.
func (r *Repo) reference(name plumbing.ReferenceName) (plumbing.Hash, error) {
	for range maxTags {
		ref, err := r.git.Storer.Reference(name)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if ref.Type() == plumbing.HashReference {
			return ref.Hash(), nil
		}
		name = ref.Target()
	}
	return plumbing.ZeroHash, fmt.Errorf("%s leads in a circle", name)
}

// abbreviated is the one commit or tag whose id begins with some hex digits.
func (r *Repo) abbreviated(prefix string) (found plumbing.Hash, err error) {
	b, err := hex.DecodeString(prefix[:len(prefix)/2*2])
	if err != nil || len(prefix) < 4 || len(prefix) >= 40 {
		return found, plumbing.ErrReferenceNotFound
	}
	ids, err := r.storage.HashesWithPrefix(b)
	if err != nil {
		return found, err
	}
	for _, id := range ids {
		if _, err := r.peel(id); err != nil || !strings.HasPrefix(id.String(), strings.ToLower(prefix)) || id == found {
			continue
		}
		if !found.IsZero() {
			return found, errors.New("several commits begin with this: give more digits")
		}
		found = id
	}
	if found.IsZero() {
		return found, plumbing.ErrReferenceNotFound
	}
	return found, nil
}

// peel is the commit that an object is, or that a tag names, also through a few tags of tags.
func (r *Repo) peel(id plumbing.Hash) (*object.Commit, error) {
	for range maxTags {
		o, err := readObject(r.git.Storer, plumbing.AnyObject, id, maxCommit)
		if err != nil {
			return nil, err
		}
		switch o.Type() {
		case plumbing.CommitObject:
			return r.decodeCommit(o)
		case plumbing.TagObject:
			tag, err := object.DecodeTag(r.git.Storer, o)
			if err != nil {
				return nil, fmt.Errorf("read tag %s: %w", id, err)
			}
			id = tag.Target
		default:
			return nil, fmt.Errorf("%s is a %s, not a commit", id, o.Type())
		}
	}
	return nil, fmt.Errorf("more than %d tags name one another", maxTags)
}

// follow goes from a commit to an ancestor: ~2 is two first parents back, ^2 is the second parent.
func (r *Repo) follow(c *object.Commit, path string) (*object.Commit, error) {
	for path != "" {
		digits := len(path) - 1 - len(strings.TrimLeft(path[1:], "0123456789"))
		n := 1
		if digits > 0 {
			var err error
			if n, err = strconv.Atoi(path[1 : 1+digits]); err != nil || n > maxSteps {
				return nil, fmt.Errorf("%q is too far back", path[:1+digits])
			}
		}
		times, nth := n, 1
		switch path[0] {
		case '^':
			times, nth = min(n, 1), n
		case '~':
		default:
			return nil, fmt.Errorf("unknown suffix %q: only ~ and ^ with a number are known", path)
		}
		for range times {
			if nth > len(c.ParentHashes) {
				return nil, fmt.Errorf("commit %s has no parent %d", c.Hash, nth)
			}
			o, err := readObject(r.git.Storer, plumbing.CommitObject, c.ParentHashes[nth-1], maxCommit)
			if err != nil {
				return nil, err
			}
			if c, err = r.decodeCommit(o); err != nil {
				return nil, err
			}
		}
		path = path[1+digits:]
	}
	return c, nil
}

// readObject reads a commit, a tag or a tree of at most limit bytes. It is hashed, because a damaged pack may well decompress
// to something else.
func readObject(from storer.EncodedObjectStorer, kind plumbing.ObjectType, id plumbing.Hash, limit int64) (plumbing.EncodedObject, error) {
	size, err := from.EncodedObjectSize(id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	if size > limit {
		return nil, fmt.Errorf("read %s: it has %d bytes, more than %d", id, size, limit)
	}
	o, err := from.EncodedObject(kind, id)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	content, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	defer content.Close() // only read
	if _, err := io.Copy(io.Discard, verified(content, o.Type(), o.Size(), id)); err != nil {
		return nil, fmt.Errorf("read %s: %w", id, err)
	}
	return o, nil
}

// decodeCommit refuses commits that git and go-git read differently: of two trees git takes the first and go-git the
// last, and a second signature would sign something else than the first.
func (r *Repo) decodeCommit(o plumbing.EncodedObject) (*object.Commit, error) {
	content, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", o.Hash(), err)
	}
	defer content.Close() // only read
	if err := checkHeaders(content); err != nil {
		return nil, fmt.Errorf("commit %s is malformed: %w", o.Hash(), err)
	}
	c, err := object.DecodeCommit(r.git.Storer, o)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", o.Hash(), err)
	}
	return c, nil
}

// once are the headers of a commit that may stand there only once; must are those without which there is no commit.
var (
	once = map[string]bool{"tree": true, "author": true, "committer": true, "gpgsig": true, "gpgsig-sha256": true, "encoding": true}
	must = []string{"tree", "author", "committer"}
)

func checkHeaders(commit io.Reader) error {
	seen := map[string]bool{}
	lines := bufio.NewScanner(commit)
	lines.Buffer(nil, maxCommit)
	for first := true; lines.Scan() && len(lines.Bytes()) > 0; first = false {
		name, _, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		switch header := string(name); {
		case first && header != "tree":
			return fmt.Errorf("it begins with %.20q, not with its tree", header)
		case once[header] && seen[header]:
			return fmt.Errorf("it has two headers %q", header)
		default:
			seen[header] = true
		}
	}
	for _, header := range must {
		if !seen[header] {
			return fmt.Errorf("it has no header %q", header)
		}
	}
	return lines.Err()
}
