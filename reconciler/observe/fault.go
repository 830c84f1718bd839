package observe

import (
	"context"
	"errors"
	"slices"
	"syscall"
)

// damage are the errors of the operating system that say something about what lies on the disk. Any other, such as too many
// open files, says something about the machine: whoever took it for damage would remove what is whole.
var damage = []syscall.Errno{
	syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR, syscall.EINVAL, syscall.ELOOP, syscall.ENXIO, syscall.EACCES, syscall.EPERM, syscall.EIO,
}

// IsFault says whether an error is the machine's and not that of what was looked at.
func IsFault(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &errno) && !slices.Contains(damage, errno)
}
