// Package observe reads a root into values. It writes nothing.
package observe

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Root reads the generations of a root and the index of the current one. An empty root is no error, and neither is a
// damaged one.
func Root(root *os.Root) (observed.Root, error) { return new(Indexes).Root(root) }

// Indexes remember the index that was read last: to parse that of many FECs takes longer than everything else. The zero value is ready; it is safe for
// concurrent use.
type Indexes struct {
	mu    sync.Mutex
	sum   [sha256.Size]byte // of its bytes
	index tree.Index
}

// Root is Root, with an index that is others' too: nobody may change it.
func (x *Indexes) Root(root *os.Root) (observed.Root, error) {
	r := &rootReader{root: root, indexes: x}
	if err := r.read(); err != nil {
		return r.have, fmt.Errorf("observe root: %w", err)
	}
	return r.have, nil
}

type rootReader struct {
	root    *os.Root
	indexes *Indexes
	have    observed.Root
}

func (r *rootReader) read() (err error) {
	if err := r.generations(); err != nil {
		return err
	}
	if err := r.current(); err != nil {
		return err
	}
	if n := r.have.Current; n > 0 {
		if r.have.Index, err = r.indexes.of(r.root, n); IsFault(err) {
			return err
		} else if err != nil {
			r.damaged(n, err)
		}
	}
	if r.have.Commits, err = commits(r.root); err != nil {
		return err
	}
	_, err = r.root.Lstat(durable.Unfinished)
	r.have.Interrupted = err == nil
	if b, err := r.root.ReadFile(durable.SweepDue); err == nil {
		r.have.SweepDue, _ = time.Parse(time.RFC3339, string(b)) // what is torn counts as none: the next prune sweeps too
	}
	if r.have.Reported, err = store.ReadReported(r.root.FS()); err != nil {
		return err
	}
	pins, err := store.ReadPins(r.root.FS())
	if err != nil {
		return err
	}
	r.have.Pins = map[string]observed.Pin{}
	for fec, p := range pins {
		r.have.Pins[fec] = observed.Pin(p)
	}
	r.have.Known, err = store.ReadKnown(r.root.FS())
	if errors.Is(err, fs.ErrPermission) {
		return nil // whoever only plans may not read the private part; then nothing counts as built
	}
	return err
}

// Manifest reads the published manifest of one FEC; a damaged root may not have it any more, and then it is empty.
func Manifest(root *os.Root, fec string) (tree.Manifest, error) {
	b, err := root.ReadFile(path.Join("current/fecs", fec, tree.ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return tree.Manifest{}, nil
	}
	if err != nil {
		return tree.Manifest{}, fmt.Errorf("read manifest of %s: %w", fec, err)
	}
	m, _, _, err := tree.ParseManifest(b)
	if err != nil {
		return tree.Manifest{}, nil
	}
	return m, nil
}

// generations reads generation.json of each generation. One that cannot be read is damaged, and known by its number only.
func (r *rootReader) generations() error {
	names, err := namesIn(r.root, tree.GenerationsFolder)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a scrub says that its mode is wrong, and what comes after sees more
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		n := generationNumber(name)
		if n == 0 {
			continue // a scrub says what does not belong there
		}
		g, err := r.generation(n)
		if IsFault(err) {
			return err
		}
		if err != nil {
			g = observed.Generation{Number: n}
			r.damaged(n, err)
		}
		r.have.Generations = append(r.have.Generations, g)
	}
	slices.SortFunc(r.have.Generations, func(a, b observed.Generation) int { return int(a.Number - b.Number) })
	return nil
}

// namesIn are the entries of a folder, sorted; none of what is no folder, of which a scrub says so.
func namesIn(root *os.Root, dir string) ([]string, error) {
	if info, err := root.Lstat(dir); err == nil && !info.IsDir() {
		return nil, nil
	}
	return durable.Names(root, dir)
}

func (r *rootReader) damaged(n int64, err error) {
	if r.have.Damaged == nil {
		r.have.Damaged = map[int64]string{}
	}
	r.have.Damaged[n] = err.Error()
}

// generationNumber is the number that an entry of generations/ stands for; 0 for none.
func generationNumber(name string) int64 {
	n, err := strconv.ParseInt(name, 10, 32)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != name {
		return 0
	}
	return n
}

func (r *rootReader) generation(n int64) (observed.Generation, error) {
	b, err := r.root.ReadFile(tree.GenerationPath(n) + "/" + tree.GenerationFile)
	if err != nil {
		return observed.Generation{}, err
	}
	g, err := observed.ParseGeneration(b)
	if err == nil && g.Number != n {
		err = fmt.Errorf("%s says that it is %d", tree.GenerationFile, g.Number)
	}
	return g, err
}

// current follows the one link that publishes. A link that leads to no generation counts as none: the next pass publishes
// anew.
func (r *rootReader) current() error {
	target, err := r.root.Readlink(tree.CurrentLink)
	if IsFault(err) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	n := generationNumber(path.Base(target))
	if n > 0 && target == tree.GenerationPath(n) && slices.ContainsFunc(r.have.Generations, func(g observed.Generation) bool { return g.Number == n }) {
		r.have.Current = n
	}
	return nil
}

// Index reads the index of one generation.
func Index(root *os.Root, n int64) (tree.Index, error) { return new(Indexes).of(root, n) }

func (x *Indexes) of(root *os.Root, n int64) (tree.Index, error) {
	b, err := root.ReadFile(tree.GenerationPath(n) + "/" + tree.IndexFile)
	if err != nil {
		return tree.Index{}, fmt.Errorf("read index of generation %d: %w", n, err)
	}
	sum := sha256.Sum256(b)
	x.mu.Lock()
	defer x.mu.Unlock()
	if sum == x.sum {
		return x.index, nil
	}
	index, err := tree.ParseIndex(b)
	if err == nil {
		x.sum, x.index = sum, index
	}
	return index, err
}

// commits reads the links of by-commit. One that leads to no generation is pruned; what is no link of a commit is not
// listed.
func commits(root *os.Root) (map[string]int64, error) {
	names, err := namesIn(root, tree.CommitsFolder)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, name := range names {
		target, err := root.Readlink(tree.CommitsFolder + "/" + name)
		if IsFault(err) {
			return nil, err
		}
		if err != nil || len(name) != 40 || strings.Trim(name, "0123456789abcdef") != "" {
			continue
		}
		n := generationNumber(path.Base(target))
		if n == 0 || target != "../"+tree.GenerationPath(n) {
			n = -1 // no generation has that number
		}
		out[name] = n
	}
	return out, nil
}
