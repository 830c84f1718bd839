package reconciler

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// pilotPins are what pilots put on a FEC of a commit that is placed beside a generation, or are to put there; those that are over put nothing there.
func (r *Reconciler) pilotPins(ctx context.Context, w wanted, g observed.Generation, fec string) (pins []report.PilotPin) {
	pilots := map[string]desired.Pilot{}
	j := pilotsJudged{facts: map[string]plan.PilotFacts{}}
	for name, p := range w.stated.Pilots {
		if p.Scope != desired.PilotOfFECs {
			continue
		}
		if members := plan.PilotMembers(w.stated, p); slices.Contains(slices.Concat(members...), fec) {
			facts := plan.PilotFacts{Subject: w.subjects[name]}
			facts.Members, facts.Left = plan.PilotTakes(w.stated, p, r.had(ctx, w, g, name))
			pilots[name], j.facts[name] = p, facts
		}
	}
	if len(pilots) == 0 {
		return nil
	}
	j.w = w
	j.w.stated.Pilots = pilots
	holds, _, _ := r.Records.read(ctx)
	r.judgePilots(ctx, &j, g, holds)
	for _, now := range j.now {
		p := pilots[now.Name]
		pin := report.PilotPin{Software: p.Software, Version: p.Version, Pilot: now.Name, Own: w.stated.FECs[fec].Software[p.Software].Version, Until: p.Expires}
		pin.Wave = 1 + slices.IndexFunc(j.facts[now.Name].Members, func(fecs []string) bool { return slices.Contains(fecs, fec) })
		if r.Root != "" {
			pin.State = now.Place.State
		}
		by := w.site.FECs[fec].Software[p.Software].Piloted
		if pin.Given = by.Pilot == now.Name; pin.Given {
			pin.Since = r.givenSince(now, by.Wave, j.known)
		}
		if pin.State == plan.PilotClosed {
			pin.Until = ""
		}
		if pin.Given || !plan.PilotIsOver(pin.State) && pin.Own != pin.Version {
			pins = append(pins, pin)
		}
	}
	return pins
}

// givenSince is since when a wave has got what a pilot offers: as long as generations go back, these say; then the ledger does.
func (r *Reconciler) givenSince(now plan.PilotNow, wave int, known pilotLedger) (since time.Time) {
	root, err := os.OpenRoot(r.Root)
	if r.Root == "" || err != nil {
		return since
	}
	defer root.Close() // only read
	past, current, err := observe.Past(root)
	if err != nil {
		return since
	}
	for _, g := range past { // the newest first
		if g.Number > current {
			continue
		}
		p := placeIn(g.Givens.Pilots, now.Name)
		if wave > len(p.Waves) || p.Waves[wave-1] != now.Subject {
			return since
		}
		since = g.Published
	}
	for _, s := range known.sights[now.Name] {
		if s.Kind == sawWave && s.What == (plan.PilotWave{Wave: wave, Subject: now.Subject}).Key() && s.At.Before(since) {
			since = s.At
		}
	}
	return since
}

// fecOf is the FEC that a path of a tree or of the site is about; empty: none.
func fecOf(s desired.Site, at string) string {
	if isCUEPath(at) {
		if parts, err := desired.ParseCUEPath(at); err == nil && len(parts) > 1 && parts[0] == desired.FECScope {
			if name, ok := parts[1].(string); ok && (len(parts) == 2 || parts[2] == "software") {
				return name
			}
		}
		return ""
	}
	return tree.FECOf(s, at)
}
