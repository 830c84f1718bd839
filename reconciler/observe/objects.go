package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

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
// the manifests of their FECs name; and the same of the folders that are pinned, and of previews.
func Reachable(root *os.Root, numbers []int64, pins map[string]observed.Pin) (map[artifact.Digest]bool, error) {
	seen := map[artifact.Digest]bool{}
	if err := ReachPublished(root, numbers, pins, seen); err != nil {
		return nil, err
	}
	if err := ReachPreviews(root, seen); err != nil {
		return nil, fmt.Errorf("find objects that previews reach: %w", err)
	}
	return seen, nil
}

// ReachPublished marks what Reachable finds without previews. What is marked already is not read again.
func ReachPublished(root *os.Root, numbers []int64, pins map[string]observed.Pin, seen map[artifact.Digest]bool) error {
	for fec, p := range pins {
		if err := reach(root, p.Folder, seen); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("find objects that %s runs: %w", fec, err)
		}
	}
	for _, n := range numbers {
		x, err := Index(root, n)
		if err != nil {
			return fmt.Errorf("find reachable objects: %w", err)
		}
		for path, d := range foldersOf(x) {
			if err := reach(root, d, seen); err != nil {
				return fmt.Errorf("find objects that %s reaches: %w", path, err)
			}
		}
	}
	return nil
}

// foldersOf maps each path of an index to its folder object.
func foldersOf(x tree.Index) map[string]artifact.Digest {
	out := map[string]artifact.Digest{}
	for _, f := range x.FECs {
		out["fecs/"+f.Name] = f.Folder
	}
	for _, f := range x.Folders {
		out[f.Path] = f.Folder
	}
	return out
}

// reach marks one folder object and, once, what it leads to.
func reach(root *os.Root, d artifact.Digest, seen map[artifact.Digest]bool) error {
	if seen[d] {
		return nil
	}
	seen[d] = true
	f, err := readFolder(root, d)
	if err != nil {
		return err
	}
	to, err := f.references()
	for _, d := range to {
		seen[d] = true
	}
	return err
}
