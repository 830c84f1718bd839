package reconciler

import (
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// agreedIn are the agreements to the terms of a pilot that a generation has, the first first.
func agreedIn(g observed.Generation, pilot string) (chain []observed.Agreed) {
	for _, a := range g.Givens.Agreed {
		if a.Pilot == pilot {
			chain = append(chain, a)
		}
	}
	return chain
}

// agreedBefore are the agreements from which a pilot of a commit goes on: those of the published generation or, on a way back to a commit that does not
// have the last of them yet, those of the newest generation of that commit.
func (r *Reconciler) agreedBefore(w wanted, published observed.Generation, pilot string) []observed.Agreed {
	chain := agreedIn(published, pilot)
	if len(chain) == 0 || has(w.stated.Pilots[pilot], chain[len(chain)-1]) || w.commit.ID == "" || published.Commit == w.commit.ID {
		return chain
	}
	if back, err := r.Repo.Reaches(published.Commit, w.commit.ID); err != nil || !back {
		return chain
	}
	if _, then := r.publishedOf(w.commit.ID); then.Commit == w.commit.ID {
		return agreedIn(then, pilot)
	}
	return chain
}

// has says whether a pilot has an agreement as it was.
func has(p desired.Pilot, agreed observed.Agreed) bool {
	r, there := p.Records[agreed.Record]
	return there && r.Digest() == agreed.Digest
}

// agreed are the agreements that a generation of these pilots has: where nobody knows what was agreed last, those of the one before.
func (j pilotsJudged) agreed(before observed.Generation) (all []observed.Agreed) {
	for _, now := range j.now {
		chain := now.Agreed
		if len(chain) == 0 {
			chain = agreedIn(before, now.Name)
		}
		all = append(all, chain...)
	}
	return all
}

// byGeneration has the agreements that a generation has be proven, and known, as they were then.
func byGeneration(p desired.Pilot, f *plan.PilotFacts) {
	for _, a := range f.Agreed {
		if has(p, a) {
			f.Proofs[a.Record], f.ProvenAt[a.Record] = observed.Proof{By: p.Records[a.Record].By, Source: "generation that goes on from it"}, a.Known
		}
	}
}
