package reconciler

import (
	"context"
	"fmt"
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
}

// build makes the parts that the root does not hold yet. What has the key of something known is not read at all. Before
// the first byte is written, begin is called.
func (r *Reconciler) build(ctx context.Context, w wanted, have observed.Root, sink build.Sink, begin func() error) (parts, error) {
	p := parts{artifacts: map[tree.Part]artifact.Artifact{}, known: store.Known{}}
	holds, keeps := sink.(*store.Store)
	var all, missing []recipe
	seen := map[artifact.Digest]bool{} // FECs with equal scripts share one archive
	for _, need := range plan.Needs(w.site, w.releases) {
		rc := newRecipe(w.files, need)
		all = append(all, rc)
		if seen[rc.key] {
			continue
		}
		seen[rc.key] = true
		a, ok := have.Known[rc.key]
		if ok && (!keeps || holds.Has(a.Digest)) {
			p.known[rc.key] = a
			continue
		}
		missing = append(missing, rc)
		p.built = append(p.built, plan.Build{What: need.Part.String(), Why: why(ok)})
	}
	if len(missing) > 0 {
		if err := begin(); err != nil {
			return p, err
		}
		if err := p.make(ctx, w, missing, sink); err != nil {
			return p, err
		}
		r.Log.Info("built parts", "commit", w.commit.ID, "built", len(missing), "known", len(p.known)-len(missing))
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

func (p *parts) make(ctx context.Context, w wanted, missing []recipe, sink build.Sink) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, rc := range missing {
		g.Go(func() error {
			a, err := rc.make(ctx, w.files, sink)
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
	need plan.Need
	key  artifact.Digest
	make func(context.Context, artifact.Source, build.Sink) (artifact.Artifact, error)
}

func newRecipe(src artifact.Source, need plan.Need) recipe {
	switch need.Part.Kind {
	case tree.ScriptPart:
		return scriptRecipe(src, need)
	case tree.ScriptsPart:
		return scriptsRecipe(src, need)
	}
	spec := build.Spec{Folder: need.Payload.Folder, Archive: need.Payload.Archive, Install: need.Payload.Install, Format: need.Part.Format}
	return recipe{need, build.Key(src.Files(), spec), func(ctx context.Context, src artifact.Source, sink build.Sink) (artifact.Artifact, error) {
		return build.Make(ctx, src, spec, sink)
	}}
}

func scriptRecipe(src artifact.Source, need plan.Need) recipe {
	f, _ := src.Files().Find(need.Part.Name) // desired.Check has found it
	return recipe{need, build.FileKey(f), func(ctx context.Context, src artifact.Source, sink build.Sink) (artifact.Artifact, error) {
		return build.File(ctx, src, f, sink)
	}}
}

func scriptsRecipe(src artifact.Source, need plan.Need) recipe {
	scripts := map[string]artifact.File{}
	for name, file := range need.Scripts {
		scripts[name], _ = src.Files().Find(file) // desired.Check has found it
	}
	return recipe{need, build.ScriptsKey(scripts), func(ctx context.Context, src artifact.Source, sink build.Sink) (artifact.Artifact, error) {
		return build.Scripts(ctx, src, scripts, sink)
	}}
}
