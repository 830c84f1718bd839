package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/ledger"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/plan"
	"github.com/pomona-gitops/pomona/reconciler/remote"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/restart"
	"github.com/pomona-gitops/pomona/reconciler/tree"
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
	s.stood.set(w.Standing, f)
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

// gather is the fleet as it is now.
func (s *Restarter) gather(ctx context.Context) (f fleetNow, err error) {
	var said map[string]observed.Said
	var rollouts map[string]ledger.Rollout
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		var pause ledger.RolloutPause
		if rollouts, pause, err = l.Rollouts(ctx); err != nil {
			return err
		}
		f.pause = observed.Pause(pause)
		said, err = observe.Said(ctx, l)
		return err
	})
	if err != nil {
		return f, err
	}
	if s.since.IsZero() {
		s.since = s.Now()
	}
	f.Now, f.Since, f.Pace = s.Now(), s.since, s.fleet.site.Settings.Restarts
	f.Paused, f.Stopped = f.pause.Reason != "", f.pause.By != ""
	f.Rollouts = make(map[string]observed.Rollout, len(rollouts))
	for fec, r := range rollouts {
		f.Rollouts[fec] = observed.Rollout(r)
	}
	holds := s.holds(ctx)
	for _, x := range s.fleet.index {
		m := plan.Member{FEC: x.Name, Wanted: x.Serial, Groups: s.fleet.site.FECs[x.Name].Groups}
		if e := said[x.Name].Proven; e != nil {
			last := said[x.Name].Last
			m.Doubted = !last.Proven() && last.At.After(e.At) && (last.State != e.State || last.Serial != e.Serial)
			m.Evidence = &observed.Evidence{Serial: e.Serial, State: e.State, Detail: e.Detail, At: e.At}
			if m.Need, err = s.need(ctx, x, *e); err != nil {
				return f, err
			}
			if e.Dev != "" {
				m.Held = "has " + e.Dev + " of a developer until its next boot"
			}
		}
		s.hold(&m, holds)
		f.Members = append(f.Members, m)
	}
	return f, nil
}

// hold says what keeps a FEC from being restarted. A rollback or a release that failed does not: what it holds is what the FEC is to run.
func (s *Restarter) hold(m *plan.Member, holds []observed.Hold) {
	f, there := s.fleet.site.FECs[m.FEC]
	for _, h := range holds {
		switch mine := plan.Covers(h.Scope, m.FEC, f.Groups); {
		case mine && h.Bad == "":
			m.Held = h.String()
		case mine && h.Source == observed.FromFailure:
			m.Returning = true
		}
	}
	if f.Inhibit != "" {
		m.Held = "inhibited: " + f.Inhibit
	}
	if !there {
		m.Held = "the site does not say how to reach it"
	}
	asked, why := s.talks.of(m.FEC, s.Now())
	m.Held = cmp.Or(m.Held, why)
	m.Unasked = m.Evidence == nil && !asked && there
}

// holds are those in force now.
func (s *Restarter) holds(ctx context.Context) []observed.Hold {
	head, err := s.Repo.Resolve(s.Branch)
	if err != nil {
		head.ID = "" // then rollbacks stay
	}
	j := s.judge(ctx, head.ID, s.fleet.holds)
	j.holds.Stated = s.fleet.site.Holds
	j.again(s.Now())
	return j.in
}

// need is what a FEC needs to run what is published, from what it has proved to run. It is worked out once.
func (s *Restarter) need(ctx context.Context, x tree.IndexedFEC, e observed.FECReport) (plan.Effort, error) {
	if e.Serial == x.Serial && e.State == "running" {
		return plan.Effort{What: desired.Nothing}, nil
	}
	key := way{x.Name, e.Serial, x.Serial}
	if n, ok := s.fleet.needs[key]; ok {
		return n, nil
	}
	was, _, err := s.manifest(ctx, x.Name, e.Serial)
	if err != nil {
		return plan.Effort{}, err
	}
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		return plan.Effort{}, err
	}
	defer root.Close() // only read
	now, err := observe.Manifest(root, x.Name)
	if err != nil {
		return plan.Effort{}, err
	}
	n := plan.RestartOf(s.fleet.site, was, now)
	if now.Serial == x.Serial { // else something else has just been published
		s.fleet.needs[key] = n
	}
	return n, nil
}

// manifest is what was published to a FEC with a serial, and the commit that did so first; nil if that is not known.
func (s *Restarter) manifest(ctx context.Context, fec string, serial int64) (m *tree.Manifest, commit string, err error) {
	err = s.Records.Use(ctx, func(l *ledger.Ledger) error {
		p, known, err := l.PublishedFEC(ctx, fec, serial)
		if err != nil || !known {
			return err
		}
		if parsed, _, _, err := tree.ParseManifest(p.Manifest); err == nil {
			m, commit = &parsed, p.Commit
		}
		return nil
	})
	return m, commit, err
}

// servedFleet is what a root publishes, read again when that changes.
type servedFleet struct {
	generation int64 // 0: nothing is
	link       string
	site       desired.Site
	holds      []observed.Hold // that the generation states
	index      []tree.IndexedFEC
	needs      map[way]plan.Effort
}

// way is a FEC's way from one serial to another.
type way struct {
	fec      string
	was, now int64
}

func (p *servedFleet) moved(root string) bool {
	link, err := os.Readlink(filepath.Join(root, tree.CurrentLink))
	return err == nil && link != p.link
}

// look reads what is published, unless it is known.
func (p *servedFleet) look(ctx context.Context, r *Reconciler) error {
	link, err := os.Readlink(filepath.Join(r.Root, tree.CurrentLink))
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing is
	}
	if err != nil || link == p.link {
		return err
	}
	site, g, err := r.PublishedSite(ctx)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(r.Root)
	if err != nil {
		return err
	}
	defer root.Close() // only read
	index, err := observe.Index(root, g.Number)
	if err != nil {
		return fmt.Errorf("read what is published: %w", err)
	}
	if tree.GenerationPath(g.Number) != link {
		return nil // something else has just been published: the next step sees it
	}
	*p = servedFleet{generation: g.Number, link: link, site: site, holds: g.Givens.Holds, index: index.FECs, needs: map[way]plan.Effort{}}
	return nil
}

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

// reach passes a point at which a test has the restarter die; then it is false.
func (s *Restarter) reach(point, fec string) bool { return s.atPoint == nil || s.atPoint(point, fec) }

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
