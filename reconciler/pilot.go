package reconciler

import (
	"cmp"
	"context"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// pilotsJudged is how far the pilots of a commit are at one moment, and what was known of them then.
type pilotsJudged struct {
	w       wanted
	facts   map[string]plan.PilotFacts // beside what the ledger knows
	judged  map[string]plan.PilotFacts // with that
	had     map[string][]tree.PilotPin // FECs that were given what a pilot offers
	unsure  map[string]string          // why something that would take a pilot back is not known, by pilot
	now     []plan.PilotNow            // by name
	unasked []string                   // of them, to whose terms somebody may have agreed: who wrote that down is about to be found out
	free    []tree.PilotPlace          // where they would be if each could be served
	places  []tree.PilotPlace          // that a tree is to have, by name
	agreed  []observed.Agreed          // that a generation is to have, by name
	known   pilotLedger                // by which they were judged
}

// state takes over what a commit says.
func (w *wanted) state(loaded *load.Loaded) {
	w.loaded, w.site, w.stated = loaded, loaded.Site, loaded.Site
	w.subjects = plan.PilotSubjects(loaded.Site, w.files.Files())
}

// place gives FECs what pilots offer them.
func (w *wanted) place(places []tree.PilotPlace) {
	given := plan.Given(places)
	if len(given) == 0 && len(w.pilots) == 0 {
		return
	}
	w.pilots = given
	w.site = plan.Piloted(w.stated, w.offered())
	w.releases = plan.Releases(plan.Retain(w.site))
}

// offered is what pilots put on FECs, by FEC.
func (w wanted) offered() map[string][]observed.HeldPilot {
	return plan.Offered(w.stated, plan.KeptSubjects(w.stated, w.files.Files(), w.subjects, w.pilots), w.pilots)
}

// pilots works out how far the pilots of a commit are, and what a tree is to have of them. One that is in trouble, or of which something is not
// known, stays as it was published; no other has to wait for it.
func (r *Reconciler) pilots(ctx context.Context, w wanted, published observed.Generation, in []observed.Hold, have observed.Root) pilotsJudged {
	j := pilotsJudged{w: w}
	if len(w.stated.Pilots) == 0 {
		return j
	}
	r.pilotFacts(ctx, &j, published)
	r.judgePilots(ctx, &j, published, in)
	j.places = r.servable(ctx, w, j.free, published.Givens.Pilots, have)
	j.places = plan.Runnable(w.stated, w.files.Files(), w.subjects, j.places, published.Givens.Pilots, r.Now())
	for i := range j.now {
		j.places[i].Had = plan.Had(w.stated, j.places[i], j.had[j.now[i].Name])
		j.now[i].Place = j.places[i]
	}
	return j
}

// pilotFacts finds what is known of the pilots of a commit beside what the ledger says.
func (r *Reconciler) pilotFacts(ctx context.Context, j *pilotsJudged, published observed.Generation) {
	j.facts, j.unsure, j.had = map[string]plan.PilotFacts{}, map[string]string{}, map[string][]tree.PilotPin{}
	for name, p := range j.w.stated.Pilots {
		f := plan.PilotFacts{Subject: j.w.subjects[name], Deployed: r.deployed(ctx, j.w, name, published)}
		if p.Scope == desired.PilotOfFECs {
			j.had[name] = r.had(ctx, j.w, published, name)
			f.Members, f.Left = plan.PilotTakes(j.w.stated, p, j.had[name])
		}
		if err := r.repositoryFacts(ctx, j.w, name, &f); err != nil {
			j.unsure[name] = err.Error()
		}
		j.facts[name] = f
	}
}

// deployed is what sites have of a pilot that states something else now, by its published place and the published commit. Nil: it states what they have, or
// they have nothing.
func (r *Reconciler) deployed(ctx context.Context, w wanted, name string, published observed.Generation) *tree.PilotDeployed {
	was, p := placeOf(published, name), w.stated.Pilots[name]
	if was == nil || len(plan.DeployedSubjects(p, p, *was)) == 0 {
		return nil
	}
	return plan.Deployed(name, p, r.statedThen(ctx, w, published, name).Pilots[name], *was)
}

// statedThen is the site as the published commit states it, by which people have what a pilot has given them; as the wanted one does, if nobody can read that.
func (r *Reconciler) statedThen(ctx context.Context, w wanted, published observed.Generation, pilot string) desired.Site {
	if published.Commit == "" || published.Commit == w.commit.ID {
		return w.stated
	}
	site, err := r.publishedBefore(ctx, published.Commit)
	if err != nil {
		r.Log.Warn("what a pilot has given is what the wanted commit states", "pilot", pilot, "because", err) // an operator has accepted that
		return w.stated
	}
	return site
}

// had are the FECs that have been given what a pilot of FECs offers, as far as the published generation tells.
func (r *Reconciler) had(ctx context.Context, w wanted, published observed.Generation, name string) []tree.PilotPin {
	was := placeOf(published, name)
	if was == nil {
		return nil
	}
	then := w.stated
	if was.Kept == nil {
		then = r.statedThen(ctx, w, published, name)
	}
	return plan.PilotHad(then, *was)
}

// fecs are those that take part, each with the software that it does so with.
func (j pilotsJudged) fecs() (all []runKey) {
	for name, p := range j.w.stated.Pilots {
		all = append(all, runsOf(p, j.facts[name].Members)...)
	}
	return all
}

// judgePilots works out how far pilots are by what the ledger knows now.
func (r *Reconciler) judgePilots(ctx context.Context, j *pilotsJudged, published observed.Generation, in []observed.Hold) {
	known := r.pilotLedger(ctx, j.fecs())
	j.now, j.free, j.agreed, j.unasked, j.known, j.judged = nil, nil, nil, nil, known, map[string]plan.PilotFacts{}
	for _, name := range slices.Sorted(maps.Keys(j.w.stated.Pilots)) {
		p, f := j.w.stated.Pilots[name], j.facts[name]
		f.Agreed = r.agreedBefore(j.w, published, name)
		nothing := r.newcomer(known, name, p, placeOf(published, name))
		why, unasked := r.proofs(known, nothing, name, p, &f)
		why = cmp.Or(j.unsure[name], why)
		known.seen(name, &f, placeOf(published, name), published.Published)
		f.FECs, f.Reported = known.runs(p, f.Members, in), known.unproven(f.Members)
		now := plan.Pilot(name, p, f, r.Now())
		if now.Unagreed != "" {
			now = r.unagreed(ctx, j.w, now, published)
		} else {
			now = now.As(plan.Stay(now.Place, placeOf(published, name), stillOffered(j.w, name, f.Deployed), why))
		}
		if nothing != "" {
			now.Place.Withheld = nothing
		}
		if unasked && now.Unagreed != "" {
			j.unasked = append(j.unasked, name)
		}
		j.now, j.free, j.judged[name] = append(j.now, now), append(j.free, now.Place), f
		chain := now.Agreed
		if len(chain) == 0 {
			chain = f.Agreed // nobody knows what was agreed last
		}
		j.agreed = append(j.agreed, chain...)
	}
}

// unagreed is a pilot whose terms are not agreed where it has been published: FECs keep what they were given by what the terms were then.
func (r *Reconciler) unagreed(ctx context.Context, w wanted, now plan.PilotNow, published observed.Generation) plan.PilotNow {
	was := placeOf(published, now.Name)
	place := plan.Unagreed(now.Place, was, now.Unagreed)
	if was != nil && place.Kept == nil && now.Scope == desired.PilotOfFECs {
		place.Kept = plan.PinsOf(r.statedThen(ctx, w, published, now.Name), *was)
	}
	return now.As(place)
}

// stillOffered are the subjects that a pilot may still give: what was published of it with another one is gone.
func stillOffered(w wanted, name string, d *tree.PilotDeployed) []string {
	p := w.stated.Pilots[name]
	if p.Scope == desired.PilotOfFECs {
		return []string{w.subjects[name]}
	}
	return slices.Collect(maps.Keys(tree.PilotSnapshots(d.Of(p))))
}

// placeOf is the place that a pilot has in a generation; nil: none.
func placeOf(g observed.Generation, name string) *tree.PilotPlace {
	i := slices.IndexFunc(g.Givens.Pilots, func(p tree.PilotPlace) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &g.Givens.Pilots[i]
}

// pilotsMoved says whether pilots are otherwise now than when they were judged: the clock, FECs or somebody who has found out who wrote a record may
// have changed that.
func (r *Reconciler) pilotsMoved(ctx context.Context, before pilotsJudged, in []observed.Hold) bool {
	if len(before.now) == 0 {
		return false
	}
	now := pilotsJudged{w: before.w, facts: before.facts, unsure: before.unsure}
	r.judgePilots(ctx, &now, r.published(), in)
	otherwise := func(a, b plan.PilotNow) bool {
		return a.State != b.State || (a.Trip == "") != (b.Trip == "") || (a.Unagreed == "") != (b.Unagreed == "")
	}
	for i, place := range now.free {
		was := before.free[i]
		was.Withheld, place.Withheld, was.Had, place.Had = "", "", nil, nil
		if otherwise(before.now[i], now.now[i]) || !reflect.DeepEqual(was, place) {
			return true
		}
	}
	return false
}

// turn is when the clock may bring a pilot further, or end it; zero: not soon.
func (j pilotsJudged) turn(now time.Time) (next time.Time) {
	for _, p := range j.now {
		next = soonest(next, plan.PilotTurn(j.w.stated.Pilots[p.Name], p, now))
	}
	return next
}

// published is the current generation; zero, if it cannot be read.
func (r *Reconciler) published() observed.Generation {
	now, _ := r.publishedOf("")
	return now
}

// publishedOf are the current generation, and the newest one of a commit or, if there is none, the current one again. What cannot be read is zero.
func (r *Reconciler) publishedOf(commit string) (now, of observed.Generation) {
	root, err := os.OpenRoot(r.Root)
	if r.Root == "" || err != nil {
		return now, of
	}
	defer root.Close() // only read
	g, err := observe.Current(root)
	if err != nil || commit == "" || g.Commit == commit {
		return g, g
	}
	past, _, err := observe.Past(root)
	if i := slices.IndexFunc(past, func(p observed.Past) bool { return p.Commit == commit }); err == nil && i >= 0 { // the newest first
		return g, past[i].Generation
	}
	return g, g
}
