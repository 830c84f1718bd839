package repo

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// Limits of a site repository's commit. A real site stays far below; what exceeds them is a mistake or an attack.
const (
	maxFiles = 1_000_000
	maxDepth = 64
	maxPath  = 4096 // bytes
)

// Files are the files of one commit with their content; it is an artifact.Source.
type Files struct {
	repo  *Repo
	files artifact.Files
}

// Files lists a commit's files. It reads trees only, no content, and only those that it has not read lately.
func (r *Repo) Files(c Commit) (*Files, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := walk{Files: &Files{repo: r}, past: &r.past, sizes: r.git.Storer}
	if len(r.past.folders) == 0 {
		many := r.manySizes()
		defer many.Close() // only read
		w.sizes = many
	}
	r.past.pass++
	if err := w.folder(place{tree: plumbing.NewHash(c.Tree)}, 0); err != nil {
		return nil, fmt.Errorf("list files of commit %s: %w", c.ID, err)
	}
	r.past.sweep()
	w.files = w.files.Sorted()
	return w.Files, nil
}

// walk is one walk through a commit.
type walk struct {
	*Files
	past  *remembered
	sizes sizes
}

func (w *walk) folder(at place, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q lies deeper than %d folders", at.prefix, maxDepth)
	}
	f, ok := w.past.get(at)
	if !ok {
		entries, err := w.read(at)
		if err != nil {
			return err
		}
		f = w.past.put(at, entries)
	}
	for _, e := range f.entries {
		if e.below != (place{}) {
			if err := w.folder(e.below, depth+1); err != nil {
				return err
			}
			continue
		}
		if w.files = append(w.files, e.file); len(w.files) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
	}
	return nil
}

// read lists what lies directly in a folder.
func (w *walk) read(at place) (entries []entry, err error) {
	t, err := object.GetTree(w.repo.git.Storer, at.tree)
	if err != nil {
		return nil, fmt.Errorf("read folder %q: %w", at.prefix, err)
	}
	for _, e := range t.Entries {
		path := at.prefix + e.Name
		if err := checkEntry(e.Name, path); err != nil {
			return nil, err
		}
		if e.Mode == filemode.Dir {
			entries = append(entries, entry{below: place{e.Hash, path + "/"}})
			continue
		}
		f, err := w.file(path, e)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{file: f})
	}
	return entries, nil
}

// checkEntry refuses names that git itself would never write, but that a crafted tree may hold.
func checkEntry(name, path string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.EqualFold(name, ".git"), strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("malformed name %q", path)
	case len(path) > maxPath:
		return fmt.Errorf("name of %d bytes: %q…", len(path), path[:80])
	}
	return nil
}

func (w *walk) file(path string, e object.TreeEntry) (artifact.File, error) {
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
	if f.Mode == artifact.Module {
		return f, nil
	}
	size, err := w.sizes.EncodedObjectSize(e.Hash)
	if err != nil {
		return f, fmt.Errorf("read size of %q: %w", path, err)
	}
	f.Size = size
	return f, nil
}

// Files lists them by path.
func (s *Files) Files() artifact.Files { return s.files }

// Open reads one file's content. A large one is streamed through a handle of its own, because go-git's storage must
// not be read from two goroutines at once.
func (s *Files) Open(f artifact.File) (io.ReadCloser, error) {
	if f.Size > largeObject {
		own, err := s.repo.handle()
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
	blob, err := r.BlobObject(plumbing.NewHash(f.ID))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return blob.Reader()
}
