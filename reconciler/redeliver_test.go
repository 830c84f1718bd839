package reconciler

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/forge"
)

// repeating is a forge that has missed so many deliveries, and notes since when it was asked for them.
type repeating struct {
	forge.Forge
	missed int
	asked  []time.Time
}

func (f *repeating) Redeliver(_ context.Context, since time.Time) (int, error) {
	f.asked = append(f.asked, since)
	n := min(f.missed, forge.MaxRedelivered)
	f.missed -= n
	return n, nil
}

// TestMoreMissedDeliveriesThanOneCallRepeats asks since the same time until there are none left.
func TestMoreMissedDeliveriesThanOneCallRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, ended := &repeating{missed: 120}, make(chan struct{})
		r := &Reconciler{Log: slog.New(slog.DiscardHandler), Now: time.Now}
		go func() { r.Redeliver(ctx, f); close(ended) }()
		time.Sleep(4*redeliverEvery - time.Second)
		cancel()
		<-ended
		if len(f.asked) != 4 || !f.asked[2].Equal(f.asked[0]) || !f.asked[3].After(f.asked[0]) {
			t.Errorf("asked since %v", f.asked)
		}
	})
}
