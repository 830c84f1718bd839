package submit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAFolderNeedsHardLinks(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "launches")
	if err := CheckFolder(folder); err != nil {
		t.Error(err)
	}
	err := checkFolder(folder, func(old, new string) error { return &os.LinkError{Op: "link", Old: old, New: new, Err: syscall.EPERM} }) // as vfat answers
	if !errors.Is(err, ErrNoLinks) || !strings.Contains(err.Error(), folder) {
		t.Errorf("%v", err)
	}
	if err := checkFolder(folder, func(string, string) error { return syscall.EIO }); err == nil || errors.Is(err, ErrNoLinks) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(folder); len(left) != 0 || err != nil {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := CheckFolder("/proc/no/such"); err == nil || errors.Is(err, ErrNoLinks) {
		t.Errorf("%v", err)
	}
}
