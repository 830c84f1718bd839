package observe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Previews are the trees of pull requests that are served, by number. Unreadable are the numbers of those that cannot be
// what was put there.
func Previews(root *os.Root) (all []observed.Preview, unreadable []int, err error) {
	numbers, err := previewNumbers(root)
	if err != nil {
		return nil, nil, fmt.Errorf("observe previews: %w", err)
	}
	for _, n := range numbers {
		p, err := preview(root, n)
		if IsFault(err) {
			return nil, nil, fmt.Errorf("observe preview %d: %w", n, err)
		}
		if err != nil {
			unreadable = append(unreadable, n)
			continue
		}
		all = append(all, p)
	}
	return all, unreadable, nil
}

func previewNumbers(root *os.Root) (numbers []int, err error) {
	names, err := namesIn(root, tree.PreviewsFolder)
	for _, name := range names {
		if n := previewNumber(name); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}

// previewNumber is the pull request that an entry of previews/ stands for; 0 for none.
func previewNumber(name string) int {
	n, err := strconv.ParseInt(name, 10, 32)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != name {
		return 0
	}
	return int(n)
}

func preview(root *os.Root, number int) (p observed.Preview, err error) {
	at := tree.PreviewPath(number)
	b, err := root.ReadFile(at + "/" + tree.GenerationFile)
	if err != nil {
		return p, err
	}
	if p.Generation, err = observed.ParseGeneration(b); err != nil {
		return p, err
	}
	if p.Generation.Preview == nil || p.Generation.Preview.Number != number {
		return p, fmt.Errorf("%s is of something else", tree.GenerationFile)
	}
	p.Proposed = *p.Generation.Preview
	if b, err = root.ReadFile(at + "/" + tree.IndexFile); err != nil {
		return p, err
	}
	if p.Index, err = tree.ParseIndex(b); err != nil {
		return p, err
	}
	return p, agrees(p.Index, p.Generation)
}

// Weigh are the objects that the tree of an index leads to, and about how many bytes each takes.
func Weigh(root *os.Root, x tree.Index) (map[artifact.Digest]int64, error) {
	out := map[artifact.Digest]int64{}
	for at, d := range foldersOf(x) {
		if err := weigh(root, d, out); err != nil {
			return nil, fmt.Errorf("weigh %s: %w", at, err)
		}
	}
	return out, nil
}

// block is what a small file or folder takes, in bytes.
const block = 4096

func weigh(root *os.Root, d artifact.Digest, out map[artifact.Digest]int64) error {
	if _, known := out[d]; known {
		return nil
	}
	f, err := readFolder(root, d)
	if err != nil {
		return err
	}
	out[d] = block * int64(1+len(f.names))
	for _, n := range f.nodes {
		out[d] += int64(len(n.Data)) / block * block
	}
	to, err := f.references()
	for _, d := range to {
		if _, known := out[d]; known {
			continue
		}
		info, err := root.Lstat(store.Path(d))
		if err != nil {
			return err
		}
		out[d] = info.Size()
	}
	return err
}

// previews looks at the trees of pull requests. One that is not what was put there is taken away: it can be made again.
func (w *scrubber) previews() error {
	names, err := namesIn(w.root, tree.PreviewsFolder)
	if errors.Is(err, fs.ErrPermission) {
		return nil // its mode has been noted
	}
	for _, name := range names {
		at := tree.PreviewsFolder + "/" + name
		n := previewNumber(name)
		if info, err := w.root.Lstat(at); n == 0 || err != nil || !info.IsDir() {
			w.note(observed.Foreign, at, "does not belong there")
			continue
		}
		if err := w.preview(n); w.stops(err) {
			return fmt.Errorf("scrub preview %d: %w", n, err)
		}
	}
	return err
}

func (w *scrubber) preview(number int) error {
	at := tree.PreviewPath(number)
	if ok, err := w.folder(at, 0o755); !ok {
		return err
	}
	there := map[string]string{}
	if err := w.list(at, "", there); err != nil {
		return err
	}
	p, err := preview(w.root, number)
	if IsFault(err) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err != nil {
		w.note(observed.Edited, at, "%v", err)
		return nil
	}
	if name, what := differs(p.Index, there); what != "" {
		w.note(observed.Edited, at, "%s %s", name, what)
		return nil
	}
	if missing, first := w.missing(p.Index); missing > 0 {
		w.found = append(w.found, observed.Damage{Kind: observed.Gone, Path: at + "/" + first, Preview: number,
			What: fmt.Sprintf("misses objects, %d in all", missing)})
	}
	return nil
}

// differs is the first path at which what lies in a tree's folder is not what its index says, and how.
func differs(x tree.Index, there map[string]string) (name, what string) {
	for name, what := range differences(x, there) {
		return name, what
	}
	return "", ""
}

// PreviewMisses says whether the preview of a pull request leads to something that is not there.
func PreviewMisses(root *os.Root, number int) bool {
	p, err := preview(root, number)
	if err == nil {
		_, err = Weigh(root, p.Index)
	}
	return err != nil && !IsFault(err)
}

// ReachPreviews marks what previews lead to, as far as it is there.
func ReachPreviews(root *os.Root, seen map[artifact.Digest]bool) error {
	numbers, err := previewNumbers(root)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		p, err := preview(root, n)
		if IsFault(err) {
			return err
		}
		for _, d := range foldersOf(p.Index) {
			if err := reach(root, d, seen); IsFault(err) {
				return err
			}
		}
	}
	return nil
}
