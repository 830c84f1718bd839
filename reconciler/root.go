package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// open makes this process the one writer of the root.
func (r *Reconciler) open() (*durable.Dir, func(), error) {
	if err := MakeRoot(r.Root); err != nil {
		return nil, nil, fmt.Errorf("make root: %w", err)
	}
	dir, err := durable.Open(r.Root, r.Hook)
	if err != nil {
		return nil, nil, fmt.Errorf("open root: %w", err)
	}
	if err := dir.Prepare(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("prepare root: %w", err), dir.Close())
	}
	unlock, err := lock(dir, r.Root)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("lock root: %w", err), dir.Close())
	}
	return dir, func() {
		unlock()
		dir.Close() // every write has reported its own error
	}, nil
}

// turns are waited for by those of this process that write one root: *sync.Mutex by path.
var turns sync.Map

// lock makes the caller the one writer of a root. It waits for others of this process, and for no other process.
func lock(dir *durable.Dir, root string) (unlock func(), err error) {
	turn, _ := turns.LoadOrStore(root, &sync.Mutex{})
	turn.(*sync.Mutex).Lock()
	release, err := dir.Lock()
	if err != nil {
		turn.(*sync.Mutex).Unlock()
		return nil, err
	}
	return func() {
		release()
		turn.(*sync.Mutex).Unlock()
	}, nil
}

// MakeRoot makes a root that web servers can read whatever the umask; one that is there keeps its mode. A folder that
// holds something else is refused: a pass would scatter a tree in it.
func MakeRoot(path string) error {
	there, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeFolder(path)
	}
	if err != nil || len(there) == 0 {
		return err
	}
	if _, err := os.Lstat(filepath.Join(path, durable.Private)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%q holds something and is no root: name an empty folder or a new one", path)
	}
	return nil
}

// CheckRoot says why a folder is no place to bring files to: a root has to be there, even if it is empty yet. Whoever misspells one would fill a store
// from which nothing is served.
func CheckRoot(path string) error {
	if !isFolder(path) {
		return fmt.Errorf("served directory %q is not there: correct --root, or make it first", path)
	}
	return MakeRoot(path) // makes nothing
}

// makeFolder makes a folder below the nearest one that is there.
func makeFolder(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	above := filepath.Dir(path)
	for !isFolder(above) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
	}
	below, err := filepath.Rel(above, path)
	if err != nil {
		return err
	}
	dir, err := durable.Open(above, nil)
	if err != nil {
		return err
	}
	err = dir.MkdirAll(filepath.ToSlash(below))
	if at, ok := errors.AsType[*fs.PathError](err); ok { // it is named from above
		err = &fs.PathError{Op: "mkdir", Path: filepath.Join(above, at.Path), Err: at.Err}
	}
	return errors.Join(err, dir.Close())
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// unfinished marks the root before its first change, once, so that the next pass knows if this one dies.
func (r *Reconciler) unfinished(dir *durable.Dir) func() error {
	return func() error {
		err := dir.Write(durable.Unfinished, nil, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err == nil {
			err = dir.Sync(durable.Private)
		}
		if err != nil {
			return fmt.Errorf("mark pass: %w", err)
		}
		return nil
	}
}

// OtherSite says that a root serves another site. FECs accept manifests of their own site only.
type OtherSite struct{ Served, Wanted string }

// Error says what to do about it.
func (e *OtherSite) Error() string {
	return fmt.Sprintf("the root serves site %q, and this is site %q: give it a root of its own", e.Served, e.Wanted)
}

// sameSite refuses to publish one site over another.
func sameSite(want desired.Site, have observed.Root) error {
	g, _ := have.Published()
	for _, site := range []string{g.Site, have.Index.Site} { // of a damaged generation one is empty
		if site != "" && site != want.Settings.Name {
			return &OtherSite{site, want.Settings.Name}
		}
	}
	return nil
}
