package reconciler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// judgedPilots are the pilots of a site at one moment, and what they were judged by.
type judgedPilots struct {
	site   desired.Site
	commit string          // that is published; empty: none is, or it does not matter
	now    []plan.PilotNow // by name
	facts  map[string]plan.PilotFacts
}

// seenPilots works out how far the pilots of the published site are.
func (r *Reconciler) seenPilots(ctx context.Context) (judgedPilots, error) {
	if r.Repo == nil {
		return judgedPilots{}, errors.New("the site's repository is needed: give its folder")
	}
	site, g, err := r.PublishedSite(ctx)
	if err != nil {
		return judgedPilots{}, err
	}
	j, err := r.judgeSite(ctx, site)
	j.commit = g.Commit
	return j, err
}

// judgeSite is likewise of a site that is given.
func (r *Reconciler) judgeSite(ctx context.Context, site desired.Site) (judgedPilots, error) {
	j := judgedPilots{site: site, facts: map[string]plan.PilotFacts{}}
	probes, err := r.pilotProbes(ctx)
	if err != nil {
		return j, err
	}
	for _, name := range slices.Sorted(maps.Keys(site.Pilots)) {
		p := site.Pilots[name]
		f := plan.PilotFacts{Probes: probes[name]}
		if p.Scope == desired.PilotOfSites {
			f.Subject = p.Snapshot().Subject()
		}
		j.facts[name] = f
		j.now = append(j.now, plan.Pilot(name, p, f, r.Now()))
	}
	return j, nil
}

// pilotProbes are what the information system said last, by pilot.
func (r *Reconciler) pilotProbes(ctx context.Context) (map[string][]observed.PilotProbe, error) {
	out := map[string][]observed.PilotProbe{}
	if r.Records == nil {
		return out, nil
	}
	return out, r.Records.Use(ctx, func(l *ledger.Ledger) error {
		all, err := l.PilotProbes(ctx)
		for _, p := range all {
			out[p.Pilot] = append(out[p.Pilot], observed.PilotProbe(p))
		}
		return err
	})
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
	j, err := r.judgeSite(ctx, w.site)
	if err != nil {
		return report.Pilots{}, err
	}
	return r.showPilots(ctx, j), nil
}

func (r *Reconciler) showPilots(ctx context.Context, j judgedPilots) report.Pilots {
	out := report.Pilots{Site: j.site.Settings.Name, At: r.Now().UTC().Truncate(time.Second), Pilots: []report.Pilot{}}
	told, _, err := r.toldOfPilots(ctx)
	if err != nil {
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
	mu   sync.Mutex
	last report.Pilots
	at   time.Time
}

// viewsLast is how long a view is good.
const viewsLast = 2 * time.Second

// Pilots is how far the pilots are. What cannot be worked out now is as it was, with the trouble.
func (v *PilotViews) Pilots(ctx context.Context) (report.Pilots, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.at.IsZero() && time.Since(v.at) < viewsLast {
		return v.last, nil
	}
	now, err := v.SeePilots(context.WithoutCancel(ctx)) // others wait for it too
	if err != nil && v.last.At.IsZero() {
		return now, err
	}
	if err != nil {
		v.last.Trouble = err.Error()
		now = v.last
	}
	v.last, v.at = now, time.Now()
	return now, nil
}
