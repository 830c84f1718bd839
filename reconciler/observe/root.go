// Package observe reads a root into values. It writes nothing.
package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Root reads the generations of a root and the index of the current one. An empty root is no error.
func Root(root *os.Root) (observed.Root, error) {
	var r observed.Root
	var err error
	if r.Generations, err = generations(root); err != nil {
		return r, fmt.Errorf("observe root: %w", err)
	}
	if r.Current, err = current(root, r.Generations); err != nil {
		return r, fmt.Errorf("observe root: %w", err)
	}
	if r.Current > 0 {
		if r.Index, err = index(root, r.Current); err != nil {
			return r, fmt.Errorf("observe root: %w", err)
		}
	}
	if r.Commits, err = commits(root); err != nil {
		return r, fmt.Errorf("observe root: %w", err)
	}
	_, err = root.Lstat(durable.Unfinished)
	r.Interrupted = err == nil
	if b, err := root.ReadFile(durable.SweepDue); err == nil {
		r.SweepDue, _ = time.Parse(time.RFC3339, string(b)) // what is torn counts as none: the next prune sweeps too
	}
	r.Known, err = store.ReadKnown(root.FS())
	if errors.Is(err, fs.ErrPermission) {
		return r, nil // whoever only plans may not read the private part; then nothing counts as built
	}
	return r, err
}

// Manifest reads the published manifest of one FEC.
func Manifest(root *os.Root, fec string) (tree.Manifest, error) {
	b, err := root.ReadFile(path.Join("current/fecs", fec, tree.ManifestName))
	if err != nil {
		return tree.Manifest{}, fmt.Errorf("read manifest of %s: %w", fec, err)
	}
	m, _, _, err := tree.ParseManifest(b)
	return m, err
}

func generations(root *os.Root) ([]observed.Generation, error) {
	names, err := durable.Names(root, tree.GenerationsFolder)
	if err != nil {
		return nil, err
	}
	var out []observed.Generation
	for _, name := range names {
		n, err := strconv.ParseInt(name, 10, 32)
		if err != nil || strconv.FormatInt(n, 10) != name {
			return nil, fmt.Errorf("unknown entry %q: remove it", tree.GenerationsFolder+"/"+name)
		}
		b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.GenerationFile)
		if err != nil {
			return nil, fmt.Errorf("read generation %d: %w", n, err)
		}
		g, err := observed.ParseGeneration(b)
		if err != nil {
			return nil, fmt.Errorf("read generation %d: %w", n, err)
		}
		if g.Number != n {
			return nil, fmt.Errorf("read generation %d: it says that it is %d", n, g.Number)
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b observed.Generation) int { return int(a.Number - b.Number) })
	return out, nil
}

// current follows the one link that publishes. A link to a generation that is gone counts as none: the next pass
// publishes anew.
func current(root *os.Root, gs []observed.Generation) (int64, error) {
	target, err := root.Readlink(tree.CurrentLink)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(path.Base(target), 10, 32)
	if err != nil || target != tree.GenerationPath(n) {
		return 0, fmt.Errorf("malformed link %s -> %q", tree.CurrentLink, target)
	}
	if !slices.ContainsFunc(gs, func(g observed.Generation) bool { return g.Number == n }) {
		return 0, nil
	}
	return n, nil
}

func index(root *os.Root, n int64) (tree.Index, error) {
	b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.IndexFile)
	if err != nil {
		return tree.Index{}, fmt.Errorf("read index of generation %d: %w", n, err)
	}
	return tree.ParseIndex(b)
}

func commits(root *os.Root) (map[string]int64, error) {
	names, err := durable.Names(root, tree.CommitsFolder)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, name := range names {
		target, err := root.Readlink(tree.CommitsFolder + "/" + name)
		if err != nil {
			return nil, err
		}
		// A malformed target gives 0, which no generation has, so the link is pruned.
		out[name], _ = strconv.ParseInt(path.Base(target), 10, 32)
	}
	return out, nil
}
