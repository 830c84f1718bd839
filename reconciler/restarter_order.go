package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/report"
)

// stood is how FECs stood when that was last decided.
type stood struct {
	mu      sync.Mutex
	known   report.Restarts
	decided bool // once
	stirred bool // an operator has changed something
}

func (s *stood) set(w plan.Waves, f fleetNow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.decided = report.Restarts{FECs: w.Standing, Groups: w.Groups, Pause: f.pause}, true
}

// hurry says once that an operator has changed something.
func (s *stood) hurry() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stirred
	s.stirred = false
	return was
}

func (s *stood) stir() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stirred = true
}

func (s *stood) get() report.Restarts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// check says whether it is known at all how FECs stand.
func (s *stood) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.decided {
		return errors.New("nothing was done: the service does not know yet how FECs stand; try again soon, or see its log")
	}
	return nil
}

// Restarts is how far FECs have come, as it was decided last.
func (s *Restarter) Restarts(ctx context.Context) (report.Restarts, error) {
	out := s.stood.get()
	out.FECs = append([]plan.Standing{}, out.FECs...)
	_, pause, err := s.rollouts(ctx)
	out.Pause = observed.Pause(pause)
	return out, err
}

// Restarts is likewise what the ledger tells without a service: only FECs that were restarted, or left out, and why nothing is.
func (r *Reconciler) Restarts(ctx context.Context) (out report.Restarts, err error) {
	out.FECs = []plan.Standing{}
	all, pause, err := r.rollouts(ctx)
	out.Pause = observed.Pause(pause)
	states := map[string]string{observed.RolloutRuns: plan.StandsCurrent, observed.RolloutFailed: plan.StandsFailed, observed.RolloutSkipped: plan.StandsSkipped,
		observed.RolloutAsking: plan.StandsUnderway, observed.RolloutAsked: plan.StandsUnderway, observed.RolloutNow: plan.StandsWaiting}
	for _, row := range all {
		out.FECs = append(out.FECs, plan.Standing{FEC: row.FEC, Group: row.Group, State: states[row.State], Wanted: row.Wanted, Need: row.Need, Wave: row.Wave,
			Why: row.Detail, Since: row.At})
	}
	slices.SortFunc(out.FECs, func(a, b plan.Standing) int { return cmp.Compare(a.FEC, b.FEC) })
	return out, err
}

// rollouts are those of all FECs that have any, and why they are paused.
func (r *Reconciler) rollouts(ctx context.Context) (all map[string]ledger.Rollout, pause ledger.RolloutPause, err error) {
	err = r.Records.Use(ctx, func(l *ledger.Ledger) error {
		all, pause, err = l.Rollouts(ctx)
		return err
	})
	return all, pause, err
}

// RestartOrder is what an operator wants done about restarts.
type RestartOrder struct {
	Do     string   `json:"do"` // status, pause, resume, skip, abort or now
	FECs   []string `json:"fecs,omitempty"`
	Reason string   `json:"reason,omitempty"`
	By     string   `json:"by"`
}

// Carry carries out an operator's order, and says what it came to.
func (s *Restarter) Carry(ctx context.Context, o RestartOrder) (string, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	defer s.stood.stir()
	s.Log.Info("operator's order about restarts", "do", o.Do, "fecs", o.FECs, "by", o.By, "reason", o.Reason)
	switch o.Do {
	case "pause":
		return s.pause(ctx, o)
	case "resume":
		return s.resume(ctx, "")
	case "skip", "now":
		return s.mark(ctx, o)
	case "abort":
		return s.abort(ctx, o)
	}
	return "", fmt.Errorf("unknown order %q", o.Do)
}

func (s *Restarter) pause(ctx context.Context, o RestartOrder) (string, error) {
	if strings.TrimSpace(o.Reason) == "" {
		return "", errors.New("say why: give --reason")
	}
	_, was, err := s.rollouts(ctx)
	if err != nil {
		return "", err
	}
	if was.By != "" {
		return fmt.Sprintf("restarts are paused already, since %s: %s\n", observed.Minute(was.At), observed.Printable(was.Reason)), nil
	}
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		return l.PauseRollouts(ctx, ledger.RolloutPause{Reason: o.Reason, By: o.By, At: s.Now()})
	})
	return "restarts are paused: FECs that restart already go on, no other begins\n", err
}

// resume ends a pause. What failed before counts no more.
func (s *Restarter) resume(ctx context.Context, text string) (string, error) {
	all, pause, err := s.rollouts(ctx)
	if err != nil {
		return "", err
	}
	var set []ledger.Rollout
	for _, r := range all {
		if r.State == observed.RolloutFailed && !r.Closed {
			r.Closed = true
			set = append(set, r)
		}
	}
	if text == "" && pause.Reason == "" {
		text = "restarts are not paused"
	}
	text = cmp.Or(text, "restarts go on")
	if len(set) > 0 {
		text += fmt.Sprintf("; %d failed so far, and count no more: pomona restart now FEC tries one again", len(set))
	}
	return text + "\n", s.Records.Use(ctx, func(l *ledger.Ledger) error {
		if err := l.SetRollouts(ctx, set, nil); err != nil {
			return err
		}
		return l.PauseRollouts(ctx, ledger.RolloutPause{})
	})
}

// mark has FECs left alone, or restarted now.
func (s *Restarter) mark(ctx context.Context, o RestartOrder) (string, error) {
	if len(o.FECs) == 0 {
		return "", errors.New("name the FECs")
	}
	if err := s.stood.check(); err != nil {
		return "", err
	}
	stand := map[string]plan.Standing{}
	var names []string
	for _, f := range s.stood.get().FECs {
		stand[f.FEC] = f
		names = append(names, f.FEC)
	}
	var set []ledger.Rollout
	o.FECs = slices.Compact(slices.Sorted(slices.Values(o.FECs)))
	for _, fec := range o.FECs {
		f, known := stand[fec]
		switch {
		case !known:
			err := fmt.Errorf("nothing is published for a FEC %q", fec)
			if near := desired.Suggest(fec, names); near != "" {
				err = fmt.Errorf("%w: did you mean %s?", err, near)
			}
			return "", err
		case f.State == plan.StandsUnderway:
			return "", fmt.Errorf("%s restarts already", fec)
		case f.State == plan.StandsCurrent && f.Why == "":
			return "", fmt.Errorf("%s runs what is published for it", fec)
		}
		r := ledger.Rollout{FEC: fec, Wanted: f.Wanted, Need: f.Need, State: observed.RolloutNow, At: s.Now()}
		if o.Do == "skip" {
			r.State, r.Detail = observed.RolloutSkipped, cmp.Or(o.Reason, "left alone")+" ("+o.By+")"
		}
		set = append(set, r)
	}
	text := fmt.Sprintf("%s: restarted now, unless something holds it\n", desired.Few(o.FECs))
	if o.Do == "skip" {
		text = fmt.Sprintf("%s: left alone until something else is published for it\n", desired.Few(o.FECs))
	}
	return text, s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.SetRollouts(ctx, set, nil) })
}

// abort leaves everything alone that waits, until something else is published for it.
func (s *Restarter) abort(ctx context.Context, o RestartOrder) (string, error) {
	if err := s.stood.check(); err != nil {
		return "", err
	}
	var set []ledger.Rollout
	for _, f := range s.stood.get().FECs {
		if f.State == plan.StandsWaiting || f.State == plan.StandsHeld || f.State == plan.StandsUnknown {
			set = append(set, ledger.Rollout{FEC: f.FEC, Wanted: f.Wanted, Need: f.Need, State: observed.RolloutSkipped, At: s.Now(),
				Detail: cmp.Or(o.Reason, "aborted") + " (" + o.By + ")"})
		}
	}
	if err := s.Records.Use(ctx, func(l *ledger.Ledger) error { return l.SetRollouts(ctx, set, nil) }); err != nil {
		return "", err
	}
	return s.resume(ctx, fmt.Sprintf("aborted: %d FECs are left alone until something else is published for them", len(set)))
}
