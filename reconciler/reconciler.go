package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/boot"
	"github.com/pomona-gitops/pomona/reconciler/build"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/fetch"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/prune"
	"github.com/pomona-gitops/pomona/reconciler/publish"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/render"
	"github.com/pomona-gitops/pomona/reconciler/repo"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/rpm"
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
	Packages *build.Packages  // likewise, of RPM packages; nil remembers nothing
	PilotKey *rpm.Key         // signs repositories of pilots; nil: none of sites is served
	Layout   *tree.Layout     // likewise, of the last tree; nil remembers nothing
	Served   *PublishedSite   // likewise, of the site that is published; nil remembers nothing
	Payloads *fetch.Fetcher   // brings what lies outside the repository
	Version  string           // Pomona's own
	Log      *slog.Logger     // one line for each stage
	Now      func() time.Time
	Hook     durable.Hook // stands before every change of the root; nil applies them

	Proofs   *Proofs                 // of who wrote records, beside those of the ledger; nil: there are none
	Withheld *sync.Map               // why pilots are not brought further, by name, as the last pass found; nil: nobody remembers
	Records  *Records                // of the root; nil: only what the tree states is known, and nothing is recorded
	Checks   Checks                  // of pull requests, and how much they count
	Freezes  []plan.Freeze           // windows of the calendar
	Machines []observe.MachineSource // that say when changes must wait
	Before   []publish.Hook          // may each prevent that a generation is published

	Observers []Observer // are told how passes go
	Pulse     *Pulse     // beats while they go; may be nil
}

// ErrUnsigned says that there is no key although FECs of this site refuse what is not signed.
var ErrUnsigned = errors.New("no key to sign with: make one with pomona keygen and give it with --key, or let the site say boot: allowUnverified: true")

// Reconcile is one pass that looks at every name: Pass at the depth of Names.
func (r *Reconciler) Reconcile(ctx context.Context) (report.Report, error) { return r.Pass(ctx, Names) }

// Pass publishes what the branch says, repairs what somebody damaged, and prunes what nothing keeps. Problems of the site
// come back as desired.Problems; then the root is as it was.
func (r *Reconciler) Pass(ctx context.Context, depth Depth) (report.Report, error) {
	rep, _, err := r.onePass(ctx, depth)
	return rep, err
}

func (r *Reconciler) onePass(ctx context.Context, depth Depth) (report.Report, judgement, error) {
	dir, unlock, err := r.open()
	if err != nil {
		return report.Report{}, judgement{}, err
	}
	defer unlock()
	began, here := r.Now(), *r
	var took stages
	here.Observers = append(slices.Clone(r.Observers), &took)
	rep, j, err := here.alone(ctx, dir, depth)
	rep.Stages = took.all
	if ctx.Err() == nil {
		rep.Pass = r.record(ctx, dir, began, rep, err)
		r.recordPublished(ctx, dir.Root())
	}
	return rep, j, err
}

// alone is a pass of the root's one writer.
func (r *Reconciler) alone(ctx context.Context, dir *durable.Dir, depth Depth) (rep report.Report, j judgement, err error) {
	start := time.Now()
	r.Packages.Begin()
	defer r.Packages.End()
	if rep.Recovered, err = dir.Recover(); err != nil {
		return rep, j, fmt.Errorf("recover root: %w", err)
	}
	objects := store.New(dir)
	have, repaired, err := r.mend(ctx, dir, objects, depth)
	rep.Repaired = repaired
	if err != nil {
		return rep, j, err
	}
	want, j, err := r.wantHeld(ctx, have)
	rep.Commit, rep.Wanted, rep.Warnings, rep.Holds = want.commit.ID, want.head, want.warnings, j.in
	if errors.Is(err, errHeldEmpty) {
		rep.Plan = plan.Nothing(want.head, j.in)
		return rep, j, nil
	}
	if last := have.LastCommit(); ctx.Err() == nil && last != "" && last != want.commit.ID && !have.Whole() {
		again := r.publishAgain(ctx, dir, objects, last, &have, &rep)
		if err != nil {
			err = errors.Join(err, again)
		} else if again != nil {
			r.Log.Warn("last commit not published again", "commit", last, "err", again)
		}
	}
	if err == nil {
		err = r.publish(ctx, dir, objects, want, have, &rep)
	}
	r.seePilots(ctx, j.pilots)
	if err == nil {
		r.endSuperseded(ctx, j)
	}
	rep.Elapsed = time.Since(start)
	return rep, j, err
}

// publishAgain publishes the last commit anew when its generation is damaged and the branch has moved on: what was published
// stays served and repaired whatever the branch says now, and what a commit takes away is counted from what was there.
func (r *Reconciler) publishAgain(ctx context.Context, dir *durable.Dir, objects *store.Store, commit string, have *observed.Root, rep *report.Report) error {
	r.Log.Warn("publishing the last commit again", "commit", commit)
	want, _, err := r.wantAgain(ctx, commit, *have)
	if err != nil {
		return err
	}
	if err := r.publish(ctx, dir, objects, want, *have, rep); err != nil {
		return err
	}
	*have, _, err = r.mend(ctx, dir, objects, Names)
	return err
}

// publish makes a commit current, and prunes.
func (r *Reconciler) publish(ctx context.Context, dir *durable.Dir, objects *store.Store, want wanted, have observed.Root, rep *report.Report) error {
	if len(r.Keys) == 0 && !want.site.Settings.Boot.AllowUnverified {
		return ErrUnsigned
	}
	if err := sameSite(want.site, have); err != nil {
		return err
	}
	parts, err := r.build(ctx, want, have, objects, r.unfinished(dir))
	if err != nil {
		return err
	}
	rep.Built = len(parts.built)
	rep.Plan, err = r.plan(want, parts, &have, dir.Root())
	if err == nil && len(rep.Plan.Refused) > 0 {
		return errors.Join(rep.Plan.Refused, dir.Remove(durable.Unfinished))
	}
	if err != nil || rep.Plan.Empty() && rep.Built == 0 {
		return err
	}
	if err := r.compareWithCheck(ctx, have, &rep.Plan); err != nil {
		return errors.Join(err, dir.Remove(durable.Unfinished))
	}
	if err := r.askHooks(ctx, have, rep.Plan); err != nil {
		return errors.Join(err, dir.Remove(durable.Unfinished))
	}
	if err := r.act(ctx, dir, objects, parts, have, rep); err != nil {
		return err
	}
	if pub := rep.Plan.Publish; pub != nil && r.Served != nil && len(want.held) == 0 { // else whoever asks reads as of which commits FECs stay
		r.Served.remember(servedSite{want.site, want, pub.Generation})
	}
	return nil
}

// Plan is what Reconcile would do. It writes nothing, and needs no root to exist.
func (r *Reconciler) Plan(ctx context.Context) (report.Report, error) {
	rep := report.Report{}
	var have observed.Root
	var damage []observed.Damage
	root, err := os.OpenRoot(r.Root)
	if err == nil {
		defer root.Close() // only read
		if have, err = observe.Root(root); err != nil {
			return rep, err
		}
		if damage, err = observe.Damage(ctx, root, have, r.scrub(Names)); err != nil {
			return rep, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return rep, err
	}
	want, j, err := r.wantHeld(ctx, have)
	rep.Commit, rep.Wanted, rep.Warnings, rep.Holds = want.commit.ID, want.head, want.warnings, j.in
	if errors.Is(err, errHeldEmpty) {
		rep.Plan = plan.Nothing(want.head, j.in)
		return rep, nil
	}
	if err == nil {
		err = r.foresee(ctx, want, &have, root, &rep)
	}
	if err != nil {
		return rep, err
	}
	r.planPilots(ctx, j.pilots, have, &rep.Plan)
	rep.Plan.Repair = plan.RepairOf(damage)
	if rep.Plan.Prune.Sweep && len(damage) == 0 && root != nil { // of a damaged root nobody can tell yet
		if rep.Plan.Prune.Swept, err = r.swept(have, rep.Plan); err != nil {
			r.Log.Warn("cannot foresee what a pass will sweep", "because", err)
		}
	}
	return rep, nil
}

// foresee makes the plan of a commit. What is not there is built, only to measure it.
func (r *Reconciler) foresee(ctx context.Context, want wanted, have *observed.Root, root *os.Root, rep *report.Report) error {
	if err := sameSite(want.site, *have); err != nil {
		return err
	}
	parts, err := r.build(ctx, want, *have, store.Measure{}, func() error { return nil })
	if err != nil {
		return err
	}
	if have.Known == nil && root != nil {
		parts.built = absent(root, parts.built)
	}
	rep.Built = len(parts.built)
	rep.Plan, err = r.plan(want, parts, have, root)
	return err
}

// wanted is one commit as far as it is known before anything is built.
type wanted struct {
	commit   repo.Commit
	files    *repo.Files
	site     desired.Site // with what pilots put on FECs, and without held FECs
	stated   desired.Site // as the commit says
	loaded   *load.Loaded
	warnings desired.Problems
	releases map[string][]string
	expired  []string
	pilots   []tree.PilotPlace // that give something to somebody, by name
	agreed   []observed.Agreed // by pilot
	subjects map[string]string // of what pilots offer, by pilot
	layout   *tree.Layout

	budget     *desired.Retention // that counts removals; nil: the site's own
	head       string             // commit that the branch names
	holds      []observed.Hold    // in force
	held       []observed.Held    // FECs that stay as they were; none of them is in site
	earlier    []earlier          // as what they stay
	served     desired.Site       // site with them as they stay; set if there are any
	asked      desired.Site       // site as if nothing were held
	allExpired []string           // expired as if nothing were held
}

// want reads and checks the commit that a revision names now, with the givens of today.
func (r *Reconciler) want(ctx context.Context, rev string) (w wanted, err error) {
	if w, err = r.read(ctx, rev); err != nil {
		return w, err
	}
	w.place(r.pilots(ctx, w, r.published(), nil, observed.Root{}).places)
	w.expired = plan.Expired(w.site, r.Now())
	return w, nil
}

// read loads and checks one revision. Its givens are for the caller to say.
func (r *Reconciler) read(ctx context.Context, rev string) (w wanted, err error) {
	defer r.stage("validate")()
	if w.commit, err = r.Repo.Resolve(rev); err != nil {
		return w, err
	}
	if w.files, err = r.Repo.Files(ctx, w.commit); err != nil {
		return w, Malformed(err)
	}
	loaded, problems, err := check(ctx, w.files, r.Loader, r.Verdicts, r.Now())
	if err != nil {
		return w, err
	}
	site := loaded.Site
	if blocking := problems.Blocking(); len(blocking) > 0 {
		return w, problems
	}
	r.Log.Info("validated site", "commit", w.commit.ID, "fecs", len(site.FECs), "warnings", len(problems))
	w.state(loaded)
	w.warnings, w.layout = problems, r.Layout
	w.releases = plan.Releases(plan.Retain(site))
	return w, nil
}

// Malformed makes a problem of an error which says that a commit or a folder holds what none may; others stay as they are.
func Malformed(err error) error {
	var wrong *remote.Wrong
	if !errors.As(err, &wrong) {
		return err
	}
	return desired.Problems{{Text: strings.TrimSuffix(err.Error(), "; "+wrong.Advice), Advice: wrong.Advice}}
}

// Validate evaluates a site and finds everything that is wrong with it, also with what payloads fetches for it; without
// payloads, nothing is fetched. A host that is unavailable gives a *remote.Unavailable, if the site has no problem anyway.
func Validate(ctx context.Context, src artifact.Source, loader *load.Loader, verdicts *build.Verdicts, payloads *fetch.Fetcher, now time.Time) (desired.Site, desired.Problems, error) {
	loaded, problems, err := validate(ctx, src, loader, verdicts, payloads, now)
	if err != nil {
		return desired.Site{}, nil, err
	}
	return loaded.Site, problems, nil
}

// Validate is likewise beside a root: it finds also what its service would refuse, because a name was used before.
func (r *Reconciler) Validate(ctx context.Context, src artifact.Source, verdicts *build.Verdicts, payloads *fetch.Fetcher) (desired.Site, desired.Problems, error) {
	loaded, problems, err := validate(ctx, src, r.Loader, verdicts, payloads, r.Now())
	if err != nil {
		return desired.Site{}, nil, err
	}
	published := r.published().Commit
	if published == "" || len(loaded.Site.Pilots)+len(loaded.Site.Prerequisites) == 0 {
		return loaded.Site, problems, nil
	}
	before, err := r.publishedBefore(ctx, published)
	if err != nil {
		r.Log.Warn("not known which pilots and prerequisites were there before: the published commit cannot be read", "commit", published, "because", err)
		return loaded.Site, problems, ctx.Err()
	}
	back, err := r.returned(ctx, before, wanted{stated: loaded.Site}, true)
	if err == nil {
		back, err = loaded.Locate(ctx, back)
	}
	if err != nil {
		return desired.Site{}, nil, fmt.Errorf("look for names that were used: %w", err)
	}
	return loaded.Site, append(problems, back...).Sorted(), nil
}

func validate(ctx context.Context, src artifact.Source, loader *load.Loader, verdicts *build.Verdicts, payloads *fetch.Fetcher, now time.Time) (*load.Loaded, desired.Problems, error) {
	loaded, problems, err := check(ctx, src, loader, verdicts, now)
	if err != nil {
		return nil, nil, err
	}
	more, err := checkElsewhere(ctx, loaded, payloads, len(problems.Blocking()) > 0)
	if err != nil {
		return nil, nil, fmt.Errorf("check payloads: %w", err)
	}
	located, err := loaded.Locate(ctx, more.WithoutEchoes(problems, nil, false))
	if err != nil {
		return nil, nil, fmt.Errorf("locate problems: %w", err)
	}
	return loaded, append(problems, located...).Sorted(), nil
}

// check is Validate of what the repository alone holds.
func check(ctx context.Context, src artifact.Source, loader *load.Loader, verdicts *build.Verdicts, now time.Time) (*load.Loaded, desired.Problems, error) {
	loaded, err := loader.Site(ctx, src)
	if err != nil {
		return nil, nil, fmt.Errorf("load site: %w", err)
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
		return nil, nil, fmt.Errorf("check payloads: %w", err)
	}
	located, err := loaded.Locate(ctx, append(checks, payloads...))
	if err != nil {
		return nil, nil, fmt.Errorf("locate problems: %w", err)
	}
	return loaded, append(loaded.Problems, located...).Sorted(), nil
}

// layOut lays out what a commit wants from the parts that have been built for it, with held FECs as they stay.
func (w wanted) layOut(p parts) (tree.Tree, error) {
	t, err := w.layOutFree(p, w.layout)
	for i, e := range w.earlier {
		if err != nil {
			return t, err
		}
		var then tree.Tree
		if e.served != nil {
			then = *e.served
		} else {
			then, err = e.layOutFree(p.earlier[i], nil)
		}
		if err == nil {
			t, err = t.Keep(e.fecs, then)
		}
	}
	return t, err
}

func (w wanted) layOutFree(p parts, layout *tree.Layout) (tree.Tree, error) {
	settings := w.site.Settings
	expired := map[string]bool{}
	for _, path := range w.expired {
		expired[path] = true
	}
	return layout.Of(tree.Wanted{
		Site: w.site, Releases: w.releases, Parts: p.artifacts, Expired: expired, Pilots: w.pilots,
		Client: boot.Client(boot.Settings{
			Site: settings.Name, Channel: settings.TheChannel(), Servers: settings.Boot.Servers,
			RequireFresh: settings.Boot.RequireFresh, AllowUnverified: settings.Boot.AllowUnverified,
		}),
		Command: boot.Command(),
	})
}

// plan compares the tree that is wanted with the root.
func (r *Reconciler) plan(w wanted, p parts, have *observed.Root, root *os.Root) (plan.Plan, error) {
	defer r.stage("plan")()
	t, err := w.layOut(p)
	if err != nil {
		return plan.Plan{}, err
	}
	unheld, err := w.unheld(p)
	if err != nil {
		return plan.Plan{}, err
	}
	have.Manifests = map[string]tree.Manifest{}
	for _, fec := range plan.ChangedFECs(t, *have) {
		if have.Manifests[fec], err = observe.Manifest(root, fec); err != nil {
			return plan.Plan{}, err
		}
	}
	have.Folders = map[string][]tree.Node{}
	for _, f := range plan.ChangedFolders(t, *have) {
		if nodes, err := observe.Folder(root, f.Folder); err == nil { // of a damaged one nobody knows what it held
			have.Folders[f.Path] = nodes
		}
	}
	keys := keyIDs(r.signers())
	if current, ok := have.Published(); ok && len(keys) == 0 && !w.site.Settings.Boot.AllowUnverified {
		keys = current.Keys // a plan may be made without the keys
	}
	current, _ := have.Published()
	messages, err := r.Repo.Messages(w.commit.ID, current.Commit)
	if err != nil {
		return plan.Plan{}, err
	}
	return plan.Make(plan.Want{
		Messages: messages, Builds: p.built,
		Commit: w.commit.ID, GitTree: w.commit.Tree, Pomona: r.Version, Tree: t, Keys: keys, Site: w.theServed(),
		Givens: observed.Givens{Holds: plan.Recorded(w.holds), Held: append([]observed.Held{}, w.held...), Expired: w.expired, Pilots: w.pilots, Agreed: w.agreed},
		Head:   w.head, Unheld: unheld, Holds: w.holds, Budget: w.budget, PilotKey: r.pilotKeyID(),
	}, *have, r.Now()), nil
}

// theServed is the site with held FECs as they stay.
func (w wanted) theServed() desired.Site {
	if len(w.held) > 0 {
		return w.served
	}
	return w.site
}

// signers are the keys in an order that does not depend on how they were given.
func (r *Reconciler) signers() []tree.SecretKey {
	keys := slices.Clone(r.Keys)
	slices.SortFunc(keys, func(a, b tree.SecretKey) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return slices.CompactFunc(keys, func(a, b tree.SecretKey) bool { return a.ID == b.ID })
}

func keyIDs(keys []tree.SecretKey) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID.String()
	}
	return ids
}

// act publishes, then prunes, then takes the mark of an unfinished pass away.
func (r *Reconciler) act(ctx context.Context, dir *durable.Dir, objects *store.Store, p parts, have observed.Root, rep *report.Report) error {
	if err := r.unfinished(dir)(); err != nil {
		return err
	}
	// What an earlier commit was made into is known as long as it is in the store: a rollback reads no payload.
	known := maps.Clone(have.Known)
	maps.Copy(orEmpty(&known), p.known)
	p.known = known
	if len(p.built) > 0 {
		if err := store.WriteKnown(dir, p.known); err != nil {
			return err
		}
	}
	if pub := rep.Plan.Publish; pub != nil {
		rendered := r.stage("render")
		var staged string
		sealed, err := publish.Seal(rep.Plan.Tree, pub, r.signers(), r.pilotSigner(objects))
		if err == nil {
			staged, err = render.Tree(ctx, dir, sealed)
		}
		rendered()
		if err == nil && dir.Exists(durable.PreviewUnfinished) {
			// An object that a preview has just put there may not have reached the disk.
			err = dir.SyncFileSystem()
		}
		if err != nil {
			return err
		}
		published := r.stage("publish")
		err = publish.Generation(dir, staged, pub.Generation)
		published()
		if err != nil {
			return err
		}
		r.Log.Info("published generation", "generation", pub.Generation.Number, "commit", pub.Generation.Commit, "fecs", len(rep.Plan.FECs))
	}
	if err := r.prune(dir, objects, p, have, rep); err != nil {
		return err
	}
	return dir.Remove(durable.Unfinished)
}

func (r *Reconciler) prune(dir *durable.Dir, objects *store.Store, p parts, have observed.Root, rep *report.Report) error {
	defer r.stage("prune")()
	pins, err := r.pin(dir, have, rep.Plan)
	if err != nil {
		return err
	}
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
	reachable, err := observe.Reachable(dir.Root(), rep.Plan.Prune.Kept(), pins)
	if err != nil {
		return err
	}
	gone, due := plan.Sweep(all, reachable, rep.Plan.Prune.Grace, r.Now())
	lost := map[artifact.Digest]bool{}
	for _, o := range gone {
		rep.Freed += o.Size
		lost[o.Digest] = true
	}
	rep.Swept = len(gone)
	if err := prune.Objects(objects, gone); err != nil {
		return err
	}
	if err := prune.Later(dir, due); err != nil {
		return err
	}
	r.Log.Info("swept objects", "objects", rep.Swept, "bytes", rep.Freed)
	return store.WriteKnown(dir, p.known.Without(lost))
}

// pin notes, before generations go, which releases FECs said that they run.
func (r *Reconciler) pin(dir *durable.Dir, have observed.Root, p plan.Plan) (map[string]observed.Pin, error) {
	if len(p.Prune.Remove()) == 0 || len(have.Reported) == 0 {
		return have.Pins, nil
	}
	var err error
	reports.Lock()
	have.Reported, err = store.TakeReported(dir)
	reports.Unlock()
	if err != nil {
		return nil, err
	}
	pins := r.pins(dir.Root(), have, p.Tree)
	return pins, prune.Pin(dir, pins)
}
