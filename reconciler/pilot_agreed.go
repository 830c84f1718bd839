package reconciler

import (
	"slices"

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

// agreedBefore are the agreements from which a pilot of a commit goes on: those of the published generation. On a way back, and in a commit that an
// operator names, those up to the first that is not there.
func (r *Reconciler) agreedBefore(w wanted, published observed.Generation, pilot string) []observed.Agreed {
	chain := agreedIn(published, pilot)
	if lastIn(w.stated.Pilots[pilot], chain) || w.commit.ID == "" || published.Commit == w.commit.ID {
		return chain
	}
	if r.Checks.Named == nil || !r.Checks.Named(w.commit.ID) {
		if back, err := r.Repo.Reaches(published.Commit, w.commit.ID); err != nil || !back {
			return chain
		}
	}
	return whole(w.stated.Pilots[pilot], chain)
}

// has says whether a pilot has an agreement as it was.
func has(p desired.Pilot, agreed observed.Agreed) bool {
	r, there := p.Records[agreed.Record]
	return there && r.Digest() == agreed.Digest
}

// lastIn says whether a pilot has the last of some agreements, if there is one.
func lastIn(p desired.Pilot, chain []observed.Agreed) bool {
	return len(chain) == 0 || has(p, chain[len(chain)-1])
}

// whole are agreements up to the first that a pilot does not have.
func whole(p desired.Pilot, chain []observed.Agreed) []observed.Agreed {
	if i := slices.IndexFunc(chain, func(a observed.Agreed) bool { return !has(p, a) }); i >= 0 {
		return chain[:i]
	}
	return chain
}

// byGeneration has the agreements that a generation has be proven, and known, as they were then.
func byGeneration(p desired.Pilot, f *plan.PilotFacts) {
	for _, a := range f.Agreed {
		if has(p, a) {
			f.Proofs[a.Record], f.ProvenAt[a.Record] = observed.Proof{By: p.Records[a.Record].By, Source: "generation that goes on from it"}, a.Known
		}
	}
}
