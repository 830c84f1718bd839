package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// payloadPath is the CUE path of the payload that a part is made of.
func payloadPath(p tree.Part) string {
	if p.Kind == tree.SoftwarePart {
		return desired.CUEPath("software", p.Name, "versions", p.Version, "payload", p.Payload)
	}
	return desired.CUEPath("configuration", p.Name, "versions", p.Version, "payload")
}

// origin names a payload outside the site's repository: everything that decides what it is and whether it is accepted. It
// is empty for one of the repository itself.
func origin(p desired.Payload, site desired.Site) (string, error) {
	if p.Local() {
		return "", nil
	}
	var memory []int64 // an archive is linted against what platforms have
	if p.Finished() {
		for _, pl := range site.Settings.Platforms {
			memory = append(memory, pl.Memory())
		}
		slices.Sort(memory)
	}
	p.Format = "" // Spec has it
	b, err := json.Marshal(struct {
		desired.Payload
		Memory []int64
	}{p, slices.Compact(memory)})
	return string(b), err
}

// brought is a payload from elsewhere, at hand: a source, and what it is in there.
type brought struct {
	source artifact.Source
	local  desired.Payload
}

// bringer brings those payloads of a site that are needed, and keeps what is said about the others.
type bringer struct {
	fetcher *fetch.Fetcher
	needed  map[string]bool // CUE paths

	mu          sync.Mutex
	payloads    map[string]brought // by CUE path
	unseen      []string           // CUE paths of blobs, when no root is known
	unavailable map[string]error   // by CUE path
}

func newBringer(f *fetch.Fetcher, needed map[string]bool) *bringer {
	return &bringer{fetcher: f, needed: needed, payloads: map[string]brought{}, unavailable: map[string]error{}}
}

// bring is a build.Elsewhere. That a host is unavailable ends nothing: everything else is still to be found.
func (b *bringer) bring(ctx context.Context, at string, p desired.Payload) (artifact.Source, desired.Payload, error) {
	if !b.needed[at] {
		return nil, p, nil
	}
	src, local, err := b.fetcher.Payload(ctx, p)
	var unavailable *remote.Unavailable
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, fetch.ErrNoRoot):
		b.unseen = append(b.unseen, at)
		return nil, p, nil
	case errors.As(err, &unavailable):
		b.unavailable[at] = err
		return nil, p, nil
	case err != nil:
		return nil, p, err
	}
	b.payloads[at] = brought{src, local}
	return src, local, nil
}

// bringPackage is bring for a package.
func (b *bringer) bringPackage(ctx context.Context, at string, p desired.RPM) (artifact.Source, error) {
	src, err := b.fetcher.Package(ctx, p)
	var unavailable *remote.Unavailable
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case errors.Is(err, fetch.ErrNoRoot):
		b.unseen = append(b.unseen, at)
		return nil, nil
	case errors.As(err, &unavailable):
		b.unavailable[at] = err
		return nil, nil
	}
	return src, err
}

// err is every payload whose host is unavailable.
func (b *bringer) err() error {
	var errs []error
	for _, at := range slices.Sorted(maps.Keys(b.unavailable)) {
		errs = append(errs, fmt.Errorf("fetch %s: %w", at, b.unavailable[at]))
	}
	return errors.Join(errs...)
}

// elsewhere are the CUE paths of the payloads that lie elsewhere and that the tree needs: those of releases that are not
// served any more may be gone.
func elsewhere(site desired.Site) map[string]bool {
	paths := map[string]bool{}
	if site.SelfContained() {
		return paths // asking every FEC what it names takes long
	}
	for _, need := range plan.PayloadNeeds(site, plan.Releases(plan.Retain(site))) {
		if !need.Payload.Local() {
			paths[payloadPath(need.Part)] = true
		}
	}
	return paths
}

// checkElsewhere brings and lints all payloads from elsewhere. Without a fetcher, and for blobs without a root, one warning
// says that they were not checked. An unavailable host is an error, unless there are problems to tell anyway.
func checkElsewhere(ctx context.Context, loaded *load.Loaded, f *fetch.Fetcher, blocked bool) (desired.Problems, error) {
	needed := elsewhere(loaded.Site)
	if f == nil {
		paths := append(slices.Sorted(maps.Keys(needed)), build.PackagePaths(loaded.Site)...)
		return unchecked(paths, "Pomona is offline", "validate again without --offline"), nil
	}
	b := newBringer(f, needed)
	problems, err := build.CheckElsewhere(ctx, loaded.Site, b.bring)
	if err != nil {
		return nil, err
	}
	packages, err := build.CheckPackages(ctx, loaded.Site, b.bringPackage)
	if err != nil {
		return nil, err
	}
	problems = append(problems, packages...)
	slices.Sort(b.unseen)
	problems = append(problems, unchecked(b.unseen, "the blob store is not known", "give --root")...)
	if !blocked && len(problems.Blocking()) == 0 {
		return problems, b.err()
	}
	for at, err := range b.unavailable {
		problems = append(problems, desired.Problem{Path: at, Text: err.Error(), Advice: "it was not checked", Warning: true})
	}
	return problems, nil
}

// unchecked is one warning, at the first of some payloads.
func unchecked(paths []string, why, advice string) desired.Problems {
	if len(paths) == 0 {
		return nil
	}
	text := "this payload was not checked: "
	if n := len(paths); n > 1 {
		text = fmt.Sprintf("%d payloads, this one first, were not checked: ", n)
	}
	return desired.Problems{{Path: paths[0], Text: text + why, Advice: advice, Warning: true}}
}

// bring fetches and lints what missing parts need from elsewhere, before anything is written. A release whose host is
// unavailable and whose artifact is in the store already is not missing; any other ends the pass: a tree without it would
// be another tree than the commit says.
func (r *Reconciler) bring(ctx context.Context, w wanted, missing []recipe) (map[string]brought, error) {
	needed := map[string]bool{}
	for _, rc := range missing {
		if rc.spec.Origin != "" {
			needed[payloadPath(rc.need.Part)] = true
		}
	}
	if len(needed) == 0 {
		return nil, nil
	}
	if r.Payloads == nil {
		return nil, errors.New("fetch payloads: there is no folder to fetch into")
	}
	b := newBringer(r.Payloads, needed)
	problems, err := build.CheckElsewhere(ctx, w.site, b.bring)
	if err != nil {
		return nil, fmt.Errorf("fetch payloads: %w", err)
	}
	if len(b.unseen) > 0 {
		return nil, fmt.Errorf("fetch %s: %w", b.unseen[0], fetch.ErrNoRoot)
	}
	if len(problems) > 0 {
		located, err := w.loaded.Locate(ctx, problems)
		if err != nil {
			return nil, fmt.Errorf("locate problems: %w", err)
		}
		return nil, located.Sorted()
	}
	return b.payloads, b.err()
}
