package reconciler

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// parts is everything that a tree is laid out from.
type parts struct {
	artifacts map[tree.Part]artifact.Artifact
	known     store.Known // by build key, for the next pass
	built     []plan.Build
	earlier   []parts // of the commits as which held FECs stay
}

// build makes the parts that the root does not hold yet, also those of held FECs. What has the key of something known is not
// read at all. Before the first byte is written, begin is called.
func (r *Reconciler) build(ctx context.Context, w wanted, have observed.Root, sink build.Sink, begin func() error) (parts, error) {
	defer r.stage("build")()
	p, err := r.buildFree(ctx, w, have.Known, sink, begin)
	for _, e := range w.earlier {
		if err != nil {
			return p, err
		}
		if e.served != nil {
			p.earlier = append(p.earlier, parts{})
			continue
		}
		known := maps.Clone(have.Known)
		maps.Copy(orEmpty(&known), p.known)
		var then parts
		then, err = r.buildFree(ctx, e.wanted, known, sink, begin)
		p.earlier, p.built = append(p.earlier, then), append(p.built, then.built...)
		maps.Copy(p.known, then.known)
	}
	return p, err
}

func orEmpty(known *map[artifact.Digest]artifact.Artifact) map[artifact.Digest]artifact.Artifact {
	if *known == nil {
		*known = map[artifact.Digest]artifact.Artifact{}
	}
	return *known
}

func (r *Reconciler) buildFree(ctx context.Context, w wanted, have store.Known, sink build.Sink, begin func() error) (parts, error) {
	p := parts{artifacts: map[tree.Part]artifact.Artifact{}, known: store.Known{}}
	holds, keeps := sink.(interface{ Has(artifact.Digest) bool })
	var all, missing []recipe
	seen := map[artifact.Digest]bool{} // FECs with equal scripts share one archive
	for _, need := range plan.Needs(w.site, w.releases) {
		rc, err := newRecipe(w, need)
		if err != nil {
			return p, err
		}
		all = append(all, rc)
		if seen[rc.key] {
			continue
		}
		seen[rc.key] = true
		a, ok := have[rc.key]
		if ok && (!keeps || holds.Has(a.Digest) && (a.SBOM.IsZero() || holds.Has(a.SBOM))) {
			p.known[rc.key] = a
			continue
		}
		missing = append(missing, rc)
		p.built = append(p.built, plan.Build{What: need.Part.String(), Why: why(ok)})
	}
	if len(missing) > 0 {
		brought, err := r.bring(ctx, w, missing)
		if err != nil {
			return p, err
		}
		if err := begin(); err != nil {
			return p, err
		}
		if err := p.make(ctx, brought, missing, sink); err != nil {
			return p, err
		}
		r.Log.Info("built parts", "commit", w.commit.ID, "built", len(missing), "known", len(p.known)-len(missing))
	}
	if err := r.repositories(ctx, w, have, sink, begin, &p); err != nil {
		return p, err
	}
	for _, rc := range all {
		p.artifacts[rc.need.Part] = p.known[rc.key]
	}
	for i, rc := range missing {
		a := p.known[rc.key]
		p.built[i].Size, p.built[i].Digest = a.Size, a.Digest
	}
	return p, nil
}

func why(known bool) string {
	if known {
		return "its object is gone"
	}
	return "new or changed"
}

func (p *parts) make(ctx context.Context, from map[string]brought, missing []recipe, sink build.Sink) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, rc := range missing {
		g.Go(func() error {
			a, err := rc.from(from).make(ctx, sink)
			if err != nil {
				return fmt.Errorf("build %s: %w", rc.need.Part, err)
			}
			mu.Lock()
			defer mu.Unlock()
			p.known[rc.key] = a
			return nil
		})
	}
	return g.Wait()
}

// recipe says how one part is made and which key stands for its inputs.
type recipe struct {
	need    plan.Need
	key     artifact.Digest
	source  artifact.Source
	spec    build.Spec               // of an archive of software or configuration
	scripts map[string]artifact.File // of an archive of scripts
	script  artifact.File            // of a plain script
}

func newRecipe(w wanted, need plan.Need) (rc recipe, err error) {
	rc = recipe{need: need, source: w.files}
	files := w.files.Files()
	switch need.Part.Kind {
	case tree.ScriptPart:
		rc.script, _ = files.Find(need.Part.Name) // desired.Check has found it
		rc.key = build.FileKey(rc.script)
	case tree.ScriptsPart:
		rc.scripts = map[string]artifact.File{}
		for name, file := range need.Scripts {
			rc.scripts[name], _ = files.Find(file) // desired.Check has found it
		}
		rc.key = build.ScriptsKey(rc.scripts)
	default:
		p := need.Payload
		rc.spec = build.Spec{
			Folder: p.Folder, Archive: p.Archive, Install: p.Install, Format: need.Part.Format,
			About: build.About{Type: componentType(need.Part), Name: need.Part.Name, Version: need.Part.Version, Source: p},
		}
		rc.spec.Origin, err = origin(p, w.site)
		rc.key = build.Key(files, rc.spec)
	}
	return rc, err
}

func componentType(p tree.Part) string {
	if p.Kind == tree.ConfigurationPart {
		return build.Data
	}
	return build.Application
}

// from is the recipe with the source of its payload, if that has been brought from elsewhere.
func (rc recipe) from(elsewhere map[string]brought) recipe {
	if rc.spec.Origin == "" {
		return rc
	}
	b := elsewhere[payloadPath(rc.need.Part)]
	rc.source, rc.spec.Folder, rc.spec.Archive = b.source, b.local.Folder, b.local.Archive
	return rc
}

func (rc recipe) make(ctx context.Context, sink build.Sink) (artifact.Artifact, error) {
	switch rc.need.Part.Kind {
	case tree.ScriptPart:
		return build.File(ctx, rc.source, rc.script, sink)
	case tree.ScriptsPart:
		return build.Scripts(ctx, rc.source, rc.scripts, sink)
	}
	return build.Make(ctx, rc.source, rc.spec, sink)
}
