package submit

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrNoLinks says that a folder has no hard links: nothing could decide there who does a task.
var ErrNoLinks = errors.New("its file system has no hard links, by which jobs decide who does a task: choose another folder")

// CheckFolder says whether launch folders can be in a folder, which is made if need be: ErrNoLinks, or that it cannot be written just now.
func CheckFolder(folder string) error { return checkFolder(folder, os.Link) }

func checkFolder(folder string, link func(old, new string) error) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".check-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // what stays is small
	if err := f.Close(); err != nil {
		return err
	}
	second := f.Name() + "-link"
	err = link(f.Name(), second)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EMLINK):
		return fmt.Errorf("folder %s: %w (%w)", folder, ErrNoLinks, err)
	case err != nil:
		return err
	}
	return os.Remove(second)
}
