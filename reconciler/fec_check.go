package reconciler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// checkedAgain is how old an answer for monitoring may be: so many thousand FECs may be asked for each minute.
const checkedAgain = 5 * time.Second

// FECChecks say for monitoring whether FECs run what is published for them. They are safe for concurrent use.
type FECChecks struct {
	r *Reconciler

	mu    sync.Mutex
	lines map[string]report.FECLine
	at    time.Time
	err   error
	told  trouble
}

// NewFECChecks are checks of what the root and the records of a reconciler tell.
func NewFECChecks(r *Reconciler) *FECChecks { return &FECChecks{r: r} }

// Of is one line on a FEC, as report.FECLine has it; false: nothing is published for it.
func (c *FECChecks) Of(ctx context.Context, fec string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.at) > checkedAgain {
		c.lines, c.err = c.look(ctx)
		c.at = now
		if c.told.news(c.err) && c.err != nil {
			c.r.Log.Error("monitoring is not told what FECs run", "err", c.err)
		}
	}
	line, ok := c.lines[fec]
	if c.err != nil {
		return "UNKNOWN: Pomona does not know what FECs run\n", true // the log says why
	}
	return line.Check(), ok
}

func (c *FECChecks) look(ctx context.Context) (map[string]report.FECLine, error) {
	have, err := c.r.see()
	if err != nil {
		return nil, err
	}
	var said map[string]observed.Said
	err = c.r.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		said, err = observe.Said(ctx, l)
		return err
	})
	if err != nil && !errors.Is(err, ledger.ErrNone) {
		return nil, err
	}
	lines := map[string]report.FECLine{}
	for _, line := range report.FECsOf(have.Index.FECs, said, nil, c.r.Now()).All {
		lines[line.FEC] = line
	}
	return lines, nil
}
