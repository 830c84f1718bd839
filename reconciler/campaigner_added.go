package reconciler

import (
	"context"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// offers are what recoveries may add to slices of stages, found in one look at all slices.
type offers struct {
	began time.Time // of the look
	of    map[string]*offer
}

// offer is what of a stage's dataset recoveries may add to its slices.
type offer struct {
	dataset  []observed.Input
	read     time.Time // when that began
	assigned map[string]bool
	err      error
}

// take notes that a slice of a stage gets some inputs: no other does.
func (o offers) take(stage string, names []string) {
	for _, name := range names {
		o.of[stage].assigned[name] = true
	}
}

// addedInputs are those that a verdict gives a slice, as the ledger has them.
func addedInputs(v plan.Verdict) ledger.AddedInputs {
	row := ledgerSlice(v.Slice)
	row.Inputs = v.Added
	return ledger.AddedInputs{Slice: row, Added: plan.InputsDigest(v.Added, nil)}
}

// offered finds which inputs a slice may get besides, of those that want any. A dataset that was read before its last attempt was seen to have
// ended may lack what came while that ran, and is read again. Who calls it is deciding.
func (s *Campaigner) offered(ctx context.Context, now *campaignNow, f *plan.SliceFacts) error {
	if !mayGetMore(*f) {
		return nil
	}
	attempt := f.Tries[len(f.Tries)-1].Key
	if s.ended[attempt].IsZero() {
		s.ended[attempt] = now.offers.began
	}
	o := now.offers.of[f.Slice.Stage]
	if o == nil {
		o = s.readOffer(ctx, now.uid, f, s.ended[attempt])
		now.offers.of[f.Slice.Stage] = o
	}
	switch {
	case o.err != nil:
		return o.err
	case o.read.Before(s.ended[attempt]):
		return errReading
	}
	delete(s.ended, attempt)
	f.Added = o.to(f)
	return nil
}

// wouldOffer is likewise for who only asks: it goes by what is read already, and nothing is decided by it.
func (s *Campaigner) wouldOffer(ctx context.Context, uid string, f *plan.SliceFacts) error {
	if !mayGetMore(*f) {
		return nil
	}
	o := s.readOffer(ctx, uid, f, time.Time{})
	if o.err != nil {
		return o.err
	}
	f.Added = o.to(f)
	return nil
}

// mayGetMore says whether a slice may get inputs besides its own.
func mayGetMore(f plan.SliceFacts) bool {
	return plan.WantsAdded(f.Stage) && f.Stage.ReadsDataset() && !f.Slice.Test
}

// readOffer reads a stage's dataset, not as it was before a time, and which of it slices have.
func (s *Campaigner) readOffer(ctx context.Context, uid string, f *plan.SliceFacts, since time.Time) *offer {
	o := &offer{}
	if o.dataset, o.read, o.err = s.datasetSince(ctx, f.Stage, since); o.err != nil {
		return o
	}
	o.err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		o.assigned, err = assignedInputs(ctx, l, uid, f.Slice.Stage, f.Slice.Epoch)
		return err
	})
	return o
}

// to are the inputs that a slice may get.
func (o *offer) to(f *plan.SliceFacts) []string {
	return plan.AddedTo(f.Stage.TheSplit(false), f.Slice, o.dataset, func(name string) bool { return o.assigned[name] })
}
