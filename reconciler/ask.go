package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// ask reads a path as people copy it: from a URL, from a listing of a root, or as it is in the tree.
func (r *Reconciler) ask(p string) (asked, error) {
	a := asked{rev: r.Branch}
	if isCUEPath(p) {
		a.path = p
		return a.orServed(r)
	}
	rest, err := r.relative(p)
	if err != nil {
		return a, err
	}
	top, below, _ := strings.Cut(rest, "/")
	switch top {
	case tree.CurrentLink:
		rest = below
	case tree.CommitsFolder, tree.GenerationsFolder:
		var which string
		which, rest, _ = strings.Cut(below, "/")
		if a.rev == "" {
			if a.rev, err = r.commitOf(top, which, rest); err != nil {
				return a, err
			}
		}
	}
	a.path = rest
	if rest == "" {
		a.path = tree.IndexFile // a whole generation
	}
	return a.orServed(r)
}

// relative is a path below a root, clean.
func (r *Reconciler) relative(p string) (string, error) {
	if u, err := url.Parse(p); err == nil && u.Host != "" {
		return strings.Trim(path.Clean(u.Path), "/."), nil
	}
	p = filepath.Clean(p)
	for _, base := range r.roots() {
		if rest, ok := strings.CutPrefix(p+"/", base+"/"); ok {
			return strings.TrimSuffix(rest, "/"), nil
		}
	}
	if !filepath.IsAbs(p) {
		return p, nil
	}
	for _, mark := range []string{tree.CurrentLink, tree.CommitsFolder, tree.GenerationsFolder, store.Folder} {
		if i := strings.Index(p, "/"+mark+"/"); i >= 0 {
			return p[i+1:], nil
		}
	}
	return "", fmt.Errorf("%q is not below a served directory: give it with --root", p)
}

// roots are the ways to write Root.
func (r *Reconciler) roots() (out []string) {
	if r.Root == "" {
		return nil
	}
	out = append(out, filepath.Clean(r.Root))
	if abs, err := filepath.Abs(r.Root); err == nil {
		out = append(out, abs)
	}
	if real, err := filepath.EvalSymlinks(r.Root); err == nil {
		if abs, err := filepath.Abs(real); err == nil {
			out = append(out, abs)
		}
	}
	return out
}

// commitOf is the commit that a path of by-commit/WHICH or generations/WHICH is made from.
func (r *Reconciler) commitOf(top, which, path string) (string, error) {
	if top == tree.CommitsFolder {
		return which, nil
	}
	n, err := strconv.ParseInt(which, 10, 32)
	if err != nil || r.Root == "" {
		return "", fmt.Errorf("generation %q is of an unknown commit: give --root or --rev", which)
	}
	return r.remembered(n, path)
}

// orServed is the commit that Root serves, or HEAD, when nobody has named one.
func (a asked) orServed(r *Reconciler) (asked, error) {
	if a.rev != "" {
		return a, nil
	}
	a.rev = "HEAD"
	if r.Root == "" {
		return a, nil
	}
	var err error
	a.rev, err = r.remembered(0, a.path)
	return a, err
}

// remembered is the commit that a path of a generation of Root is made from: of a held FEC, the one as which it stays. For 0 it
// is the current generation.
func (r *Reconciler) remembered(n int64, path string) (string, error) {
	root, err := os.OpenRoot(r.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("open root: served directory %q is not there: correct --root", r.Root)
	}
	if err != nil {
		return "", fmt.Errorf("open root: %w", err)
	}
	defer root.Close() // only read
	past, current, err := observe.Past(root)
	if err != nil {
		return "", err
	}
	if n == 0 {
		n = current
	}
	for _, p := range past {
		if p.Number != n {
			continue
		}
		for _, h := range p.Givens.Held {
			if strings.HasPrefix(path+"/", desired.FECScope+"/"+h.FEC+"/") {
				return h.Commit, nil
			}
		}
		return p.Commit, nil
	}
	if n == 0 {
		return "", errors.New("the root has published nothing: give --rev")
	}
	return "", fmt.Errorf("find generation %d: %w", n, fs.ErrNotExist)
}
