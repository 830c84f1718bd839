package observe

import (
	"fmt"
	"os"
	"path"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Objects are all objects of a root.
func Objects(root *os.Root, s *store.Store) ([]observed.Object, error) {
	digests, err := s.List()
	if err != nil {
		return nil, err
	}
	out := make([]observed.Object, 0, len(digests))
	for _, d := range digests {
		info, err := root.Lstat(store.Path(d))
		if err != nil {
			return nil, fmt.Errorf("observe object: %w", err)
		}
		o := observed.Object{Digest: d, Written: info.ModTime()}
		if info.Mode().IsRegular() {
			o.Size = info.Size()
		}
		out = append(out, o)
	}
	return out, nil
}

// Reachable are the objects that some generations name: their folders, what the links in these folders lead to, and what
// the manifests of their FECs name.
func Reachable(root *os.Root, numbers []int64) (map[artifact.Digest]bool, error) {
	seen := map[artifact.Digest]bool{}
	for _, n := range numbers {
		x, err := index(root, n)
		if err != nil {
			return nil, fmt.Errorf("find reachable objects: %w", err)
		}
		for _, f := range x.FECs {
			if err := reachFEC(root, f.Folder, seen); err != nil {
				return nil, fmt.Errorf("find objects that %s reaches: %w", f.Name, err)
			}
		}
		for _, f := range x.Folders {
			if err := reach(root, f.Folder, seen); err != nil {
				return nil, fmt.Errorf("find objects that %s reaches: %w", f.Path, err)
			}
		}
	}
	return seen, nil
}

// reachFEC marks one FEC's folder and what its manifest names: the archive of its init scripts has no link.
func reachFEC(root *os.Root, folder artifact.Digest, seen map[artifact.Digest]bool) error {
	if seen[folder] {
		return nil
	}
	b, err := root.ReadFile(store.Path(folder) + "/" + tree.ManifestName)
	if err != nil {
		return err
	}
	m, _, _, err := tree.ParseManifest(b)
	if err != nil {
		return err
	}
	for _, o := range m.Objects() {
		seen[o.Digest] = true
	}
	return reach(root, folder, seen)
}

// reach marks one folder object and, once, what it links to.
func reach(root *os.Root, folder artifact.Digest, seen map[artifact.Digest]bool) error {
	if seen[folder] {
		return nil
	}
	seen[folder] = true
	return follow(root, store.Path(folder), seen)
}

func follow(root *os.Root, dir string, seen map[artifact.Digest]bool) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	entries, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := dir + "/" + e.Name()
		if e.IsDir() {
			if err := follow(root, name, seen); err != nil {
				return err
			}
		}
		if e.Type()&os.ModeSymlink != 0 {
			target, err := root.Readlink(name)
			if err != nil {
				return err
			}
			// What is no digest is a link to persistent data.
			if d, err := artifact.ParseDigest(path.Base(target)); err == nil {
				seen[d] = true
			}
		}
	}
	return nil
}
