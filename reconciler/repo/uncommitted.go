package repo

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// Uncommitted are files of the repository's own work tree that a commit does not have like that, sorted: changed or deleted
// ones, staged ones, and CUE files that git does not know. It trusts sizes and times as git does, so that it reads next to
// nothing. It is for a hint: without a work tree, and where anything cannot be read, there are none.
func (r *Repo) Uncommitted(commit *Files) []string {
	if filepath.Base(r.dir) != ".git" || r.head != r.dir {
		return nil
	}
	work, err := os.OpenRoot(filepath.Dir(r.dir))
	if err != nil {
		return nil
	}
	defer work.Close() // only read
	r.mu.Lock()
	defer r.mu.Unlock()
	staged, err := r.git.Storer.Index()
	if err != nil {
		return nil
	}
	return uncommitted(work, staged, commit)
}

func uncommitted(work *os.Root, staged *index.Index, commit *Files) (out []string) {
	known := map[string]bool{}
	for _, e := range staged.Entries {
		known[e.Name] = true
		f, ok := commit.Files().Find(e.Name)
		if e.Mode != filemode.Submodule && (!ok || f.ID != e.Hash.String() || altered(work, e)) {
			out = append(out, e.Name)
		}
	}
	for _, f := range commit.Files() {
		if !known[f.Path] {
			out = append(out, f.Path)
		}
	}
	out = append(out, unknown(work, known)...)
	slices.Sort(out)
	return slices.Compact(out)
}

// altered says whether a file is no longer what was staged.
func altered(work *os.Root, e *index.Entry) bool {
	info, err := work.Lstat(e.Name)
	switch {
	case err != nil, info.Mode().IsRegular() == (e.Mode == filemode.Symlink):
		return true
	case info.ModTime().Equal(e.ModifiedAt) || !info.Mode().IsRegular():
		return false
	case e.Size != 0 && uint32(info.Size()) != e.Size: // git writes 0 where it is not sure
		return true
	}
	b, err := work.ReadFile(e.Name)
	return err == nil && plumbing.ComputeHash(plumbing.BlobObject, b) != e.Hash
}

// unknown are the CUE files that are not staged.
func unknown(work *os.Root, staged map[string]bool) (out []string) {
	// What cannot be listed is left out.
	_ = fs.WalkDir(work.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir() && e.Name() == ".git":
			return fs.SkipDir
		case e.Type().IsRegular() && path.Ext(name) == ".cue" && !staged[name]:
			out = append(out, name)
		}
		return nil
	})
	return out
}
