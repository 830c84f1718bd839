package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// opened is a regular file or a folder of the root, open for reading.
type opened struct {
	*os.File
	info fs.FileInfo
	real string // path below the root with all links resolved; empty for the root itself
}

// errUnserved says that there is something, but nothing to hand out. errNoPath says that /proc is not there, so that
// nobody can know.
var (
	errUnserved = errors.New("neither file nor folder of the published part")
	errNoPath   = errors.New("find real path below /proc")
)

// open follows links, but never out of the root (os.Root) and never into a private part of it.
func (p *published) open(name string) (*opened, error) {
	// Without O_NONBLOCK, opening a FIFO waits for a writer.
	f, err := p.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	o := &opened{File: f}
	if err := p.inspect(o); err != nil {
		f.Close() // only read
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return o, nil
}

func (p *published) inspect(o *opened) (err error) {
	if o.info, err = o.Stat(); err != nil {
		return err
	}
	if !o.info.IsDir() && !o.info.Mode().IsRegular() {
		return errUnserved
	}
	if o.real, err = p.realPath(o.File); err != nil {
		return err
	}
	if strings.HasPrefix(o.real, ".") || strings.Contains(o.real, "/.") {
		return errUnserved
	}
	return nil
}

// realPath asks the kernel where an open file lies, instead of resolving links a second time: one call, and no race.
// The root is asked too, since it may have been moved.
func (p *published) realPath(f *os.File) (string, error) {
	base, err := diskPath(p.dir)
	if err != nil {
		return "", err
	}
	path, err := diskPath(f)
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(path, base)
	if !ok || rest != "" && rest[0] != '/' {
		return "", errUnserved
	}
	return strings.TrimPrefix(rest, "/"), nil
}

// diskPath reads proc(5)'s link of a descriptor.
func diskPath(f *os.File) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), buf[:])
	if err != nil {
		return "", fmt.Errorf("%w: %v", errNoPath, err) // not %w: it says nothing about the file
	}
	return string(buf[:n]), nil
}

// statusOf turns an error of open into an answer, and logs it if it is more than a path that nobody published.
func (p *published) statusOf(name string, err error) int {
	var errno syscall.Errno
	isErrno := errors.As(err, &errno)
	switch {
	case errors.Is(err, errNoPath):
		p.log.Error("opened no file", "path", name, "err", err)
		return http.StatusInternalServerError
	case isErrno && isAbsent(errno):
		return http.StatusNotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errUnserved), !isErrno:
		// An error without a number is os.Root's own: the path leads out of the root.
		p.log.Warn("refused path", "path", name, "err", err)
		return http.StatusNotFound
	case errno == syscall.EMFILE || errno == syscall.ENFILE || errno == syscall.ENOMEM:
		p.log.Error("ran out of files or memory", "err", err)
		return http.StatusServiceUnavailable
	}
	p.log.Error("opened no file", "path", name, "err", err)
	return http.StatusInternalServerError
}

// isAbsent says whether an error means that there is nothing at a path; ENXIO is a socket.
func isAbsent(e syscall.Errno) bool {
	switch e {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENXIO:
		return true
	}
	return false
}
