package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Tracked is a file in a folder that the repository's own work tree has staged or committed; empty: none, or the folder is not there.
func (r *Repo) Tracked(dir string) (string, error) {
	if filepath.Base(r.dir) != ".git" || r.head != r.dir {
		return "", nil
	}
	work, err := filepath.EvalSymlinks(filepath.Dir(r.dir))
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}
	below, err := filepath.Rel(work, dir)
	if err != nil || !filepath.IsLocal(below) {
		return "", nil // it lies elsewhere
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	staged, err := r.git.Storer.Index()
	if err != nil {
		return "", fmt.Errorf("read index: %w", err)
	}
	for _, e := range staged.Entries {
		if below == "." || strings.HasPrefix(e.Name, filepath.ToSlash(below)+"/") {
			return e.Name, nil
		}
	}
	return "", nil
}
