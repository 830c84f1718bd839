package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// maxRepomd bounds what is read to be signed.
const maxRepomd = 1 << 20

// pilotSigner signs repositories with the pilot key, if there is one.
func (r *Reconciler) pilotSigner(objects *store.Store) *publish.Signer {
	if r.PilotKey == nil {
		return nil
	}
	public, err := r.PilotKey.PublicArmored()
	return &publish.Signer{Public: public, Sign: func(n tree.Node) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		b := n.Data
		if !n.Object.IsZero() {
			f, err := objects.Open(n.Object)
			if err != nil {
				return nil, err
			}
			b, err = io.ReadAll(io.LimitReader(f, maxRepomd))
			if err := errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
		}
		return r.PilotKey.SignDetachedAt(b, time.Time{}) // when the key was made: written again, a folder is the same
	}}
}

// pilotKeyID is the fingerprint of the pilot key; empty for none.
func (r *Reconciler) pilotKeyID() string {
	if r.PilotKey == nil {
		return ""
	}
	return r.PilotKey.Fingerprint()
}

// errNoPilotKey says why nothing can be served of pilots of sites.
var errNoPilotKey = errors.New("no key signs its repositories: make one with pomona keygen --openpgp and give it with --pilot-key")

// pilotWaits is how long a pass waits for what is to be fetched of one pilot, altogether.
var pilotWaits = time.Minute // tests wait for less

// opener brings a package file.
func opener(f *fetch.Fetcher, p desired.RPM) build.Opener {
	return func(ctx context.Context) (artifact.Source, error) {
		if f == nil {
			return nil, errors.New("there is no folder to fetch into")
		}
		return f.Package(ctx, p)
	}
}

// repositoryMaker makes what the repositories of a site's pilots are laid out from.
type repositoryMaker struct {
	r        *Reconciler
	w        wanted
	have     store.Known
	sink     build.Sink
	parts    *parts
	packages map[tree.Part]desired.RPM
	listings map[artifact.Digest][]desired.RPM

	missing []tree.Part // that are to be made
	lists   map[artifact.Digest]bool
}

// repositories makes what the repositories of a site's pilots are laid out from, as far as the root does not hold it. What was made before is not
// read at all.
func (r *Reconciler) repositories(ctx context.Context, w wanted, have store.Known, sink build.Sink, begin func() error, p *parts) error {
	m := &repositoryMaker{r: r, w: w, have: have, sink: sink, parts: p, lists: map[artifact.Digest]bool{}}
	m.packages, m.listings = tree.RepositoryNeeds(w.site, w.pilots)
	if len(m.listings) == 0 {
		return nil
	}
	if err := m.look(); err != nil || len(m.missing) == 0 {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	if err := m.make(ctx); err != nil {
		return err
	}
	for _, part := range m.missing {
		a := p.artifacts[part]
		p.built = append(p.built, plan.Build{What: part.String(), Why: "new or changed", Size: a.Size, Digest: a.Digest})
	}
	r.Log.Info("built repositories", "commit", w.commit.ID, "built", len(m.missing), "packages", len(m.packages))
	return nil
}

// look finds what is there already.
func (m *repositoryMaker) look() error {
	for part := range m.packages {
		d, err := artifact.ParseDigest(part.Version)
		if err != nil {
			return err
		}
		m.find(part, build.PackageKey(d))
	}
	for listing := range m.listings {
		for _, file := range tree.RepodataFiles {
			if !m.find(tree.RepodataPartOf(listing, file), build.RepodataKey(listing, file)) {
				m.lists[listing] = true
			}
		}
	}
	for _, k := range m.w.site.Settings.Packages.Keys {
		f, _ := m.w.files.Files().Find(k.File) // desired.Check has found it
		if part := (tree.Part{Kind: tree.KeyPart, Name: k.File}); !slices.Contains(m.missing, part) {
			m.find(part, build.FileKey(f))
		}
	}
	slices.SortFunc(m.missing, func(a, b tree.Part) int { return cmp.Compare(a.String(), b.String()) })
	return nil
}

func (m *repositoryMaker) find(part tree.Part, key artifact.Digest) bool {
	holds, keeps := m.sink.(interface{ Has(artifact.Digest) bool })
	a, ok := m.have[key]
	if !ok || keeps && !holds.Has(a.Digest) {
		m.missing = append(m.missing, part)
		return false
	}
	m.parts.known[key], m.parts.artifacts[part] = a, a
	return true
}

func (m *repositoryMaker) make(ctx context.Context) error {
	var mu sync.Mutex
	note := func(part tree.Part, key artifact.Digest, a artifact.Artifact) {
		mu.Lock()
		defer mu.Unlock()
		m.parts.known[key], m.parts.artifacts[part] = a, a
	}
	g, ctx := errgroup.WithContext(fetch.Waits(ctx, pilotWaits)) // servable has brought it all
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, part := range m.missing {
		g.Go(func() error {
			switch part.Kind {
			case tree.PackagePart:
				d, err := artifact.ParseDigest(part.Version)
				if err != nil {
					return err
				}
				a, err := build.Package(ctx, d, opener(m.r.Payloads, m.packages[part]), m.sink)
				if err != nil {
					return fmt.Errorf("bring %s: %w", part, err)
				}
				note(part, build.PackageKey(d), a)
			case tree.KeyPart:
				f, _ := m.w.files.Files().Find(part.Name)
				a, err := build.File(ctx, m.w.files, f, m.sink)
				if err != nil {
					return err
				}
				note(part, build.FileKey(f), a)
			}
			return nil
		})
	}
	for listing := range m.lists {
		g.Go(func() error {
			files, err := m.repodata(ctx, m.listings[listing])
			for name, a := range files {
				note(tree.RepodataPartOf(listing, name), build.RepodataKey(listing, name), a)
			}
			return err
		})
	}
	return g.Wait()
}

// repodata lists packages for their clients.
func (m *repositoryMaker) repodata(ctx context.Context, packages []desired.RPM) (map[string]artifact.Artifact, error) {
	var entries []rpm.Entry
	for _, p := range packages {
		got, err := m.r.readRPM(ctx, p)
		if err != nil {
			return nil, err
		}
		d, err := artifact.ParseDigest(p.SHA256)
		if err != nil {
			return nil, err
		}
		entries = append(entries, rpm.Entry{Location: p.File, Digest: d, Size: got.Size, Package: &got.Package})
	}
	return build.Repodata(ctx, entries, m.sink)
}

// servable are places as they can be served now. A pilot with trouble stays as it was published before, or is not served at all, and says why:
// no other has to wait for it.
func (r *Reconciler) servable(ctx context.Context, w wanted, places, before []tree.PilotPlace, have observed.Root) []tree.PilotPlace {
	out := slices.Clone(places)
	for i, place := range out {
		ctx := fetch.Waits(ctx, pilotWaits)
		err := r.servesNot(ctx, w, place, have)
		if err == nil {
			continue
		}
		r.Log.Warn("pilot withheld", "pilot", place.Name, "because", err)
		was := placeIn(before, place.Name)
		was.Deployed = place.Deployed
		if was.Name != "" && r.servesNot(ctx, w, was, have) == nil {
			out[i] = was
		} else {
			out[i].Snapshots, out[i].Waves, out[i].Published = nil, make([]string, len(place.Waves)), false
		}
		out[i].Withheld = err.Error()
	}
	return out
}

// servesNot is why a place cannot be served: a package is gone or is none, or nobody could sign its repositories.
func (r *Reconciler) servesNot(ctx context.Context, w wanted, place tree.PilotPlace, have observed.Root) error {
	packages, listings := tree.RepositoryNeeds(w.site, []tree.PilotPlace{place})
	if len(listings) == 0 {
		return nil // of FECs, or nothing yet
	}
	if len(w.site.PackageServers()) == 0 {
		return errors.New("the site says no address of its repositories, in site.packages.servers or site.boot.servers")
	}
	current, _ := have.Published()
	plans := len(r.Keys) == 0 && current.PilotKey != "" // a plan may be made without any key: whoever publishes has them
	if r.PilotKey == nil && !plans && !signedBefore(w.site, place, have) {
		return errNoPilotKey
	}
	for _, part := range slices.SortedFunc(maps.Keys(packages), func(a, b tree.Part) int { return cmp.Compare(a.Name, b.Name) }) {
		p := packages[part]
		d, err := artifact.ParseDigest(p.SHA256)
		if err != nil {
			return err
		}
		if a, ok := have.Known[build.PackageKey(d)]; ok && r.holds(a.Digest) {
			continue
		}
		if _, err := r.readRPM(ctx, p); err != nil {
			return err
		}
		if _, err := opener(r.Payloads, p)(ctx); err != nil { // what it says of itself may be known from elsewhere
			return fmt.Errorf("package %s: %w", p.File, err)
		}
	}
	return nil
}

// holds says whether the root has an object: it may have been lost since it was looked at last. Without a root nobody knows.
func (r *Reconciler) holds(d artifact.Digest) bool {
	_, err := os.Stat(filepath.Join(r.Root, filepath.FromSlash(store.Path(d))))
	return r.Root == "" || err == nil
}

// signedBefore says whether everything of a place that is to be signed is published with signatures.
func signedBefore(s desired.Site, place tree.PilotPlace, have observed.Root) bool {
	was := map[string]bool{}
	for _, f := range have.Index.Folders {
		was[f.Path] = !f.Content.IsZero()
	}
	for _, path := range tree.SignedFolders(s, place) {
		if !was[path] {
			return false
		}
	}
	return true
}

// readRPM is a package as it describes itself.
func (r *Reconciler) readRPM(ctx context.Context, p desired.RPM) (build.ReadPackage, error) {
	d, err := artifact.ParseDigest(p.SHA256)
	if err != nil {
		return build.ReadPackage{}, err
	}
	got, err := r.Packages.Read(ctx, d, opener(r.Payloads, p))
	if err == nil && got.Wrong != "" {
		err = errors.New("it is no RPM package: " + got.Wrong)
	}
	if err != nil {
		return got, fmt.Errorf("package %s: %w", p.File, err)
	}
	return got, nil
}
