package reconciler

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// judgedPilots are the pilots of a site at one moment, and what they were judged by.
type judgedPilots struct {
	site    desired.Site
	commit  string          // that is published; empty: none is
	now     []plan.PilotNow // by name
	facts   map[string]plan.PilotFacts
	free    []tree.PilotPlace // where they are to be, whether they can be served or not
	unsure  map[string]string // why something that would take a pilot back is not known, by pilot
	unasked []string          // as pilotsJudged has them
	unread  error             // why the ledger does not say what has become of them
}

// side are the pilots as they are judged of a commit.
func (j judgedPilots) side(w wanted) plan.PilotSide {
	out := plan.PilotSide{Site: j.site, Subjects: w.subjects, Pilots: map[string]plan.PilotNow{}, Places: j.free}
	for _, now := range j.now {
		out.Pilots[now.Name] = now
	}
	return out
}

// Pilots is how far the pilots of the published site are, by name.
func (r *Reconciler) Pilots(ctx context.Context) ([]plan.PilotNow, error) {
	j, err := r.seenPilots(ctx)
	return j.now, err
}

// seenPilots works out how far the pilots of the published site are.
func (r *Reconciler) seenPilots(ctx context.Context) (judgedPilots, error) {
	if r.Repo == nil {
		return judgedPilots{}, errNoRepository
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return judgedPilots{}, err
	}
	defer root.Close() // only read
	s, err := r.publishedBy(ctx, root)
	if err != nil || s.generation.Commit == "" {
		return judgedPilots{}, err
	}
	j, err := r.seenOf(ctx, s.commit, s.generation)
	r.rememberTrips(ctx, j.now)
	return j, err
}

// rememberTrips enters failures that halt pilots as soon as somebody has seen them: a halt that people were shown stays one, whatever its FECs say by
// the next pass.
func (r *Reconciler) rememberTrips(ctx context.Context, pilots []plan.PilotNow) {
	if !slices.ContainsFunc(pilots, func(n plan.PilotNow) bool { return n.Trip != "" }) {
		return
	}
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		all, err := l.PilotSights(ctx)
		if err != nil {
			return err
		}
		var trips []ledger.PilotSight
		for _, now := range pilots {
			seen, _ := pilotSights(now, slices.DeleteFunc(slices.Clone(all), func(s ledger.PilotSight) bool { return s.Pilot != now.Name }), r.Now())
			trips = append(trips, slices.DeleteFunc(seen, func(s ledger.PilotSight) bool { return s.Kind != sawTrip })...)
		}
		if len(trips) == 0 {
			return nil
		}
		return l.SeePilots(ctx, trips, nil)
	})
}

// seenOf is likewise of a commit, beside what is published. It fetches nothing: passes do.
func (r *Reconciler) seenOf(ctx context.Context, w wanted, g observed.Generation) (judgedPilots, error) {
	here := *r
	here.Payloads = r.Payloads.Local()
	j := pilotsJudged{w: w}
	here.pilotFacts(ctx, &j, g)
	holds, _, _ := r.Records.read(ctx)
	r.judgePilots(ctx, &j, g, holds)
	for i, now := range j.now {
		if r.Withheld != nil {
			if found, ok := r.Withheld.Load(now.Name); ok {
				why, _ := found.(string)
				j.now[i] = now.As(withheld(now, placeOf(g, now.Name), why))
			}
		}
	}
	out := judgedPilots{site: w.stated, commit: g.Commit, now: j.now, facts: j.judged, free: j.free, unsure: j.unsure, unasked: j.unasked}
	if r.Records != nil && !errors.Is(j.known.err, ledger.ErrNone) {
		out.unread = j.known.err
	}
	return out, ctx.Err()
}

// withheld is the place of a pilot that a pass does not bring further, why: as it is published, or none.
func withheld(now plan.PilotNow, published *tree.PilotPlace, why string) tree.PilotPlace {
	place := tree.PilotPlace{Name: now.Name}
	if published != nil {
		place = *published
	}
	place.State, place.Withheld = now.Place.State, why
	return place
}

// pilotedFECs are those that take part in pilots that are published and not over; nil: nobody knows.
func (r *Reconciler) pilotedFECs(ctx context.Context) map[string]bool {
	root, err := os.OpenRoot(r.Root)
	if r.Repo == nil || r.Loader == nil || err != nil {
		return nil
	}
	defer root.Close() // only read
	s, err := r.publishedBy(ctx, root)
	if err != nil {
		return nil
	}
	fecs := map[string]bool{}
	for name, p := range s.commit.stated.Pilots {
		if p.Scope != desired.PilotOfFECs || plan.PilotIsOver(placeIn(s.generation.Givens.Pilots, name).State) || desired.Expired(p.Expires, r.Now()) {
			continue
		}
		for _, fec := range slices.Concat(plan.PilotMembers(s.commit.stated, p)...) {
			fecs[fec] = true
		}
	}
	return fecs
}

// rememberWithheld notes which pilots a pass does not bring further because something of them cannot be served, and why.
func (r *Reconciler) rememberWithheld(j pilotsJudged) {
	if r.Withheld == nil {
		return
	}
	r.Withheld.Clear()
	for i, place := range j.places {
		if place.Withheld != "" && j.free[i].Withheld == "" { // else it is judged each time
			r.Withheld.Store(place.Name, place.Withheld)
		}
	}
}

// SeePilots is how far the pilots of the published site are, and what people were told of them. A ledger that cannot be read leaves that out.
func (r *Reconciler) SeePilots(ctx context.Context) (report.Pilots, error) {
	j, err := r.seenPilots(ctx)
	if err != nil {
		return report.Pilots{}, err
	}
	return r.showPilots(ctx, j), nil
}

// SeePilotsOf is likewise of a revision of the repository, whatever is published.
func (r *Reconciler) SeePilotsOf(ctx context.Context, rev string) (report.Pilots, error) {
	w, err := r.load(ctx, rev)
	if err != nil {
		return report.Pilots{}, err
	}
	j, err := r.seenOf(ctx, w, observed.Generation{})
	if err != nil {
		return report.Pilots{}, err
	}
	for i := range j.now {
		j.now[i].Place.Withheld = "" // nothing of it is served
	}
	return r.showPilots(ctx, j), nil
}

func (r *Reconciler) showPilots(ctx context.Context, j judgedPilots) report.Pilots {
	out := report.Pilots{Site: j.site.Settings.Name, At: r.Now().UTC().Truncate(time.Second), Pilots: []report.Pilot{}}
	told, _, err := r.toldOfPilots(ctx)
	if err = cmp.Or(j.unread, err); err != nil {
		out.Trouble = err.Error()
	}
	for _, now := range j.now {
		out.Pilots = append(out.Pilots, report.OfPilot(now, j.site.Pilots[now.Name], j.facts[now.Name], told))
	}
	return out
}

// toldOfPilots is everything that people were told of pilots, the oldest first; false: broadcasts have not begun.
func (r *Reconciler) toldOfPilots(ctx context.Context) (told []observed.PilotBroadcast, begun bool, err error) {
	if r.Records == nil {
		return nil, false, nil
	}
	err = r.Records.Use(ctx, func(l *ledger.Ledger) error {
		var all []ledger.PilotBroadcast
		if all, begun, err = l.PilotBroadcasts(ctx); err != nil {
			return err
		}
		for _, b := range all {
			told = append(told, observed.PilotBroadcast{Pilot: b.Pilot, Kind: observed.PilotBroadcastKind(b.Kind), About: b.About, Title: b.Title, Text: b.Text, At: b.At, Past: b.Past})
		}
		return nil
	})
	return told, begun, err
}

// PilotViews are the pilots as people see them, worked out again at most every other second however many ask.
type PilotViews struct {
	*Reconciler
	mu    sync.Mutex
	last  report.Pilots
	at    time.Time
	other atomic.Bool // something is otherwise since the last
}

// Expire says that something is otherwise: the next view is worked out again, also if one is just being worked out.
func (v *PilotViews) Expire() { v.other.Store(true) }

// viewsLast is how long a view is good.
const viewsLast = 2 * time.Second

// Pilots is how far the pilots are. What cannot be worked out now is as it was, with the trouble.
func (v *PilotViews) Pilots(ctx context.Context) (report.Pilots, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.other.Swap(false) && !v.at.IsZero() && time.Since(v.at) < viewsLast {
		return v.last, nil
	}
	now, err := v.SeePilots(context.WithoutCancel(ctx)) // others wait for it too
	if err != nil && v.last.At.IsZero() {
		return now, err
	}
	trouble := now.Trouble
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && !v.last.At.IsZero() { // without the ledger it looks as if nothing had ever happened
		now = v.last
		now.Trouble = trouble
	}
	v.last, v.at = now, time.Now()
	return now, nil
}
