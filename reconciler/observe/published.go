package observe

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// PublishedFEC is what a generation publishes to a FEC, as a ledger keeps it.
func PublishedFEC(root *os.Root, g observed.Generation, fec string) (ledger.PublishedFEC, error) {
	m, err := ManifestOf(root, g.Number, fec)
	p := ledger.PublishedFEC{FEC: fec, Serial: m.Serial, Commit: g.Commit, Generation: g.Number, At: g.Published, Manifest: m.Marshal(), Software: map[string]string{}}
	for _, s := range m.Software {
		p.Software[s.Name] = s.Version
	}
	return p, err
}

// ManifestOf is the manifest of a FEC in a generation.
func ManifestOf(root *os.Root, n int64, fec string) (tree.Manifest, error) {
	b, err := root.ReadFile(path.Join(tree.GenerationPath(n), "fecs", fec, tree.ManifestName))
	if err != nil {
		return tree.Manifest{}, fmt.Errorf("read manifest of %s: %w", fec, err)
	}
	m, _, _, err := tree.ParseManifest(b)
	if err != nil {
		return m, fmt.Errorf("read manifest of %s: %w", fec, err)
	}
	return m, nil
}

// PublishedReleases are the versions of software that a generation holds.
func PublishedReleases(root *os.Root, g observed.Past) (releases []ledger.PublishedRelease, err error) {
	for _, f := range g.Index.Folders {
		name, ok := strings.CutPrefix(f.Path, "software/")
		if !ok {
			continue
		}
		versions, err := durable.Names(root, path.Join(tree.GenerationPath(g.Number), f.Path))
		if err != nil {
			return nil, fmt.Errorf("list releases of %s: %w", name, err)
		}
		for _, v := range versions {
			releases = append(releases, ledger.PublishedRelease{Software: name, Version: v, Commit: g.Commit, Generation: g.Number, At: g.Published})
		}
	}
	return releases, nil
}

// Releases remembers which versions of software generations hold: those that share a folder are read once. The zero value is ready.
type Releases struct{ read map[string][]string } // by where a link to a folder leads

// In are the versions that a generation holds, by software.
func (rs *Releases) In(root *os.Root, n int64) (map[string][]string, error) {
	at := path.Join(tree.GenerationPath(n), "software")
	names, err := durable.Names(root, at)
	if err != nil {
		return nil, fmt.Errorf("list software of generation %d: %w", n, err)
	}
	out := map[string][]string{}
	for _, name := range names {
		to := target(root, path.Join(at, name))
		versions, known := rs.read[to]
		if !known || to == "" {
			if versions, err = durable.Names(root, path.Join(at, name)); err != nil {
				return nil, fmt.Errorf("list releases of %s: %w", name, err)
			}
			if rs.read == nil {
				rs.read = map[string][]string{}
			}
			rs.read[to] = versions
		}
		out[name] = versions
	}
	return out, nil
}

// Now is the current generation with its index; a zero one for none.
func Now(root *os.Root) (observed.Past, error) {
	n := numbered(root, tree.CurrentLink, "")
	if n == 0 {
		return observed.Past{}, nil
	}
	return pastOne(root, n, Index)
}

// Generation is one that is there.
func Generation(root *os.Root, n int64) (observed.Past, error) { return pastOne(root, n, Index) }
