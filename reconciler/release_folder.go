package reconciler

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
)

// buildFolder is what a build has left in a folder: everything, whatever git would ignore of it. It is an artifact.Source.
type buildFolder struct {
	root  *os.Root
	files artifact.Files
}

func openBuildFolder(path string) (*buildFolder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open build folder: %w", err)
	}
	b := &buildFolder{root: root}
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f := artifact.File{Path: name, Size: info.Size()}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			f.Mode = artifact.Link
		case !info.Mode().IsRegular():
			return fmt.Errorf("%q is neither a file nor a link", name)
		case info.Mode()&0o100 != 0:
			f.Mode = artifact.Executable
		}
		b.files = append(b.files, f)
		return nil
	})
	if err != nil {
		root.Close() // only read
		return nil, fmt.Errorf("list build folder %q: %w", path, err)
	}
	b.files = b.files.Sorted()
	return b, nil
}

func (b *buildFolder) close() { b.root.Close() } // only read

// Files lists them by path.
func (b *buildFolder) Files() artifact.Files { return b.files }

// Open reads a file, or a link's target.
func (b *buildFolder) Open(f artifact.File) (io.ReadCloser, error) {
	if f.Mode == artifact.Link {
		target, err := b.root.Readlink(f.Path)
		return io.NopCloser(strings.NewReader(target)), err
	}
	return b.root.Open(f.Path)
}
