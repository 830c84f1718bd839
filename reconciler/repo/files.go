package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Files are the files of one commit with their content; it is an artifact.Source.
type Files struct {
	repo *Repo
	listing
}

// Files lists a commit's files. It reads trees only, no content. Each entry is counted, folders too: a few small trees
// that name one another many times make any number of paths.
func (r *Repo) Files(ctx context.Context, c Commit) (*Files, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fs := &Files{repo: r}
	if err := fs.walk(ctx, plumbing.NewHash(c.Tree), ""); err != nil {
		return nil, fmt.Errorf("list files of commit %s: %w", c.ID, err)
	}
	fs.files = fs.files.Sorted()
	return fs, nil
}

func (s *Files) walk(ctx context.Context, id plumbing.Hash, prefix string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.repo.tree(id)
	if err != nil {
		return fmt.Errorf("read folder %q: %w", prefix, err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name, "/") {
			return fmt.Errorf("malformed name %q: a slash in it", prefix+e.Name)
		}
		path := prefix + e.Name
		if err := s.enter(path); err != nil {
			return err
		}
		if e.Mode == filemode.Dir {
			err = s.walk(ctx, e.Hash, path+"/")
		} else {
			err = s.add(path, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tree are the entries of one folder. A name that stands there twice is refused: of such a tree every reader makes
// something else.
func (r *Repo) tree(id plumbing.Hash) ([]object.TreeEntry, error) {
	o, err := r.object(plumbing.TreeObject, id, maxTree)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeTree(r.git.Storer, o)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(t.Entries))
	for _, e := range t.Entries {
		if seen[e.Name] {
			return nil, fmt.Errorf("name %q is there twice", e.Name)
		}
		seen[e.Name] = true
	}
	return t.Entries, nil
}

func (s *Files) add(path string, e object.TreeEntry) error {
	f := artifact.File{Path: path, ID: e.Hash.String()}
	switch e.Mode {
	case filemode.Executable:
		f.Mode = artifact.Executable
	case filemode.Symlink:
		f.Mode = artifact.Link
	case filemode.Submodule:
		f.Mode = artifact.Module
	default:
		f.Mode = artifact.Regular
	}
	if f.Mode != artifact.Module {
		size, err := s.repo.git.Storer.EncodedObjectSize(e.Hash)
		if err != nil {
			return fmt.Errorf("read size of %q: %w", path, err)
		}
		f.Size = size
	}
	s.files = append(s.files, f)
	return nil
}

// Files lists them by path.
func (s *Files) Files() artifact.Files { return s.files }

// Open reads one file's content; the last read fails if that is not what the commit names. A large file is streamed
// through a handle of its own, because go-git's storage must not be read from two goroutines at once.
func (s *Files) Open(f artifact.File) (io.ReadCloser, error) {
	if f.Size > largeObject {
		own, _, err := s.repo.handle()
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", f.Path, err)
		}
		return open(own, f)
	}
	s.repo.mu.Lock()
	defer s.repo.mu.Unlock()
	r, err := open(s.repo.git, f)
	if err != nil {
		return nil, err
	}
	defer r.Close() // read whole or reported below
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func open(r *git.Repository, f artifact.File) (io.ReadCloser, error) {
	id := plumbing.NewHash(f.ID)
	blob, err := r.BlobObject(id)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	content, err := blob.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{verified(content, plumbing.BlobObject, f.Size, id), content}, nil
}

// hashing passes an object's content on and compares its hash at the end.
type hashing struct {
	from io.Reader
	hash plumbing.Hasher
	left int64
	want plumbing.Hash
}

func verified(content io.Reader, kind plumbing.ObjectType, size int64, id plumbing.Hash) io.Reader {
	return &hashing{content, plumbing.NewHasher(kind, size), size, id}
}

// errDamaged says that the repository does not hold what it should: fetching or cloning it anew helps.
var errDamaged = errors.New("the repository is damaged: content and id do not agree; see git fsck")

// Read implements io.Reader.
func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.from.Read(p)
	h.left -= int64(n)
	if _, err := h.hash.Write(p[:n]); err != nil {
		return n, err
	}
	if h.left < 0 || err == io.EOF && h.hash.Sum() != h.want {
		return n, errDamaged
	}
	return n, err
}
