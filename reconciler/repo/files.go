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

// Files lists a commit's files. It reads trees and sizes only, no content.
func (r *Repo) Files(ctx context.Context, c Commit) (*Files, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fs := &Files{repo: r}
	w := walk{ctx: ctx, files: fs, trees: map[plumbing.Hash][]object.TreeEntry{}}
	err := w.folder(plumbing.NewHash(c.Tree), "")
	if err == nil {
		err = fs.measure(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("list files of commit %s: %w", c.ID, err)
	}
	fs.files = fs.files.Sorted()
	return fs, nil
}

// walk is one walk through a commit. Each entry is counted, folders too, and each tree is read once: a few small trees
// that name one another many times make any number of paths.
type walk struct {
	ctx   context.Context
	files *Files
	trees map[plumbing.Hash][]object.TreeEntry
}

func (w *walk) folder(id plumbing.Hash, prefix string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, known := w.trees[id]
	if !known {
		var err error
		if entries, err = w.files.repo.tree(id); err != nil {
			return fmt.Errorf("read folder %q: %w", prefix, err)
		}
		w.trees[id] = entries
	}
	for _, e := range entries {
		if err := w.entry(e, prefix+e.Name); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(e object.TreeEntry, path string) error {
	if err := w.files.enter(path); err != nil {
		return err
	}
	if e.Mode == filemode.Dir {
		return w.folder(e.Hash, path+"/")
	}
	w.files.files = append(w.files.files, artifact.File{Path: path, ID: e.Hash.String(), Mode: modeOf(e.Mode)})
	return nil
}

func modeOf(m filemode.FileMode) artifact.Mode {
	switch m {
	case filemode.Executable:
		return artifact.Executable
	case filemode.Symlink:
		return artifact.Link
	case filemode.Submodule:
		return artifact.Module
	}
	return artifact.Regular
}

// measure reads the sizes of all files from the objects' headers.
func (s *Files) measure(ctx context.Context) error {
	for i := range s.files {
		f := &s.files[i]
		if f.Mode == artifact.Module {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := s.repo.git.Storer.EncodedObjectSize(plumbing.NewHash(f.ID))
		if err != nil {
			return fmt.Errorf("read size of %q: %w", f.Path, err)
		}
		f.Size = size
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
		if strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("malformed name %.80q: a slash in it", e.Name)
		}
		if seen[e.Name] {
			return nil, fmt.Errorf("name %q is there twice", e.Name)
		}
		seen[e.Name] = true
	}
	return t.Entries, nil
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
