package reconciler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/restart"
)

// talk asks FECs what they run, and those whose turn it is to restart.
func (s *Restarter) talk(ctx context.Context, f fleetNow, w plan.Waves) {
	var g errgroup.Group
	g.SetLimit(max(1, s.AtOnce))
	var mu sync.Mutex
	var said []ledger.FECReport
	for _, r := range s.stillFree(ctx, f.Now, w.Begin) {
		g.Go(func() error {
			s.begin(ctx, r)
			return nil
		})
	}
	for _, fec := range s.talks.oldest(slices.Concat(w.Watch, w.Look)) {
		underway := slices.Contains(w.Watch, fec)
		if !s.talks.isDue(fec, s.Now()) {
			continue
		}
		if s.Now().Sub(f.Now) > fresh {
			break // many do not answer: the next decision does not wait for all of them
		}
		g.Go(func() error {
			if report := s.ask(ctx, f, fec, underway); report != nil {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, *report)
			}
			return nil
		})
	}
	_ = g.Wait() // each has noted its error
	if len(said) > 0 {
		s.Proved(ctx, said...)
	}
}

// fresh is how long a decision counts.
const fresh = 5 * time.Second

// stillFree yields what was decided to begin but for FECs that are held meanwhile: a wave takes its time.
func (s *Restarter) stillFree(ctx context.Context, decided time.Time, begin []observed.Rollout) iter.Seq2[int, observed.Rollout] {
	return func(yield func(int, observed.Rollout) bool) {
		var holds []observed.Hold
		again := false
		for i, r := range begin {
			if s.Now().Sub(decided) > fresh {
				holds, decided, again = s.holds(ctx), s.Now(), true
			}
			m := plan.Member{FEC: r.FEC}
			if again {
				s.hold(&m, holds)
			}
			if m.Held == "" && !yield(i, r) {
				return
			}
		}
	}
}

// ask is what a FEC says that it runs, as proof; nil if that is nothing new.
func (s *Restarter) ask(ctx context.Context, f fleetNow, fec string, underway bool) *ledger.FECReport {
	answer, err := s.status(ctx, fec)
	wait := time.Minute
	if underway { // sooner at first
		wait = min(max(s.Now().Sub(f.Rollouts[fec].At)/4, 2*time.Second), 30*time.Second)
	}
	switch {
	case err != nil:
		s.talks.note(fec, err.Error(), s.Now(), wait)
		return nil
	case answer.Preview > 0:
		s.talks.note(fec, fmt.Sprintf("boots the preview of pull request %d", answer.Preview), s.Now(), wait)
		return nil
	case answer.State == "":
		s.talks.note(fec, "its boot client has not said yet what it runs", s.Now(), wait)
		return nil
	}
	s.talks.again(fec, s.Now(), wait)
	if m := f.member(fec); m != nil && m.Evidence != nil {
		r, e := f.Rollouts[fec], m.Evidence
		if !m.Doubted && e.State == answer.State && e.Serial == answer.Serial && (!underway || e.At.After(r.At)) {
			return nil
		}
	}
	return s.proof(fec, answer)
}

func (s *Restarter) status(ctx context.Context, fec string) (restart.Status, error) {
	return restart.StatusOf(ctx, s.Shell, s.Host(fec, s.fleet.site.FECs[fec]))
}

// proof is an answer as the ledger has it.
func (s *Restarter) proof(fec string, a restart.Status) *ledger.FECReport {
	return &ledger.FECReport{FEC: fec, Serial: a.Serial, State: a.State, Slot: a.Slot, Detail: a.Detail, Client: "pomona-fec", Source: "ssh",
		From: s.Host(fec, s.fleet.site.FECs[fec]).Address, Dev: a.Dev, At: s.Now()}
}

// begin restarts one FEC, unless it says that it runs already what is wanted, or does not want to.
func (s *Restarter) begin(ctx context.Context, r observed.Rollout) {
	answer, err := s.status(ctx, r.FEC)
	switch {
	case err != nil:
		s.talks.note(r.FEC, err.Error(), s.Now(), time.Minute)
		return
	case answer.Inhibit != "":
		s.talks.note(r.FEC, "inhibited: "+answer.Inhibit, s.Now(), 20*time.Second)
		return
	case answer.Preview > 0:
		s.talks.note(r.FEC, fmt.Sprintf("boots the preview of pull request %d", answer.Preview), s.Now(), time.Minute)
		return
	case answer.State == "" && answer.Asked == "":
		s.talks.note(r.FEC, "is booting: its boot client has not said yet what it runs", s.Now(), 20*time.Second)
		return
	case answer.Dev != "", isNews(answer, r):
		// A developer is there, or it has booted by itself: the next decision heeds that.
		s.Proved(ctx, *s.proof(r.FEC, answer))
		return
	}
	r.Boot, r.At = answer.Boot, s.Now()
	if !s.claim(ctx, r) {
		return
	}
	s.order(ctx, r)
}

// isNews says whether a FEC is not as it was when a rollout was decided.
func isNews(a restart.Status, r observed.Rollout) bool {
	switch a.State {
	case "":
		return false
	case "fetching", "installed":
		return true
	}
	return a.Serial != r.Was || a.Serial == r.Wanted && (a.State == "running" || r.Wave > 0)
}

// claim records that a FEC is being asked to restart. It is not to be if meanwhile an operator wants otherwise, or nothing can be recorded.
func (s *Restarter) claim(ctx context.Context, r observed.Rollout) bool {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	claimed := false
	err := s.Records.Use(ctx, func(l *ledger.Ledger) error {
		all, pause, err := l.Rollouts(ctx)
		if err != nil {
			return err
		}
		if now := all[r.FEC]; now.State == observed.RolloutSkipped && now.Wanted == r.Wanted || pause.Reason != "" && r.Wave > 0 {
			return nil
		}
		if err := l.SetRollouts(ctx, []ledger.Rollout{ledger.Rollout(r)}, nil); err != nil {
			return err
		}
		claimed = true
		return nil
	})
	s.complain(ctx, err)
	return claimed && err == nil && s.reach("asking", r.FEC)
}

// order asks a FEC to restart, and records that it has accepted.
func (s *Restarter) order(ctx context.Context, r observed.Rollout) {
	err := restart.Order(ctx, s.Shell, s.Host(r.FEC, s.fleet.site.FECs[r.FEC]), r)
	if !s.reach("ordered", r.FEC) {
		return
	}
	s.talks.again(r.FEC, s.Now(), 0)
	var inhibited *restart.Inhibited
	var exit *remote.ExitError
	switch {
	case err == nil:
		s.Log.Info("FEC restarts", "fec", r.FEC, "need", r.Need, "software", r.Software, "serial", r.Wanted, "group", r.Group, "wave", r.Wave)
		r.State, r.At = observed.RolloutAsked, s.Now()
	case errors.As(err, &inhibited):
		s.talks.note(r.FEC, err.Error(), s.Now(), 20*time.Second)
		s.putBack(ctx, r)
		return
	case errors.As(err, &exit):
		r.State, r.Detail, r.At = observed.RolloutFailed, err.Error(), s.Now()
	default:
		s.talks.note(r.FEC, err.Error(), s.Now(), 5*time.Second)
		return // nobody knows whether it has heard
	}
	s.enter(ctx, r)
	s.reach("asked", r.FEC)
}

// enter records how far a FEC has come.
func (s *Restarter) enter(ctx context.Context, r observed.Rollout) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.Records.Try(ctx, func(l *ledger.Ledger) error { return l.SetRollouts(ctx, []ledger.Rollout{ledger.Rollout(r)}, nil) })
}

// putBack has a FEC that was not restarted wait again: what an operator wants now, it still does.
func (s *Restarter) putBack(ctx context.Context, r observed.Rollout) {
	if r.Wave == 0 {
		r.State, r.At = observed.RolloutNow, s.Now()
		s.enter(ctx, r)
		return
	}
	s.deciding.Lock()
	defer s.deciding.Unlock()
	s.Records.Try(ctx, func(l *ledger.Ledger) error { return l.SetRollouts(ctx, nil, []string{r.FEC}) })
}

// continueAsking finds out, of FECs that were being asked when this or an earlier service was interrupted, whether they were.
func (s *Restarter) continueAsking(ctx context.Context) error {
	rollouts, _, err := s.rollouts(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(max(1, s.AtOnce))
	for _, fec := range slices.Sorted(maps.Keys(rollouts)) {
		r := observed.Rollout(rollouts[fec])
		if _, there := s.fleet.site.FECs[fec]; !there || r.State != observed.RolloutAsking || !s.talks.isDue(fec, s.Now()) {
			continue
		}
		g.Go(func() error {
			answer, err := s.status(ctx, fec)
			switch {
			case err != nil:
				s.talks.note(fec, err.Error(), s.Now(), 5*time.Second)
			case answer.Boot != r.Boot || answer.Asked == restart.Ordered(r):
				r.State = observed.RolloutAsked
				s.enter(ctx, r)
			default: // it was not, and what holds it now is heeded
				s.putBack(ctx, r)
			}
			return nil
		})
	}
	return g.Wait()
}

// talks remembers when FECs are to be asked again, and why they could not be restarted when they were asked last.
type talks struct {
	mu    sync.Mutex
	due   map[string]time.Time
	notes map[string]string // until due
}

func (t *talks) isDue(fec string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !now.Before(t.due[fec])
}

// oldest are FECs in the order in which they are due.
func (t *talks) oldest(fecs []string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(fecs, func(a, b string) int { return t.due[a].Compare(t.due[b]) })
	return fecs
}

// again has a FEC asked again later.
func (t *talks) again(fec string, now time.Time, after time.Duration) { t.note(fec, "", now, after) }

// note likewise remembers until then why it is not restarted.
func (t *talks) note(fec, why string, now time.Time, after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.due == nil {
		t.due, t.notes = map[string]time.Time{}, map[string]string{}
	}
	t.due[fec], t.notes[fec] = now.Add(after), why
}

// of says whether a FEC was ever asked, and why it is not restarted.
func (t *talks) of(fec string, now time.Time) (asked bool, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	due, asked := t.due[fec]
	if now.Before(due) {
		why = t.notes[fec]
	}
	return asked, why
}
