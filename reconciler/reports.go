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
	r    *Reconciler
	lost func(int)

	mu      sync.Mutex
	waiting []ledger.FECReport
	proves  map[string]bool // FECs that have proven a report: of them nothing else counts
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
	entered := false
	q.r.Records.Try(ctx, func(l *ledger.Ledger) error {
		err := l.AddReports(ctx, batch)
		entered = err == nil
		return err
	})
	if !entered {
		q.lost(len(batch))
	}
	if err := q.r.Reported(q.runs(batch)...); err != nil {
		q.r.Log.Warn("reports not remembered", "err", err)
	}
}

// runs are the releases that FECs say they have, each once in a row.
func (q *Reports) runs(batch []ledger.FECReport) (out []store.Run) {
	last := map[string]int64{}
	for _, r := range batch {
		if r.Proven() {
			q.proves[r.FEC] = true
		}
		has := r.State == "running" || r.State == "fallback" || r.State == "installed"
		if r.Preview > 0 || !has || q.proves[r.FEC] && !r.Proven() || last[r.FEC] == r.Serial {
			continue
		}
		last[r.FEC] = r.Serial
		out = append(out, store.Run{FEC: r.FEC, Serial: r.Serial})
	}
	return out
}

// Known is what the ledger knows of earlier reports: the last of each FEC, and the last that was proven.
func (q *Reports) Known(ctx context.Context) (latest []ledger.FECReport, proven map[string]ledger.FECReport) {
	q.r.Records.Try(ctx, func(l *ledger.Ledger) (err error) {
		if latest, err = l.LatestReports(ctx); err == nil {
			proven, err = l.Evidence(ctx)
		}
		return err
	})
	for fec := range proven {
		q.proves[fec] = true
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
