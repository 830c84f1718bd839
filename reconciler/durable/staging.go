package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Private is the part of a root that is never served.
const Private = ".pomona"

// Staging holds everything temporary. Whoever holds the lock may empty it: what a crash left there was never visible.
const Staging = Private + "/staging"

// previewStaging is the same for previews, which are made beside passes.
const previewStaging = Private + "/previews"

// dataStaging is the same for what is collected from FECs.
const dataStaging = Private + "/collecting"

const lockName = Private + "/lock"

// ErrLocked says that another process writes this root.
var ErrLocked = errors.New("another pomona writes this root")

// Temp is a new name in staging.
func (d *Dir) Temp(kind string) string {
	return d.staging + "/" + kind + "-" + rand.Text()
}

// Prepare makes the private folders of a root. The outer one is on the disk before the inner one is made: a root without
// it is no root.
func (d *Dir) Prepare() error {
	if d.Exists(d.staging) {
		return d.MkdirAll(d.staging)
	}
	if err := d.Mkdir(Private, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.Sync("."); err != nil {
		return err
	}
	return d.MkdirAll(d.staging)
}

// Lock makes this process the root's one writer until it calls unlock or dies. It does not wait.
func (d *Dir) Lock() (unlock func(), err error) { return d.lock(lockName, unix.LOCK_EX|unix.LOCK_NB) }

// ShareLock keeps others from being the one writer until it calls unlock or dies, but not from sharing. It waits.
func (d *Dir) ShareLock() (unlock func(), err error) { return d.lock(lockName, unix.LOCK_SH) }

// ServiceLock makes this process the root's one service until it calls unlock or dies. It does not wait.
func (d *Dir) ServiceLock() (unlock func(), err error) {
	return d.lock(Private+"/service", unix.LOCK_EX|unix.LOCK_NB)
}

// PreviewLock makes this process the one that writes the root's previews until it calls unlock or dies. It does not wait.
func (d *Dir) PreviewLock() (unlock func(), err error) {
	return d.lock(Private+"/preview-lock", unix.LOCK_EX|unix.LOCK_NB)
}

func (d *Dir) lock(name string, how int) (unlock func(), err error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { f.Close() }, nil // closing unlocks; nothing was written
}

// Recover empties staging: leftovers of a crash. Only the one writer may call it. What was moved into staging has left
// its old name on the disk too before anything in it is removed.
func (d *Dir) Recover() (removed int, err error) {
	names, err := d.Names(d.staging)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	if err := d.SyncFileSystem(); err != nil {
		return 0, fmt.Errorf("sync leftovers: %w", err)
	}
	for _, name := range names {
		if err := d.Remove(d.staging + "/" + name); err != nil {
			return removed, fmt.Errorf("remove leftover %s: %w", name, err)
		}
		removed++
	}
	return removed, nil
}

// Unfinished marks a root while a pass writes it. Found at the start of a pass, it says that an earlier one died.
const Unfinished = Private + "/unfinished"

// PreviewUnfinished is the same for previews.
const PreviewUnfinished = Private + "/preview-unfinished"

// SweepDue holds the time, in RFC 3339, when something that nothing needs will be old enough to be removed.
const SweepDue = Private + "/sweep-due"
