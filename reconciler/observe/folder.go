package observe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// maxRendered is more than any file that Pomona renders into a folder, in bytes.
const maxRendered = 16 << 20

// folder is a folder object as it lies on the disk.
type folder struct {
	nodes []tree.Node
	names []named // of all files and folders in it, for their modes
	empty string  // a folder in it that holds nothing
}

type named struct {
	path string
	mode fs.FileMode
}

// Folder is what a folder object holds, by path.
func Folder(root *os.Root, d artifact.Digest) ([]tree.Node, error) {
	f, err := readFolder(root, d)
	slices.SortFunc(f.nodes, func(a, b tree.Node) int { return cmp.Compare(a.Path, b.Path) })
	return f.nodes, err
}

// readFolder reads a folder object.
func readFolder(root *os.Root, d artifact.Digest) (folder, error) {
	var f folder
	sub, err := root.OpenRoot(store.Path(d))
	if err != nil {
		return f, err
	}
	defer sub.Close() // only read
	return f, f.read(sub, "")
}

func (f *folder) read(dir *os.Root, prefix string) error {
	entries, err := entriesOf(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 && prefix != "" {
		f.empty = path.Clean(prefix)
	}
	for _, e := range entries {
		if err := f.add(dir, prefix, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) add(dir *os.Root, prefix string, e fs.DirEntry) error {
	name := prefix + e.Name()
	switch {
	case e.IsDir():
		return f.below(dir, name, e)
	case e.Type() == fs.ModeSymlink:
		target, err := dir.Readlink(e.Name())
		if err != nil {
			return err
		}
		n, err := tree.LinkNode(name, target)
		f.nodes = append(f.nodes, n)
		return err
	case e.Type() != 0:
		return fmt.Errorf("%q is neither file, link nor folder", name)
	}
	info, err := dir.Lstat(e.Name())
	if err != nil {
		return err
	}
	f.names = append(f.names, named{name, info.Mode().Perm()})
	data, err := readSmall(dir, e.Name())
	n := tree.Node{Path: name, Data: data}
	if info.Mode()&0o111 != 0 {
		n.Mode = artifact.Executable
	}
	f.nodes = append(f.nodes, n)
	return err
}

func (f *folder) below(dir *os.Root, name string, e fs.DirEntry) error {
	info, err := dir.Lstat(e.Name())
	if err != nil {
		return err
	}
	f.names = append(f.names, named{name, info.Mode().Perm() | fs.ModeDir})
	sub, err := dir.OpenRoot(e.Name())
	if err != nil {
		return err
	}
	defer sub.Close() // only read
	return f.read(sub, name+"/")
}

func readSmall(dir *os.Root, name string) ([]byte, error) {
	file, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() // only read
	b, err := io.ReadAll(io.LimitReader(file, maxRendered+1))
	if err == nil && len(b) > maxRendered {
		err = fmt.Errorf("%q is larger than anything that is rendered", name)
	}
	return b, err
}

func entriesOf(dir *os.Root) ([]fs.DirEntry, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	return entries, errors.Join(err, d.Close())
}

// references are the objects that a folder leads to: what its links hold and what its manifest names.
func (f folder) references() ([]artifact.Digest, error) {
	var out []artifact.Digest
	for _, n := range f.nodes {
		if !n.Object.IsZero() {
			out = append(out, n.Object)
		}
		if n.Path != tree.ManifestName {
			continue
		}
		m, _, _, err := tree.ParseManifest(n.Data)
		if err != nil {
			return nil, err
		}
		for _, o := range m.Objects() {
			out = append(out, o.Digest)
		}
	}
	return out, nil
}
