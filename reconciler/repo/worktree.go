package repo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// WorkTree is a folder on disk as it would be committed now: without what .gitignore leaves out, unless git knows it
// already, and with a repository in it as a submodule. It is an artifact.Source whose files' ids are those that git would
// give them.
type WorkTree struct {
	root *os.Root
	listing
	staged map[string]bool // paths that git knows, and the folders above them
}

// OpenWorkTree lists the folder at dir, whether or not it is a git repository.
func OpenWorkTree(dir string) (*WorkTree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open site: %w", err)
	}
	w := &WorkTree{root: root, staged: staged(dir)}
	if err := w.walk(); err != nil {
		return nil, errors.Join(fmt.Errorf("list site %q: %w", dir, err), root.Close())
	}
	w.files = w.files.Sorted()
	return w, nil
}

// Close releases the folder.
func (w *WorkTree) Close() error { return w.root.Close() }

func (w *WorkTree) walk() error {
	ignored, err := w.patterns(".git/info/exclude", nil, nil)
	if err != nil {
		return err
	}
	return fs.WalkDir(w.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var parts []string
		if path != "." {
			parts = strings.Split(path, "/")
			if e.Name() == ".git" || !w.staged[path] && gitignore.NewMatcher(ignored).Match(parts, e.IsDir()) {
				if e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if err := w.enter(path); err != nil {
				return err
			}
		}
		if !e.IsDir() {
			return w.add(path, e)
		}
		if id, ok := w.module(path); ok {
			w.files = append(w.files, artifact.File{Path: path, ID: id, Mode: artifact.Module})
			return fs.SkipDir
		}
		ignored, err = w.patterns(path+"/.gitignore", parts, ignored)
		return err
	})
}

// staged are the paths that the repository at dir knows, and the folders above them; none where that cannot be read.
func staged(dir string) map[string]bool {
	out := map[string]bool{}
	r, err := Open(dir)
	if err != nil || r.head != r.dir || filepath.Dir(r.dir) != dir {
		return out
	}
	x, err := r.git.Storer.Index()
	if err != nil {
		return out
	}
	for _, e := range x.Entries {
		for name := e.Name; name != "." && !out[name]; name = path.Dir(name) {
			out[name] = true
		}
	}
	return out
}

// module is the commit of a repository that lies in the folder.
func (w *WorkTree) module(name string) (commit string, ok bool) {
	dir := filepath.Join(w.root.Name(), filepath.FromSlash(name))
	dot := filepath.Join(dir, ".git")
	if _, linked := gitFile(dot); name == "." || !linked && !isGitDir(dot) {
		return "", false
	}
	r, err := Open(dir)
	if err != nil {
		return plumbing.ZeroHash.String(), true
	}
	c, err := r.Resolve("HEAD")
	if err != nil {
		return plumbing.ZeroHash.String(), true
	}
	return c.ID, true
}

// patterns are those before and those of one file, if it is there. A later one overrules; none reaches beyond its folder.
func (w *WorkTree) patterns(file string, folder []string, before []gitignore.Pattern) ([]gitignore.Pattern, error) {
	if info, err := w.root.Lstat(file); err != nil || !info.Mode().IsRegular() {
		return before, nil // git follows no link there either
	}
	b, err := w.root.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" && line[0] != '#' {
			before = append(before, gitignore.ParsePattern(line, folder))
		}
	}
	return before, nil
}

// add lists a regular file or a link; what git cannot commit is left out.
func (w *WorkTree) add(path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	f := artifact.File{Path: path, Size: info.Size()}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.Mode = artifact.Link
	case !info.Mode().IsRegular():
		return nil
	case info.Mode()&0o100 != 0:
		f.Mode = artifact.Executable
	}
	if f.ID, err = w.blobID(f); err != nil {
		return err
	}
	w.files = append(w.files, f)
	return nil
}

// blobID streams a file through git's hash: "blob SIZE", a zero byte, the content.
func (w *WorkTree) blobID(f artifact.File) (string, error) {
	r, err := w.Open(f)
	if err != nil {
		return "", err
	}
	defer r.Close() // only read
	h := plumbing.NewHasher(plumbing.BlobObject, f.Size)
	if n, err := io.Copy(h, r); err != nil || n != f.Size {
		return "", cmp.Or(err, fmt.Errorf("%q changed while it was read", f.Path))
	}
	return h.Sum().String(), nil
}

// Files lists them by path.
func (w *WorkTree) Files() artifact.Files { return w.files }

// Open reads one file's content, or a link's target. A link is never followed.
func (w *WorkTree) Open(f artifact.File) (io.ReadCloser, error) {
	if f.Mode == artifact.Link {
		target, err := w.root.Readlink(f.Path)
		return io.NopCloser(strings.NewReader(target)), err
	}
	return w.root.Open(f.Path)
}
