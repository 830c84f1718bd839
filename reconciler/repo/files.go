package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Files are the files of one commit with their content; it is an artifact.Source.
type Files struct {
	repo *Repo
	listing
}

// Files lists a commit's files. It reads trees and sizes only, no content, and only those that it has not read lately.
func (r *Repo) Files(ctx context.Context, c Commit) (*Files, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	w := walk{ctx: ctx, repo: r, trees: map[plumbing.Hash][]object.TreeEntry{}, fresh: map[place]*folder{}}
	err := w.folder(place{tree: plumbing.NewHash(c.Tree)})
	if err == nil {
		err = w.measure()
	}
	if err != nil {
		if ctx.Err() == nil {
			r.suspect(err)
		}
		return nil, fmt.Errorf("list files of commit %s: %w", c.ID, err)
	}
	r.past.keep(w.fresh, w.used)
	for _, f := range w.used {
		w.files = append(w.files, f.files...)
	}
	w.files = w.files.Sorted()
	return &Files{r, w.listing}, nil
}

// walk is one walk through a commit. Each entry is counted, folders and what is remembered too, and each tree is read
// once: a few small trees that name one another many times make any number of paths. Nothing is remembered of a walk that
// fails.
type walk struct {
	listing
	ctx   context.Context
	repo  *Repo
	trees map[plumbing.Hash][]object.TreeEntry
	fresh map[place]*folder // those not remembered
	used  []*folder
}

func (w *walk) folder(at place) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	f, known := w.repo.past.folders[at]
	var err error
	if known {
		err = w.count(len(f.files) + len(f.below)) // names and depths were checked at this very place
	} else {
		f, err = w.read(at)
		w.fresh[at] = f
	}
	if err != nil {
		return err
	}
	w.used = append(w.used, f)
	for _, below := range f.below {
		if err := w.folder(below); err != nil {
			return err
		}
	}
	return nil
}

// read lists what lies directly in a folder, still without sizes.
func (w *walk) read(at place) (*folder, error) {
	entries, known := w.trees[at.tree]
	if !known {
		var err error
		if entries, err = readTree(w.repo.git.Storer, at.tree); err != nil {
			return nil, fmt.Errorf("read folder %q: %w", at.prefix, err)
		}
		w.trees[at.tree] = entries
	}
	f := &folder{}
	for _, e := range entries {
		path := at.prefix + e.Name
		if err := w.enter(path); err != nil {
			return nil, err
		}
		if e.Mode == filemode.Dir {
			f.below = append(f.below, place{e.Hash, path + "/"})
		} else {
			f.files = append(f.files, artifact.File{Path: path, ID: e.Hash.String(), Mode: modeOf(e.Mode)})
		}
	}
	return f, nil
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

// measure reads the sizes of files that are not remembered from the objects' headers; of a first listing, which is long,
// half of them through a second handle, unless the index of all objects that it holds would be large.
func (w *walk) measure() error {
	fresh := slices.Collect(maps.Values(w.fresh))
	if w.repo.dir == "" || len(w.fresh) < len(w.used) || w.entries > 200_000 {
		return w.measureOf(w.repo.git.Storer, fresh)
	}
	var g errgroup.Group
	g.Go(func() error {
		_, own, err := w.repo.handle()
		if err != nil {
			return err
		}
		defer own.Close() // only read
		return w.measureOf(own, fresh[:len(fresh)/2])
	})
	g.Go(func() error { return w.measureOf(w.repo.git.Storer, fresh[len(fresh)/2:]) })
	return g.Wait()
}

func (w *walk) measureOf(objects storer.EncodedObjectStorer, folders []*folder) error {
	for _, folder := range folders {
		for i := range folder.files {
			f := &folder.files[i]
			if f.Mode == artifact.Module {
				continue
			}
			if err := w.ctx.Err(); err != nil {
				return err
			}
			var err error
			if f.Size, err = objects.EncodedObjectSize(plumbing.NewHash(f.ID)); err != nil {
				return fmt.Errorf("read size of %q: %w", f.Path, err)
			}
		}
	}
	return nil
}

// readTree are the entries of one folder. A name that stands there twice is refused: of such a tree every reader makes
// something else.
func readTree(from storer.EncodedObjectStorer, id plumbing.Hash) ([]object.TreeEntry, error) {
	o, err := readObject(from, plumbing.TreeObject, id, maxTree)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeTree(from, o)
	if errors.Is(err, object.ErrMalformedTree) {
		return nil, malformed("commit the folder anew", "%v", err)
	}
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(t.Entries))
	for _, e := range t.Entries {
		if strings.Contains(e.Name, "/") {
			return nil, malformed("rename it", "malformed name %.80q: a slash in it", e.Name)
		}
		if seen[e.Name] {
			return nil, malformed("remove one", "name %q is there twice", e.Name)
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
	s.repo.mu.Lock() // also while a handle is opened: the repository may be about to be replaced
	defer s.repo.mu.Unlock()
	if err := s.repo.ready(); err != nil {
		return nil, err
	}
	r, err := s.open(f)
	s.repo.suspect(err)
	return r, err
}

func (s *Files) open(f artifact.File) (io.ReadCloser, error) {
	if f.Size > largeObject {
		opened, own, err := s.repo.handle()
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", f.Path, err)
		}
		r, err := open(opened, f)
		if err != nil {
			return nil, errors.Join(err, own.Close())
		}
		return closing{r, own, s.repo}, nil
	}
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

// closing closes what it reads and then the handle that it has of its own.
type closing struct {
	io.ReadCloser
	own  io.Closer
	repo *Repo
}

// Read implements io.Reader.
func (c closing) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != io.EOF {
		c.repo.suspect(err)
	}
	return n, err
}

// Close implements io.Closer.
func (c closing) Close() error { return errors.Join(c.ReadCloser.Close(), c.own.Close()) }

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
