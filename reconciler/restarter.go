package reconciler

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/restart"
)

// Restarter has running FECs get what was published for them, beside passes: it looks what they have proved to run, lets plan decide
// who is next, and asks them over ssh.
//
// It may die at any instruction. What it is about to ask of a FEC it records before; whether the FEC was asked, that FEC knows.
// While nothing can be recorded, nothing is restarted.
type Restarter struct {
	*Reconciler
	Shell  restart.Shell
	Host   func(fec string, f desired.FEC) remote.Host
	AtOnce int                   // FECs talked to at once
	Every  time.Duration         // how often it decides while there is something to do; default 2s
	Kick   func(context.Context) // makes a pass
	Tell   Told

	deciding sync.Mutex // held from reading rollouts until what was decided is recorded
	fleet    servedFleet
	talks    talks
	stood    stood
	trouble  trouble
	since    time.Time                    // when the decisions began that went on until now
	atPoint  func(point, fec string) bool // of tests
}

// Told is told what people should know. Its methods return at once.
type Told interface {
	Stand(report.Restarts)        // as they were decided about last
	RestartsPaused(reason string) // empty: they go on
	FECFailed(r observed.Rollout, held string)
}

// idle is how often it decides while there is nothing to do.
const idle = 10 * time.Second

// Run restarts FECs until the context ends.
func (s *Restarter) Run(ctx context.Context) error {
	s.Every = cmp.Or(s.Every, 2*time.Second)
	var due time.Time
	for ctx.Err() == nil {
		if moved := s.fleet.moved(s.Root); moved || s.stood.hurry() || !s.Now().Before(due) {
			busy, err := s.step(ctx)
			s.complain(ctx, err)
			if due = s.Now(); !busy {
				due = due.Add(idle)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.Every):
		}
	}
	return nil
}

// complain logs once, and again when it is for another reason, that nothing is restarted.
func (s *Restarter) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	switch news := s.trouble.news(err); {
	case news && err == nil:
		s.Log.Info("restarts can go on again")
	case news:
		s.Log.Error("nothing is restarted", "err", err)
	}
}

// step decides once, and does it. Busy says that more is to come soon.
func (s *Restarter) step(ctx context.Context) (busy bool, err error) {
	defer func() {
		if err != nil {
			s.since = time.Time{} // what FECs say meanwhile, nobody hears
		}
	}()
	if err := s.fleet.look(ctx, s.Reconciler); err != nil || s.fleet.generation == 0 {
		return false, err
	}
	if err := s.continueAsking(ctx); err != nil {
		return true, err
	}
	f, w, err := s.decide(ctx)
	if err != nil {
		return false, err
	}
	s.stood.set(w, f)
	s.Tell.Stand(s.stood.get())
	s.talk(ctx, f, w)
	return len(w.Begin)+len(w.Watch)+len(w.Look)+len(w.Set) > 0, ctx.Err()
}

// fleetNow is all that is decided by.
type fleetNow struct {
	plan.Fleet
	pause observed.Pause
}

// member is one of them; nil if there is none of that name.
func (f fleetNow) member(fec string) *plan.Member {
	i := slices.IndexFunc(f.Members, func(m plan.Member) bool { return m.FEC == fec })
	if i < 0 {
		return nil
	}
	return &f.Members[i]
}

// decide decides once and records what has become of FECs.
func (s *Restarter) decide(ctx context.Context) (f fleetNow, w plan.Waves, err error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if f, err = s.gather(ctx); err != nil {
		return f, w, err
	}
	w = plan.Restarts(f.Fleet)
	back := s.goBack(ctx, f, w) // first: what is recorded as failed is not looked at again
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if w.Pause != "" {
			if err := l.PauseRollouts(ctx, ledger.RolloutPause{Reason: w.Pause, At: s.Now()}); err != nil {
				return err
			}
		}
		if len(w.Set)+len(w.Forget) == 0 {
			return nil
		}
		return l.SetRollouts(ctx, rolloutRows(w.Set), w.Forget)
	})
	if err != nil || len(w.Failed) > 0 && !s.reach("failed", w.Failed[0].FEC) {
		return f, w, err
	}
	for _, r := range w.Failed {
		s.Tell.FECFailed(r, back[r.FEC])
	}
	if len(back) > 0 {
		s.Kick(ctx)
	}
	if w.Pause != "" {
		f.pause = observed.Pause{Reason: w.Pause, At: s.Now()}
		s.Log.Error("restarts are paused", "because", w.Pause)
	}
	s.Tell.RestartsPaused(f.pause.Reason)
	for _, r := range w.Set {
		s.Log.Info("FEC was restarted", "fec", r.FEC, "state", r.State, "serial", r.Wanted, "because", r.Detail)
	}
	return f, w, nil
}

func rolloutRows(rs []observed.Rollout) (out []ledger.Rollout) {
	for _, r := range rs {
		out = append(out, ledger.Rollout(r))
	}
	return out
}

// reach passes a point at which a test has the restarter die; then it is false.
func (s *Restarter) reach(point, fec string) bool { return s.atPoint == nil || s.atPoint(point, fec) }
