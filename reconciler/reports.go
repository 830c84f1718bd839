package reconciler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/durable"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/store"
)

const (
	mostReports = 1 << 15                // that wait to be entered
	gather      = 100 * time.Millisecond // for that long, reports are entered together
	lastReports = 5 * time.Second        // to enter the last ones when the service ends
)

// Reports enters what FECs report into the ledger, many at a time, and remembers which releases they run. Whoever reports
// waits for none of that: what comes while too many wait, or while the ledger cannot be used, is counted and dropped. It is
// safe for concurrent use.
type Reports struct {
	Entered func() // is told when some have been; nil: nobody is. It is set before Run

	r    *Reconciler
	lost func(int)

	mu      sync.Mutex
	waiting []ledger.FECReport
	proves  map[string]bool // FECs that have proven a report by a token: of them only what is proven counts
	news    chan struct{}
}

// NewReports enters reports into the records of a reconciler, and tells how many were dropped.
func NewReports(r *Reconciler, lost func(int)) *Reports {
	return &Reports{r: r, lost: lost, proves: map[string]bool{}, news: make(chan struct{}, 1)}
}

// Take takes a report to enter. Those that are not proven leave room for those that are.
func (q *Reports) Take(said ledger.FECReport) {
	q.mu.Lock()
	most := mostReports
	if !said.Proven() {
		most = mostReports / 4 * 3
	}
	full := len(q.waiting) >= most
	if !full {
		q.waiting = append(q.waiting, said)
	}
	q.mu.Unlock()
	if full {
		q.lost(1)
		return
	}
	select {
	case q.news <- struct{}{}:
	default: // it is known already
	}
}

// Run enters reports until the context ends, and then those that still wait.
func (q *Reports) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReports)
			defer cancel()
			q.enter(ctx)
			return
		case <-q.news:
		}
		select {
		case <-ctx.Done():
		case <-time.After(gather):
			q.enter(ctx)
		}
	}
}

func (q *Reports) enter(ctx context.Context) {
	q.mu.Lock()
	batch := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	if !q.r.enter(ctx, batch, q.counts) {
		q.lost(len(batch))
	} else if q.Entered != nil {
		q.Entered()
	}
}

// counts says whether a report tells what its FEC runs.
func (q *Reports) counts(r ledger.FECReport) bool {
	if r.Source == "token" {
		q.proves[r.FEC] = true
	}
	return r.Proven() || !q.proves[r.FEC]
}

// Proved enters what FECs have answered over ssh. What cannot be entered is not known: they can be asked again.
func (r *Reconciler) Proved(ctx context.Context, said ...ledger.FECReport) {
	r.enter(ctx, said, ledger.FECReport.Proven)
}

// enter enters reports, and remembers which releases the FECs run that those name which count.
func (r *Reconciler) enter(ctx context.Context, said []ledger.FECReport, counts func(ledger.FECReport) bool) (entered bool) {
	r.Records.Try(ctx, func(l *ledger.Ledger) error {
		err := l.AddReports(ctx, said)
		entered = err == nil
		return err
	})
	var runs []store.Run
	last := map[string]int64{} // each release once in a row
	for _, s := range said {
		has := s.State == "running" || s.State == "fallback" || s.State == "installed"
		if counts(s) && has && s.Preview == 0 && last[s.FEC] != s.Serial {
			last[s.FEC] = s.Serial
			runs = append(runs, store.Run{FEC: s.FEC, Serial: s.Serial})
		}
	}
	if err := r.Reported(runs...); err != nil {
		r.Log.Warn("reports not remembered", "err", err)
	}
	return entered
}

// Forget forgets what FECs have proven by a token that have none any more: else nothing that they report would ever count again.
func (q *Reports) Forget(ctx context.Context, holders map[string]bool) {
	q.r.Records.Try(ctx, func(l *ledger.Ledger) error {
		proven, err := l.Evidence(ctx)
		var without []string
		for fec, p := range proven {
			if p.HasToken() && !holders[fec] {
				without = append(without, fec)
			}
		}
		if err != nil {
			return err
		}
		return l.ForgetProofs(ctx, without)
	})
}

// Known is what the ledger knows of earlier reports: the last of each FEC, and the last that was proven.
func (q *Reports) Known(ctx context.Context) (latest []ledger.FECReport, proven map[string]ledger.FECReport) {
	q.r.Records.Try(ctx, func(l *ledger.Ledger) (err error) {
		if latest, err = l.LatestReports(ctx); err == nil {
			proven, err = l.Evidence(ctx)
		}
		return err
	})
	for fec, p := range proven {
		q.proves[fec] = p.HasToken()
	}
	return latest, proven
}

// reports is held while what FECs report is written or taken.
var reports sync.Mutex

// Reported remembers which releases FECs say that they run, so that they are not pruned.
func (r *Reconciler) Reported(runs ...store.Run) error {
	if len(runs) == 0 {
		return nil
	}
	reports.Lock()
	defer reports.Unlock()
	dir, err := durable.Open(r.Root, r.Hook)
	if err != nil {
		return err
	}
	return errors.Join(store.AppendReported(dir, runs), dir.Close())
}
