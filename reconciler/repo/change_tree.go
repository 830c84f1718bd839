package repo

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/sys/unix"
)

// workFolder is where the repository's files are checked out, if they are.
func (r *Repo) workFolder() (string, bool) {
	if r.head == r.dir {
		return filepath.Dir(r.dir), filepath.Base(r.dir) == ".git"
	}
	b, err := os.ReadFile(filepath.Join(r.head, "gitdir"))
	return filepath.Dir(strings.TrimSpace(string(b))), err == nil
}

// How long a git command that works in the folder is waited for.
const (
	lockTries = 100
	lockPause = 50 * time.Millisecond
)

// lockIndex keeps git commands and other releases from changing the work tree.
func (r *Repo) lockIndex() (unlock func(), err error) { return lock(r.indexFile()) }

// lock keeps git commands, and others that write here, from changing a file. The lock is git's own.
func lock(file string) (unlock func(), err error) {
	file += ".lock"
	for range lockTries {
		var f *os.File
		if f, err = os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			return func() { _ = os.Remove(file) }, f.Close() // it is gone when it has become what it locks
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		time.Sleep(lockPause)
	}
	return nil, fmt.Errorf("a git command works here: wait for it, or remove %q if there is none", file)
}

func (r *Repo) indexFile() string { return filepath.Join(r.head, "index") }

// workFollows moves a branch to a draft, and gives the work tree and its index, which is locked, the draft's files. It writes
// nothing before everything has been looked at. Should the process die after the files, they are a change that is not
// committed yet, which the next try finds to be its own.
func (r *Repo) workFollows(dir string, d Draft, name plumbing.ReferenceName) error {
	staged, err := readIndex(r.indexFile())
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer work.Close() // every write reports its own error
	names := slices.Sorted(maps.Keys(d.content))
	for _, name := range names {
		if err := r.untouched(work, staged, d, name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := replace(work, staged, name, d.content[name]); err != nil {
			return err
		}
	}
	if err := writeLock(r.indexFile(), func(w io.Writer) error { return index.NewEncoder(w).Encode(staged) }); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := r.move(name, d); err != nil {
		return err
	}
	return os.Rename(r.indexFile()+".lock", r.indexFile())
}

// writeLock writes what a locked file is to become into its lock.
func writeLock(file string, write func(io.Writer) error) error {
	f, err := os.OpenFile(file+".lock", os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Sync(), f.Close())
}

func readIndex(file string) (*index.Index, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	staged := &index.Index{}
	if err := index.NewDecoder(f).Decode(staged); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	return staged, nil
}

// untouched says whether a file and what is staged of it are what the base has, or the draft already. One that is new must not be there,
// unless it is the draft's.
func (r *Repo) untouched(work *os.Root, staged *index.Index, d Draft, name string) error {
	before, err := r.blobOf(d.Base, name)
	if err != nil {
		return err
	}
	after := plumbing.ComputeHash(plumbing.BlobObject, d.content[name])
	e, err := staged.Entry(name)
	isStaged := err == nil
	if err != nil && !errors.Is(err, index.ErrEntryNotFound) || !isStaged && !before.IsZero() {
		return fmt.Errorf("read index: %q: %w", name, err)
	}
	info, err := work.Lstat(name)
	if before.IsZero() && !isStaged && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := work.ReadFile(name)
	if err != nil {
		return err
	}
	now := plumbing.ComputeHash(plumbing.BlobObject, b)
	if !info.Mode().IsRegular() || now != before && now != after || isStaged && e.Hash != before && e.Hash != after {
		return fmt.Errorf("%q has changes that are not committed: commit them, or take them back", name)
	}
	return nil
}

// blobOf is the id of a file of a commit; zero: it has none.
func (r *Repo) blobOf(c Commit, name string) (plumbing.Hash, error) {
	id := plumbing.NewHash(c.Tree)
	for _, part := range strings.Split(name, "/") {
		entries, err := readTree(r.git.Storer, id)
		if err != nil {
			return id, err
		}
		i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == part })
		if i < 0 {
			return plumbing.ZeroHash, nil
		}
		id = entries[i].Hash
	}
	return id, nil
}

// replace writes a file anew in one step, with the mode that it has, and notes it in the index.
func replace(work *os.Root, staged *index.Index, name string, content []byte) error {
	mode := fs.FileMode(0o644)
	info, err := work.Lstat(name)
	switch {
	case err == nil:
		mode = info.Mode().Perm()
	case errors.Is(err, fs.ErrNotExist):
		err = work.MkdirAll(path.Dir(name), 0o755)
	}
	if err != nil {
		return err
	}
	if b, err := work.ReadFile(name); err != nil || !bytes.Equal(b, content) {
		temp := path.Join(path.Dir(name), ".pomona-"+rand.Text())
		err := work.WriteFile(temp, content, mode)
		if err == nil {
			err = work.Rename(temp, name)
		}
		if err != nil {
			return errors.Join(err, work.RemoveAll(temp))
		}
	}
	if info, err = work.Lstat(name); err != nil {
		return err
	}
	e, err := staged.Entry(name)
	if errors.Is(err, index.ErrEntryNotFound) {
		e, err = staged.Add(name), nil
		e.Mode = filemode.Regular
	}
	if err != nil {
		return err
	}
	e.Hash, e.Size, e.ModifiedAt = plumbing.ComputeHash(plumbing.BlobObject, content), uint32(info.Size()), info.ModTime()
	var s unix.Stat_t
	if err := unix.Stat(filepath.Join(work.Name(), name), &s); err == nil {
		e.CreatedAt, e.Dev, e.Inode, e.UID, e.GID = time.Unix(s.Ctim.Unix()), uint32(s.Dev), uint32(s.Ino), s.Uid, s.Gid
	}
	return nil
}
