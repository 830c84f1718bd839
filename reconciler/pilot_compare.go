package reconciler

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// By what a plan has judged pilots.
const (
	pilotsGranted  = "nobody has looked up who wrote records of pilots: each counts as if written by whom it names; what FECs have proven to run is not known here"
	pilotsByLedger = "new records of pilots count as if written by whom they name; all else of pilots is as the ledger of --root has it"
	pilotsByPass   = "a record counts once the service has found out who wrote it"
	pilotsByCheck  = "new records of pilots count as if written by whom they name: after the merge each does once that is proven; all else of pilots is as the service knows it"
)

// takenForGranted is how it is known who wrote a record whose writer nobody has looked up.
const takenForGranted = "taken for granted"

// granting are proofs by which some records count besides, as if whom they name had written them.
func (p *Proofs) granting(records []statedRecord) *Proofs {
	out := &Proofs{proven: map[recordKey]observed.Proof{}, doubts: map[recordKey]unproven{}}
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		out.asks = p.asks
		maps.Copy(out.proven, p.proven)
		maps.Copy(out.doubts, p.doubts)
	}
	for _, s := range records {
		out.proven[s.recordKey] = observed.Proof{By: s.by, Source: takenForGranted}
	}
	return out
}

// newRecords are those of a site's pilots that another one does not have.
func newRecords(was, now desired.Site) []statedRecord {
	before := map[recordKey]bool{}
	for _, s := range recordsOf(was) {
		before[s.recordKey] = true
	}
	return slices.DeleteFunc(recordsOf(now), func(s statedRecord) bool { return before[s.recordKey] })
}

// granting is a reconciler that takes records for granted, and whose clock is not behind theirs.
func (r *Reconciler) granting(records []statedRecord) *Reconciler {
	out := *r
	out.Proofs, out.Withheld = r.Proofs.granting(records), nil
	now, last := r.Now, time.Time{}
	for _, s := range records {
		if at, err := time.Parse(time.RFC3339, s.at); err == nil && at.After(last) && at.Before(now().Add(pilotSkew)) {
			last = at
		}
	}
	out.Now = func() time.Time { return later(now(), last) }
	return &out
}

// granted is a reconciler that judges the pilots of two commits: by the ledger of a root and the new records or, without one, by all records.
func (r *Reconciler) granted(ctx context.Context, was, now desired.Site) (judge *Reconciler, published observed.Generation, by string) {
	here := *r
	here.Keys = nil // nothing is signed
	if r.Root != "" && r.pilotLedger(ctx, nil).err == nil {
		return here.granting(newRecords(was, now)), r.published(), pilotsByLedger
	}
	here.Records = nil
	return here.granting(slices.Concat(recordsOf(was), recordsOf(now))), published, pilotsGranted
}

// signedBySome is a root whose pilots some key signs: which one does not matter to who compares.
var signedBySome = observed.Root{Generations: []observed.Generation{{Number: 1, PilotKey: "some"}}, Current: 1}

// comparePilots places pilots in two commits, and says what becomes of them.
func (r *Reconciler) comparePilots(ctx context.Context, was, now *wanted) (changes []plan.PilotChange, by string) {
	if len(was.stated.Pilots)+len(now.stated.Pilots) == 0 {
		return []plan.PilotChange{}, ""
	}
	judge, published, by := r.granted(ctx, was.stated, now.stated)
	before, proofs := judge.pilots(ctx, *was, published, nil, signedBySome), r.Proofs
	if by == pilotsGranted { // what the first commit gives is what people have
		proofs, published = proofs.granting(recordsOf(was.stated)), observed.Generation{Commit: was.commit.ID, Published: judge.Now()}
		published.Givens.Pilots = before.places
	}
	after := judge.pilots(ctx, *now, published, nil, signedBySome)
	until := judge.until(ctx, proofs, after, published, nil)
	same := sameRepositories(before, after)
	was.place(slices.DeleteFunc(slices.Clone(before.places), same))
	now.place(slices.DeleteFunc(slices.Clone(after.places), same))
	was.expired, now.expired = plan.Expired(was.site, r.Now()), plan.Expired(now.site, r.Now())
	return plan.PilotChangesOnceProven(before.side(), after.side(), until.side()), by
}

// planPilots says what becomes of pilots by the next pass, beside what is published.
func (r *Reconciler) planPilots(ctx context.Context, now pilotsJudged, have observed.Root, p *plan.Plan) {
	if p.Publish == nil && len(p.Refused) == 0 {
		return
	}
	current, base := lastKnown(have), wanted{}
	if current.Commit != "" {
		var err error
		if base, err = r.load(ctx, current.Commit); err != nil {
			r.Log.Warn("nobody knows what becomes of pilots", "because", err)
			return
		}
	}
	if len(base.stated.Pilots)+len(now.w.stated.Pilots) == 0 {
		return
	}
	was, err := r.seenOf(ctx, base, current)
	if err != nil {
		return // the plan is given up
	}
	side := was.side(base)
	side.Places = current.Givens.Pilots
	for _, place := range side.Places {
		pilot := side.Pilots[place.Name]
		pilot.State = place.State
		side.Pilots[place.Name] = pilot
	}
	p.Pilots, p.PilotsFrom = plan.PilotChanges(side, now.side()), pilotsByPass
}

// until are the pilots of a commit as they are until it is proven who wrote the records for which they were judged.
func (r *Reconciler) until(ctx context.Context, proofs *Proofs, once pilotsJudged, published observed.Generation, in []observed.Hold) pilotsJudged {
	here := *r
	here.Proofs = proofs
	j := pilotsJudged{w: once.w, facts: once.facts, unsure: once.unsure}
	here.judgePilots(ctx, &j, published, in)
	j.places = j.free
	return j
}

// sameRepositories says of which pilots of sites both sides serve the same: nobody need fetch their packages to compare them.
func sameRepositories(was, now pilotsJudged) func(tree.PilotPlace) bool {
	return func(p tree.PilotPlace) bool {
		a, b := was.w.stated.Pilots[p.Name], now.w.stated.Pilots[p.Name]
		a.Records, b.Records = nil, nil
		return b.Scope == desired.PilotOfSites && reflect.DeepEqual(a, b) && reflect.DeepEqual(was.w.stated.Settings, now.w.stated.Settings) &&
			reflect.DeepEqual(placeIn(was.places, p.Name), placeIn(now.places, p.Name))
	}
}

func placeIn(places []tree.PilotPlace, name string) tree.PilotPlace {
	if i := slices.IndexFunc(places, func(p tree.PilotPlace) bool { return p.Name == name }); i >= 0 {
		return places[i]
	}
	return tree.PilotPlace{}
}

// side are the pilots as they are judged, with why they cannot be served.
func (j pilotsJudged) side() plan.PilotSide {
	out := plan.PilotSide{Site: j.w.stated, Subjects: plan.KeptSubjects(j.w.stated, j.w.files.Files(), j.w.subjects, j.free), Pilots: map[string]plan.PilotNow{}, Places: slices.Clone(j.free)}
	for _, now := range j.now {
		out.Pilots[now.Name] = now
	}
	for i, p := range j.places {
		out.Places[i].Withheld = p.Withheld
	}
	return out
}
