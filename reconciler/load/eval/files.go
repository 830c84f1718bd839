package eval

import (
	"bytes"
	"cmp"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"
)

// files is a read-only tree in memory, complete from the start: safe for concurrent use, as the loader needs it. Unlike
// fstest.MapFS it lists a folder without looking at every file.
type files struct {
	content map[string][]byte
	folders map[string][]fs.DirEntry
}

func newFiles(content map[string][]byte) *files {
	f := &files{content: content, folders: map[string][]fs.DirEntry{".": nil}}
	for name, b := range content {
		f.list(path.Dir(name), entry{name: path.Base(name), size: int64(len(b))})
	}
	for d := range maps.Keys(f.folders) {
		slices.SortFunc(f.folders[d], func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return f
}

// list adds an entry to a folder, and the folder to its parents when it is new.
func (f *files) list(dir string, e entry) {
	_, known := f.folders[dir]
	f.folders[dir] = append(f.folders[dir], e)
	if !known {
		f.list(path.Dir(dir), entry{name: path.Base(dir), dir: true})
	}
}

// Open is of fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if b, ok := f.content[name]; ok {
		return &file{entry: entry{name: path.Base(name), size: int64(len(b))}, Reader: bytes.NewReader(b)}, nil
	}
	if es, ok := f.folders[name]; ok {
		return &folder{entry: entry{name: path.Base(name), dir: true}, left: es}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadFile is of fs.ReadFileFS.
func (f *files) ReadFile(name string) ([]byte, error) {
	if b, ok := f.content[name]; ok {
		return bytes.Clone(b), nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// ReadDir is of fs.ReadDirFS.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	if es, ok := f.folders[name]; ok {
		return slices.Clone(es), nil
	}
	return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
}

// entry describes a file or a folder; it is both fs.DirEntry and fs.FileInfo.
type entry struct {
	name string
	size int64
	dir  bool
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.dir }
func (e entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return e.size }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }

func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

type file struct {
	entry
	*bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.entry, nil }
func (f *file) Size() int64                { return f.entry.size }
func (f *file) Close() error               { return nil }

type folder struct {
	entry
	left []fs.DirEntry
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.entry, nil }
func (d *folder) Close() error               { return nil }
func (d *folder) Read([]byte) (int, error)   { return 0, fs.ErrInvalid }

// ReadDir is of fs.ReadDirFile.
func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.left) {
		if n > 0 && len(d.left) == 0 {
			return nil, io.EOF
		}
		n = len(d.left)
	}
	es := d.left[:n]
	d.left = d.left[n:]
	return es, nil
}
