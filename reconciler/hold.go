package reconciler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// judgement is which holds are in force at one moment.
type judgement struct {
	holds  plan.Holds
	in     []observed.Hold
	pilots pilotsJudged
	turn   time.Time // when the clock alone changes that; zero: not soon
	head   string    // commit that the branch names
}

// judge finds the holds that are in force, as far as the site itself need not be read for that.
// Those that were placed are the given ones if the ledger cannot tell.
func (r *Reconciler) judge(ctx context.Context, head string, otherwise []observed.Hold) judgement {
	j := judgement{head: head, holds: plan.Holds{Freezes: r.Freezes, Machines: observe.Machines(ctx, r.Machines), Newer: map[string]bool{}}}
	var known bool
	if j.holds.Placed, j.holds.Overrides, known = r.Records.read(ctx); !known {
		j.holds.Placed = otherwise
	}
	for _, h := range j.holds.Placed {
		if h.Bad != "" && head != "" {
			j.holds.Newer[h.Bad] = r.newer(head, h.Bad)
		}
	}
	j.again(r.Now())
	return j
}

func (j *judgement) again(now time.Time) { j.in, j.turn = j.holds.InForce(now) }

// newer says whether a commit has followed one that was rolled back: it is neither that one nor lies in its past.
func (r *Reconciler) newer(head, bad string) bool {
	past, err := r.Repo.Reaches(bad, head)
	if err != nil {
		return head != bad // the one that was rolled back is not there any more
	}
	return !past
}

// dated says since when the holds have been in force that nobody placed.
func (r *Reconciler) dated(ctx context.Context, in []observed.Hold) []observed.Hold {
	var ids []string
	for _, h := range in {
		if h.Since.IsZero() {
			ids = append(ids, h.ID)
		}
	}
	since := r.Records.see(ctx, ids, r.Now().UTC().Truncate(time.Second))
	in = slices.Clone(in)
	for i, h := range in {
		if h.Since.IsZero() {
			in[i].Since = since[h.ID]
		}
	}
	return in
}

// errHeldEmpty says that the whole site is held before anything was published.
var errHeldEmpty = errors.New("the site is held, and nothing is published yet")

// wantHeld reads and checks the commit that is to be published under the holds in force: the one that the branch names, or
// the one at which the site is held.
func (r *Reconciler) wantHeld(ctx context.Context, have observed.Root) (wanted, judgement, error) {
	head, unresolved := r.Repo.Resolve(r.Branch)
	j := r.judge(ctx, head.ID, stated(have))
	rev, published := head.ID, have.LastCommit()
	site := plan.SiteHolds(j.in)
	if len(site) > 0 {
		if rev = plan.SiteCommit(site, published); rev == "" {
			return wanted{head: head.ID}, j, errHeldEmpty
		}
	} else if unresolved != nil {
		return wanted{}, j, unresolved
	}
	w, err := r.read(ctx, rev)
	w.head = head.ID
	if err == nil && rev == head.ID {
		err = r.appendOnly(ctx, w, published)
	}
	if err != nil {
		return w, j, err
	}
	j.holds.Stated = w.site.Holds
	j.again(r.Now())
	if len(site) == 0 && len(plan.SiteHolds(j.in)) > 0 && published != "" && published != w.commit.ID {
		// The commit itself says that the site stays as it is: until then it says nothing else.
		if w, err = r.read(ctx, published); err != nil {
			return w, j, err
		}
		w.head = head.ID
	}
	return r.holdFECs(ctx, w, j, have)
}

// wantAgain is likewise one commit that was published before.
func (r *Reconciler) wantAgain(ctx context.Context, commit string, have observed.Root) (wanted, judgement, error) {
	j := r.judge(ctx, "", stated(have))
	w, err := r.read(ctx, commit)
	if err != nil {
		return w, j, err
	}
	w.head = commit
	j.holds.Stated = w.site.Holds
	j.again(r.Now())
	return r.holdFECs(ctx, w, j, have)
}

// holdFECs has those FECs of a commit stay as they were that a hold in force names.
func (r *Reconciler) holdFECs(ctx context.Context, w wanted, j judgement, have observed.Root) (wanted, judgement, error) {
	j.in = r.dated(ctx, j.in)
	w.holds = j.in
	current := lastKnown(have)
	j.pilots = r.pilots(ctx, w, current, j.in, have)
	r.rememberWithheld(j.pilots)
	j.turn = soonest(j.turn, j.pilots.turn(r.Now()))
	w.place(j.pilots.places)
	w.agreed = j.pilots.agreed
	w.expired = plan.Expired(w.site, r.Now())
	if len(plan.SiteHolds(j.in)) > 0 && current.Commit == w.commit.ID {
		w.place(current.Givens.Pilots) // what is published stays, to the day
		w.expired = current.Givens.Expired
	}
	published := plan.Side{Commit: current.Commit, Expired: current.Givens.Expired}
	if plan.NeedsMembers(j.in) || len(current.Givens.Pilots) > 0 && plan.HoldsFECs(j.in) {
		then := w
		if current.Commit != "" && current.Commit != w.commit.ID {
			loaded, err := r.load(ctx, current.Commit)
			if err == nil {
				then = loaded
			} else {
				r.Log.Warn("members of held groups are those of the wanted commit", "because", err)
			}
		}
		published.FECs, published.Pilots = then.stated.FECs, plan.Offered(then.stated, nil, current.Givens.Pilots)
	}
	held := plan.HeldFECs(j.in, current, published, plan.Side{Commit: w.commit.ID, FECs: w.stated.FECs, Expired: w.expired, Pilots: w.offered()})
	err := r.keep(ctx, &w, held, func(fec string) (tree.Tree, error) { return r.asServed(have, fec) })
	return w, j, err
}

// asServed is a FEC as it is served now.
func (r *Reconciler) asServed(have observed.Root, fec string) (t tree.Tree, err error) {
	i := slices.IndexFunc(have.Index.FECs, func(f tree.IndexedFEC) bool { return f.Name == fec })
	if i < 0 {
		return t, nil // nothing is
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return t, err
	}
	defer root.Close() // only read
	f := tree.Folder{Path: desired.FECScope + "/" + fec, Manifest: &tree.Manifest{}}
	var monitoring []tree.Node
	if f.Nodes, err = observe.Folder(root, have.Index.FECs[i].Folder); err != nil {
		return t, err
	}
	if *f.Manifest, err = observe.Manifest(root, fec); err != nil {
		return t, err
	}
	f.Manifest.Serial, f.Manifest.Expires = 0, 0
	f.Nodes = slices.DeleteFunc(f.Nodes, func(n tree.Node) bool { return n.Path == tree.ManifestName })
	if f.Content() != have.Index.FECs[i].Content {
		return t, errors.New("what is served is damaged")
	}
	for _, m := range have.Index.Folders {
		if tree.IsMonitoring(m.Path) {
			nodes, err := observe.Folder(root, m.Folder)
			if err != nil {
				return t, err
			}
			monitoring = append(monitoring, nodes...)
		}
	}
	f.WatchAsServed(fec, monitoring)
	t.Folders = []tree.Folder{f}
	t.Links = slices.DeleteFunc(slices.Clone(have.Index.Links), func(l tree.Link) bool { return l.Target != fec })
	if f.Manifest.Data {
		t.Data = []string{fec}
	}
	return t, nil
}

// earlier is one commit as far as some FECs stay as it says.
type earlier struct {
	wanted
	fecs   map[string]bool
	served *tree.Tree // nil: rendered from the commit
}

// keep has some FECs stay as an earlier commit says. It changes nothing else that the commit asks for. One whose commit cannot be
// read any more stays as it is served, if served is there to say that: it must not keep all others from moving on.
func (r *Reconciler) keep(ctx context.Context, w *wanted, held []observed.Held, served func(fec string) (tree.Tree, error)) error {
	w.held, w.asked, w.allExpired = held, w.site, w.expired
	w.expired = plan.ExpiredFree(w.expired, held)
	for _, h := range held {
		i := slices.IndexFunc(w.earlier, func(e earlier) bool { return e.commit.ID == h.Commit })
		if i < 0 {
			then, err := *w, error(nil)
			if h.Commit != w.commit.ID {
				then, err = r.load(ctx, h.Commit)
			}
			var as *tree.Tree
			if err != nil && ctx.Err() == nil && served != nil {
				r.Log.Warn("held FEC stays as it is served: its commit cannot be read", "fec", h.FEC, "commit", h.Commit, "err", err)
				var t tree.Tree
				t, err = served(h.FEC)
				as, then = &t, wanted{} // by itself, also when others stay as of the same commit
			}
			if err != nil {
				return fmt.Errorf("keep %s as of commit %.12s, as hold %s wants: %w", h.FEC, h.Commit, h.By[0], err)
			}
			then.earlier, then.held, then.expired, then.pilots, then.site = nil, nil, nil, nil, then.stated
			i, w.earlier = len(w.earlier), append(w.earlier, earlier{then, map[string]bool{}, as})
		}
		w.earlier[i].fecs[h.FEC] = true
		w.earlier[i].site = plan.Piloted(w.earlier[i].site, map[string][]observed.HeldPilot{h.FEC: h.Pilots})
		w.earlier[i].expired = append(w.earlier[i].expired, h.Expired...)
	}
	if len(held) == 0 {
		return nil
	}
	w.site = plan.Without(w.site, w.heldFECs())
	w.served = w.site
	for i, e := range w.earlier {
		w.earlier[i].site, w.earlier[i].releases = plan.Only(e.site, e.fecs)
		w.served = plan.With(w.served, w.earlier[i].site)
	}
	w.releases = plan.Releases(plan.Retain(w.served))
	return nil
}

func (w wanted) heldFECs() map[string]bool {
	out := map[string]bool{}
	for _, h := range w.held {
		out[h.FEC] = true
	}
	return out
}

// load reads a revision that was published before: it was checked then.
func (r *Reconciler) load(ctx context.Context, rev string) (w wanted, err error) {
	if w.commit, err = r.Repo.Resolve(rev); err != nil {
		return w, err
	}
	if w.files, err = r.Repo.Files(ctx, w.commit); err != nil {
		return w, err
	}
	if w.loaded, err = r.Loader.Site(ctx, w.files); err != nil {
		return w, fmt.Errorf("load site: %w", err)
	}
	if blocking := w.loaded.Problems.Blocking(); len(blocking) > 0 {
		return w, blocking
	}
	w.state(w.loaded)
	return w, nil
}

// unheld is the tree as the commit asks for it, whatever holds. What is built for it nowhere stands for itself by its key.
func (w wanted) unheld(p parts) (tree.Tree, error) {
	if len(w.held) == 0 {
		return tree.Tree{}, nil
	}
	free := w
	free.site, free.expired, free.earlier, free.layout = w.asked, w.allExpired, nil, nil
	free.releases = plan.Releases(plan.Retain(w.asked))
	all := parts{artifacts: map[tree.Part]artifact.Artifact{}}
	for _, need := range plan.Needs(free.site, free.releases) {
		rc, err := newRecipe(free, need)
		if err != nil {
			return tree.Tree{}, err
		}
		a, ok := p.known[rc.key]
		if !ok {
			a = artifact.Artifact{Digest: rc.key, Format: need.Part.Format}
		}
		all.artifacts[need.Part] = a
	}
	return free.layOut(all)
}

// endSuperseded ends for good the rollbacks that a newer commit has followed.
func (r *Reconciler) endSuperseded(ctx context.Context, j judgement) {
	for _, h := range j.holds.Placed {
		if h.Bad == "" || !j.holds.Newer[h.Bad] {
			continue
		}
		r.Log.Info("rollback ends: a newer commit is there", "hold", h.ID, "rolled back", h.Bad, "commit", j.head)
		r.Records.Try(ctx, func(l *ledger.Ledger) error {
			return l.End(ctx, h.ID, "", "commit "+j.head+" is newer than "+h.Bad, r.Now())
		})
	}
}

// soonest is the earlier of two times, of which zero is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// turned says whether other holds are in force than at an earlier judgement, or pilots are otherwise, and when the clock changes that next.
func (r *Reconciler) turned(ctx context.Context, before judgement) (bool, time.Time) {
	now := r.judge(ctx, before.head, before.holds.Placed)
	now.holds.Stated = before.holds.Stated
	now.again(r.Now())
	changed := !slices.EqualFunc(before.in, now.in, func(a, b observed.Hold) bool { return a.ID == b.ID })
	return changed || r.pilotsMoved(ctx, before.pilots, now.in), soonest(now.turn, before.pilots.turn(r.Now()))
}
