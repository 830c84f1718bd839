package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// glob lists regular files below one of the folders that may be looked into. Links lead nowhere out of it. The folder that a pattern names
// before its first wildcard must be there: a file system that is not mounted is no empty dataset.
func (d Datasets) glob(ctx context.Context, pattern string, l *inputs) error {
	parts := strings.Split(strings.Trim(path.Clean(pattern), "/"), "/")
	folder, rest := "", parts
	for _, f := range d.Folders {
		at := strings.Split(strings.Trim(path.Clean(f), "/"), "/")
		if len(path.Clean(f)) > len(folder) && len(at) < len(parts) && path.Join(at...) == path.Join(parts[:len(at)]...) {
			folder, rest = path.Clean(f), parts[len(at):]
		}
	}
	if folder == "" {
		return fmt.Errorf("%s is below no folder that datasets may look into: add one to datasets.folders of the service's configuration", pattern)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	if err := there(root, fixed(rest)); err != nil {
		return errors.Join(fmt.Errorf("in %s: %w", folder, err), root.Close())
	}
	return errors.Join(match(ctx, root, ".", rest, func(name string, info fs.FileInfo) error {
		return l.add(observed.Input{Name: path.Join(folder, name), Time: info.ModTime(), Size: info.Size()})
	}), root.Close())
}

// fixed is the folder that a pattern names before its first wildcard.
func fixed(parts []string) string {
	n := slices.IndexFunc(parts[:len(parts)-1], func(part string) bool { return strings.ContainsAny(part, "*?") })
	if n < 0 {
		n = len(parts) - 1
	}
	return path.Join(append([]string{"."}, parts[:n]...)...)
}

// there says whether a folder is.
func there(root *os.Root, folder string) error {
	info, err := root.Stat(folder)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", folder)
	}
	return err
}

// match finds the files below a folder whose names have patterns, one for each part.
func match(ctx context.Context, root *os.Root, dir string, parts []string, found func(name string, info fs.FileInfo) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !strings.ContainsAny(parts[0], "*?") {
		return enter(ctx, root, path.Join(dir, parts[0]), parts, found)
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(parts[0], ".") || !desired.Matches(parts[0], name) {
			continue
		}
		if err := enter(ctx, root, path.Join(dir, name), parts, found); err != nil {
			return err
		}
	}
	return nil
}

func enter(ctx context.Context, root *os.Root, name string, parts []string, found func(name string, info fs.FileInfo) error) error {
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it, or what a link names, has gone: a glob lists what there is
	case err != nil:
		return err
	case len(parts) > 1 && info.IsDir():
		return match(ctx, root, name, parts[1:], found)
	case len(parts) == 1 && info.Mode().IsRegular():
		return found(name, info)
	}
	return nil
}
