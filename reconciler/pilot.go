package reconciler

import (
	"context"
	"maps"
	"os"
	"slices"

	"github.com/pomona-gitops/pomona/reconciler/load"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// pilotsJudged is how far the pilots of a commit are at one moment.
type pilotsJudged struct {
	now    []plan.PilotNow   // by name
	places []tree.PilotPlace // that a tree is to have, by name
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
	return plan.Offered(w.stated, w.subjects, w.pilots)
}

// pilots works out how far the pilots of a commit are.
func (r *Reconciler) pilots(ctx context.Context, w wanted, published []tree.PilotPlace) (j pilotsJudged) {
	for _, name := range slices.Sorted(maps.Keys(w.stated.Pilots)) {
		p := w.stated.Pilots[name]
		now := plan.Pilot(name, p, r.pilotFacts(ctx, w, name), r.Now())
		j.now, j.places = append(j.now, now), append(j.places, now.Place)
	}
	return j
}

// pilotFacts is what is known of a pilot.
func (r *Reconciler) pilotFacts(_ context.Context, w wanted, name string) plan.PilotFacts {
	return plan.PilotFacts{Subject: w.subjects[name], Members: plan.PilotMembers(w.stated, w.stated.Pilots[name])}
}

// publishedPilots are the places of pilots as they are published; none, if that cannot be read.
func (r *Reconciler) publishedPilots() []tree.PilotPlace {
	now, _ := r.givens("")
	return now.Pilots
}

// givens are those of the current generation, and those of the newest one of a commit or, if there is none, of the current one again.
// What cannot be read has none.
func (r *Reconciler) givens(commit string) (now, of observed.Givens) {
	root, err := os.OpenRoot(r.Root)
	if r.Root == "" || err != nil {
		return now, of
	}
	defer root.Close() // only read
	g, err := observe.Current(root)
	if err != nil || commit == "" || g.Commit == commit {
		return g.Givens, g.Givens
	}
	past, _, err := observe.Past(root)
	if i := slices.IndexFunc(past, func(p observed.Past) bool { return p.Commit == commit }); err == nil && i >= 0 { // the newest first
		return g.Givens, past[i].Givens
	}
	return g.Givens, g.Givens
}
