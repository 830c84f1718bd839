package observe

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Past are the generations of a root that are there, newest first, and the number of the current one. The root may be
// written meanwhile: what is pruned while it is read counts as gone.
func Past(root *os.Root) (past []observed.Past, current int64, err error) {
	return pastBy(root, Index)
}

// PastOf are likewise all generations, but of what they hold only one FEC.
func PastOf(root *os.Root, fec string) (past []observed.Past, current int64, err error) {
	return pastBy(root, func(root *os.Root, n int64) (x tree.Index, err error) {
		b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.IndexFile)
		if f, there := tree.FindFEC(b, fec); there {
			x.FECs = []tree.IndexedFEC{f}
		}
		return x, err
	})
}

func pastBy(root *os.Root, index func(*os.Root, int64) (tree.Index, error)) (past []observed.Past, current int64, err error) {
	names, err := durable.Names(root, tree.GenerationsFolder)
	if err != nil {
		return nil, 0, fmt.Errorf("list generations: %w", err)
	}
	for _, name := range names {
		n, err := strconv.ParseInt(name, 10, 32)
		if err != nil || strconv.FormatInt(n, 10) != name {
			continue // no pass wrote it
		}
		p, err := pastOne(root, n, index)
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read generation %d: %w", n, err)
		}
		past = append(past, p)
	}
	slices.SortFunc(past, func(a, b observed.Past) int { return int(b.Number - a.Number) })
	// Asked for last, so that nothing that was listed and is published looks unpublished.
	return past, numbered(root, tree.CurrentLink, ""), nil
}

// Current is the published generation; zero for none.
func Current(root *os.Root) (observed.Generation, error) {
	n := numbered(root, tree.CurrentLink, "")
	if n == 0 {
		return observed.Generation{}, nil
	}
	b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.GenerationFile)
	if err != nil {
		return observed.Generation{}, fmt.Errorf("read generation %d: %w", n, err)
	}
	return observed.ParseGeneration(b)
}

func pastOne(root *os.Root, n int64, index func(*os.Root, int64) (tree.Index, error)) (observed.Past, error) {
	b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.GenerationFile)
	if err != nil {
		return observed.Past{}, err
	}
	g, err := observed.ParseGeneration(b)
	if err != nil {
		return observed.Past{}, err
	}
	g.Number = n // what it is called by counts
	x, err := index(root, n)
	return observed.Past{Generation: g, Index: x}, err
}
