package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/render"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Reconciler brings a root to what a branch of a repository says.
type Reconciler struct {
	Repo     *repo.Repo
	Branch   string           // branch, tag, commit or HEAD
	Root     string           // the served directory; made if it is not there
	Keys     []tree.SecretKey // sign everything that is published; two while one replaces the other
	Loader   *load.Loader     // remembers what it has evaluated, from pass to pass
	Verdicts *build.Verdicts  // likewise, of payloads; nil remembers nothing
	Version  string           // Pomona's own
	Log      *slog.Logger     // one line for each stage
	Now      func() time.Time
	Hook     durable.Hook // stands before every change of the root; nil applies them
}

// ErrUnsigned says that there is no key although FECs of this site refuse what is not signed.
var ErrUnsigned = errors.New("no key to sign with: make one with pomona keygen and give it with --key, or let the site say boot: allowUnverified: true")

// Depth says how closely a pass looks at what is published already.
type Depth int

// Depths. A pass of a running service trusts what it has written; a single one looks at every name; once a day every byte
// is read.
const (
	Trusting Depth = iota
	Names          // lstat of everything that the current generation names
	Digests        // and the digest of every object
)

// Reconcile is one pass that looks at every name: Pass at the depth of Names.
func (r *Reconciler) Reconcile(ctx context.Context) (report.Report, error) { return r.Pass(ctx, Names) }

// Pass publishes what the branch says, repairs what somebody damaged, and prunes what nothing keeps. Problems of the site
// come back as desired.Problems; then the root is as it was.
func (r *Reconciler) Pass(ctx context.Context, depth Depth) (report.Report, error) {
	start := time.Now()
	rep := report.Report{}
	dir, unlock, err := r.open()
	if err != nil {
		return rep, err
	}
	defer unlock()
	if rep.Recovered, err = dir.Recover(); err != nil {
		return rep, fmt.Errorf("recover root: %w", err)
	}
	want, err := r.want(ctx)
	rep.Commit, rep.Warnings = want.commit.ID, want.warnings
	if err != nil {
		return rep, err
	}
	if len(r.Keys) == 0 && !want.site.Settings.Boot.AllowUnverified {
		return rep, ErrUnsigned
	}
	have, err := observe.Root(dir.Root())
	if err != nil {
		return rep, err
	}
	if err := errors.Join(sameSite(want.site, have), r.heal(dir, have)); err != nil {
		return rep, err
	}
	objects := store.New(dir)
	parts, err := r.build(ctx, want, have, objects, r.unfinished(dir))
	if err != nil {
		return rep, err
	}
	rep.Built = len(parts.built)
	rep.Plan, err = r.plan(want, parts, &have, dir.Root())
	if err != nil || rep.Plan.Empty() && rep.Built == 0 {
		rep.Elapsed = time.Since(start)
		return rep, err
	}
	if err := r.act(ctx, dir, objects, parts, &rep); err != nil {
		return rep, err
	}
	rep.Elapsed = time.Since(start)
	return rep, nil
}

// Plan is what Reconcile would do. It writes nothing, and needs no root to exist.
func (r *Reconciler) Plan(ctx context.Context) (report.Report, error) {
	want, err := r.want(ctx)
	rep := report.Report{Commit: want.commit.ID, Warnings: want.warnings}
	if err != nil {
		return rep, err
	}
	var have observed.Root
	root, err := os.OpenRoot(r.Root)
	if err == nil {
		defer root.Close() // only read
		have, err = observe.Root(root)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return rep, err
	}
	if err := sameSite(want.site, have); err != nil {
		return rep, err
	}
	parts, err := r.build(ctx, want, have, store.Measure{}, func() error { return nil })
	if err != nil {
		return rep, err
	}
	rep.Built = len(parts.built)
	rep.Plan, err = r.plan(want, parts, &have, root)
	return rep, err
}

// wanted is one commit as far as it is known before anything is built.
type wanted struct {
	commit   repo.Commit
	files    *repo.Files
	site     desired.Site
	warnings desired.Problems
	releases map[string][]string
	expired  []string
}

// want reads and checks the commit that the branch names now.
func (r *Reconciler) want(ctx context.Context) (w wanted, err error) {
	if w.commit, err = r.Repo.Resolve(r.Branch); err != nil {
		return w, err
	}
	if w.files, err = r.Repo.Files(w.commit); err != nil {
		return w, err
	}
	site, problems, err := Validate(ctx, w.files, r.Loader, r.Verdicts, r.Now())
	if err != nil {
		return w, err
	}
	if blocking := problems.Blocking(); len(blocking) > 0 {
		return w, problems
	}
	r.Log.Info("validated site", "commit", w.commit.ID, "fecs", len(site.FECs), "warnings", len(problems))
	w.site, w.warnings = site, problems
	w.releases = plan.Releases(plan.Retain(site))
	w.expired = plan.Expired(site, r.Now())
	return w, nil
}

// Validate evaluates a site and finds everything that is wrong with it.
func Validate(ctx context.Context, src artifact.Source, loader *load.Loader, verdicts *build.Verdicts, now time.Time) (desired.Site, desired.Problems, error) {
	loaded, err := loader.Site(ctx, src)
	if err != nil {
		return desired.Site{}, nil, fmt.Errorf("load site: %w", err)
	}
	var payloads desired.Problems
	group, building := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		payloads, err = build.Check(building, src, loaded.Site, verdicts)
		return err
	})
	proof := loaded.Proof()
	checks, sound := desired.CheckChanged(loaded.Site, src.Files(), now, proof.Holds)
	proof.Extend(sound)
	checks = checks.WithoutEchoes(loaded.Problems, loaded.Broken, loaded.Lost)
	err = group.Wait()
	if err != nil {
		return desired.Site{}, nil, fmt.Errorf("check payloads: %w", err)
	}
	located, err := loaded.Locate(ctx, append(checks, payloads...))
	if err != nil {
		return desired.Site{}, nil, fmt.Errorf("locate problems: %w", err)
	}
	return loaded.Site, append(loaded.Problems, located...).Sorted(), nil
}

// plan lays out the tree and compares it with the root.
func (r *Reconciler) plan(w wanted, p parts, have *observed.Root, root *os.Root) (plan.Plan, error) {
	settings := w.site.Settings
	expired := map[string]bool{}
	for _, path := range w.expired {
		expired[path] = true
	}
	t, err := tree.Of(tree.Wanted{
		Site: w.site, Releases: w.releases, Parts: p.artifacts, Expired: expired,
		Client: boot.Client(boot.Settings{
			Site: settings.Name, Channel: settings.TheChannel(), Servers: settings.Boot.Servers,
			RequireFresh: settings.Boot.RequireFresh, AllowUnverified: settings.Boot.AllowUnverified,
		}),
	})
	if err != nil {
		return plan.Plan{}, err
	}
	have.Manifests = map[string]tree.Manifest{}
	for _, fec := range plan.ChangedFECs(t, *have) {
		if have.Manifests[fec], err = observe.Manifest(root, fec); err != nil {
			return plan.Plan{}, err
		}
	}
	keys := keyIDs(r.Keys)
	if current, ok := have.Published(); ok && len(keys) == 0 && !settings.Boot.AllowUnverified {
		keys = current.Keys // a plan may be made without the keys
	}
	made := plan.Make(plan.Want{
		Commit: w.commit.ID, GitTree: w.commit.Tree, Pomona: r.Version, Tree: t, Keys: keys, Site: w.site,
		Givens: observed.Givens{Holds: []string{}, Expired: w.expired},
	}, *have, r.Now())
	made.Builds = p.built
	return made, nil
}

func keyIDs(keys []tree.SecretKey) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID.String()
	}
	return ids
}

// act publishes, then prunes, then takes the mark of an unfinished pass away.
func (r *Reconciler) act(ctx context.Context, dir *durable.Dir, objects *store.Store, p parts, rep *report.Report) error {
	if err := r.unfinished(dir)(); err != nil {
		return err
	}
	if len(p.built) > 0 {
		if err := store.WriteKnown(dir, p.known); err != nil {
			return err
		}
	}
	if pub := rep.Plan.Publish; pub != nil {
		staged, err := render.Tree(ctx, dir, publish.Seal(rep.Plan.Tree, pub, r.Keys))
		if err != nil {
			return err
		}
		if err := publish.Generation(dir, staged, pub.Generation); err != nil {
			return err
		}
		r.Log.Info("published generation", "generation", pub.Generation.Number, "commit", pub.Generation.Commit, "changes", len(pub.Changes))
	}
	if err := r.prune(dir, objects, p, rep); err != nil {
		return err
	}
	return dir.Remove(durable.Unfinished)
}

func (r *Reconciler) prune(dir *durable.Dir, objects *store.Store, p parts, rep *report.Report) error {
	if err := prune.Generations(dir, rep.Plan.Prune); err != nil {
		return err
	}
	if !rep.Plan.Prune.Sweep {
		return nil
	}
	all, err := observe.Objects(dir.Root(), objects)
	if err != nil {
		return err
	}
	reachable, err := observe.Reachable(dir.Root(), rep.Plan.Prune.Kept())
	if err != nil {
		return err
	}
	gone := plan.Sweep(all, reachable, rep.Plan.Prune.Grace, r.Now())
	lost := map[artifact.Digest]bool{}
	for _, o := range gone {
		rep.Freed += o.Size
		lost[o.Digest] = true
	}
	rep.Swept = len(gone)
	if err := prune.Objects(objects, gone); err != nil {
		return err
	}
	r.Log.Info("swept objects", "objects", rep.Swept, "bytes", rep.Freed)
	return store.WriteKnown(dir, p.known.Without(lost))
}
