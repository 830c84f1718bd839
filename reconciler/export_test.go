package reconciler

import (
	"context"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/store"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Step decides once and does it, as Run does again and again.
func (s *Restarter) Step(ctx context.Context) error {
	_, err := s.step(ctx)
	return err
}

// DiesAt has a restarter do nothing more from a point on, as if it were killed there.
func (s *Restarter) DiesAt(at func(point, fec string) bool) { s.atPoint = at }

// PilotWaits has passes wait so long for what is to be fetched of one pilot, and says for how long they did.
func PilotWaits(d time.Duration) (was time.Duration) {
	was, pilotWaits = pilotWaits, d
	return was
}

// PassWithPilots is a pass in which pilots have got as far as places say.
func (r *Reconciler) PassWithPilots(ctx context.Context, places []tree.PilotPlace) (rep report.Report, given []tree.PilotPlace, err error) {
	return r.passWithPilots(ctx, places, Names)
}

// PassWithPilotsTrusting is likewise one that does not look at every name.
func (r *Reconciler) PassWithPilotsTrusting(ctx context.Context, places []tree.PilotPlace) (rep report.Report, given []tree.PilotPlace, err error) {
	return r.passWithPilots(ctx, places, Trusting)
}

func (r *Reconciler) passWithPilots(ctx context.Context, places []tree.PilotPlace, depth Depth) (rep report.Report, given []tree.PilotPlace, err error) {
	dir, unlock, err := r.open()
	if err != nil {
		return rep, nil, err
	}
	defer unlock()
	objects := store.New(dir)
	have, _, err := r.mend(ctx, dir, objects, depth)
	if err != nil {
		return rep, nil, err
	}
	want, err := r.want(ctx, r.Branch)
	if err != nil {
		return rep, nil, err
	}
	want.head = want.commit.ID
	want.pilots = r.servable(ctx, want, places, nil, have)
	return rep, want.pilots, r.publish(ctx, dir, objects, want, have, &rep)
}

// PilotFacts is what packages of a pilot say.
func (r *Reconciler) PilotFacts(ctx context.Context, name string) (f plan.PilotFacts, err error) {
	want, err := r.want(ctx, r.Branch)
	if err == nil {
		err = r.repositoryFacts(ctx, want, name, &f)
	}
	return f, err
}

// Step looks once at every record that is not proven, and asks for a pass if it could prove any.
func (p *Prover) Step(ctx context.Context) error {
	found, err := p.step(ctx)
	if found > 0 {
		p.Kick(ctx)
	}
	return err
}

// MaxSayings has so many commits be read to find out who wrote something, and says how many were.
func MaxSayings(n int) (was int) {
	was, maxSayings = maxSayings, n
	return was
}

// Find looks once, and asks again and again whether the branch has moved on meanwhile.
func (p *Prover) Find(ctx context.Context, moved func() bool) (found int, err error) {
	w, err := p.load(ctx, p.Branch)
	if err != nil {
		return 0, err
	}
	return p.find(ctx, w, moved)
}
