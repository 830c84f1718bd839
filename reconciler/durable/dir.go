// Package durable writes what survives: a folder on disk whose every change goes through one hook, so that a test can
// fail, skip or record any of them.
//
// The order that makes a change survive a power cut is always the same: write the new content under .pomona/staging,
// sync it, rename it into place, sync the folder that now names it. Nothing is ever rewritten where a reader can see it.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Op is one change of the disk.
type Op struct {
	Kind string // mkdir, write, append, symlink, rename, exchange, sync, syncfs, remove, chmod
	Path string // relative to the Dir; of a rename, the new name
	From string // of a rename, the old name; of an exchange, the other one
}

// Hook stands before every change. It calls do to apply it, or leaves it out; the error it returns is the change's.
type Hook func(op Op, do func() error) error

// Dir is a folder on disk. Paths are relative to it, with slashes; nothing outside it is ever reached (os.Root).
type Dir struct {
	root    *os.Root
	path    string
	hook    Hook
	staging string

	turn sync.Mutex // held while a shared sync runs
	mu   sync.Mutex
	next *sharedSync // the one that begins after that
}

// Open opens the folder at path, which must exist. A nil hook applies every change.
func Open(path string, hook Hook) (*Dir, error) { return open(path, Staging, hook) }

// OpenPreviews is Open for whoever writes previews: its temporaries are its own, and no pass removes them.
func OpenPreviews(path string, hook Hook) (*Dir, error) { return open(path, previewStaging, hook) }

// OpenData is Open for whoever writes what is collected from FECs, likewise.
func OpenData(path string, hook Hook) (*Dir, error) { return open(path, dataStaging, hook) }

func open(path, staging string, hook Hook) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if hook == nil {
		hook = func(_ Op, do func() error) error { return do() }
	}
	return &Dir{root: root, path: path, hook: hook, staging: staging}, nil
}

// Close releases the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Root is the folder for reading.
func (d *Dir) Root() *os.Root { return d.root }

// Path is the folder's own path on disk.
func (d *Dir) Path() string { return d.path }

func (d *Dir) do(kind, path string, f func() error) error {
	return d.hook(Op{Kind: kind, Path: path}, f)
}

// MkdirAll makes a folder and its parents, each synced into the one above it, with mode 0755 (in the private part 0700)
// whatever the umask. One that is there gets that mode: whoever made it may have died before.
func (d *Dir) MkdirAll(name string) error { return d.mkdirAll(name, d.Sync) }

// MkdirUnsynced is MkdirAll for whoever syncs the folders above it later, together with others.
func (d *Dir) MkdirUnsynced(name string) error {
	return d.mkdirAll(name, func(string) error { return nil })
}

func (d *Dir) mkdirAll(name string, sync func(string) error) error {
	if info, err := d.root.Stat(name); err == nil && info.IsDir() {
		return d.setMode(name, info, folderMode(name))
	}
	if parent := path.Dir(name); parent != "." {
		if err := d.mkdirAll(parent, sync); err != nil {
			return err
		}
	}
	if err := d.Mkdir(name, folderMode(name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return sync(path.Dir(name))
}

func folderMode(name string) fs.FileMode {
	if name == Private || strings.HasPrefix(name, Private+"/") {
		return 0o700
	}
	return 0o755
}

// Mkdir makes one folder with exactly this mode.
func (d *Dir) Mkdir(name string, mode fs.FileMode) error {
	if err := d.do("mkdir", name, func() error { return d.root.Mkdir(name, mode) }); err != nil {
		return err
	}
	info, err := d.root.Stat(name)
	if err != nil {
		return err
	}
	return d.setMode(name, info, mode)
}

func (d *Dir) setMode(name string, info fs.FileInfo, mode fs.FileMode) error {
	if info.Mode().Perm() == mode {
		return nil
	}
	return d.Chmod(name, mode)
}

// Write makes a file with exactly this mode; it must not exist. The content survives a power cut once it is synced.
func (d *Dir) Write(name string, data []byte, mode fs.FileMode) error {
	return d.do("write", name, func() error {
		f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Chmod(mode), f.Close())
	})
}

// Append adds data to a file, which is made with this mode if it is not there.
func (d *Dir) Append(name string, data []byte, mode fs.FileMode) error {
	return d.do("append", name, func() error {
		f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	})
}

// Create opens a new file for streaming; it must not exist.
func (d *Dir) Create(name string) (f *os.File, err error) {
	err = d.do("write", name, func() error {
		f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		return err
	})
	return f, err
}

// Chmod sets a file's mode.
func (d *Dir) Chmod(name string, mode fs.FileMode) error {
	return d.do("chmod", name, func() error { return d.root.Chmod(name, mode) })
}

// Symlink makes a link; it must not exist.
func (d *Dir) Symlink(target, name string) error {
	return d.do("symlink", name, func() error { return d.root.Symlink(target, name) })
}

// Link is one link of a folder.
type Link struct{ Name, Target string }

// Symlinks makes links in one folder, which is opened once for all of them; none of them may exist.
func (d *Dir) Symlinks(folder string, links []Link) (err error) {
	at, err := d.root.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer at.Close() // nothing is written to it
	for _, l := range links {
		if err := d.do("symlink", folder+"/"+l.Name, func() error { return at.Symlink(l.Target, l.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// Rename moves a file, link or folder, replacing a file or link of the new name.
func (d *Dir) Rename(from, to string) error {
	return d.hook(Op{Kind: "rename", Path: to, From: from}, func() error { return d.root.Rename(from, to) })
}

// Exchange gives two folders each other's name, in one step where the file system can.
func (d *Dir) Exchange(a, b string) error {
	err := d.hook(Op{Kind: "exchange", Path: b, From: a}, func() error { return d.exchange(a, b) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	temp := d.Temp("exchanged")
	if err := d.Rename(b, temp); err != nil {
		return err
	}
	if err := d.Rename(a, b); err != nil {
		return err
	}
	return d.Rename(temp, a)
}

func (d *Dir) exchange(a, b string) error {
	from, err := d.root.Open(path.Dir(a))
	if err != nil {
		return err
	}
	defer from.Close() // only names it
	to, err := d.root.Open(path.Dir(b))
	if err != nil {
		return err
	}
	defer to.Close() // likewise
	err = unix.Renameat2(int(from.Fd()), path.Base(a), int(to.Fd()), path.Base(b), unix.RENAME_EXCHANGE)
	return os.NewSyscallError("renameat2", err)
}

// Remove removes a file, link or folder with all that is in it; removing what is not there is no error.
func (d *Dir) Remove(name string) error {
	return d.do("remove", name, func() error { return d.root.RemoveAll(name) })
}

// Sync makes a file's content or a folder's entries survive a power cut.
func (d *Dir) Sync(name string) error {
	return d.do("sync", name, func() error {
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// SyncFolder makes the entries of a folder that is in no Dir survive a power cut.
func SyncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// manySyncs is how many files and folders are synced one by one; for more, one call for the file system is quicker.
const manySyncs = 64

// SyncAll makes files and folders survive a power cut, one by one or, if they are many, by syncing the file system.
func (d *Dir) SyncAll(names []string) error {
	if len(names) > manySyncs {
		return d.SyncFileSystem()
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if err := d.Sync(name); err != nil {
			return err
		}
	}
	return nil
}

// gather is how long a sync waits for others to share it.
const gather = 25 * time.Millisecond

// sharedSync is one sync for several goroutines.
type sharedSync struct {
	callers int
	done    chan struct{}
	err     error
}

// SyncTogether is SyncAll for one of many goroutines that write at once. While a sync runs, those that come wait for the next
// one, which they share: a call for the file system is quicker than a few for its files.
func (d *Dir) SyncTogether(names ...string) error {
	d.mu.Lock()
	s, first := d.next, d.next == nil
	if first {
		s = &sharedSync{done: make(chan struct{})}
		d.next = s
	}
	s.callers++
	d.mu.Unlock()
	if !first {
		<-s.done
		return s.err
	}
	time.Sleep(gather)
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	d.next = nil // who comes now may have written after the sync began
	d.mu.Unlock()
	if s.callers > 1 {
		s.err = d.SyncFileSystem()
	} else {
		s.err = d.SyncAll(names)
	}
	close(s.done)
	return s.err
}

// SyncFileSystem makes everything on the file system survive a power cut: syncfs(2).
func (d *Dir) SyncFileSystem() error {
	return d.do("syncfs", ".", func() error {
		f, err := d.root.Open(".")
		if err != nil {
			return err
		}
		return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd()))), f.Close())
	})
}

// Replace makes a file hold data, whole or not at all, also after a power cut. The temporary lies in staging.
func (d *Dir) Replace(name string, data []byte, mode fs.FileMode) error {
	temp := d.Temp("file")
	if err := d.Write(temp, data, mode); err != nil {
		return err
	}
	return d.settle(temp, name, true)
}

// ReplaceTogether is Replace for one of many goroutines. What the new content names is unsynced, and survives a power cut first.
func (d *Dir) ReplaceTogether(name string, data []byte, mode fs.FileMode, unsynced []string) error {
	temp := d.Temp("file")
	if err := d.Write(temp, data, mode); err != nil {
		return err
	}
	if err := d.SyncTogether(append(unsynced, temp)...); err != nil {
		return err
	}
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	return d.SyncTogether(path.Dir(name))
}

// Keep makes or replaces a file of the private part, as nobody but its one writer may read it: all of it, or what was there
// stays. It uses no staging, which a pass that begins empties.
func (d *Dir) Keep(name string, data []byte) error {
	temp := name + ".new"
	if err := d.Remove(temp); err != nil {
		return err
	}
	if err := d.Write(temp, data, 0o600); err != nil {
		return err
	}
	if err := d.Sync(temp); err != nil {
		return err
	}
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	return d.Sync(path.Dir(name))
}

// Relink makes name a link to target, replacing the link that was there, atomically.
func (d *Dir) Relink(target, name string) error {
	temp := d.Temp("link")
	if err := d.Symlink(target, temp); err != nil {
		return err
	}
	return d.settle(temp, name, false)
}

func (d *Dir) settle(temp, name string, sync bool) error {
	if sync {
		if err := d.Sync(temp); err != nil {
			return err
		}
	}
	if err := d.Rename(temp, name); err != nil {
		return err
	}
	return d.Sync(path.Dir(name))
}

// Readlink is the target of a link.
func (d *Dir) Readlink(name string) (string, error) { return d.root.Readlink(name) }

// Exists says whether there is something at name, without following a link.
func (d *Dir) Exists(name string) bool {
	_, err := d.root.Lstat(name)
	return err == nil
}

// Infos are those of the names in a folder that are there, links not followed. The folder is opened once for all of them.
func (d *Dir) Infos(folder string, names []string) (map[string]fs.FileInfo, error) {
	infos := make(map[string]fs.FileInfo, len(names))
	at, err := d.root.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return infos, nil
	}
	if err != nil {
		return nil, err
	}
	defer at.Close() // only read
	for _, name := range names {
		if info, err := at.Lstat(name); err == nil {
			infos[name] = info
		}
	}
	return infos, nil
}

// Names are the entries of a folder, sorted; none if it is not there.
func (d *Dir) Names(name string) ([]string, error) { return Names(d.root, name) }

// Names are the entries of a folder below root, sorted; none if it is not there.
func Names(root *os.Root, name string) ([]string, error) {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}
