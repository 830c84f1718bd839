package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/engine"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/submit"
)

// BatchEngine is one batch system.
type BatchEngine struct {
	Engine     engine.Engine
	Conf       desired.Engine
	Folder     string                    // of launches; jobs see it under the same path
	Credential func() (time.Time, error) // when the one ends that jobs need; nil: they need none
}

// engineNow is a batch system at work: each has a goroutine of its own, so that one that hangs holds up no other.
type engineNow struct {
	BatchEngine
	name string
	desk *submit.Desk
	poke chan struct{} // holds one: something is to be handed in or cancelled

	trouble trouble
	swept   time.Time // held jobs were looked for that came late
	forgot  time.Time // old launch folders were looked for
	dropped bool      // some of them are still to be removed
	litter  trouble   // with that
	mu      sync.Mutex
	last    report.Engine
}

// openEngines makes the desks of all engines.
func (s *Campaigner) openEngines(all map[string]BatchEngine) {
	s.engines = map[string]*engineNow{}
	for name, e := range all {
		s.engines[name] = &engineNow{BatchEngine: e, name: name, poke: make(chan struct{}, 1), last: report.Engine{Name: name, Kind: e.Conf.Kind, Trouble: "it was not asked yet"},
			desk: &submit.Desk{Engine: e.Engine, Folder: e.Folder, User: e.Conf.User, Patience: e.Conf.Patience(), Record: s.record, Now: func() time.Time { return s.Now().UTC() }}}
	}
}

// desk is where launches of an engine are handed in; nil: there is no such engine.
func (s *Campaigner) desk(name string) *submit.Desk {
	if e := s.engines[name]; e != nil {
		return e.desk
	}
	return nil
}

// hasten has an engine looked at now.
func (s *Campaigner) hasten(name string) {
	if e := s.engines[name]; e != nil {
		select {
		case e.poke <- struct{}{}:
		default:
		}
	}
}

// record enters how far launches and submissions are.
func (s *Campaigner) record(ctx context.Context, launches []observed.Launch, submissions []observed.Submission) error {
	return s.Records.Use(ctx, func(l *ledger.Ledger) error {
		var rows []ledger.Launch
		for _, launch := range launches {
			rows = append(rows, ledgerLaunch(launch))
		}
		var of []ledger.Submission
		for _, sub := range submissions {
			of = append(of, ledgerSubmission(sub))
		}
		return l.SetProgress(ctx, s.Now(), rows, of)
	})
}

// attend looks at a batch system again and again, and does for every open launch what is missing, until the context ends.
func (s *Campaigner) attend(ctx context.Context, e *engineNow) {
	for ctx.Err() == nil {
		open, err := s.oneLook(ctx, e)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = s.sweep(ctx, e)
		}
		if err == nil {
			s.forgetOld(ctx, e)
		}
		e.note(open, err, s.Now())
		switch news := e.trouble.news(err); {
		case news && err == nil:
			s.Log.Info("batch system can be used again", "engine", e.name)
		case news:
			s.Log.Error("batch system cannot be used: of its jobs nothing new is known", "engine", e.name, "err", err)
		}
		wait := e.Conf.Every()
		if open == 0 {
			wait = max(wait, 30*time.Second)
		}
		select {
		case <-ctx.Done():
		case <-e.poke:
		case <-time.After(wait):
		}
	}
}

// forgetOld removes old launch folders. What goes wrong with that keeps nobody from using the batch system.
func (s *Campaigner) forgetOld(ctx context.Context, e *engineNow) {
	looked := e.forgot
	err := s.forget(ctx, e)
	if ctx.Err() != nil || err == nil && e.forgot.Equal(looked) {
		return // it was not tried
	}
	switch news := e.litter.news(err); {
	case news && err == nil:
		s.Log.Info("old launch folders are removed again", "engine", e.name)
	case news:
		s.Log.Warn("old launch folders cannot be removed", "engine", e.name, "err", err)
	}
}

// oneLook is one look at a batch system; open is how many jobs have not ended.
func (s *Campaigner) oneLook(ctx context.Context, e *engineNow) (open int, err error) {
	before, err := s.openLaunches(ctx, e.name)
	if err != nil {
		return 0, err
	}
	if len(before) == 0 {
		ctx, stop := context.WithTimeout(ctx, e.Conf.Patience())
		defer stop()
		return 0, e.Engine.Ping(ctx)
	}
	after, err := e.desk.Step(ctx, before)
	changed := false
	for i, o := range after {
		for n, sub := range o.Submissions {
			if !sub.State.Ended() {
				open++
			}
			changed = changed || sub != before[i].Submissions[n]
		}
	}
	if changed {
		s.stir()
	}
	return open, err
}

// openLaunches are the launches of an engine that are not over.
func (s *Campaigner) openLaunches(ctx context.Context, name string) (open []submit.Open, err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		launches, err := l.OpenLaunches(ctx, name)
		if err != nil || len(launches) == 0 {
			return err
		}
		by, err := l.OpenSubmissions(ctx, name)
		if err != nil {
			return err
		}
		unwanted, err := l.UnwantedSubmissions(ctx, name)
		if err != nil {
			return err
		}
		for _, launch := range launches {
			o := submit.Open{Launch: observedLaunch(launch), Cancel: unwanted}
			for _, sub := range by[launch.Key] {
				o.Submissions = append(o.Submissions, observedSubmission(sub))
			}
			open = append(open, o)
		}
		return nil
	})
	return open, err
}

// note notes how a batch system is.
func (e *engineNow) note(open int, err error, now time.Time) {
	n := report.Engine{Name: e.name, Kind: e.Conf.Kind, Answers: err == nil, Jobs: open, Asked: now}
	if err != nil {
		n.Trouble = err.Error()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = n
}

// state is how a batch system was when it was asked last, and until when its credential is good now.
func (e *engineNow) state(now time.Time) report.Engine {
	e.mu.Lock()
	n := e.last
	e.mu.Unlock()
	if e.Credential != nil {
		ends, err := e.Credential()
		if n.Credential = ends; err != nil {
			n.CredentialTrouble = err.Error()
		}
		n.Expiring = !ends.IsZero() && e.Conf.Credential != nil && ends.Sub(now) < e.Conf.Credential.Ahead()
	}
	return n
}

// reportEngines are the batch systems as they were asked last, by name.
func (s *Campaigner) reportEngines() []report.Engine {
	out := []report.Engine{}
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		out = append(out, s.engines[name].state(s.Now()))
	}
	return out
}

// expiring are the credentials of batch systems that end soon, or cannot be read.
func (s *Campaigner) expiring() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(s.engines)) {
		e := s.engines[name]
		switch now := e.state(s.Now()); {
		case e.Conf.Credential == nil:
		case now.CredentialTrouble != "":
			lines = append(lines, fmt.Sprintf("engine %s: %s cannot be read: %s", name, e.Conf.Credential.File, now.CredentialTrouble))
		case now.Expiring:
			says := "ends"
			if !s.Now().Before(now.Credential) {
				says = "has ended"
			}
			lines = append(lines, fmt.Sprintf("engine %s: %s %s at %s", name, e.Conf.Credential.File, says, observed.Minute(now.Credential)))
		}
	}
	return lines
}

// expired says why nothing can be handed in: the credential that jobs need has ended, or nobody knows. Who asks later may get another answer.
func (e *engineNow) expired(now time.Time) error {
	if e.Credential == nil {
		return nil
	}
	ends, err := e.Credential()
	switch {
	case err != nil:
		return fmt.Errorf("nothing is handed in to engine %s: %w", e.name, err)
	case !ends.IsZero() && !now.Before(ends):
		return fmt.Errorf("nothing is handed in to engine %s: %s has ended at %s", e.name, e.Conf.Credential.File, observed.Minute(ends))
	}
	return nil
}

var errNoEngine = errors.New("the service's configuration has no such engine")
