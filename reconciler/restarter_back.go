package reconciler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
)

// goBack has FECs that do not run, and whose site wants that, get the release before: by holds, whose ids it returns by FEC.
func (s *Restarter) goBack(ctx context.Context, f fleetNow, w plan.Waves) map[string]string {
	held := map[string]string{}
	for _, r := range w.Failed {
		if slices.Contains(w.Broken, r.FEC) || slices.Contains(w.Late, r.FEC) {
			held[r.FEC] = s.holdBefore(ctx, f, r.FEC, r.Was, r.Detail)
		}
	}
	for _, fec := range w.Broken {
		if _, failed := held[fec]; !failed {
			held[fec] = s.holdBefore(ctx, f, fec, 0, "its init scripts fail")
		}
	}
	maps.DeleteFunc(held, func(_, id string) bool { return id == "" })
	return held
}

// holdBefore places a hold on a FEC at the commit of the release that it ran before, and is the hold's id; empty if nobody wants that.
// That is the last one that it has proved to run; if there is none, the one of serial was or, with 0, the one published before.
func (s *Restarter) holdBefore(ctx context.Context, f fleetNow, fec string, was int64, why string) string {
	m := f.member(fec)
	if m == nil || m.Returning {
		return ""
	}
	wanted := m.Wanted
	if ran := s.lastRun(ctx, fec, wanted); ran > 0 {
		was = ran
	} else if was == 0 || was >= wanted {
		was = s.serialBefore(ctx, fec, wanted)
	}
	before, commit, err := s.manifest(ctx, fec, was)
	now, bad, err2 := s.manifest(ctx, fec, wanted)
	if err != nil || err2 != nil || before == nil || now == nil || !plan.RestartOf(s.fleet.site, before, *now).Previous {
		return ""
	}
	if head, err := s.Repo.Resolve(s.Branch); err == nil {
		bad = head.ID // a newer one than this ends the hold
	}
	h := ledger.Hold{Scope: desired.FECScope + "." + fec, Kind: desired.Stay, Source: observed.FromFailure, Commit: commit, Bad: bad,
		Reason: fmt.Sprintf("serial %d: %s", wanted, why), Since: s.Now().UTC().Truncate(time.Second), Until: s.Now().UTC().Truncate(time.Second).Add(longest)}
	err = s.Records.Use(ctx, func(l *ledger.Ledger) (err error) {
		h, err = l.Place(ctx, h)
		return err
	})
	if err != nil {
		s.Log.Error("FEC does not get its release before", "fec", fec, "err", err)
		return ""
	}
	s.Log.Warn("FEC gets its release before, and is held there", "fec", fec, "hold", h.ID, "commit", commit, "because", why)
	return h.ID
}

// lastRun is the last serial before another that a FEC has proved to run; 0: none is known.
func (s *Restarter) lastRun(ctx context.Context, fec string, before int64) (serial int64) {
	_ = s.Records.Use(ctx, func(l *ledger.Ledger) error { // then nobody knows
		all, err := l.ReportsOf(ctx, fec, 100)
		for _, r := range all {
			if r.Proven() && r.State == "running" && r.Preview == 0 && r.Serial < before {
				serial = r.Serial
				break
			}
		}
		return err
	})
	return serial
}

func (s *Restarter) serialBefore(ctx context.Context, fec string, serial int64) (before int64) {
	_ = s.Records.Use(ctx, func(l *ledger.Ledger) error { // then nobody knows
		all, err := l.PublishedOf(ctx, fec, 10)
		for _, p := range all {
			if p.Serial < serial {
				before = p.Serial
				break
			}
		}
		return err
	})
	return before
}
