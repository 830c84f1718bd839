package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// oldPrefix is what names of folders begin with that are being removed.
const oldPrefix = ".old-"

// Launches are the keys of all launch folders, sorted.
func (d *Desk) Launches() (keys []string, err error) {
	entries, err := os.ReadDir(d.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if isKey(e.Name()) {
			keys = append(keys, e.Name())
		}
	}
	return keys, err
}

// Idle are those of some launches of which the batch system has no job that could still run. An error means that it does not say.
func (d *Desk) Idle(ctx context.Context, since time.Time, keys []string) (idle []string, err error) {
	found, err := d.find(ctx, since, keys...)
	if err != nil {
		return nil, err
	}
	busy := map[string]bool{}
	for _, j := range found.Jobs {
		busy[j.Key] = busy[j.Key] || !j.State.Ended()
	}
	for _, key := range keys {
		if !busy[key] {
			idle = append(idle, key)
		}
	}
	return idle, nil
}

// Drop has launch folders be gone at once; Clear removes what was dropped. Whoever calls it knows that nobody needs them.
func (d *Desk) Drop(keys []string) error {
	for _, key := range keys {
		if !isKey(key) {
			return fmt.Errorf("%s is no launch folder", key)
		}
		err := os.Rename(filepath.Join(d.Folder, key), filepath.Join(d.Folder, oldPrefix+key+"-"+nonce()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove launch folder: %w", err)
		}
		_ = os.Remove(filepath.Join(d.Folder, lockDir, key)) // nobody hands it in any more
	}
	return nil
}

// Clear removes what was dropped, also by whoever died before it was gone: at most so many folders. More says that there are others that
// can be. The error is of the first that cannot: it keeps no others from it.
func (d *Desk) Clear(most int) (more bool, err error) {
	entries, err := os.ReadDir(d.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		switch {
		case !strings.HasPrefix(e.Name(), oldPrefix+keyPrefix):
		case most == 0:
			return true, err
		default:
			failed := remove(filepath.Join(d.Folder, e.Name()))
			if failed == nil {
				most--
			}
			err = cmp.Or(err, failed)
		}
	}
	return false, err
}

// remove removes a folder of which jobs may have left parts that nobody may write.
func remove(folder string) error {
	err := os.RemoveAll(folder)
	if errors.Is(err, fs.ErrPermission) {
		_ = filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				_ = os.Chmod(name, 0o700) // what is lacking still, removing it says
			}
			return nil
		})
		err = os.RemoveAll(folder)
	}
	if err != nil {
		return fmt.Errorf("remove launch folder: %w", err)
	}
	return nil
}
