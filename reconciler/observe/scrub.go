package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"slices"

	"golang.org/x/time/rate"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Scrub says how closely to look. Names, modes, links and every small rendered file are always compared.
type Scrub struct {
	Keys  []tree.PublicKey           // check the index of generations that these have signed
	Reads func(artifact.Digest) bool // says which archives are read
	Rate  *rate.Limiter              // bytes of archives a second
}

// Damage compares a root with what Pomona left there: kept generations, the links to them, and every object.
func Damage(ctx context.Context, root *os.Root, have observed.Root, s Scrub) ([]observed.Damage, error) {
	w := &scrubber{Scrub: s, ctx: ctx, root: root, have: have, objects: map[artifact.Digest]bool{},
		leads: map[artifact.Digest][]artifact.Digest{}, sizes: map[artifact.Digest]int64{}}
	for _, a := range have.Known {
		maps.Copy(w.sizes, a.Sizes())
	}
	if err := errors.Join(w.layout(), w.store()); w.stops(err) {
		return nil, fmt.Errorf("scrub root: %w", err)
	}
	for _, g := range have.Generations {
		if err := w.generation(g); w.stops(err) {
			return nil, fmt.Errorf("scrub generation %d: %w", g.Number, err)
		}
	}
	if err := w.previews(); err != nil {
		return nil, err
	}
	return w.found, nil
}

type scrubber struct {
	Scrub
	ctx     context.Context
	root    *os.Root
	have    observed.Root
	objects map[artifact.Digest]bool              // those that are whole
	leads   map[artifact.Digest][]artifact.Digest // folder object to what it leads to
	sizes   map[artifact.Digest]int64
	found   []observed.Damage
}

// stops says whether an error ends the scrub. What could not be looked into because of a wrong mode is looked at again when
// that is right.
func (w *scrubber) stops(err error) bool {
	wrongMode := func(d observed.Damage) bool { return d.Kind == observed.WrongMode }
	return err != nil && (IsFault(err) || !errors.Is(err, fs.ErrPermission) || !slices.ContainsFunc(w.found, wrongMode))
}

func (w *scrubber) note(kind observed.Kind, path, format string, args ...any) {
	w.found = append(w.found, observed.Damage{Kind: kind, Path: path, What: fmt.Sprintf(format, args...)})
}

// mode notes a wrong mode and says whether it is right.
func (w *scrubber) mode(path string, got, want fs.FileMode) bool {
	if got.Perm() != want {
		w.found = append(w.found, observed.Damage{Kind: observed.WrongMode, Path: path, Mode: want,
			What: fmt.Sprintf("has mode %04o instead of %04o", got.Perm(), want)})
	}
	return got.Perm() == want
}

// layout looks at the folders that every root has and at the links that lead to generations.
func (w *scrubber) layout() error {
	for _, name := range []string{durable.Private, tree.GenerationsFolder, tree.CommitsFolder, store.Folder, tree.DataFolder, tree.PreviewsFolder} {
		want := fs.FileMode(0o755)
		if name == durable.Private {
			want = 0o700
		}
		if _, err := w.folder(name, want); err != nil {
			return err
		}
	}
	if info, err := w.root.Lstat(tree.CurrentLink); err == nil && info.Mode().Type() != fs.ModeSymlink {
		w.note(observed.Foreign, tree.CurrentLink, "is no link")
	} else if last := w.last(); w.have.Current == 0 && last > 0 {
		w.found = append(w.found, observed.Damage{Kind: observed.Unlinked, Path: tree.CurrentLink, What: "leads nowhere", Generation: last})
	}
	return errors.Join(w.strangers(tree.GenerationsFolder, func(name string) bool { return generationNumber(name) > 0 }),
		w.strangers(tree.CommitsFolder, func(name string) bool { return w.have.Commits[name] != 0 }), w.links())
}

// last is the generation that was published last, as far as links of commits tell, else the newest; 0 for one that is not
// there any more, since an older one must not take its place.
func (w *scrubber) last() (n int64) {
	linked := slices.Max(append(slices.Collect(maps.Values(w.have.Commits)), 0))
	for _, g := range w.have.Generations {
		if linked == 0 && w.have.Damaged[g.Number] == "" || linked == g.Number {
			n = g.Number
		}
	}
	return n
}

// folder notes what is wrong with a folder itself; it says whether there is one to look into.
func (w *scrubber) folder(name string, want fs.FileMode) (bool, error) {
	info, err := w.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.IsDir():
		w.note(observed.Foreign, name, "is no folder")
		return false, nil
	}
	return w.mode(name, info.Mode(), want), nil
}

func (w *scrubber) strangers(dir string, known func(string) bool) error {
	names, err := namesIn(w.root, dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // its mode has been noted
	}
	for _, name := range names {
		if !known(name) {
			w.note(observed.Foreign, dir+"/"+name, "does not belong there")
		}
	}
	return err
}

// links looks for generations that their commit does not lead to.
func (w *scrubber) links() error {
	newest := map[string]int64{}
	for _, g := range w.have.Generations {
		if w.have.Damaged[g.Number] == "" && (w.have.Current == 0 || g.Number <= w.have.Current) {
			newest[g.Commit] = g.Number
		}
	}
	for _, commit := range slices.Sorted(maps.Keys(newest)) {
		if n := newest[commit]; w.have.Commits[commit] != n {
			w.found = append(w.found, observed.Damage{Kind: observed.Unlinked, Path: tree.CommitsFolder + "/" + commit,
				What: fmt.Sprintf("does not lead to generation %d", n), Generation: n})
		}
	}
	return nil
}

// generation compares one generation with its index, and looks for objects that it reaches. Of one that is damaged anyway
// only the modes count: they may be why.
func (w *scrubber) generation(g observed.Generation) error {
	at := tree.GenerationPath(g.Number)
	if ok, err := w.folder(at, 0o755); !ok {
		return err
	}
	there := map[string]string{}
	if err := w.list(at, "", there); err != nil || w.have.Damaged[g.Number] != "" {
		return err
	}
	x, err := w.index(g)
	if IsFault(err) {
		return err
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil // looked at again when the modes are right
	}
	if err != nil {
		w.alter(g, at+"/"+tree.IndexFile, err.Error())
		return nil
	}
	w.gone(g, x)
	for name, what := range differences(x, there) {
		w.alter(g, at+"/"+name, what)
	}
	return nil
}

func (w *scrubber) alter(g observed.Generation, path, what string) {
	w.found = append(w.found, observed.Damage{Kind: observed.Altered, Path: path, What: what, Generation: g.Number})
}

// linksOf are all links of a generation, as they lie on the disk.
func linksOf(x tree.Index) []tree.Link {
	out := slices.Clone(x.Links)
	for at, d := range foldersOf(x) {
		out = append(out, tree.Link{Path: at, Target: tree.UpFrom(at) + store.Path(d)})
	}
	return out
}

func (w *scrubber) index(g observed.Generation) (tree.Index, error) {
	b, err := w.root.ReadFile(path.Join(tree.GenerationPath(g.Number), tree.IndexFile))
	if err != nil {
		return tree.Index{}, err
	}
	x, err := tree.ParseIndex(b)
	if err != nil {
		return x, err
	}
	if err := agrees(x, g); err != nil {
		return x, err
	}
	signers := slices.DeleteFunc(slices.Clone(w.Keys), func(k tree.PublicKey) bool { return !slices.Contains(g.Keys, k.ID.String()) })
	if len(signers) == 0 {
		return x, nil
	}
	sig, err := w.root.ReadFile(path.Join(tree.GenerationPath(g.Number), tree.SignatureFile))
	if err != nil {
		return x, err
	}
	sigs, _, err := tree.ParseSignatures(sig)
	if err == nil && !tree.Verify(b, sigs, signers) {
		err = errors.New("its signature does not verify")
	}
	return x, err
}

func agrees(x tree.Index, g observed.Generation) error {
	if x.Generation != g.Number || x.Commit != g.Commit || x.Tree != g.Tree || x.Site != g.Site {
		return fmt.Errorf("disagrees with %s", tree.GenerationFile)
	}
	return nil
}

// gone notes, once for a generation, that it reaches objects or folders for data that are not there.
func (w *scrubber) gone(g observed.Generation, x tree.Index) {
	if missing, at := w.missing(x); missing > 0 {
		w.found = append(w.found, observed.Damage{Kind: observed.Gone, Path: tree.GenerationPath(g.Number) + "/" + at,
			What: fmt.Sprintf("misses objects, %d in all", missing), Generation: g.Number})
	}
}

// missing is how many objects are not there, or not whole, that an index leads to, and the first path that leads to one.
func (w *scrubber) missing(x tree.Index) (n int, at string) {
	missing := map[artifact.Digest]bool{}
	for name, f := range foldersOf(x) {
		for _, o := range append([]artifact.Digest{f}, w.leads[f]...) {
			if !w.objects[o] {
				missing[o] = true
				if at == "" || name < at {
					at = name
				}
			}
		}
	}
	return len(missing), at
}

// list is everything in a generation's folder: links with their target, files with none.
func (w *scrubber) list(dir, prefix string, there map[string]string) error {
	sub, err := w.root.OpenRoot(path.Join(dir, prefix))
	if err != nil {
		return err
	}
	defer sub.Close() // only read
	entries, err := entriesOf(sub)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		there[path.Clean(prefix)] = ""
	}
	for _, e := range entries {
		name := prefix + e.Name()
		switch {
		case e.IsDir():
			ok, err := w.folder(dir+"/"+name, 0o755)
			if err == nil && ok {
				err = w.list(dir, name+"/", there)
			}
			if err != nil {
				return err
			}
		case e.Type() == fs.ModeSymlink:
			if there[name], err = sub.Readlink(e.Name()); err != nil {
				return err
			}
		default:
			there[name] = ""
			if info, err := sub.Lstat(e.Name()); err == nil {
				w.mode(dir+"/"+name, info.Mode(), 0o444)
			}
		}
	}
	return nil
}

// differences are the paths at which what lies in a tree's folder is not what its index says, and how.
func differences(x tree.Index, there map[string]string) iter.Seq2[string, string] {
	return func(yield func(name, what string) bool) {
		rest := maps.Clone(there)
		for _, name := range []string{tree.GenerationFile, tree.IndexFile, tree.SignatureFile} {
			delete(rest, name)
		}
		for _, l := range linksOf(x) {
			got, ok := rest[l.Path]
			delete(rest, l.Path)
			what := ""
			if !ok {
				what = "is gone"
			} else if got != l.Target {
				what = fmt.Sprintf("leads to %q instead of %q", got, l.Target)
			}
			if what != "" && !yield(l.Path, what) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(rest)) {
			if !yield(name, "does not belong there") {
				return
			}
		}
	}
}
