package artifact

import (
	"io"
	"slices"
	"sort"
	"strings"
)

// Mode is what a commit says a file is.
type Mode uint8

// The modes that git knows.
const (
	Regular Mode = iota
	Executable
	Link   // symbolic link; its content is its target
	Module // submodule: another repository's commit, without content here
)

// File is one file of a commit.
type File struct {
	Path string // slashes, relative to the repository's root
	Mode Mode
	Size int64  // bytes
	ID   string // git blob id, hex
}

// Files are the files of one commit, sorted by path, byte-wise.
type Files []File

// Sorted puts files into the order that Files has.
func (fs Files) Sorted() Files {
	slices.SortFunc(fs, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return fs
}

// Find is the file at path.
func (fs Files) Find(path string) (File, bool) {
	i := sort.Search(len(fs), func(i int) bool { return fs[i].Path >= path })
	if i < len(fs) && fs[i].Path == path {
		return fs[i], true
	}
	return File{}, false
}

// Under are the files below folder dir, at any depth; all files for "".
func (fs Files) Under(dir string) Files {
	if dir == "" || dir == "." {
		return fs
	}
	dir += "/"
	i := sort.Search(len(fs), func(i int) bool { return fs[i].Path >= dir })
	j := i + sort.Search(len(fs)-i, func(j int) bool { return !strings.HasPrefix(fs[i+j].Path, dir) })
	return fs[i:j]
}

// Source is a commit's files with their content. Open is safe for concurrent use.
type Source interface {
	Files() Files
	// Open reads the content of f, or the target when f is a link.
	Open(f File) (io.ReadCloser, error)
}
